//! Addresses that come from memory.

use super::{Context, Rule};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};
use crate::memory::{AccessKind, Space};

pub(super) const RULE: Rule = Rule {
    name: "scattered",
    what: "The address depends on loaded data that differs from lane to lane.",
    why: "Nothing is known of how near the addresses are: in the worst case each of 32 lanes fetches a block of its own, \
          4096 bytes for 128.",
    bad: "
@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = x[ids[g.x]];
}",
    good: "
@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) t: vec3<u32>) {
    o[w.x * 64u + t.x] = x[ids[w.x] * 64u + t.x];
}",
    ignore: "The data is sorted, or the table is small enough to stay in the cache.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.sites.iter().filter(|s| s.pattern == Pattern::Scattered) {
        let why = site.reason.as_deref().unwrap_or("loaded data");
        // Consecutive numbers, if nothing else is in the address: then it was counted.
        let efficiency = ctx.efficiency(site);
        let dense = efficiency.is_some_and(|e| e > 0.6);
        let few = site.most_lanes > 0 && site.most_lanes < 8;
        let severity = match (site.raw.space, site.raw.kind) {
            (Space::Storage, _) if dense || few => Severity::Info,
            (Space::Storage, AccessKind::Load | AccessKind::Store) => Severity::Warning,
            (Space::Storage | Space::Uniform, _) => Severity::Info,
            _ => continue,
        };
        let message = format!("lanes access `{}` at addresses that depend on {why}", site.raw.buffer);
        let mut finding = ctx.finding(RULE.name, severity, site, message, "data-dependent");
        let lanes = site.lanes.unwrap_or(f64::from(ctx.settings.subgroup_size));
        if dense {
            finding
                .notes
                .insert(0, "dense by nature: each lane has a number of its own, without gaps".into());
        } else if efficiency.is_none() {
            let text = format!(
                "data-dependent: up to one block per lane, {} of {} B each",
                super::amount(lanes, "lane"),
                site.raw.width
            );
            finding.notes.insert(0, text);
        }
        out.push(finding);
    }
}
