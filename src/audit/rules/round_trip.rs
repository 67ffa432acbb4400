//! Written, then read back.

use std::collections::{BTreeSet, HashMap};

use super::{Context, Rule};
use crate::audit::classify::Classified;
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
    // The first store to each region, and the buffers that were reported.
    let mut written: HashMap<(&str, Region), &Classified> = HashMap::new();
    let mut done = BTreeSet::new();
    for site in ctx.global() {
        let Place::Offset(offset) = &site.raw.place else { continue };
        let Some(region) = region(ctx, offset) else { continue };
        let buffer = site.raw.buffer.as_str();
        match site.raw.kind {
            AccessKind::Store => drop(written.entry((buffer, region)).or_insert(site)),
            AccessKind::Load => {
                let Some(store) = written.get(&(buffer, region)).filter(|s| s.raw.span != site.raw.span)
                else {
                    continue;
                };
                if !done.insert(buffer) {
                    continue;
                }
                let message = format!("`{buffer}` is written and then read back in the same kernel");
                let mut finding = ctx.finding(RULE.name, Severity::Info, site, message, "read back here");
                let mut written = (ctx.locate)(&store.raw.span);
                written.message = "written here".into();
                written.primary = false;
                finding.labels.push(written);
                finding.notes.push(format!("{} bytes per lane cross the bus twice", site.raw.width));
                out.push(finding);
            }
            AccessKind::Atomic => {}
        }
    }
}

/// What neither lanes nor loops move, and the parameters by which they move what they do. A row of scores may be written
/// by a lane each and read by all in turn: the region is the same.
type Region = (Value, BTreeSet<Vec<AtomId>>);

fn region(ctx: &Context<'_>, v: &Value) -> Option<Region> {
    let alg = ctx.algebra;
    let is_loop = |s: &AtomId| alg.symbol_of(*s).is_some_and(|s| s.kind == SymbolKind::Loop);
    let moves = |m: &Vec<AtomId>, c: &Lanes| {
        c.varies(alg.subgroup_size())
            || m.iter().any(|&x| alg.info(x).varies || alg.info(x).symbols.iter().any(is_loop))
    };
    let (moving, fixed) = v.partition(moves);
    // Constants only say where within the region it begins.
    let (_, fixed) = fixed.partition(|m, _| m.is_empty());
    let parameter = |x: &AtomId| {
        alg.symbol_of(*x).is_some_and(|s| s.kind != SymbolKind::Loop && s.kind != SymbolKind::Flag)
    };
    let factors = moving.0.iter().map(|(m, _)| m.iter().copied().filter(parameter).collect()).collect();
    (!moving.0.is_empty()).then_some((fixed, factors))
}
