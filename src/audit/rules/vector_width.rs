//! Consecutive scalars that could be one vector.

use super::{Context, Rule};
use crate::audit::classify::{Classified, Pattern};
use crate::audit::finding::{Finding, Severity};
use crate::audit::lanes::{Lanes, Value};
use crate::audit::site::Place;
use crate::memory::AccessKind;

pub(super) const RULE: Rule = Rule {
    name: "vector-width",
    what: "Each lane loads several neighbouring elements one by one.",
    why: "Four loads of 4 bytes at a stride of 16 touch the same lines four times; one load of 16 bytes touches them once, \
          with a quarter of the instructions.",
    bad: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    let i = 4u * g.x;
    o[g.x] = x[i] + x[i + 1u] + x[i + 2u] + x[i + 3u];
}",
    good: "
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    let v = x[g.x];
    o[g.x] = v.x + v.y + v.z + v.w;
}",
    ignore: "The compiler can prove the alignment and joins the loads by itself.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    let in_vector = |s: &Classified| s.raw.record.as_ref().is_some_and(|r| r.vector);
    for site in
        ctx.global().filter(|s| s.raw.kind == AccessKind::Load && (s.raw.record.is_none() || in_vector(s)))
    {
        let (Pattern::Strided | Pattern::Sequential, Some(stride)) = (site.pattern, site.stride_bytes) else {
            continue;
        };
        let (Place::Offset(first), width) = (&site.raw.place, site.raw.width as i64) else { continue };
        let neighbour = |n: i64| {
            let there = first.add(&Value::int(n * width));
            ctx.index.at(&there).iter().map(|&ix| &ctx.sites[ix].raw).any(|o| {
                o.buffer == site.raw.buffer
                    && o.width == site.raw.width
                    && o.kind == AccessKind::Load
                    && o.conditions == site.raw.conditions
            })
        };
        if neighbour(-1) {
            continue;
        }
        if in_vector(site) {
            let parts = (1..4).take_while(|&n| neighbour(n)).count() + 1;
            let whole = site.raw.record.as_ref().map_or(0, |r| r.stride);
            if parts < 2 || site.raw.width * parts as u64 > whole {
                continue;
            }
            let message =
                format!("{parts} components of each element of `{}` are loaded one by one", site.raw.buffer);
            let mut finding = ctx.finding(RULE.name, Severity::Info, site, message, "the first of them");
            finding.notes.push(format!(
                "help: load the element once and take its components: 1 request of {} bytes per lane instead of {parts}",
                site.raw.width * parts as u64
            ));
            out.push(finding);
            continue;
        }
        let together = [4i64, 2].into_iter().find(|&n| {
            (1..n).all(neighbour)
                && stride % (n * width) == 0
                && n * width <= 16
                && is_multiple(first, n * width)
        });
        let Some(together) = together else { continue };
        let message = format!(
            "{together} neighbouring loads of `{}` could be one of {} bytes",
            site.raw.buffer,
            together * width
        );
        let mut finding = ctx.finding(RULE.name, Severity::Info, site, message, "the first of them");
        finding
            .notes
            .push(format!("help: declare the buffer as an array of vectors of {together} and load those"));
        out.push(finding);
    }
}

/// Whether every term is a multiple of `of`, so that the vector would be aligned.
fn is_multiple(v: &Value, of: i64) -> bool {
    v.0.iter().all(|(_, c)| c.map(|x| x % of) == Lanes::Uniform(0))
}
