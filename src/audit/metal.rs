//! Metal files: through clang to LLVM IR, then kernel by kernel.

use std::sync::Arc;

use rayon::prelude::*;

use super::analyse::{conclude, not_analysed};
use super::count::Memo;
use super::finding::Label;
use super::front::msl;
use super::report::Report;
use super::settings::Settings;
use super::suppress::Suppressions;
use crate::lower::{Composed, Defines};
use crate::metal::{Clang, Ir, Place, Source, llvm_ir};

/// Audits the kernels of Metal text. Without clang, or where clang refuses the text, the report has one row that
/// says so; where clang refuses some of the kernels, they have such rows and the others are analysed. Threadgroups are
/// as large as `[[max_total_threads_per_threadgroup]]` allows, else 256 threads, in rows of 32 where a kernel looks at
/// y, unless the settings say otherwise: in Metal the host decides.
pub fn audit_metal(name: &str, text: &str, defines: &Defines, settings: &Settings) -> Report {
    let clang = match Clang::find() {
        Ok(clang) => clang,
        Err(e) => return not_analysed(name, "(file)", e.to_string()),
    };
    let mut source = Source::new(name, text);
    source.include_dirs.clone_from(&settings.include_dirs);
    source.clang_args.clone_from(&settings.clang_args);
    for (define, value) in defines.iter() {
        source = source.with_define(define, value);
    }
    let ir = match llvm_ir(&clang, &source) {
        Ok(ir) => ir,
        Err(diagnostics) => {
            let first = diagnostics.first().map_or_else(|| "clang refused it".into(), ToString::to_string);
            return not_analysed(name, "(file)", first);
        }
    };
    audit_ir(&ir, name, text, settings)
}

/// Audits the kernels of Metal text that is LLVM IR already; `text` is what its debug locations point into.
pub fn audit_ir(ir: &Ir, name: &str, text: &str, settings: &Settings) -> Report {
    let module = msl::read(&ir.text);
    let memo = Arc::new(Memo::default());
    let lines: Vec<&str> = text.lines().collect();
    let names = msl::names::Names::of(text);
    let reports: Vec<Report> = (0..ir.kernels.len())
        .into_par_iter()
        .map(|n| match msl::walk(&module, ir, n, &names, settings) {
            Ok(mut walked) => {
                walked.memo = memo.clone();
                let locate = |span: &std::ops::Range<usize>| label(ir, &lines, name, span);
                let text_of = |span: &std::ops::Range<usize>| {
                    let l = label(ir, &lines, name, span);
                    let line = lines.get(l.line.saturating_sub(1) as usize).copied().unwrap_or_default();
                    let start = l.column.saturating_sub(1) as usize;
                    line.get(start..start + l.length as usize).unwrap_or_default().to_string()
                };
                conclude(walked, name, settings, &locate, &text_of)
            }
            Err(reason) => not_analysed(name, &ir.kernels[n].name, reason),
        })
        .collect();
    let mut report = Report::default();
    for one in reports {
        report.merge(one);
    }
    for refused in &ir.refused {
        let mut row = not_analysed(name, &refused.name, refused.reason.clone());
        for kernel in row.kernels.iter_mut().filter(|_| refused.file == name) {
            kernel.line = kernel.line.or(Some(refused.line));
        }
        report.merge(row);
    }
    let whole = Composed::verbatim(name, text);
    Suppressions::of_comments(text, &|byte| whole.locate(byte)).apply(&mut report.findings);
    report.sources.insert(name.into(), text.into());
    report.finish()
}

/// The place of a debug location; the file's first line where the compiler kept none.
fn label(ir: &Ir, lines: &[&str], name: &str, span: &std::ops::Range<usize>) -> Label {
    let place = u32::try_from(span.start).ok().and_then(|id| ir.locations.place(id));
    place_label(place.unwrap_or_else(|| Place { file: name.into(), line: 1, column: 1 }), lines, name)
}

/// The access at a place that the compiler gives; of a file other than `name` the column is all there is.
pub(super) fn place_label(place: Place, lines: &[&str], name: &str) -> Label {
    let line = lines.get(place.line.saturating_sub(1) as usize).copied().unwrap_or_default();
    let start = place.column.max(1) as usize - 1;
    let at = if place.file == name { extent(line, place.column) } else { start..start };
    Label {
        file: place.file,
        line: place.line,
        column: at.start as u32 + 1,
        length: at.len().max(1) as u32,
        message: String::new(),
        primary: false,
    }
}

/// The access on a line that a compiler's column points into, as bytes of the line: the column is that of its
/// last member (`rec[i].lat`), or, for a store, that of the operator (`o[i] = x`).
pub(super) fn extent(line: &str, column: u32) -> std::ops::Range<usize> {
    let at = (column.max(1) - 1) as usize;
    if at >= line.len() || !line.is_char_boundary(at) {
        return line.len()..line.len();
    }
    let operator: String = line[at..].chars().take_while(|c| "=+-*/%&|^<>!~".contains(*c)).collect();
    let before = line[..at].trim_end().len();
    if operator.ends_with('=') && before > 0 {
        // A store: what stands before the operator.
        return start_of(line, before)..before;
    }
    start_of(line, at)..at + forward(&line[at..])
}

/// Where the expression begins of which a part ends at `end`: names, members and brackets.
fn start_of(line: &str, end: usize) -> usize {
    let mut start = end;
    let mut depth = 0usize;
    for (i, c) in line[..end].char_indices().rev() {
        match c {
            ']' | ')' => depth += 1,
            '[' | '(' if depth > 0 => depth -= 1,
            _ if depth > 0 || c.is_alphanumeric() || matches!(c, '_' | '.') => {}
            '>' if line[..i].ends_with('-') => {}
            '-' if line[i + 1..].starts_with('>') => {}
            _ => break,
        }
        start = i;
    }
    start
}

/// Length of the access that begins here: a name with its members and brackets.
fn forward(rest: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in rest.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' if depth > 0 => depth -= 1,
            _ if depth > 0 || c.is_alphanumeric() || matches!(c, '_' | '.') => {}
            '-' if rest[at + 1..].starts_with('>') => {}
            '>' if rest[..at].ends_with('-') => {}
            _ => return at,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::extent;

    #[test]
    fn the_access_round_a_column_is_found() {
        let text = |line: &str, mark: &str| {
            let column = line.find(mark).unwrap() as u32 + 1;
            line[extent(line, column)].to_string()
        };
        assert_eq!(text("    o[g.x] = rec[g.x].lat;", "lat"), "rec[g.x].lat");
        assert_eq!(text("    o[g.x] = rec[g.x].lat;", "= "), "o[g.x]");
        assert_eq!(text("    sum += float(w[d * 128 + l.x]);", "w["), "w[d * 128 + l.x]");
        assert_eq!(text("  node->rows[i] += 1;", "+="), "node->rows[i]");
        assert_eq!(text("  *p = 1;", "="), "p");
        assert_eq!(text("\u{e9}", "\u{e9}"), "\u{e9}");
        assert_eq!(extent("ab", 9), 2..2);
    }
}
