//! Written, then read back.

use super::{Context, Rule};
use crate::audit::finding::{Finding, Severity};
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
            if !same_form(ctx, a, b) || !done.insert(store.raw.buffer.clone()) {
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

/// The same but for the names of loop counters: equal lane vectors, equal coefficients of counters.
fn same_form(ctx: &Context<'_>, a: &crate::audit::lanes::Value, b: &crate::audit::lanes::Value) -> bool {
    let form = |v: &crate::audit::lanes::Value| {
        let mut terms: Vec<(Vec<String>, crate::audit::lanes::Lanes)> =
            v.0.iter()
                .map(|(m, c)| {
                    let names = m
                        .iter()
                        .map(|&x| match ctx.algebra.symbol_of(x) {
                            Some(s) if s.kind == crate::audit::lanes::SymbolKind::Loop => "loop".to_string(),
                            _ => format!("{x:?}"),
                        })
                        .collect();
                    (names, c.clone())
                })
                .collect();
        terms.sort();
        terms
    };
    form(a) == form(b)
}
