//! Too few bytes per lane.

use super::{Context, Rule};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};
use crate::memory::AccessKind;

pub(super) const RULE: Rule = Rule {
    name: "narrow",
    what: "In a loop, each lane loads less than 4 bytes at a time.",
    why: "A subgroup of 32 lanes with 2 bytes each asks for 64 bytes per instruction, half a line; memory can deliver 16 \
          bytes per lane. The bytes are all used, but it takes more requests to have enough of them under way.",
    bad: "
enable f16;
@group(0) @binding(0) var<storage, read> w: array<f16>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_id) t: vec3<u32>) {
    var sum = 0.0;
    for (var d = 0u; d < 64u; d++) { sum += f32(w[d * 128u + t.x]); }
    o[t.x] = sum;
}",
    good: "
enable f16;
@group(0) @binding(0) var<storage, read> w: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_id) t: vec3<u32>) {
    var sum = vec4(0.0);
    for (var d = 0u; d < 16u; d++) { sum += vec4<f32>(w[d * 128u + t.x]); }
    o[t.x] = sum.x + sum.y + sum.z + sum.w;
}",
    ignore: "Enough subgroups run at once to hide the latency, or the kernel is bound by arithmetic.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.global() {
        let contiguous = matches!(site.pattern, Pattern::Coalesced | Pattern::Misaligned);
        if !contiguous || site.raw.kind != AccessKind::Load || site.raw.width >= 4 || site.raw.depth == 0 {
            continue;
        }
        let message = format!("each lane loads {} bytes of `{}` at a time", site.raw.width, site.raw.buffer);
        let mut finding = ctx.finding(RULE.name, Severity::Info, site, message, "narrow load");
        finding.notes.push(format!(
            "help: vectors of {} elements make it 16 bytes per lane",
            16 / site.raw.width.max(1)
        ));
        out.push(finding);
    }
}
