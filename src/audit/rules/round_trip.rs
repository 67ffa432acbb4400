//! Written, then read back.

use super::{Context, Rule};
use crate::audit::finding::{Finding, Severity};
use crate::audit::lanes::{AtomId, Lanes, SymbolKind, Value};
use crate::audit::site::Place;
use crate::memory::AccessKind;

pub(super) const RULE: Rule = Rule {
    name: "round-trip",
    what: "A kernel writes a buffer and later reads the same elements back.",
    why: "Each element crosses the memory bus twice: written once and read once. Scores of attention that are written in \
          one pass and read in the next cost 4 bytes per score that registers or an online softmax save.",
    bad: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    for (var i = 0u; i < 128u; i++) { s[i * 1024u + g.x] = x[i * 1024u + g.x] * 2.0; }
    var sum = 0.0;
    for (var i = 0u; i < 128u; i++) { sum += s[i * 1024u + g.x]; }
    o[g.x] = sum;
}",
    good: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0.0;
    for (var i = 0u; i < 128u; i++) { sum += x[i * 1024u + g.x] * 2.0; }
    o[g.x] = sum;
}",
    ignore: "The values don't fit in registers and workgroup memory, or other workgroups need them too.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    let mut done = std::collections::BTreeSet::new();
    for (ix, store) in ctx.sites.iter().enumerate() {
        if store.raw.space != crate::memory::Space::Storage || store.raw.kind != AccessKind::Store {
            continue;
        }
        for load in ctx.sites.iter().skip(ix + 1).filter(|l| l.raw.kind == AccessKind::Load) {
            if load.raw.buffer != store.raw.buffer || load.raw.span == store.raw.span {
                continue;
            }
            let (Place::Offset(a), Place::Offset(b)) = (&store.raw.place, &load.raw.place) else { continue };
            if !same_region(ctx, a, b) || !done.insert(store.raw.buffer.clone()) {
                continue;
            }
            let message = format!("`{}` is written and then read back in the same kernel", store.raw.buffer);
            let mut finding = ctx.finding(RULE.name, Severity::Info, load, message, "read back here");
            let mut written = (ctx.locate)(&store.raw.span);
            written.message = "written here".into();
            written.primary = false;
            finding.labels.push(written);
            finding.notes.push(format!("{} bytes per lane cross the bus twice", load.raw.width));
            out.push(finding);
        }
    }
}

/// Whether two accesses go over the same region: what neither lanes nor loops move is equal, and both move within it.
/// A row of scores may be written by a lane each and read by all in turn.
fn same_region(ctx: &Context<'_>, a: &Value, b: &Value) -> bool {
    let alg = ctx.algebra;
    let moves = |m: &Vec<AtomId>, c: &Lanes| {
        c.varies(alg.subgroup_size())
            || m.iter().any(|&x| {
                alg.info(x).varies
                    || alg
                        .info(x)
                        .symbols
                        .iter()
                        .any(|&s| alg.symbol_of(s).is_some_and(|s| s.kind == SymbolKind::Loop))
            })
    };
    let (moving_a, fixed_a) = a.partition(|m, c| moves(m, c));
    let (moving_b, fixed_b) = b.partition(|m, c| moves(m, c));
    // Constants only say where within the region it begins.
    let (constant_a, fixed_a) = fixed_a.partition(|m, _| m.is_empty());
    let (constant_b, fixed_b) = fixed_b.partition(|m, _| m.is_empty());
    // The factors by which lanes and loops move: the same parameters, whoever moves.
    let factors = |v: &Value| -> std::collections::BTreeSet<Vec<AtomId>> {
        let parameter = |x: &AtomId| {
            alg.symbol_of(*x).is_some_and(|s| s.kind != SymbolKind::Loop && s.kind != SymbolKind::Flag)
        };
        v.0.iter().map(|(m, _)| m.iter().copied().filter(parameter).collect()).collect()
    };
    let any = |v: &Value| !v.0.is_empty();
    let near = constant_a.sub(&constant_b).as_int().is_some_and(|d| d.unsigned_abs() < 256);
    fixed_a == fixed_b && near && any(&moving_a) && any(&moving_b) && factors(&moving_a) == factors(&moving_b)
}
