//! From a source text to a report: lower, walk each entry point, classify, apply the rules.

use super::advice;
use super::classify::{Classified, Pattern, classify};
use super::finding::Label;
use super::merge::merge;
use super::report::{Kernel, KernelBytes, Report, Site};
use super::rules::{self, Context, Index};
use super::settings::Settings;
use super::site::Walked;
use super::suppress::Suppressions;
use super::variable::variables;
use crate::lower::guard::{deep, guarded};
use crate::lower::{Composed, Lowered};

/// Audits WGSL that needs no preprocessing.
pub fn audit_wgsl(name: &str, text: &str, settings: &Settings) -> Report {
    audit_composed(Composed::verbatim(name, text), settings)
}

/// Audits composed WGSL: findings name the places that its lines came from.
pub fn audit_composed(composed: Composed, settings: &Settings) -> Report {
    let sources: Vec<(String, String)> = composed.sources().to_vec();
    let name = sources.first().map(|s| s.0.clone()).unwrap_or_default();
    let mut report = match Lowered::new(composed) {
        Ok(lowered) => audit_lowered(&lowered, settings),
        Err(e) => not_analysed(&name, "(file)", e.to_string()),
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
        line: line_in(&reason, file),
        reason: Some(reason),
        workgroup_size: None,
        workgroup_size_assumed: false,
        accesses: 0,
        classified: 0,
        unknown: 0,
        per_workgroup: None,
        per_dispatch: None,
    };
    Report { kernels: vec![row], ..Report::default() }
}

/// The line of a reason that begins with `file:line`.
fn line_in(reason: &str, file: &str) -> Option<u32> {
    let rest = reason.strip_prefix(file)?.strip_prefix(':')?;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Audits every entry point of a lowered module.
pub fn audit_lowered(lowered: &Lowered, settings: &Settings) -> Report {
    deep(|| audit_entries(lowered, settings))
        .unwrap_or_else(|reason| not_analysed(lowered.name(), "(file)", reason))
}

fn audit_entries(lowered: &Lowered, settings: &Settings) -> Report {
    let mut report = Report::default();
    let file = lowered.name().to_string();
    let mut suppressions = Suppressions::of_module(&lowered.module, &lowered.composed.text, &|byte| {
        lowered.composed.locate(byte)
    });
    let locate = |span: &std::ops::Range<usize>| label_at(lowered, span);
    let text_of = |span: &std::ops::Range<usize>| {
        let whole = lowered.composed.text.get(span.clone()).unwrap_or_default();
        // An access over several lines is the text as composed.
        let own = if whole.contains('\n') { None } else { text_at(lowered, &label_at(lowered, span)) };
        own.unwrap_or_else(|| whole.to_string())
    };
    for (ix, ep) in lowered.module.entry_points.iter().enumerate() {
        let walked = match walk_entry(lowered, ix, settings) {
            Ok(w) => w,
            Err(reason) => {
                report.merge(not_analysed(&file, &ep.name, reason));
                continue;
            }
        };
        let kernel = conclude(walked, &file, settings, &locate, &text_of);
        report.merge(kernel);
    }
    suppressions.apply(&mut report.findings);
    report.parameters.extend(parameters_of(&lowered.module));
    report.sources.extend(lowered.composed.sources().iter().cloned());
    report.finish()
}

fn walk_entry(lowered: &Lowered, ix: usize, settings: &Settings) -> Result<Walked, String> {
    let (module, info) = (&lowered.module, &lowered.info);
    let ep = &module.entry_points[ix];
    let missing = missing_overrides(module, settings);
    if module.overrides.is_empty() || !missing.is_empty() {
        // What is not given is not known, unless the size of something hangs on it.
        let sized = ep.workgroup_size_overrides.is_some() || sized_by_overrides(module);
        if sized && !missing.is_empty() {
            let gives: Vec<_> = missing.iter().map(|name| format!("`--set {name}=VALUE`")).collect();
            return Err(format!("sizes depend on overrides without a default: give {}", gives.join(", ")));
        }
        return super::front::wgsl::walk(module, info, ix, settings).map_err(|e| e.to_string());
    }
    let constants = constants(module, settings);
    let stage = (ep.stage, ep.name.as_str());
    let specialise = || {
        naga::back::pipeline_constants::process_overrides(module, info, Some(stage), &constants)
            .map_err(|e| e.to_string())
    };
    let (module, info) = guarded(specialise)
        .map_err(|panic| format!("overrides: naga panicked: {panic}"))?
        .map_err(|e| format!("overrides: {e}"))?;
    let ix = module.entry_points.iter().position(|e| e.name == ep.name && e.stage == ep.stage).unwrap_or(0);
    super::front::wgsl::walk(&module, &info, ix, settings).map_err(|e| e.to_string())
}

/// Overrides that have neither a default nor a value.
pub(super) fn missing_overrides(module: &naga::Module, settings: &Settings) -> Vec<String> {
    let names = module.overrides.iter().filter(|(_, o)| o.init.is_none()).filter_map(|(_, o)| o.name.clone());
    names.filter(|name| settings.number_of(name).is_none()).collect()
}

/// Whether the length of an array is an override.
fn sized_by_overrides(module: &naga::Module) -> bool {
    module
        .types
        .iter()
        .any(|(_, t)| matches!(t.inner, naga::TypeInner::Array { size: naga::ArraySize::Pending(_), .. }))
}

/// The values of pipeline-overridable constants that the settings give.
pub(super) fn constants(module: &naga::Module, settings: &Settings) -> naga::back::PipelineConstants {
    let given = module.overrides.iter().filter_map(|(_, o)| {
        let name = o.name.as_ref()?;
        let key = o.id.map_or_else(|| name.clone(), |id| id.to_string());
        Some((key, settings.number_of(name)?))
    });
    given.collect()
}

/// What `--set` can give a value: the numbers of uniform buffers, and overrides.
fn parameters_of(module: &naga::Module) -> impl Iterator<Item = String> {
    let uniforms = variables(module).into_iter().filter(|v| v.uniform);
    let fields: Vec<String> =
        uniforms.flat_map(|v| v.paths().map(String::from).collect::<Vec<_>>()).collect();
    let overrides: Vec<String> = module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect();
    fields.into_iter().chain(overrides)
}

/// The place of a span: on its first line only.
fn label_at(lowered: &Lowered, span: &std::ops::Range<usize>) -> Label {
    let composed = &lowered.composed;
    let place = composed.locate(span.start as u32);
    let text = composed.text.get(span.clone()).unwrap_or_default();
    let here = text.lines().next().map_or(0, str::len).max(1);
    // What was substituted within is as long as the author wrote it.
    let end = composed.locate((span.start + here) as u32);
    let same_line = end.file == place.file && end.line == place.line && end.column > place.column;
    let length = if same_line { end.column - place.column } else { here as u32 };
    Label {
        file: place.file,
        line: place.line,
        column: place.column,
        length,
        message: String::new(),
        primary: false,
    }
}

/// The author's text at a label.
fn text_at(lowered: &Lowered, label: &Label) -> Option<String> {
    let (_, text) = lowered.composed.sources().iter().find(|(name, _)| *name == label.file)?;
    let line = text.lines().nth(label.line.saturating_sub(1) as usize)?;
    let start = label.column.saturating_sub(1) as usize;
    line.get(start..(start + label.length as usize).min(line.len())).map(String::from)
}

/// Classifies the accesses of one kernel, merges those of one place, applies the rules.
pub(crate) fn conclude(
    mut walked: Walked,
    file: &str,
    settings: &Settings,
    locate: &dyn Fn(&std::ops::Range<usize>) -> Label,
    text_of: &dyn Fn(&std::ops::Range<usize>) -> String,
) -> Report {
    let mut report = Report { parameters: std::mem::take(&mut walked.parameters), ..Report::default() };
    let all: Vec<Classified> = walked.sites.iter().map(|raw| classify(&walked, raw, settings)).collect();
    let mut merged = merge(all, locate, settings);
    advice::check(&mut walked, &mut merged, settings);
    for c in &merged {
        let at = locate(&c.raw.span);
        let source = text_of(&c.raw.span);
        report.sites.push(Site::new(c, (at.file, at.line, at.column), &walked.name, source, settings));
    }
    let bytes = KernelBytes::of(&merged, settings);
    let unknown = merged.iter().filter(|c| c.pattern == Pattern::Unknown).count();
    report.kernels.push(Kernel {
        file: file.into(),
        name: walked.name.clone(),
        analysed: true,
        reason: None,
        line: None,
        workgroup_size: Some(walked.workgroup),
        workgroup_size_assumed: walked.workgroup_assumed,
        accesses: merged.len(),
        classified: merged.len() - unknown,
        unknown,
        per_workgroup: Some(bytes),
        per_dispatch: settings.workgroups.map(|n| bytes.times(n.iter().map(|&x| f64::from(x)).product())),
    });
    let ctx = Context {
        kernel: &walked.name,
        file,
        algebra: &walked.algebra,
        sites: &merged,
        index: Index::new(&walked.algebra, &merged),
        settings,
        locate,
    };
    for rule in rules::all() {
        (rule.check)(&ctx, &mut report.findings);
    }
    report
}
