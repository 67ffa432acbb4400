//! `marlin audit`: what each memory access of a kernel moves, and why.

use std::path::PathBuf;

use wgpu_marlin::audit::{
    BankModel, Baseline, MemoryAuditor, Report, Request, Settings, Severity, Target, render, run as audit,
};
use wgpu_marlin::lower::Defines;

use super::{Failure, json, print_out, write_out};

#[derive(clap::Args)]
pub(crate) struct AuditArgs {
    /// Files and directories with .wgsl and .metal; the current directory by default.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Audit the naive kernels of this crate instead.
    #[arg(long, conflicts_with = "paths")]
    priority: bool,
    /// A parameter's value: a uniform field, an override, or num_workgroups=X,Y,Z.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A name for the preprocessor.
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    define: Vec<String>,
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
    /// How to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// List every access, good ones included.
    #[arg(long)]
    sites: bool,
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
    let mut report = if args.priority {
        MemoryAuditor::new(".").with_settings(settings).audit_priority_kernels()
    } else {
        let mut defines = Defines::new();
        for d in &args.define {
            let (name, value) = d.split_once('=').unwrap_or((d, "1"));
            defines.set(name, value);
        }
        let paths = if args.paths.is_empty() { vec![PathBuf::from(".")] } else { args.paths.clone() };
        audit(&Request { paths, defines, settings })?
    };
    if let Some(path) = &args.write_baseline {
        write_out(path, &Baseline::of(&report).to_json())?;
    }
    if let Some(path) = &args.baseline {
        Baseline::read(path)?.remove_known(&mut report);
    }
    print(args, &report)?;
    if report.kernels.iter().all(|k| !k.analysed) && !report.kernels.is_empty() {
        return Err(Failure::new("no kernel could be analysed"));
    }
    match (deny, report.worst()) {
        (Some(level), Some(worst)) if worst >= level => {
            let denied = report.findings.iter().filter(|f| f.severity >= level).count();
            Err(Failure::wrong_result(format!("{denied} findings are denied")))
        }
        _ => Ok(()),
    }
}

fn print(args: &AuditArgs, report: &Report) -> Result<(), Failure> {
    let text = match args.format {
        Format::Text => {
            let sites = if args.sites { render::sites(report) + "\n" } else { String::new() };
            sites + &render::text(report)
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
        let parsed = value.parse().map_err(|_| Failure::new(format!("--set {s}: {value} is no integer")))?;
        settings.values.insert(name.into(), parsed);
    }
    Ok(settings)
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
