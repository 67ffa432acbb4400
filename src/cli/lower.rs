//! `marlin lower`: a kernel as MSL, SPIR-V, HLSL or WGSL.

use std::io::IsTerminal;

use rspirv::binary::Disassemble;
use wgpu_marlin::gpu::Caps;
use wgpu_marlin::kernels::{self, spec::CaseClass};
use wgpu_marlin::lower::{Checks, Composed, Defines, Files, Lowered, Shader, compose};

use super::{Failure, write_out};

#[derive(clap::Args)]
pub(crate) struct LowerArgs {
    /// A kernel of this crate, or a WGSL file.
    #[arg(value_name = "FAMILY/VARIANT|FILE.wgsl")]
    what: String,
    /// The language.
    #[arg(long, value_enum)]
    to: Target,
    /// With the guards that WebGPU demands.
    #[arg(long)]
    checked: bool,
    /// A case of the family; the smoke case by default.
    #[arg(long)]
    case: Option<String>,
    /// The value of an override, for a file.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Names for the preprocessor, for a file.
    #[arg(short = 'D', value_name = "NAME[=VALUE]")]
    define: Vec<String>,
    /// Write to FILE instead of standard output.
    #[arg(short = 'o', value_name = "FILE")]
    out: Option<String>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Target {
    Msl,
    /// Binary words; `-o` says where to.
    Spirv,
    /// The same, disassembled.
    SpirvAsm,
    Hlsl,
    Wgsl,
}

/// Includes relative to the including file.
pub(super) struct Disk;

impl Files for Disk {
    fn read(&self, path: &str, from: &str) -> Option<String> {
        let beside = std::path::Path::new(from).parent()?.join(path);
        std::fs::read_to_string(beside).or_else(|_| std::fs::read_to_string(path)).ok()
    }
}

pub(crate) fn run(args: &LowerArgs) -> Result<(), Failure> {
    let checks = if args.checked { Checks::Checked } else { Checks::Unchecked };
    if args.out.is_none() && args.to == Target::Spirv && std::io::stdout().is_terminal() {
        return Err(Failure::new("SPIR-V is binary: give `-o FILE`, or take `--to spirv-asm` for text"));
    }
    let mut out = Vec::new();
    if args.what.ends_with(".wgsl") {
        let source = std::fs::read_to_string(&args.what)
            .map_err(|e| Failure::new(format!("cannot read {}: {e}", args.what)))?;
        let defines = super::defines(&args.define);
        let mut lowered = Lowered::new(file(&args.what, &source, &defines)?)?;
        for given in &args.set {
            let (name, value) = parameter(given)?;
            lowered.set_override(name, value)?;
        }
        let entries: Vec<String> = lowered
            .module
            .entry_points
            .iter()
            .filter(|e| e.stage == wgpu_marlin::lower::ShaderStage::Compute)
            .map(|e| e.name.clone())
            .collect();
        if entries.is_empty() {
            return Err(Failure::new(format!("{} has no compute entry point", args.what)));
        }
        // A binary module, and naga's WGSL, hold one program; the others are texts one behind the other.
        if args.to == Target::Spirv && entries.len() > 1 {
            let names = entries.join(", ");
            return Err(Failure::new(format!(
                "{} has several entry points ({names}): a binary holds one; take `--to spirv-asm`",
                args.what
            )));
        }
        let whole = if args.to == Target::Wgsl { &entries[..1] } else { &entries[..] };
        for entry in whole {
            out.extend(print(&lowered, entry, args.to, checks, &args.what)?);
        }
    } else {
        if !args.set.is_empty() {
            return Err(Failure::new(
                "`--set` gives overrides of a file their values; kernels of this crate have none",
            ));
        }
        let shaders = shaders(args)?;
        if args.to == Target::Spirv && shaders.len() > 1 {
            return Err(Failure::new(format!(
                "{} has {} programs: a binary holds one; take `--to spirv-asm`",
                args.what,
                shaders.len()
            )));
        }
        for shader in shaders {
            out.extend(print(&shader.lower()?, Shader::ENTRY, args.to, checks, &shader.label())?);
        }
    }
    write_out(args.out.as_deref().unwrap_or("-"), &out)
}

/// `NAME=VALUE` of `--set`.
pub(crate) fn parameter(given: &str) -> Result<(&str, f64), Failure> {
    let wrong = || Failure::new(format!("`--set {given}`: give NAME=VALUE, a number, `true` or `false`"));
    let (name, value) = given.split_once('=').ok_or_else(wrong)?;
    let value = match value.trim() {
        "true" => 1.0,
        "false" => 0.0,
        number => number.parse().map_err(|_| wrong())?,
    };
    Ok((name.trim(), value))
}

/// A file with directives is composed, one without is read as it is.
fn file(name: &str, source: &str, defines: &Defines) -> Result<Composed, Failure> {
    Ok(compose(name, source, defines, &Disk)?)
}

/// The shaders of a variant at a case, as they would run on an Apple GPU.
fn shaders(args: &LowerArgs) -> Result<Vec<Shader>, Failure> {
    let families = kernels::select(kernels::families(), std::slice::from_ref(&args.what))?;
    let family = &families[0];
    let [variant] = &family.variants[..] else {
        let names: Vec<_> = family.variants.iter().map(|v| v.name).collect();
        return Err(Failure::new(format!("name one of the variants of {}: {}", args.what, names.join(", "))));
    };
    let case = match &args.case {
        None => family.cases.iter().find(|c| c.class == CaseClass::Smoke),
        Some(name) => family.cases.iter().find(|c| c.name == *name),
    };
    let case = case.ok_or_else(|| Failure::new(format!("{} has no such case", family.name)))?;
    let plan = case
        .plan(variant.ix, &Caps::apple())
        .map_err(|e| Failure::new(format!("{} does not run at {}: {e}", args.what, case.name)))?;
    Ok(plan.dispatches.into_iter().map(|d| d.shader).collect())
}

fn print(
    lowered: &Lowered,
    entry: &str,
    target: Target,
    checks: Checks,
    label: &str,
) -> Result<Vec<u8>, Failure> {
    Ok(match target {
        Target::Msl => {
            let msl = lowered.to_msl(entry, checks)?;
            format!("// {label}: {}\n{}", msl.options, msl.text).into_bytes()
        }
        Target::Hlsl => format!("// {label}\n{}", lowered.to_hlsl(entry, checks)?).into_bytes(),
        Target::Wgsl => format!("// {label}\n{}", lowered.to_wgsl()?).into_bytes(),
        Target::Spirv => lowered.to_spirv(entry, checks)?.iter().flat_map(|w| w.to_le_bytes()).collect(),
        Target::SpirvAsm => {
            let module = rspirv::dr::load_words(lowered.to_spirv(entry, checks)?)
                .map_err(|e| Failure::new(format!("{label}: naga's SPIR-V can't be read: {e}")))?;
            format!("; {label}, {}\n{}\n", checks.describe(), module.disassemble()).into_bytes()
        }
    })
}
