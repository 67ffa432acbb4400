//! The same uniform load in every iteration.

use super::{Context, Rule, coefficient};
use crate::audit::classify::Pattern;
use crate::audit::finding::{Finding, Severity};
use crate::audit::lanes::SymbolKind;
use crate::audit::site::Place;
use crate::memory::AccessKind;

pub(super) const RULE: Rule = Rule {
    name: "repeated",
    what: "A loop loads the same storage address in every iteration, for all lanes.",
    why: "A load that depends on neither the lane nor the loop's counter brings the same bytes again: one request per \
          iteration instead of one before the loop. Compilers hoist it only if they can prove that nothing is written there.",
    bad: "
@group(0) @binding(0) var<storage, read_write> scale: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(workgroup_id) w: vec3<u32>) {
    for (var i = 0u; i < 16u; i++) { o[g.x + i * 1024u] = f32(i) * scale[w.x]; }
}",
    good: "
@group(0) @binding(0) var<storage, read_write> scale: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(workgroup_id) w: vec3<u32>) {
    let s = scale[w.x];
    for (var i = 0u; i < 16u; i++) { o[g.x + i * 1024u] = f32(i) * s; }
}",
    ignore: "Another invocation changes the value while the loop runs.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.global().filter(|s| s.raw.kind == AccessKind::Load && s.pattern == Pattern::Broadcast) {
        let (Place::Offset(v), Some(&inner)) = (&site.raw.place, site.raw.enclosing.last()) else { continue };
        let Some(counter) = ctx.algebra.symbol_of(inner).filter(|s| s.kind == SymbolKind::Loop) else {
            continue;
        };
        if site.distinct > 1 || coefficient(v, inner) != 0 || ctx.algebra.symbols_in(v).contains(&inner) {
            continue;
        }
        // Loads of values carried by the loop are not the same address.
        let steady = ctx
            .algebra
            .symbols_in(v)
            .iter()
            .all(|&s| ctx.algebra.symbol_of(s).is_some_and(|s| s.kind != SymbolKind::Loaded));
        if !steady || site.raw.depth == 0 {
            continue;
        }
        let message = format!(
            "`{}` is loaded from the same address in every iteration of the loop over `{}`",
            site.raw.buffer, counter.name
        );
        let mut finding =
            ctx.finding(RULE.name, Severity::Info, site, message, "the same in every iteration");
        finding.notes.push("help: load it before the loop".into());
        out.push(finding);
    }
}
