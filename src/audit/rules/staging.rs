//! Workgroup memory that is private in all but name.

use super::{Context, Rule};
use crate::audit::finding::{Finding, Severity};
use crate::audit::site::Place;
use crate::memory::{AccessKind, Space};

pub(super) const RULE: Rule = Rule {
    name: "staging",
    what: "Workgroup memory is written and read only by the same lane at the same address.",
    why: "Staging pays when lanes read what others loaded. Where each lane reads back only its own element, every byte is \
          moved twice more and the barrier waits for nothing; a register does the same.",
    bad: "
var<workgroup> stage: array<f32, 64>;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_id) t: vec3<u32>) {
    stage[t.x] = x[g.x];
    workgroupBarrier();
    o[g.x] = stage[t.x] * 2.0;
}",
    good: "
var<workgroup> stage: array<f32, 64>;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>, @builtin(local_invocation_id) t: vec3<u32>) {
    stage[t.x] = x[g.x];
    workgroupBarrier();
    o[g.x] = stage[63u - t.x] * 2.0;
}",
    ignore: "The memory is indexed dynamically and would spill as an array of registers.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    let mut buffers: Vec<&str> =
        ctx.sites.iter().filter(|s| s.raw.space == Space::Workgroup).map(|s| s.raw.buffer.as_str()).collect();
    buffers.sort_unstable();
    buffers.dedup();
    for buffer in buffers {
        let of = |kind| ctx.sites.iter().filter(move |s| s.raw.buffer == buffer && s.raw.kind == kind);
        let mut stores = of(AccessKind::Store);
        let Some(store) = stores.next() else { continue };
        let Place::Offset(written) = &store.raw.place else { continue };
        let alike =
            |s: &crate::audit::classify::Classified| matches!(&s.raw.place, Place::Offset(v) if v == written);
        let own = ctx.algebra.varies(written)
            && ctx.algebra.symbols_in(written).is_empty()
            && store.distinct >= store.average(|s| s.active_lanes).unwrap_or(0.0) as usize;
        let loads: Vec<_> = of(AccessKind::Load).collect();
        let Some(load) = loads.first() else { continue };
        if !own
            || !stores.all(alike)
            || !loads.iter().all(|l| alike(l))
            || of(AccessKind::Atomic).next().is_some()
        {
            continue;
        }
        let message = format!("each lane reads back from `{buffer}` only what it wrote itself");
        let mut finding = ctx.finding(RULE.name, Severity::Info, load, message, "its own element");
        let mut label = (ctx.locate)(&store.raw.span);
        label.message = "written here".into();
        label.primary = false;
        finding.labels.push(label);
        finding.notes.push("help: keep the value in a variable and drop the barrier".into());
        out.push(finding);
    }
}
