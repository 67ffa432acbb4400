//! GitHub workflow commands.

use crate::audit::finding::Severity;
use crate::audit::report::Report;

/// GitHub workflow commands, one per finding and one per kernel that could not be analysed.
pub fn github(report: &Report) -> String {
    // Properties and messages escape differently.
    let data = |s: &str| s.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |s: &str| data(s).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for f in &report.findings {
        let command = match f.severity {
            Severity::Info => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let mut message = f.message.clone();
        for n in &f.notes {
            message.push('\n');
            message.push_str(n);
        }
        let place = f.place().map_or_else(String::new, |l| {
            format!(
                "file={},line={},col={},endColumn={},",
                property(&l.file),
                l.line,
                l.column,
                l.column + l.length
            )
        });
        out.push_str(&format!("::{command} {place}title={}::{}\n", property(f.code), data(&message)));
    }
    for k in report.not_analysed() {
        let reason = k.reason.as_deref().unwrap_or_default();
        let message = format!("{} is not analysed: {reason}", k.name);
        let line = k.line.map_or_else(String::new, |line| format!("line={line},"));
        out.push_str(&format!(
            "::error file={},{line}title=not-analysed::{}\n",
            property(&k.file),
            data(&message)
        ));
    }
    out
}
