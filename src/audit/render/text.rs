//! Findings in rustc's manner.

use codespan_reporting::diagnostic::{Diagnostic, Label as Mark, Severity as Level};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term;

use crate::audit::finding::{Label, Severity};
use crate::audit::report::Report;

/// Findings in rustc's manner, then a summary per kernel.
pub fn text(report: &Report) -> String {
    let mut files = SimpleFiles::new();
    let mut ids = std::collections::HashMap::new();
    for (name, source) in &report.sources {
        ids.insert(name.as_str(), files.add(name.as_str(), source.as_str()));
    }
    let config = term::Config::default();
    let mut out = String::new();
    for f in &report.findings {
        let level = match f.severity {
            Severity::Info => Level::Note,
            Severity::Warning => Level::Warning,
            Severity::Error => Level::Error,
        };
        let mut diagnostic = Diagnostic::new(level).with_code(f.code).with_message(&f.message);
        let mut elsewhere = Vec::new();
        for l in &f.labels {
            let range = ids.get(l.file.as_str()).and_then(|_| byte_range(&report.sources[&l.file], l));
            match (ids.get(l.file.as_str()), range) {
                (Some(&id), Some(range)) => {
                    let mark = if l.primary { Mark::primary(id, range) } else { Mark::secondary(id, range) };
                    diagnostic.labels.push(mark.with_message(&l.message));
                }
                _ => elsewhere.push(format!("at {}:{}:{} {}", l.file, l.line, l.column, l.message)),
            }
        }
        diagnostic.notes = elsewhere;
        diagnostic.notes.extend(f.notes.iter().cloned());
        if !f.kernel.is_empty() {
            diagnostic.notes.push(format!("in kernel `{}`, confidence: {}", f.kernel, f.confidence.name()));
        }
        match term::emit_into_string(&config, &files, &diagnostic) {
            Ok(s) => out.push_str(&s),
            Err(_) => out.push_str(&format!("{}: {}\n", f.code, f.message)),
        }
        out.push('\n');
    }
    for k in report.not_analysed() {
        let reason = k.reason.as_deref().unwrap_or_default();
        out.push_str(&format!("error[not-analysed]: {}: {} is not analysed: {reason}\n\n", k.file, k.name));
    }
    out.push_str(&report.summary());
    out
}

/// "1 note", "2 notes", "2 accesses".
fn byte_range(source: &str, l: &Label) -> Option<std::ops::Range<usize>> {
    let line =
        source.split_inclusive('\n').take(l.line.saturating_sub(1) as usize).map(str::len).sum::<usize>();
    let start = line + l.column.saturating_sub(1) as usize;
    let rest = source.get(start..)?;
    let on_line = rest.lines().next().map_or(0, str::len);
    let end = start + (l.length as usize).min(on_line).max(usize::from(on_line > 0));
    source.is_char_boundary(end).then_some(start..end)
}
