//! Lanes far apart.

use super::{Context, Rule};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};

pub(super) const RULE: Rule = Rule {
    name: "strided",
    what: "Consecutive lanes touch memory that is a constant distance apart, more than what each lane uses.",
    why: "Memory delivers whole blocks. 32 lanes that read 4 bytes each at a stride of 4096 bytes fetch 32 lines of \
          128 bytes, 4096 bytes for 128 that are used.",
    bad: "
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = m[g.x * 1024u + 5u];
}",
    good: "
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = m[g.x + 5u * 1024u];
}",
    ignore: "The buffer is small enough to stay in the cache and is used again soon.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in
        ctx.global().filter(|s| s.pattern == Pattern::Strided && !super::array_of_structs::one_per_lane(s))
    {
        let Some(efficiency) = ctx.efficiency(site) else { continue };
        if efficiency > 0.6 {
            continue;
        }
        let few = site.distinct < 8;
        let used = if site.stride_bytes.is_some_and(|s| s <= 64) { ctx.covered(site) } else { 0.0 };
        if used > 0.99 && site.stride_bytes.is_some_and(|s| s <= 16) {
            // Lanes a few words apart that use every word between them.
            continue;
        }
        let covered = used > 0.7;
        // Where the host gives the stride of each dimension, one of them is 1 as a rule.
        let any_layout = ctx.any_layout(site);
        let condition = ctx.condition_of_stride(site);
        let mild = few || covered || any_layout || condition.is_some();
        let severity = if mild { Severity::Info } else { Severity::Warning };
        let stride = ctx.stride_text(site);
        let message = format!("lanes of a subgroup are {stride} apart in `{}`", site.raw.buffer);
        let mut finding =
            ctx.finding(RULE.name, severity, site, message, &format!("{stride} from lane to lane"));
        if covered {
            finding.notes.push("neighbouring accesses use the rest of each block".into());
        } else if any_layout {
            finding
                .notes
                .push("contiguous if the host passes a stride of 1 for the index that differs".into());
        } else if let Some(condition) = condition {
            finding.notes.push(condition);
        } else if !few
            && site.even
            && !ctx.layout_serves_others(site)
            && let Some(count) = ctx.side_by_side_text(site)
        {
            finding.notes.push(format!(
                "help: with the index that differs between lanes not multiplied (or `{}` stored transposed) {count}",
                site.raw.buffer
            ));
        }
        out.push(finding);
    }
}
