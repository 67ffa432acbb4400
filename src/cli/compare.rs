//! `marlin compare`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use wgpu_marlin::kernels::{self, spec::Family};
use wgpu_marlin::measure::{
    self, ChecksChoice, CompareOptions, Comparison, Device, FETCH_BLOCK_BYTES, MslCases, Progress, Row,
};
use wgpu_marlin::metal::Clang;
use wgpu_marlin::report::{Page, comparison_html};

use super::weights::{self, Quantization};
use super::{Failure, machine, open, print_out, table, write_out};

#[derive(clap::Args)]
pub(crate) struct CompareArgs {
    /// Families or single variants; all by default.
    #[arg(value_name = "FAMILY[/VARIANT]")]
    names: Vec<String>,
    /// A case by name, or `smoke`, `edge`, `bench`, `all`.
    #[arg(long, default_value = "smoke", value_name = "NAME")]
    case: String,
    /// auto, cpu, vulkan, metal, dx12, or an index of `marlin devices`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Run dequant and gemv on a matrix of this safetensors file, quantized to each format.
    #[arg(long, value_name = "FILE", requires = "tensor")]
    weights: Option<String>,
    /// The matrix's name in the file.
    #[arg(long, value_name = "NAME", requires = "weights")]
    tensor: Option<String>,
    /// Guards in WGSL kernels; by default both kinds on a GPU, none elsewhere.
    #[arg(long, value_enum)]
    checks: Option<ChecksArg>,
    /// Verify only.
    #[arg(long)]
    no_time: bool,
    /// On a GPU, add the bytes that the executor's trace of the same kernels counts.
    #[arg(long)]
    trace: bool,
    /// Cases at which Metal text runs, the twins and on the CPU what naga makes of the WGSL (which needs clang
    /// there). By default all, but where no family is named, on the CPU, the first of each family.
    #[arg(long, value_enum)]
    msl: Option<MslArg>,
    /// Milliseconds of samples per row.
    #[arg(long, default_value_t = 300, value_name = "MS")]
    budget: u64,
    /// Seed of the inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write JSON to FILE, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Write a page with charts to FILE.
    #[arg(long, value_name = "FILE")]
    html: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum MslArg {
    None,
    First,
    All,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ChecksArg {
    Checked,
    Unchecked,
    Both,
}

/// Rows that are there are written at most so often.
const WRITE_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &CompareArgs) -> Result<(), Failure> {
    let mut families = kernels::select(kernels::families(), &args.names)?;
    let mut case = args.case.clone();
    let mut quantizations = Vec::new();
    match args.weights.as_deref().zip(args.tensor.as_deref()) {
        Some((file, tensor)) => {
            let named = !args.names.is_empty();
            quantizations = weights::replace_cases(&mut families, named, file, tensor)?;
            case = "all".into();
        }
        None => check_case(&families, &case)?,
    }
    let device = open(&args.device)?;
    let options = CompareOptions {
        case,
        checks: args.checks.map(|c| match c {
            ChecksArg::Checked => ChecksChoice::Checked,
            ChecksArg::Unchecked => ChecksChoice::Unchecked,
            ChecksArg::Both => ChecksChoice::Both,
        }),
        time: !args.no_time,
        trace: args.trace,
        msl: match args.msl {
            None if args.names.is_empty() && args.weights.is_none() => MslCases::First,
            None | Some(MslArg::All) => MslCases::All,
            Some(MslArg::First) => MslCases::First,
            Some(MslArg::None) => MslCases::None,
        },
        budget: Duration::from_millis(args.budget),
        seed: args.seed,
    };
    let mut written = Instant::now();
    let comparison = with_progress(|progress| {
        measure::compare(&device, &families, &options, &mut |p| {
            progress(p);
            // What is there already outlives an interruption.
            if let Some(path) = args.json.as_deref().filter(|&path| path != "-")
                && !p.so_far.rows.is_empty()
                && written.elapsed() > WRITE_EVERY
            {
                let report = Finished {
                    device: &device,
                    comparison: p.so_far,
                    seed: options.seed,
                    quantizations: &quantizations,
                };
                // The last write tells of failures.
                drop(json_of(&report, false).and_then(|text| replace(path, &text)));
                written = Instant::now();
            }
        })
    });
    let html = args.html.as_deref();
    let report = Finished {
        device: &device,
        comparison: &comparison,
        seed: options.seed,
        quantizations: &quantizations,
    };
    finish(&report, args.json.as_deref(), html)
}

/// Runs `work` with a progress line on standard error, where that is a terminal.
pub(crate) fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> T) -> T {
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let result = work(&mut |p| {
        bar.set_length(p.of as u64);
        bar.set_position(p.done as u64);
        bar.set_message(p.what.to_string());
    });
    bar.finish_and_clear();
    result
}

/// A comparison with what stands around its table.
pub(crate) struct Finished<'a> {
    pub(crate) device: &'a Device,
    pub(crate) comparison: &'a Comparison,
    pub(crate) seed: u64,
    pub(crate) quantizations: &'a [Quantization],
}

/// Prints a comparison and judges it.
pub(crate) fn finish(
    report: &Finished<'_>,
    json_path: Option<&str>,
    html_path: Option<&str>,
) -> Result<(), Failure> {
    let &Finished { device, comparison, .. } = report;
    if let Some(path) = html_path {
        let title = format!("wgpu-marlin on {}", device.name());
        write_out(path, &comparison_html(&page(report, &title), comparison)?)?;
    }
    if let Some(path) = json_path {
        write_out(path, &json_of(report, true)?)?;
    }
    if json_path != Some("-") {
        print_out(text(report))?;
    }
    judge(comparison)
}

/// A comparison as JSON; `complete` is false while rows are being made.
fn json_of(report: &Finished<'_>, complete: bool) -> Result<String, Failure> {
    let &Finished { device, comparison, seed, quantizations } = report;
    let mut value = json!({
        "schema": 1,
        "device": device_json(device),
        "seed": seed,
        "complete": complete,
        "ceiling_gbps": comparison.ceiling_gbps,
        "rows": comparison.rows,
    });
    if !quantizations.is_empty() {
        value["quantizations"] = quantizations.iter().map(Quantization::json).collect();
    }
    super::json(&value)
}

/// Writes a file anew. Whoever reads it meanwhile finds the old text or the new one, whole.
fn replace(path: &str, text: &str) -> Result<(), Failure> {
    let beside = format!("{path}.partial");
    std::fs::write(&beside, text)?;
    Ok(std::fs::rename(&beside, path)?)
}

/// What stands above the tables of a page.
pub(crate) fn page<'a>(report: &Finished<'_>, title: &'a str) -> Page<'a> {
    let mut facts = device_facts(report.device);
    facts.extend(report.quantizations.iter().map(Quantization::line));
    facts.push(summary(report.comparison, report.seed));
    Page { title, facts }
}

/// Fails if a result is wrong or nothing ran.
pub(crate) fn judge(comparison: &Comparison) -> Result<(), Failure> {
    let n_ran = comparison.rows.len() - comparison.n_skipped();
    match comparison.n_wrong() {
        0 if n_ran == 0 => Err(Failure::new("nothing ran: every row was skipped")),
        0 => Ok(()),
        n => Err(Failure::wrong_result(format!("{n} of {n_ran} results are wrong"))),
    }
}

fn device_json(device: &Device) -> serde_json::Value {
    let mut value = json!({
        "name": device.name(),
        "class": machine::class_name(device.caps().class),
        "caps": machine::caps_json(device.caps()),
    });
    match device {
        Device::Gpu(gpu) => {
            value["backend"] = json!(gpu.info.backend.to_str());
            value["driver"] = json!(format!("{} {}", gpu.info.driver, gpu.info.driver_info));
        }
        Device::Cpu(_) => {
            value["backend"] = json!("executor");
            value["fetched_block_bytes"] = json!(FETCH_BLOCK_BYTES);
            value["clang"] = json!(Clang::find().ok().map(|c| c.version().to_string()));
        }
    }
    value
}

pub(crate) fn text(report: &Finished<'_>) -> String {
    let &Finished { device, comparison, seed, quantizations } = report;
    let mut text = device_facts(device).join("\n") + "\n";
    for q in quantizations {
        text.push_str(&format!("{}\n", q.line()));
    }
    let mut rest: &[Row] = &comparison.rows;
    while let Some(first) = rest.first() {
        let n = rest.iter().take_while(|r| (&r.family, &r.case) == (&first.family, &first.case)).count();
        let (group, after) = rest.split_at(n);
        rest = after;
        text.push_str(&format!("\n{} {}\n", first.family, first.case));
        text.push_str(&table::comparison(&group.iter().collect::<Vec<_>>()));
    }
    text.push_str(&format!("\n{}\n", summary(comparison, seed)));
    text
}

/// The device in lines.
fn device_facts(device: &Device) -> Vec<String> {
    let caps = device.caps();
    let class = machine::class_name(caps.class);
    let name = match device {
        Device::Gpu(gpu) => {
            let (backend, driver) = (gpu.info.backend.to_str(), &gpu.info.driver);
            format!("{} ({class}, {backend}, {driver} {})", device.name(), gpu.info.driver_info)
        }
        Device::Cpu(_) => "cpu: the executor of this crate, which counts bytes instead of time".to_string(),
    };
    let mut facts = vec![name, machine::caps_line(caps)];
    if caps.class == wgpu_marlin::gpu::DeviceClass::Software {
        facts.push("This driver computes on the CPU: results count, times say nothing about GPUs.".into());
    }
    if matches!(device, Device::Cpu(_)) {
        facts.push(format!(
            "fetched: bytes of the {FETCH_BLOCK_BYTES}-byte blocks that each request touches, per useful byte"
        ));
        facts.push(match Clang::find() {
            Ok(clang) => format!("msl: Metal text through {}", clang.version()),
            Err(e) => format!("msl: {e}"),
        });
    }
    facts
}

pub(crate) fn summary(comparison: &Comparison, seed: u64) -> String {
    let (n_skipped, n_wrong) = (comparison.n_skipped(), comparison.n_wrong());
    let n_right = comparison.rows.len() - n_skipped - n_wrong;
    format!("{n_right} verified, {n_wrong} wrong, {n_skipped} skipped; seed {seed}")
}

/// A case name that no chosen family has is a mistake, not an empty table.
fn check_case(families: &[Family], case: &str) -> Result<(), Failure> {
    if matches!(case, "all" | "smoke" | "edge" | "bench")
        || families.iter().any(|f| f.cases.iter().any(|c| c.name == case))
    {
        return Ok(());
    }
    let names: Vec<_> = families.iter().flat_map(|f| f.cases.iter().map(|c| c.name.as_str())).collect();
    Err(Failure::new(format!(
        "there is no case `{case}`; there are smoke, edge, bench, all, {}",
        names.join(", ")
    )))
}
