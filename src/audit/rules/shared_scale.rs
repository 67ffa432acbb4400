//! Loads that several iterations share.

use super::{Context, Rule};
use crate::audit::finding::{Finding, Severity};
use crate::audit::lanes::{Op, SymbolKind};
use crate::audit::site::Place;
use crate::memory::AccessKind;

pub(super) const RULE: Rule = Rule {
    name: "shared-scale",
    what: "A load's index is the loop counter divided by a constant: several iterations load the same element.",
    why: "With one scale per group of 32 weights and one weight per iteration, the same scale is fetched 32 times; its \
          address is computed by a division each time.",
    bad: "
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0.0;
    for (var k = 0u; k < 256u; k++) { sum += w[k * 64u + g.x] * scales[(k / 32u) * 64u + g.x]; }
    o[g.x] = sum;
}",
    good: "
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0.0;
    for (var b = 0u; b < 8u; b++) {
        let scale = scales[b * 64u + g.x];
        for (var k = 0u; k < 32u; k++) { sum += w[(b * 32u + k) * 64u + g.x] * scale; }
    }
    o[g.x] = sum;
}",
    ignore: "The loop is unrolled by the group's length, and the compiler joins the loads.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.global().filter(|s| s.raw.kind == AccessKind::Load) {
        let (Place::Offset(v), Some(&inner)) = (&site.raw.place, site.raw.enclosing.last()) else { continue };
        let Some(counter) = ctx.algebra.symbol_of(inner).filter(|s| s.kind == SymbolKind::Loop) else {
            continue;
        };
        // The counter appears in quotients only, and only there.
        let mut shared = None;
        let mut elsewhere = false;
        for atom in v.atoms() {
            if atom == inner {
                elsewhere = true;
            }
            if let Some((Op::Div(_), args)) = ctx.algebra.application(atom) {
                let depends = ctx.algebra.symbols_in(&args[0]).contains(&inner);
                let step = super::coefficient(&args[0], inner);
                match args[1].as_int() {
                    Some(by) if depends && step > 0 && by / step >= 2 => shared = Some(by / step),
                    _ if depends => elsewhere = true,
                    _ => {}
                }
            }
        }
        let Some(times) = shared.filter(|_| !elsewhere) else { continue };
        let message = format!(
            "`{}` is loaded once per iteration, but {times} iterations of `{}` share an element",
            site.raw.buffer, counter.name
        );
        let mut finding =
            ctx.finding(RULE.name, Severity::Info, site, message, "the same element several times");
        finding
            .notes
            .push(format!("help: a loop over groups of {times} around this one loads it once per group"));
        out.push(finding);
    }
}
