//! `marlin isa`: the machine code that kernels become, in figures, without the machine.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wgpu_marlin::gpu::Caps;
use wgpu_marlin::isa::{Code, Compiled, Gpu, Isa, Kernel, Options, Results, setup_plan, worker_main};
use wgpu_marlin::kernels;
use wgpu_marlin::lower::{Checks, Lowered, Shader, ShaderStage, compose_foreign};

use super::{Failure, print_out, table, write_out};

#[derive(clap::Args)]
pub(crate) struct IsaArgs {
    /// Kernels of this crate, or WGSL files; all kernels by default.
    #[arg(value_name = "FAMILY[/VARIANT]|FILE.wgsl")]
    what: Vec<String>,
    /// GPUs, separated by commas, or `all`.
    #[arg(long, value_name = "NAMES", default_value = "apple-m1")]
    gpu: String,
    /// One case of the families; all by default.
    #[arg(long)]
    case: Option<String>,
    /// With the guards that WebGPU demands.
    #[arg(long)]
    checked: bool,
    /// With the drivers' own bounds checks, as wgpu asks for them on Vulkan.
    #[arg(long)]
    robust: bool,
    /// Lanes that each subgroup must have; by default the driver's choice, as with wgpu.
    #[arg(long, value_name = "N")]
    subgroup_size: Option<u32>,
    /// Print the machine's text, where the driver has one.
    #[arg(long)]
    listing: bool,
    /// Write JSON to FILE, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Compare with the JSON of an earlier run.
    #[arg(long, value_name = "FILE")]
    against: Option<String>,
    /// A name for the preprocessor, for a file.
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    define: Vec<String>,
    /// An override's value, for a file.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Fetch drivers from Debian's packages into the cache folder; --yes to go on without a question.
    #[arg(long)]
    setup: bool,
    /// With --setup, fetch; without it, only the list and its size are shown.
    #[arg(long, requires = "setup")]
    yes: bool,
}

/// The hidden subcommand of the child that loads drivers.
#[derive(clap::Args)]
pub(crate) struct WorkerArgs {
    job: String,
}

pub(crate) fn worker(args: &WorkerArgs) -> Result<(), Failure> {
    match worker_main(&args.job) {
        0 => Ok(()),
        _ => Err(Failure::new("the driver did not come up")),
    }
}

pub(crate) fn run(args: &IsaArgs) -> Result<(), Failure> {
    let isa = Isa::find(std::env::current_exe()?)?;
    if args.setup {
        return setup(&isa, args.yes);
    }
    let gpus = Gpu::parse_list(&args.gpu)?;
    let before = args.against.as_deref().map(read_json).transpose()?;
    let checks = if args.checked { Checks::Checked } else { Checks::Unchecked };
    let kernels = kernels_of(args, checks)?;
    let options = Options { subgroup: args.subgroup_size, robust: args.robust, listing: args.listing };
    let mut all = Vec::new();
    let mut missing = Vec::new();
    for gpu in &gpus {
        match isa.compile(gpu, &kernels, options) {
            Ok(results) => all.push(results),
            // One GPU of many without a driver is named; the only one is a failure.
            Err(e) if gpus.len() > 1 => missing.push((gpu.name, e.to_string())),
            Err(e) => return Err(e.into()),
        }
    }
    if all.is_empty() {
        let whys: Vec<String> = missing.into_iter().map(|(_, why)| why).collect();
        return Err(Failure::new(whys.join("; ")));
    }
    if let Some(path) = &args.json {
        let missing: Vec<Value> = missing.iter().map(|(g, why)| json!({ "gpu": g, "why": why })).collect();
        let value = json!({
            "schema": 1,
            "checks": if args.checked { "checked" } else { "unchecked" },
            "robust": args.robust,
            "gpus": all,
            "missing": missing,
        });
        write_out(path, &super::json(&value)?)?;
        if path == "-" {
            return Ok(());
        }
    }
    let mut text = String::new();
    for results in &all {
        text.push_str(&shown(results, before.as_ref()));
        if args.listing {
            for k in &results.kernels {
                if let Some(listing) = &k.listing {
                    text.push_str(&format!("\n{} on {}:\n{listing}\n", k.kernel, results.gpu));
                }
            }
        }
    }
    for (_, why) in &missing {
        text.push_str(&format!("left out: {why}\n"));
    }
    print_out(&text)
}

fn setup(isa: &Isa, yes: bool) -> Result<(), Failure> {
    let plan = setup_plan(&isa.setup_dir())?;
    let mut text = String::new();
    for p in &plan.packages {
        text.push_str(&format!("{:>8.1} kB  {}\n", p.size_bytes as f64 / 1e3, p.file));
    }
    let mb = plan.download_bytes() as f64 / 1e6;
    text.push_str(&format!(
        "{} packages, {mb:.1} MB to fetch, about five times that unpacked\n",
        plan.packages.len()
    ));
    print_out(&text)?;
    if !yes {
        return print_out("nothing was fetched: `marlin isa --setup --yes` does\n");
    }
    let dir = plan.run()?;
    print_out(format!("drivers are in {}; delete that folder to undo\n", dir.display()))
}

fn read_json(path: &str) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("cannot read {path}: {e}")))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|e| Failure::new(format!("{path} is no JSON: {e}")))?;
    if value["schema"] != 1 || !value["gpus"].is_array() {
        return Err(Failure::new(format!("{path} is no output of `marlin isa --json`")));
    }
    Ok(value)
}

/// The kernels that the arguments name, each distinct module once, labelled by its first case.
fn kernels_of(args: &IsaArgs, checks: Checks) -> Result<Vec<Kernel>, Failure> {
    let (files, names): (Vec<String>, Vec<String>) =
        args.what.iter().cloned().partition(|w| w.ends_with(".wgsl"));
    let mut kernels = Vec::new();
    for file in &files {
        of_file(file, args, checks, &mut kernels)?;
    }
    if !names.is_empty() || files.is_empty() {
        of_families(&names, args, checks, &mut kernels)?;
    }
    Ok(kernels)
}

fn of_file(path: &str, args: &IsaArgs, checks: Checks, kernels: &mut Vec<Kernel>) -> Result<(), Failure> {
    let source =
        std::fs::read_to_string(path).map_err(|e| Failure::new(format!("cannot read {path}: {e}")))?;
    let defines = super::defines(&args.define);
    let mut lowered = Lowered::new(compose_foreign(path, &source, &defines, &super::lower::Disk)?)?;
    for given in &args.set {
        let (name, value) = super::lower::parameter(given)?;
        lowered.set_override(name, value)?;
    }
    let compute = lowered.module.entry_points.iter().filter(|e| e.stage == ShaderStage::Compute);
    let entries: Vec<String> = compute.map(|e| e.name.clone()).collect();
    if entries.is_empty() {
        return Err(Failure::new(format!("{path} has no compute entry point")));
    }
    for entry in entries {
        kernels.push(Kernel::new(format!("{path}:{entry}"), &lowered, &entry, checks)?);
    }
    Ok(())
}

fn of_families(
    names: &[String],
    args: &IsaArgs,
    checks: Checks,
    kernels: &mut Vec<Kernel>,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for family in kernels::select(kernels::families(), names)? {
        if let Some(case) = &args.case
            && !family.cases.iter().any(|c| c.name == *case)
        {
            return Err(Failure::new(format!("{} has no case `{case}`", family.name)));
        }
        for variant in &family.variants {
            for case in family.cases.iter().filter(|c| args.case.as_ref().is_none_or(|n| *n == c.name)) {
                // What does not run on an Apple GPU at this case has no code to look at.
                let Ok(plan) = case.plan(variant.ix, &Caps::apple()) else { continue };
                for (step, dispatch) in plan.dispatches.iter().enumerate() {
                    let shader = &dispatch.shader;
                    if !seen.insert(shader.label()) {
                        continue;
                    }
                    let step =
                        if plan.dispatches.len() > 1 { format!(" {}", step + 1) } else { String::new() };
                    let label = format!("{}/{} {}{step}", family.name, variant.name, case.name);
                    kernels.push(Kernel::new(label, &shader.lower()?, Shader::ENTRY, checks)?);
                }
            }
        }
    }
    if kernels.is_empty() {
        return Err(Failure::new("no kernel runs at this case on an Apple GPU"));
    }
    Ok(())
}

/// A table, worst first: spills, then low occupancy; then what did not compile, grouped by reason.
fn shown(results: &Results, before: Option<&Value>) -> String {
    let mut text = format!("{}: {}, {}\n", results.gpu, results.device, results.driver);
    let mut rows: Vec<(&Compiled, &Code)> =
        results.kernels.iter().filter_map(|k| k.code.as_ref().map(|c| (k, c))).collect();
    rows.sort_by(|(a, x), (b, y)| {
        let key = |c: &Code| (std::cmp::Reverse(c.spills), c.occupancy_share().unwrap_or(2.0));
        let ((s, o), (t, p)) = (key(x), key(y));
        s.cmp(&t).then(o.total_cmp(&p)).then(a.kernel.cmp(&b.kernel))
    });
    let cell = |n: Option<u64>| n.map_or("–".to_string(), |n| n.to_string());
    let head = ["kernel", "instructions", "registers", "occupancy", "spills:fills", "shared B", "limited by"];
    let mut lines = vec![head.map(String::from).to_vec()];
    if before.is_some() {
        lines[0].push("before".into());
    }
    for (k, c) in &rows {
        let occupancy = c.occupancy.as_ref().map_or("–".into(), |o| format!("{}/{}", o.value, o.full));
        let mut line = vec![
            k.kernel.clone(),
            cell(c.instructions),
            cell(c.registers),
            occupancy,
            format!("{}:{}", cell(c.spills), cell(c.fills)),
            c.shared_bytes.to_string(),
            limit(c).into(),
        ];
        if let Some(before) = before {
            line.push(change(c, earlier(before, &results.gpu, &k.kernel)));
        }
        lines.push(line);
    }
    text.push_str(&table::plain(lines.into_iter()));
    let mut refused: Vec<(&str, Vec<&str>)> = Vec::new();
    for k in &results.kernels {
        let Some(why) = &k.refused else { continue };
        match refused.iter_mut().find(|(w, _)| w == why) {
            Some((_, names)) => names.push(&k.kernel),
            None => refused.push((why, vec![&k.kernel])),
        }
    }
    for (why, names) in &refused {
        text.push_str(&format!("not compiled, {why}: {} ({} in all)\n", names[0], names.len()));
    }
    let spilling = rows.iter().filter(|(_, c)| c.spills.unwrap_or(0) > 0).count();
    text.push_str(&format!("{} kernels compiled, {spilling} spill\n\n", rows.len()));
    text
}

/// What keeps threads away, or costs memory.
fn limit(c: &Code) -> &'static str {
    if c.spills.unwrap_or(0) > 0 {
        return "spills";
    }
    // 32 KiB of workgroup memory a core hold fewer than two groups of more than half of it.
    if c.shared_bytes > 16 << 10 {
        return "workgroup memory";
    }
    if c.occupancy_share().is_some_and(|s| s < 1.0) { "registers" } else { "" }
}

fn earlier<'a>(before: &'a Value, gpu: &str, kernel: &str) -> Option<&'a Value> {
    let results = before["gpus"].as_array()?.iter().find(|g| g["gpu"] == gpu)?;
    Some(&results["kernels"].as_array()?.iter().find(|k| k["kernel"] == kernel)?["code"])
}

fn change(now: &Code, before: Option<&Value>) -> String {
    let Some(before) = before.filter(|b| b.is_object()) else { return "new".into() };
    let mut parts = Vec::new();
    let occupancy = now.occupancy.as_ref().map(|o| o.value);
    for (name, now, was) in [
        ("instructions", now.instructions, before["instructions"].as_u64()),
        ("registers", now.registers, before["registers"].as_u64()),
        ("occupancy", occupancy, before["occupancy"]["value"].as_u64()),
        ("spills", now.spills, before["spills"].as_u64()),
    ] {
        if now != was {
            parts.push(format!("{name} {}", was.map_or("–".into(), |n| n.to_string())));
        }
    }
    if parts.is_empty() { "same".into() } else { parts.join(", ") }
}
