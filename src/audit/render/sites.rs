//! Accesses as lines, good ones included.

use crate::audit::report::{Report, Site};
use crate::audit::rules::number;

/// Where an access is, and what it does per lane.
fn place(s: &Site) -> String {
    let Site { file, line, column, buffer, space, op, bytes_per_lane, .. } = s;
    format!("{file}:{line}:{column} {buffer} {space:?} {op:?} {bytes_per_lane} B/lane")
}

/// Every access as a line.
pub fn sites(report: &Report) -> String {
    let mut out = String::new();
    for s in &report.sites {
        let n = |v: Option<f64>| v.map_or_else(|| "?".into(), number);
        out.push_str(&format!("{}, {} lanes: {}", place(s), n(s.active_lanes), s.pattern.name()));
        match (&s.stride_symbol, s.stride_bytes) {
            (Some(symbol), _) => out.push_str(&format!(" ({symbol} B)")),
            (None, Some(b)) => out.push_str(&format!(" ({b} B)")),
            _ => {}
        }
        out.push_str(&format!(
            "; blocks of 32/64/128 B: {}/{}/{}, aligned {}/{}/{}; useful {} B of {} B\n",
            n(s.blocks32),
            n(s.blocks64),
            n(s.blocks128),
            n(s.blocks32_if_aligned),
            n(s.blocks64_if_aligned),
            n(s.blocks128_if_aligned),
            n(s.useful_bytes),
            n(s.fetched_bytes),
        ));
    }
    out
}

/// Every traced access: the static counts above those of the trace.
pub fn traced(report: &Report) -> String {
    let mut out = String::new();
    let n = |v: Option<f64>| v.map_or_else(|| "?".into(), number);
    let (mut exact, mut same) = (0usize, 0usize);
    for s in &report.sites {
        let Some(t) = &s.traced else { continue };
        let requests = s.traffic.map_or_else(|| "?".into(), |t| t.requests.to_string());
        let verdict = match t.agrees {
            Some(true) => "the same".into(),
            Some(false) => "DIFFERENT: an error of marlin".into(),
            None => format!("the static count is not exact: {}", s.assumptions.join("; ")),
        };
        exact += usize::from(t.agrees.is_some());
        same += usize::from(t.agrees == Some(true));
        out.push_str(&format!("{}, {}\n", place(s), s.pattern.name()));
        out.push_str(&format!(
            "  static: {requests} requests of {} lanes; blocks of 32/64/128 B: {}/{}/{}; useful {} B\n",
            n(s.active_lanes),
            n(s.blocks32),
            n(s.blocks64),
            n(s.blocks128),
            n(s.useful_bytes),
        ));
        out.push_str(&format!(
            "  traced: {} requests of {} lanes; blocks of 32/64/128 B: {}/{}/{}; useful {} B: {verdict}\n",
            t.requests,
            n(t.active_lanes),
            n(t.blocks32),
            n(t.blocks64),
            n(t.blocks128),
            n(t.useful_bytes),
        ));
    }
    let total = report.sites.len();
    out.push_str(&format!("{total} accesses; {exact} static counts claim to be exact, {same} of them are\n"));
    out
}
