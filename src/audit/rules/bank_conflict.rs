//! Workgroup memory.

use super::{Context, Rule};
use crate::audit::classify::{Confidence, Pattern};
use crate::audit::finding::{Finding, Severity};
use crate::audit::target::Target;

pub(super) const RULE: Rule = Rule {
    name: "bank-conflict",
    what: "Lanes of a subgroup need different words of the same bank of workgroup memory.",
    why: "A bank delivers one word per cycle. With 32 banks of 4 bytes, rows of 128 bytes put a column of a tile into one \
          bank: 32 cycles instead of one. Rows longer by one word spread it over all banks.",
    bad: "
var<workgroup> tile: array<f32, 4096>;
@group(0) @binding(0) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_id) t: vec3<u32>) {
    var sum = 0.0;
    for (var d = 0u; d < 32u; d++) { sum += tile[t.x * 32u + d]; }
    o[t.x] = sum;
}",
    good: "
var<workgroup> tile: array<f32, 4224>;
@group(0) @binding(0) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_id) t: vec3<u32>) {
    var sum = 0.0;
    for (var d = 0u; d < 32u; d++) { sum += tile[t.x * 33u + d]; }
    o[t.x] = sum;
}",
    ignore: "The target's banks differ from the model; on Apple GPUs they are not published.",
    check,
};

fn check(ctx: &Context<'_>, out: &mut Vec<Finding>) {
    for site in ctx.sites.iter().filter(|s| s.pattern == Pattern::BankConflict) {
        let Some((ways, ideal)) = site.bank_ways else { continue };
        let factor = ways / ideal.max(1);
        if factor < 2 || site.raw.collective {
            continue;
        }
        let severity = if factor >= 4 { Severity::Warning } else { Severity::Info };
        let model = ctx.settings.banks.name();
        let message = format!("bank conflict in `{}`: {ways} ways with {model}", site.raw.buffer);
        let mut finding = ctx.finding(RULE.name, severity, site, message, "lanes meet in the same banks");
        finding.notes.retain(|n| n.starts_with("assumed") || super::is_about_copies(n));
        let least = if ideal > 1 { format!("at least {ideal}") } else { "1".into() };
        finding
            .notes
            .insert(0, format!("the busiest bank delivers {ways} words per request, {least} would do"));
        finding.notes.extend(site.fix.clone());
        if ctx.settings.target == Target::Apple {
            finding.confidence = finding.confidence.min(Confidence::Estimated);
            finding.notes.push(
                "the banks of Apple's threadgroup memory are not published; `--banks` chooses the model"
                    .into(),
            );
        }
        out.push(finding);
    }
}
