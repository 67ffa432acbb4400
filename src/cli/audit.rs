//! `marlin audit`: what each memory access of a kernel moves, and why.

use std::path::{Path, PathBuf};

use wgpu_marlin::audit::{
    BankModel, Baseline, Report, Request, Settings, Severity, Target, audit_text, render, run as audit,
    trace_file,
};
use wgpu_marlin::kernels::{
    self,
    spec::{CaseClass, Role, VariantInfo},
};
use wgpu_marlin::measure::{MemoryAuditor, PRIORITY_FAMILIES, audit_case, trace_case};

use super::{Failure, json, print_out, write_out};

#[derive(clap::Args)]
pub(crate) struct AuditArgs {
    /// Files and directories with .wgsl and .metal, the current directory by default; or kernels of this crate as
    /// FAMILY or FAMILY/VARIANT, with the parameters of a case; or `-` for a text from standard input.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Audit the naive kernels of this crate instead.
    #[arg(long, conflicts_with = "paths")]
    priority: bool,
    /// A parameter's value: a uniform's field (`p.n` or `n`, `dims.x`), an override, or num_workgroups=X,Y,Z.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A name for the preprocessor.
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    define: Vec<String>,
    /// A folder for included files, after the file's own. Metal's headers are looked for above and beside the file too,
    /// up to the project's root.
    #[arg(short = 'I', long = "include", value_name = "DIR")]
    include: Vec<PathBuf>,
    /// An argument for the preprocessor of Metal text, clang's: `--clang-arg=-DNAME`.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    clang_arg: Vec<String>,
    /// Replaces the workgroup size of the kernels.
    #[arg(long, value_name = "X,Y,Z")]
    workgroup_size: Option<String>,
    /// The kind of GPU: apple, nvidia, amd or intel.
    #[arg(long, default_value = "apple")]
    target: String,
    /// Lanes of a subgroup; the target's by default.
    #[arg(long, value_name = "N")]
    subgroup_size: Option<u32>,
    /// Banks of workgroup memory: 32x4, 16x4 or 16x16; the target's by default.
    #[arg(long, value_name = "MODEL")]
    banks: Option<String>,
    /// Most points times lanes that are looked at per access where not all repeat; what is cut is counted as a sample and
    /// says so.
    #[arg(long, value_name = "POINTS")]
    budget: Option<usize>,
    /// How to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// List every access, good ones included.
    #[arg(long)]
    sites: bool,
    /// Run the kernels on the CPU executor and print what it counts beside the static counts. Kernels of this
    /// crate need nothing more; a WGSL file needs its integers and num_workgroups by --set, and --buffer.
    #[arg(long)]
    trace: bool,
    /// For --trace, a storage buffer: its size in bytes, filled with zeros, or a file with its contents.
    #[arg(long = "buffer", value_name = "NAME=BYTES|FILE")]
    buffers: Vec<String>,
    /// For kernels of this crate, the case; the first smoke case by default.
    #[arg(long)]
    case: Option<String>,
    /// Leave out the findings in FILE.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the findings to FILE as a baseline.
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<String>,
    /// End with 1 if a finding is at least this severe.
    #[arg(long, value_name = "info|warning|error")]
    deny: Option<String>,
}

/// Larger buffers for `--trace` are surely a slip.
const MOST_BUFFER_BYTES: usize = 4 << 30;

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
    Github,
}

pub(crate) fn run(args: &AuditArgs) -> Result<(), Failure> {
    let deny: Option<Severity> = args.deny.as_deref().map(str::parse).transpose().map_err(Failure::new)?;
    let settings = settings(args)?;
    let mut report = report(args, settings.clone())?;
    if let Some(path) = &args.write_baseline {
        write_out(path, Baseline::of(&report).to_json())?;
    }
    if let Some(path) = &args.baseline {
        Baseline::read(path)?.remove_known(&mut report);
    }
    print(args, &report)?;
    check_names(args, &report, &settings)?;
    if report.kernels.iter().all(|k| !k.analysed) && !report.kernels.is_empty() {
        return Err(Failure::new("no kernel could be analysed"));
    }
    let differ = report.disagreements().count();
    if differ > 0 {
        return Err(Failure::new(format!(
            "{differ} exact counts are not what was traced: please report this"
        )));
    }
    let skipped = report.not_analysed().count();
    if deny.is_some() && skipped > 0 {
        return Err(Failure::wrong_result(format!(
            "{skipped} of {} kernels could not be analysed: with --deny that fails",
            report.kernels.len()
        )));
    }
    match (deny, report.worst()) {
        (Some(level), Some(worst)) if worst >= level => {
            let denied = report.findings.iter().filter(|f| f.severity >= level).count();
            Err(Failure::wrong_result(format!("{denied} findings are denied")))
        }
        _ => Ok(()),
    }
}

fn report(args: &AuditArgs, settings: Settings) -> Result<Report, Failure> {
    let mut report = Report::default();
    if args.priority {
        if !args.trace {
            return Ok(MemoryAuditor::new(".").with_settings(settings).audit_priority_kernels());
        }
        for family in PRIORITY_FAMILIES {
            kernels_of(family, &mut report, &settings, args, |v| v.role == Role::Naive)?;
        }
        return Ok(report);
    }
    let defines = super::defines(&args.define);
    if args.paths.iter().any(|p| p.as_os_str() == "-") {
        if args.paths.len() > 1 || args.trace {
            return Err(Failure::new("`-` (standard input) stands alone, without --trace"));
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin().lock(), &mut text)
            .map_err(|e| Failure::new(format!("standard input: {e}")))?;
        return Ok(audit_text("<stdin>", &text, &defines, &settings));
    }
    let paths = if args.paths.is_empty() { vec![PathBuf::from(".")] } else { args.paths.clone() };
    let (own, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|p| !p.exists() && is_own(p));
    for path in own {
        kernels_of(&path.display().to_string(), &mut report, &settings, args, |_| true)?;
    }
    if args.trace {
        let buffers = args.buffers.iter().map(|b| buffer(b)).collect::<Result<_, _>>()?;
        for path in files {
            report.merge(trace_file(&path, &defines, &settings, &buffers)?);
        }
    } else if !files.is_empty() {
        report.merge(audit(&Request { paths: files, defines, settings })?);
    }
    Ok(report)
}

/// Whether a path that is no file names a family of this crate.
fn is_own(path: &Path) -> bool {
    let first = path.components().next().map(|c| c.as_os_str().to_owned());
    kernels::families().iter().any(|f| first.as_deref() == Some(f.name.as_ref()))
}

/// Adds the kernels that `name` chooses, each at its case, traced where that was asked for.
fn kernels_of(
    name: &str,
    report: &mut Report,
    settings: &Settings,
    args: &AuditArgs,
    keep: impl Fn(&VariantInfo) -> bool,
) -> Result<(), Failure> {
    for family in kernels::select(kernels::families(), &[name.to_string()])? {
        let case = match &args.case {
            None => family.cases.iter().find(|c| c.class == CaseClass::Smoke),
            Some(name) => family.cases.iter().find(|c| c.name == *name),
        };
        let case = case.ok_or_else(|| Failure::new(format!("{} has no such case", family.name)))?;
        for variant in family.variants.iter().filter(|v| keep(v)) {
            let failed = |e: &dyn std::fmt::Display| {
                Failure::new(format!("{}/{} at {}: {e}", family.name, variant.name, case.name))
            };
            report.merge(if args.trace {
                trace_case(case, variant.ix, settings).map_err(|e| failed(&e))?
            } else {
                audit_case(case, variant.ix, settings).map_err(|e| failed(&e))?
            });
        }
    }
    Ok(())
}

/// `NAME=BYTES` or `NAME=FILE`.
fn buffer(text: &str) -> Result<(String, Vec<u8>), Failure> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| Failure::new(format!("--buffer {text}: write NAME=BYTES or NAME=FILE")))?;
    let bytes = match value.parse::<usize>() {
        Ok(n) if n <= MOST_BUFFER_BYTES => vec![0; n],
        Ok(n) => {
            return Err(Failure::new(format!(
                "--buffer {name}: {n} bytes are more than {MOST_BUFFER_BYTES}"
            )));
        }
        Err(_) => std::fs::read(value).map_err(|e| Failure::new(format!("--buffer {name}: {value}: {e}")))?,
    };
    Ok((name.into(), bytes))
}

fn print(args: &AuditArgs, report: &Report) -> Result<(), Failure> {
    let text = match args.format {
        Format::Text => {
            let sites = if args.sites { render::sites(report) + "\n" } else { String::new() };
            let traced = if args.trace { render::traced(report) + "\n" } else { String::new() };
            sites + &traced + &render::text(report)
        }
        Format::Json => json(report)?,
        Format::Sarif => json(&render::sarif(report))?,
        Format::Github => render::github(report),
    };
    print_out(&text)
}

fn settings(args: &AuditArgs) -> Result<Settings, Failure> {
    let target: Target = args.target.parse().map_err(Failure::new)?;
    let mut settings = Settings::for_target(target);
    if let Some(n) = args.subgroup_size {
        if !(1..=128).contains(&n) {
            return Err(Failure::new(format!("a subgroup of {n} lanes: choose 1 to 128")));
        }
        settings.subgroup_size = n;
    }
    for dir in &args.include {
        if !dir.is_dir() {
            return Err(Failure::new(format!("-I {}: is no folder", dir.display())));
        }
    }
    settings.include_dirs.clone_from(&args.include);
    settings.clang_args.clone_from(&args.clang_arg);
    if let Some(points) = args.budget {
        settings.budget = points.max(1);
    }
    if let Some(model) = &args.banks {
        settings.banks = model.parse::<BankModel>().map_err(Failure::new)?;
    }
    if let Some(size) = &args.workgroup_size {
        settings.workgroup_size = Some(triple(size)?);
    }
    for s in &args.set {
        let (name, value) =
            s.split_once('=').ok_or_else(|| Failure::new(format!("--set {s}: write NAME=VALUE")))?;
        if name == "num_workgroups" {
            settings.workgroups = Some(triple(value)?);
            continue;
        }
        settings.set(
            name,
            number(value).ok_or_else(|| {
                Failure::new(format!("--set {s}: {value} is neither a number nor true or false"))
            })?,
        );
    }
    Ok(settings)
}

/// An integer, decimal or hexadecimal, with or without WGSL's suffix; a float; a truth value.
fn number(text: &str) -> Option<f64> {
    let plain = text.trim_end_matches(['u', 'i']);
    match text {
        "true" => return Some(1.0),
        "false" => return Some(0.0),
        _ => {}
    }
    if let Some(hex) = plain.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|v| v as f64);
    }
    let value: f64 = plain.parse().or_else(|_| text.trim_end_matches(['f', 'h']).parse()).ok()?;
    value.is_finite().then_some(value)
}

/// Names that nothing has are slips: they would leave the default in force without a word.
fn check_names(args: &AuditArgs, report: &Report, settings: &Settings) -> Result<(), Failure> {
    let list = |names: Vec<&str>| match names.len() {
        0 => "there are none".to_string(),
        n if n > 40 => format!("there are {}, …", names[..40].join(", ")),
        _ => format!("there are {}", names.join(", ")),
    };
    let analysed = report.kernels.iter().any(|k| k.analysed);
    if let Some(name) =
        settings.unused(report.parameters.iter().map(String::as_str)).first().filter(|_| analysed)
    {
        let known = report.parameters.iter().map(String::as_str).collect();
        return Err(Failure::new(format!("--set {name}: no kernel has such a parameter; {}", list(known))));
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // What a header of Metal's looks at is clang's affair.
    let only_wgsl = report.kernels.iter().all(|k| k.file.ends_with(".wgsl"));
    for define in args.define.iter().filter(|_| only_wgsl) {
        let name = define.split('=').next().unwrap_or(define);
        let used = report.sources.values().any(|text| {
            text.match_indices(name).any(|(at, _)| {
                !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word)
            })
        });
        if !used {
            return Err(Failure::new(format!("-D {name}: no file has that name in it")));
        }
    }
    Ok(())
}

/// `X`, `X,Y` or `X,Y,Z`, each at least 1.
fn triple(text: &str) -> Result<[u32; 3], Failure> {
    let mut out = [1u32; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(Failure::new(format!("{text}: at most three numbers")));
    }
    for (slot, part) in out.iter_mut().zip(&parts) {
        *slot = part
            .trim()
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| Failure::new(format!("{text}: `{part}` is no positive number")))?;
    }
    Ok(out)
}
