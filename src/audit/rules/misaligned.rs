//! Contiguous, but across block borders.

use super::{Context, Rule, number};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};

pub(super) const RULE: Rule = Rule {
    name: "misaligned",
    what: "Consecutive lanes touch consecutive memory that does not begin at a block's border.",
    why: "128 bytes that begin 4 bytes into a line lie in two lines; the second is mostly the next request's first, so that \
          the cache usually makes up for it.",
    bad: "
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = a[g.x + 1u];
}",
    good: "
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    o[g.x] = a[g.x + 32u];
}",
    ignore: "Nearly always for loads; neighbours of a stencil can't be aligned.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.global().filter(|s| s.pattern == Pattern::Misaligned) {
        let ix = ctx.settings.target.block().ix();
        let (Some(now), Some(then)) =
            (site.average(|s| s.blocks[ix]), site.average(|s| s.blocks_if_aligned[ix]))
        else {
            continue;
        };
        let message = format!(
            "contiguous access to `{}` begins inside a block: {} blocks instead of {}",
            site.raw.buffer,
            number(now),
            number(then)
        );
        out.push(ctx.finding(RULE.name, Severity::Info, site, message, "shifted against the block border"));
    }
}
