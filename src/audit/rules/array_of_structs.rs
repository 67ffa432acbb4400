//! One field of each struct.

use super::{Context, Rule, number};
use crate::audit::classify::{Classified, Pattern};
use crate::audit::finding::{Finding, Severity};

pub(super) const RULE: Rule = Rule {
    name: "array-of-structs",
    what: "Consecutive lanes touch one field of consecutive structs.",
    why: "The other fields come along in the same blocks: of structs of 8 bytes, of which each lane reads 4, half of what is \
          fetched is used.",
    bad: "
struct Record { lat: f32, lng: f32 }
@group(0) @binding(0) var<storage, read> records: array<Record>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = records[g.x].lat;
}",
    good: "
@group(0) @binding(0) var<storage, read> lat: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = lat[g.x];
}",
    ignore: "All fields are read one after the other: then the blocks are used up from the cache (reported as info).",
    check,
};

/// Whether consecutive lanes touch a part of consecutive structs.
pub(super) fn one_per_lane(site: &Classified) -> bool {
    let record = site.raw.record.as_ref();
    record.is_some_and(|r| r.stride > site.raw.bytes() && site.stride_bytes == i64::try_from(r.stride).ok())
}

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    let sites = ctx.global().filter(|s| matches!(s.pattern, Pattern::Strided | Pattern::Sequential));
    for site in sites {
        let Some(record) = site.raw.record.as_ref().filter(|_| one_per_lane(site)) else { continue };
        let Some(efficiency) = ctx.efficiency(site) else { continue };
        if efficiency > if record.vector { 0.6 } else { 0.9 } || site.pattern == Pattern::Sequential {
            continue;
        }
        let covered = ctx.covered(site);
        if record.vector && covered > 0.7 {
            // Its other components are loaded too: `vector-width` says so once.
            continue;
        }
        // What is padding in structs that are used whole costs, but is nobody's slip.
        let severity = if covered > 0.7 || site.distinct < 8 || efficiency > 0.6 {
            Severity::Info
        } else {
            Severity::Warning
        };
        let name = if record.name.is_empty() { "a struct".into() } else { format!("`{}`", record.name) };
        let message = format!(
            "each lane uses {} of the {} bytes of {name} in the array `{}`: {} % of what is fetched",
            site.raw.bytes(),
            record.stride,
            site.raw.buffer,
            number(efficiency * 100.0)
        );
        let mut finding = ctx.finding(RULE.name, severity, site, message, "one struct per lane");
        let own = site.raw.width as f64 / record.stride as f64;
        if covered > 0.7 && covered > own + 0.01 {
            finding.notes.push("neighbouring accesses use the other fields".into());
        } else if let Some(count) = ctx.side_by_side_text(site) {
            let part = if record.vector { "component" } else { "field" };
            finding.notes.push(format!("help: with one array per {part} {count}"));
        }
        out.push(finding);
    }
}
