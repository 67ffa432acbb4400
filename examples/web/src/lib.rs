//! What JavaScript calls: the audit of a WGSL text, its trace on the CPU executor, and its Metal text.
//!
//! Everything is text in, text out; files that a text includes are asked of an object of the app's, if it gives one.
//! A mistake in what is given is thrown as an error that says how to mend it. A panic
//! is thrown too, and then the module's memory is not to be trusted: make a new instance.

mod folders;
mod options;

use serde::Serialize;
use wasm_bindgen::prelude::*;
use wgpu_marlin::audit::{Includes, Kernel, Report, Settings, audit_text_in, trace_wgsl};
use wgpu_marlin::lower::{Checks, Defines, LowerError, Lowered, ShaderStage, compose_foreign};

use folders::{Given, JsFolders};
use options::Options;

/// Called once by the module itself.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// The version of this package.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// The audit of a text as JSON, as `marlin audit --format json` prints it.
///
/// # Errors
/// Options that are none.
#[wasm_bindgen]
pub fn audit(
    name: &str,
    source: &str,
    options: &str,
    folders: Option<JsFolders>,
) -> Result<String, JsError> {
    let (settings, defines) = Options::read(options).and_then(|o| o.settings()).map_err(thrown)?;
    Ok(serde_json::to_string_pretty(&audit_text_in(name, source, &defines, &settings, &Given(folders)))? + "\n")
}

/// As [`audit`], with what the executor counts beside it: `marlin audit --trace --format json`.
///
/// # Errors
/// Options that are none; a text that can't be traced.
#[wasm_bindgen]
pub fn trace(
    name: &str,
    source: &str,
    options: &str,
    folders: Option<JsFolders>,
) -> Result<String, JsError> {
    let report = Options::read(options).and_then(|o| traced(name, source, &o, &Given(folders))).map_err(thrown)?;
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The report with what an editor shows beside it: the lanes of a request per access, and the names that parameters
/// have.
///
/// # Errors
/// Options that are none. A trace that was asked for and failed is a field.
#[wasm_bindgen]
pub fn inspect(
    name: &str,
    source: &str,
    options: &str,
    folders: Option<JsFolders>,
) -> Result<String, JsError> {
    let options = Options::read(options).map_err(thrown)?;
    let (settings, defines) = options.settings().map_err(thrown)?;
    let folders = Given(folders);
    let audited = || audit_text_in(name, source, &defines, &settings, &folders);
    let wanted = options.buffers.is_some() || options.buffer_bytes.is_some();
    let (report, trace_error) = match wanted.then(|| traced(name, source, &options, &folders)) {
        Some(Ok(report)) => (report, None),
        Some(Err(e)) => (audited(), Some(e)),
        None => (audited(), None),
    };
    Ok(inspected(&report, &settings, trace_error)?)
}

/// What [`inspect`] gives for a text on which naga panicked, and [`audit`] without `inspected`: natively the panic is
/// caught, here it ended the instance before this one.
///
/// # Errors
/// None that is known.
#[wasm_bindgen]
pub fn refused(name: &str, panic: &str, inspect: bool) -> Result<String, JsError> {
    // The first line says where, the second what.
    let message = panic.lines().nth(1).unwrap_or(panic).to_string();
    let reason = LowerError::Panicked { file: name.into(), message }.to_string();
    let kernel = Kernel {
        file: name.into(),
        name: "(file)".into(),
        analysed: false,
        reason: Some(reason),
        line: None,
        workgroup_size: None,
        workgroup_size_assumed: false,
        accesses: 0,
        classified: 0,
        unknown: 0,
        per_workgroup: None,
        per_dispatch: None,
    };
    let report = Report { kernels: vec![kernel], ..Report::default() };
    if inspect {
        return Ok(inspected(&report, &Settings::default(), None)?);
    }
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn inspected(
    report: &Report,
    settings: &Settings,
    trace_error: Option<String>,
) -> serde_json::Result<String> {
    serde_json::to_string(&Inspected {
        requests: report.sites.iter().map(|s| &s.request[..]).collect(),
        texts: report.sites.iter().map(|s| s.source.as_str()).collect(),
        parameters: report.parameters.iter().map(String::as_str).collect(),
        unused: settings.unused(report.parameters.iter().map(String::as_str)),
        block_bytes: settings.target.block().bytes(),
        trace_error,
        report,
    })
}

/// The compute entry points of a text as Metal Shading Language, as naga writes it.
///
/// # Errors
/// Options that are none; a text that is no valid WGSL, or that can't be written.
#[wasm_bindgen]
pub fn msl(
    name: &str,
    source: &str,
    options: &str,
    folders: Option<JsFolders>,
) -> Result<String, JsError> {
    let options = Options::read(options).map_err(thrown)?;
    let (settings, defines) = options.settings().map_err(thrown)?;
    let checks = if options.checked { Checks::Checked } else { Checks::Unchecked };
    let mut lowered = lower(name, source, &settings, &defines, &Given(folders)).map_err(thrown)?;
    let overrides = lowered.module.overrides.iter().filter_map(|(_, o)| o.name.clone());
    for name in overrides.collect::<Vec<_>>() {
        if let Some(value) = given(&settings, &name) {
            lowered.set_override(&name, value)?;
        }
    }
    let mut text = String::new();
    for entry in lowered.module.entry_points.iter().filter(|e| e.stage == ShaderStage::Compute) {
        let msl = lowered.to_msl(&entry.name, checks)?;
        text += &format!("// {}: {}\n{}\n", entry.name, msl.options, msl.text);
    }
    Ok(text)
}

#[derive(Serialize)]
struct Inspected<'a> {
    report: &'a Report,
    /// By site: lane and byte offset.
    requests: Vec<&'a [(usize, i64)]>,
    /// By site: its text.
    texts: Vec<&'a str>,
    parameters: Vec<&'a str>,
    /// Names that values were given for and nothing has.
    unused: Vec<&'a str>,
    /// What one miss fetches on the target.
    block_bytes: u64,
    trace_error: Option<String>,
}

fn traced(name: &str, source: &str, options: &Options, folders: &Given) -> Result<Report, String> {
    let (settings, defines) = options.settings()?;
    let lowered = lower(name, source, &settings, &defines, folders)?;
    trace_wgsl(&lowered, &settings, &options.contents(&lowered)).map_err(|e| e.to_string())
}

fn lower(
    name: &str,
    source: &str,
    settings: &Settings,
    defines: &Defines,
    folders: &Given,
) -> Result<Lowered, String> {
    let files = Includes { root: name, include_dirs: &settings.include_dirs, folders };
    let composed = compose_foreign(name, source, defines, &files).map_err(|e| e.to_string())?;
    Lowered::new(composed).map_err(|e| e.to_string())
}

/// A sentence as what JavaScript throws.
fn thrown(message: String) -> JsError {
    JsError::new(&message)
}

/// The value given for an override.
fn given(settings: &Settings, name: &str) -> Option<f64> {
    settings.floats.get(name).copied().or_else(|| settings.values.get(name).map(|v| *v as f64))
}
