//! What could not be followed.

use super::{Context, Rule};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};

pub(super) const RULE: Rule = Rule {
    name: "unknown",
    what: "The address could not be followed; nothing is said about it.",
    why: "An index that went through floating point, a shuffle or an expression too large is neither good nor bad until \
          it is measured.",
    bad: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = x[u32(sqrt(f32(g.x)))];
}",
    good: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = x[g.x / 2u];
}",
    ignore: "Always, if a trace of the kernel shows that the access is good.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.sites.iter().filter(|s| s.pattern == Pattern::Unknown) {
        let why = site.reason.as_deref().unwrap_or("an unknown reason");
        let message =
            format!("access to `{}` is not analysed: its address depends on {why}", site.raw.buffer);
        out.push(ctx.finding(RULE.name, Severity::Info, site, message, "not followed"));
    }
}
