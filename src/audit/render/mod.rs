//! Reports as text, SARIF and GitHub annotations. JSON is the report itself.

mod github;
mod sarif;
mod sites;
mod summary;
mod text;

pub use github::github;
pub use sarif::sarif;
pub use sites::{sites, traced};
pub use text::text;

use super::finding::Finding;
use super::report::Report;

/// A finding's name in a baseline: no line numbers, so that it survives edits elsewhere in the file.
pub(crate) fn fingerprint(f: &Finding, report: &Report) -> String {
    let place = f.place();
    let line = place
        .and_then(|l| report.sources.get(&l.file)?.lines().nth(l.line.saturating_sub(1) as usize))
        .unwrap_or_default();
    let file = place.map_or("", |l| l.file.as_str());
    format!("{}|{file}|{}|{}", f.code, f.kernel, line.split_whitespace().collect::<Vec<_>>().join(" "))
}
