//! Metal files: through clang to LLVM IR, then kernel by kernel.

use rayon::prelude::*;

use super::analyse::{conclude, finish, not_analysed};
use super::finding::Label;
use super::llvm;
use super::report::Report;
use super::settings::Settings;
use super::suppress::Suppressions;
use crate::lower::{Composed, Defines};
use crate::metal::{Clang, Ir, Source, llvm_ir};

/// Audits the kernels of Metal text. Without clang, or where clang refuses the text, the report has one row that
/// says so. Threadgroups are 256 threads, in rows of 32 where a kernel looks at y, unless the settings say
/// otherwise: in Metal the host decides.
pub fn audit_metal(name: &str, text: &str, defines: &Defines, settings: &Settings) -> Report {
    let clang = match Clang::find() {
        Ok(clang) => clang,
        Err(e) => return not_analysed(name, "(file)", e.to_string()),
    };
    let mut source = Source::new(name, text);
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
    let module = llvm::read(&ir.text);
    let reports: Vec<Report> = (0..ir.kernels.len())
        .into_par_iter()
        .map(|n| match llvm::walk(&module, &ir, n, settings) {
            Ok(walked) => {
                let locate = |span: &std::ops::Range<usize>| label(&ir, text, name, n, span);
                let text_of = |span: &std::ops::Range<usize>| {
                    let l = label(&ir, text, name, n, span);
                    let line = text.lines().nth(l.line.saturating_sub(1) as usize).unwrap_or_default();
                    let start = l.column.saturating_sub(1) as usize;
                    line.get(start..start + l.length as usize).unwrap_or_default().to_string()
                };
                conclude(&walked, name, settings, &locate, &text_of)
            }
            Err(reason) => not_analysed(name, &ir.kernels[n].name, reason),
        })
        .collect();
    let mut report = Report::default();
    for one in reports {
        report.merge(one);
    }
    let whole = Composed::verbatim(name, text);
    finish(&mut report, &mut Suppressions::of_comments(text, &|byte| whole.locate(byte)));
    report.sources.insert(name.into(), text.into());
    report
}

/// The place of a debug location; the file's first line where the compiler kept none.
fn label(ir: &Ir, text: &str, name: &str, _kernel: usize, span: &std::ops::Range<usize>) -> Label {
    let place = u32::try_from(span.start).ok().and_then(|id| ir.locations.place(id));
    let Some(place) = place else {
        return Label {
            file: name.into(),
            line: 1,
            column: 1,
            length: 1,
            message: String::new(),
            primary: false,
        };
    };
    let line = text.lines().nth(place.line.saturating_sub(1) as usize).unwrap_or_default();
    let rest = line.get(place.column.saturating_sub(1) as usize..).unwrap_or_default();
    let length = if place.file == name { extent(rest) } else { 1 };
    Label {
        file: place.file,
        line: place.line,
        column: place.column.max(1),
        length: length.max(1) as u32,
        message: String::new(),
        primary: false,
    }
}

/// Length of the access that begins here: a name with its brackets.
fn extent(rest: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in rest.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return at + c.len_utf8();
                }
            }
            _ if depth > 0 || c.is_alphanumeric() || matches!(c, '_' | '.' | '>' | '-') => {}
            _ => return at,
        }
    }
    rest.len()
}
