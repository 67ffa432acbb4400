//! From a source text to a report: lower, walk each entry point, classify, apply the rules.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::classify::{Classified, Pattern, classify};
use super::finding::Label;
use super::report::{Kernel, Report, Site};
use super::rules::{self, Context};
use super::settings::Settings;
use super::site::{Place, Walked};
use super::suppress::Suppressions;
use crate::lower::{Composed, Lowered};

/// Audits WGSL that needs no preprocessing.
pub fn audit_wgsl(name: &str, text: &str, settings: &Settings) -> Report {
    audit_composed(Composed::verbatim(name, text), settings)
}

/// Audits composed WGSL: findings name the places that its lines came from.
pub fn audit_composed(composed: Composed, settings: &Settings) -> Report {
    let sources: Vec<(String, String)> = composed.sources().to_vec();
    let name = sources.first().map(|s| s.0.clone()).unwrap_or_default();
    // naga's front end is trusted with other people's text only as far as a panic goes.
    let mut report = match catch_unwind(AssertUnwindSafe(|| Lowered::new(composed))) {
        Ok(Ok(lowered)) => audit_lowered(&lowered, settings),
        Ok(Err(e)) => not_analysed(&name, "(file)", e.to_string()),
        Err(_) => not_analysed(&name, "(file)", "naga panicked on it".into()),
    };
    report.sources.extend(sources);
    report
}

/// A report with one row: what was not analysed, and why.
pub(crate) fn not_analysed(file: &str, kernel: &str, reason: String) -> Report {
    let row = Kernel {
        file: file.into(),
        name: kernel.into(),
        analysed: false,
        reason: Some(reason),
        accesses: 0,
        classified: 0,
        unknown: 0,
    };
    Report { kernels: vec![row], ..Report::default() }
}

/// Audits every entry point of a lowered module.
pub fn audit_lowered(lowered: &Lowered, settings: &Settings) -> Report {
    let mut report = Report::default();
    let file = lowered.name().to_string();
    let mut suppressions = Suppressions::of_module(&lowered.module, &lowered.composed.text, &|byte| {
        lowered.composed.locate(byte)
    });
    let locate = |span: &std::ops::Range<usize>| label_at(lowered, span);
    let text_of = |span: &std::ops::Range<usize>| {
        lowered.composed.text.get(span.clone()).unwrap_or_default().to_string()
    };
    for (ix, ep) in lowered.module.entry_points.iter().enumerate() {
        let walked = match walk_entry(lowered, ix, settings) {
            Ok(w) => w,
            Err(reason) => {
                report.merge(not_analysed(&file, &ep.name, reason));
                continue;
            }
        };
        let kernel = conclude(&walked, &file, settings, &locate, &text_of);
        report.merge(kernel);
    }
    suppressions.apply(&mut report.findings);
    report.sources.extend(lowered.composed.sources().iter().cloned());
    report.finish()
}

fn walk_entry(lowered: &Lowered, ix: usize, settings: &Settings) -> Result<Walked, String> {
    let (module, info) = (&lowered.module, &lowered.info);
    let ep = &module.entry_points[ix];
    if module.overrides.is_empty() {
        return super::front::wgsl::walk(module, info, ix, settings).map_err(|e| e.to_string());
    }
    let constants = constants(module, settings);
    let stage = (ep.stage, ep.name.as_str());
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(module, info, Some(stage), &constants).map_err(
            |e| match e {
                naga::back::pipeline_constants::PipelineConstantError::MissingValue(name) => {
                    format!("override `{name}` has no default: give `--set {name}=VALUE`")
                }
                e => e.to_string(),
            },
        )?;
    let ix = module.entry_points.iter().position(|e| e.name == ep.name && e.stage == ep.stage).unwrap_or(0);
    super::front::wgsl::walk(&module, &info, ix, settings).map_err(|e| e.to_string())
}

/// The values of pipeline-overridable constants that the settings give.
pub(super) fn constants(module: &naga::Module, settings: &Settings) -> naga::back::PipelineConstants {
    let given = module.overrides.iter().filter_map(|(_, o)| {
        let name = o.name.as_ref()?;
        let key = o.id.map_or_else(|| name.clone(), |id| id.to_string());
        Some((key, settings.value_of(name)? as f64))
    });
    given.collect()
}

/// The place of a span: on its first line only.
fn label_at(lowered: &Lowered, span: &std::ops::Range<usize>) -> Label {
    let place = lowered.composed.locate(span.start as u32);
    let text = lowered.composed.text.get(span.clone()).unwrap_or_default();
    let length = text.lines().next().map_or(0, str::len).max(1);
    Label {
        file: place.file,
        line: place.line,
        column: place.column,
        length: length as u32,
        message: String::new(),
        primary: false,
    }
}

/// Classifies the accesses of one kernel, merges those of one place, applies the rules.
pub(crate) fn conclude(
    walked: &Walked,
    file: &str,
    settings: &Settings,
    locate: &dyn Fn(&std::ops::Range<usize>) -> Label,
    text_of: &dyn Fn(&std::ops::Range<usize>) -> String,
) -> Report {
    let mut report = Report::default();
    let all: Vec<Classified> = walked.sites.iter().map(|raw| classify(walked, raw, settings)).collect();
    let merged = merge_places(all, locate);
    for c in &merged {
        let at = locate(&c.raw.span);
        let source = text_of(&c.raw.span);
        report.sites.push(Site::new(c, (at.file, at.line, at.column), &walked.name, source, settings));
    }
    let unknown = merged.iter().filter(|c| c.pattern == Pattern::Unknown).count();
    report.kernels.push(Kernel {
        file: file.into(),
        name: walked.name.clone(),
        analysed: true,
        reason: None,
        accesses: merged.len(),
        classified: merged.len() - unknown,
        unknown,
    });
    let ctx =
        Context { kernel: &walked.name, file, algebra: &walked.algebra, sites: &merged, settings, locate };
    for rule in rules::all() {
        (rule.check)(&ctx, &mut report.findings);
    }
    report
}

/// One row per access of the source: inlined and unrolled copies are summed, the worst form wins.
fn merge_places(all: Vec<Classified>, locate: &dyn Fn(&std::ops::Range<usize>) -> Label) -> Vec<Classified> {
    let mut merged: Vec<Classified> = Vec::new();
    let mut by_key = std::collections::HashMap::new();
    let mut places = std::collections::HashMap::new();
    for c in all {
        let place = places.entry(c.raw.span.start).or_insert_with(|| {
            let l = locate(&c.raw.span);
            (l.file, l.line, l.column)
        });
        let key = (place.clone(), c.raw.buffer.clone(), c.raw.kind, c.raw.width);
        match by_key.get(&key) {
            None => {
                by_key.insert(key, merged.len());
                merged.push(c);
            }
            Some(&ix) => {
                let into: &mut Classified = &mut merged[ix];
                let sums = into.sums.zip(c.sums).map(|(a, b)| a.plus(&b));
                let confidence = into.confidence.min(c.confidence);
                let assumptions: std::collections::BTreeSet<String> =
                    into.assumptions.iter().chain(&c.assumptions).cloned().collect();
                let mut copies = std::mem::take(&mut into.copies);
                let worse = severity_of(c.pattern) > severity_of(into.pattern);
                let other = if worse { std::mem::replace(into, c) } else { c };
                if let (Place::Offset(v), true) = (other.raw.place, copies.len() < MOST_COPIES) {
                    copies.push(v);
                }
                into.sums = sums;
                into.copies = copies;
                into.confidence = confidence;
                into.assumptions = assumptions.into_iter().collect();
            }
        }
    }
    merged
}

/// Most copies of an access whose offsets are kept.
const MOST_COPIES: usize = 64;

fn severity_of(p: Pattern) -> u8 {
    match p {
        Pattern::Unknown => 10,
        Pattern::Scattered => 9,
        Pattern::Sequential | Pattern::Strided => 8,
        Pattern::BankConflict => 7,
        Pattern::Rows => 6,
        Pattern::Misaligned => 5,
        Pattern::Coalesced => 4,
        Pattern::Broadcast => 3,
        Pattern::SingleLane => 2,
        Pattern::Texture => 1,
        Pattern::Unreached => 0,
    }
}
