//! Several rows in one request.

use super::{Context, Rule, number};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};

pub(super) const RULE: Rule = Rule {
    name: "rows",
    what: "A subgroup spans several rows of a matrix: contiguous within each, apart between them.",
    why: "Lanes run x-fastest: a subgroup of 32 lanes covers two rows of a 16×16 workgroup, 64 contiguous bytes of f32 in \
          each: all of two 64-byte blocks, but half of two 128-byte lines.",
    bad: "
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    o[i] = m[g.y * 1024u + g.x];
}",
    good: "
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    o[i] = m[g.y * 1024u + g.x];
}",
    ignore: "The workgroup beside it reads the other half of the lines at about the same time.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.global().filter(|s| s.pattern == Pattern::Rows && !s.raw.collective) {
        let Some(efficiency) = ctx.efficiency(site) else { continue };
        if efficiency > 0.8 {
            continue;
        }
        let many = site.rows >= 8 && efficiency < 0.3;
        let severity = if many { Severity::Warning } else { Severity::Info };
        let rows = if site.rows == 2 { "two".into() } else { site.rows.to_string() };
        let message = format!(
            "a subgroup touches {rows} rows of `{}`, {} apart: {} % of the fetched bytes are used",
            site.raw.buffer,
            ctx.stride_text(site),
            number(efficiency * 100.0)
        );
        out.push(ctx.finding(RULE.name, severity, site, message, &format!("{rows} rows per request")));
    }
}
