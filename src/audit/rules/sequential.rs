//! Each lane walks through its own stretch of memory.

use super::{Context, Rule};
use crate::audit::classify::{Pattern, Steps};
use crate::audit::finding::{Finding, Severity};

pub(super) const RULE: Rule = Rule {
    name: "sequential",
    what: "Each lane walks contiguous memory in a loop while the lanes are far apart.",
    why: "What looks contiguous in the source is contiguous per lane; in one instruction the 32 lanes touch 32 \
          different lines. The rest of each line is used only if it survives in the cache until the loop comes to it: \
          32 lines of 128 bytes for each subgroup that is running.",
    bad: "
@group(0) @binding(0) var<storage, read> k: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_id) t: vec3<u32>) {
    var sum = 0.0;
    for (var d = 0u; d < 64u; d++) { sum += k[t.x * 64u + d]; }
    o[t.x] = sum;
}",
    good: "
@group(0) @binding(0) var<storage, read> k: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_id) t: vec3<u32>) {
    var sum = 0.0;
    for (var d = 0u; d < 64u; d++) { sum += k[d * 128u + t.x]; }
    o[t.x] = sum;
}",
    ignore: "The stretch per lane is a few dozen bytes, so that the lines are used up within a few iterations.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.global().filter(|s| s.pattern == Pattern::Sequential) {
        let (Some(efficiency), Some(steps)) = (ctx.efficiency(site), &site.walk) else { continue };
        if efficiency > 0.6 {
            continue;
        }
        let Steps { counter, bytes: step, count } = steps;
        let few = site.stride_bytes.is_some_and(|s| s <= 32) || site.distinct < 8;
        // Lanes and neighbouring accesses use up what they fetch before the loop ends, and it ends soon.
        let length = count.and_then(|n| n.checked_mul(step.unsigned_abs()));
        let used_up = length.is_some_and(|l| l <= 64) && ctx.covered(site) > 0.7;
        // Where the host gives the stride of each dimension, one of them is 1 as a rule.
        let any_layout = ctx.any_layout(site);
        let condition = ctx.condition_of_stride(site);
        let mild = few || used_up || any_layout || condition.is_some();
        let severity = if mild { Severity::Info } else { Severity::Warning };
        let stride = ctx.stride_text(site);
        let message = format!(
            "each lane walks its own stretch of `{}`: {step} bytes per step of `{counter}`, {stride} between lanes",
            site.raw.buffer
        );
        let mut finding =
            ctx.finding(RULE.name, severity, site, message, &format!("{stride} from lane to lane"));
        if used_up {
            finding.notes.push("neighbouring accesses and the next steps use the rest of each block".into());
        }
        if let Some(condition) = condition {
            finding.notes.push(condition);
        } else if let Some(count) = ctx.side_by_side_text(site) {
            finding
                .notes
                .push(format!("help: if consecutive lanes took consecutive steps of `{counter}`, {count}"));
        }
        out.push(finding);
    }
}
