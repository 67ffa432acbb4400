//! One line per kernel.

use crate::audit::finding::Severity;
use crate::audit::report::{Kernel, Report};
use crate::audit::rules::number;

impl Report {
    /// One line per kernel, worst first, and the totals.
    pub fn summary(&self) -> String {
        summary(self)
    }
}

fn summary(report: &Report) -> String {
    let mut out = String::new();
    let count = |k: &Kernel, s: Severity| {
        report
            .findings
            .iter()
            .filter(|f| f.kernel == k.name && f.kernel_file == k.file && f.severity == s)
            .count()
    };
    let mut rows: Vec<_> = report
        .kernels
        .iter()
        .map(|k| (count(k, Severity::Error), count(k, Severity::Warning), count(k, Severity::Info), k))
        .collect();
    rows.sort_by_key(|r| std::cmp::Reverse((r.0, r.1, r.2)));
    for (_, warnings, infos, k) in &rows {
        match &k.reason {
            Some(reason) => out.push_str(&format!("{}: {}: not analysed: {reason}\n", k.file, k.name)),
            None => out.push_str(&format!(
                "{}: {}: {}, {} unknown, {}, {}\n",
                k.file,
                k.name,
                plural(k.accesses, "access"),
                k.unknown,
                plural(*warnings, "warning"),
                plural(*infos, "note"),
            )),
        }
        if let Some([x, y, z]) = k.workgroup_size.filter(|_| k.workgroup_size_assumed) {
            out.push_str(&format!(
                "  threadgroups of {x} × {y} × {z} are assumed: the host decides, `--workgroup-size X,Y,Z` says what it does\n"
            ));
        }
        for (when, bytes) in [("workgroup", &k.per_workgroup), ("dispatch", &k.per_dispatch)] {
            let Some(b) = bytes.as_ref().filter(|b| b.asked_bytes > 0.0) else { continue };
            let uncounted = match b.uncounted {
                0 => String::new(),
                n => format!("; not counted: {}", plural(n, "access")),
            };
            out.push_str(&format!(
                "  per {when}: lanes ask for {} bytes, {} of them distinct in their requests, {} in whole blocks{uncounted}\n",
                number(b.asked_bytes),
                number(b.useful_bytes),
                number(b.fetched_bytes),
            ));
        }
    }
    let total: usize = report.kernels.iter().map(|k| k.accesses).sum();
    let unknown: usize = report.kernels.iter().map(|k| k.unknown).sum();
    let skipped = report.kernels.iter().filter(|k| !k.analysed).count();
    let warnings = report.findings.iter().filter(|f| f.severity >= Severity::Warning).count();
    out.push_str(&format!(
        "{}, {skipped} not analysed; {}, {unknown} unknown; {}, {}\n",
        plural(report.kernels.len(), "kernel"),
        plural(total, "access"),
        plural(warnings, "warning"),
        plural(report.findings.len() - warnings, "note"),
    ));
    out
}

pub(super) fn plural(n: usize, what: &str) -> String {
    let end = match (n, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{n} {what}{end}")
}
