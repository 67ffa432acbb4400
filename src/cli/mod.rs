//! The command line. Each subcommand has a file; this one has what they share.

mod audit;
mod bench;
mod compare;
mod explain;
mod isa;
mod lower;
mod machine;
mod report;
mod table;
mod weights;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wgpu_marlin::gpu::{DeviceChoice, Gpu, GpuError};
use wgpu_marlin::lower::Defines;
use wgpu_marlin::measure::{Cpu, Device};

/// Portable GPU kernels of quantized LLMs, compared, measured and audited.
#[derive(Parser)]
#[command(name = "marlin", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the devices of this machine.
    Devices(machine::DevicesArgs),
    /// List families, variants and cases.
    List(machine::ListArgs),
    /// Verify variants against the reference, time them, and rank them.
    Compare(compare::CompareArgs),
    /// Measure bandwidth by access pattern.
    Bench(bench::BenchArgs),
    /// Count what each memory access of a kernel moves.
    Audit(audit::AuditArgs),
    /// Print a rule's page.
    Explain(explain::ExplainArgs),
    /// Write one file with the comparison of every family and the audit of the naive kernels.
    Report(report::ReportArgs),
    /// List a file's weights and what each loads as.
    Weights(weights::WeightsArgs),
    /// Print a kernel as another language.
    Lower(lower::LowerArgs),
    /// Count what kernels become on GPUs that aren't there: registers, occupancy, spills.
    Isa(isa::IsaArgs),
    /// The child of `isa` that loads drivers.
    #[command(hide = true)]
    IsaWorker(isa::WorkerArgs),
}

/// A failure's one line, and the process's exit code: 1 for a wrong result, 2 where the tool could not do
/// its work.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    pub(crate) fn wrong_result(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 1 }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(e: E) -> Self {
        Self::new(e)
    }
}

pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Devices(args) => machine::devices(&args),
        Command::List(args) => machine::list(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Weights(args) => weights::run(&args),
        Command::Lower(args) => lower::run(&args),
        Command::Isa(args) => isa::run(&args),
        Command::IsaWorker(args) => isa::worker(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("marlin: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// Opens what `--device` names; `auto` is the executor where there is no GPU.
pub(crate) fn open(choice: &str) -> Result<Device, Failure> {
    let choice: DeviceChoice = choice.parse()?;
    if choice == DeviceChoice::Cpu {
        return Ok(Device::Cpu(Cpu::default()));
    }
    match pollster::block_on(Gpu::open(&choice)) {
        Ok(gpu) => Ok(Device::Gpu(Box::new(gpu))),
        Err(GpuError::NoAdapter { .. }) if choice == DeviceChoice::Auto => Ok(Device::Cpu(Cpu::default())),
        Err(e) => Err(e.into()),
    }
}

/// Writes `text` to standard output for `-`, else to the file.
pub(crate) fn write_out(path: &str, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    if path == "-" {
        return print_out(content);
    }
    std::fs::write(path, content).map_err(|e| Failure::new(format!("cannot write {path}: {e}")))
}

/// What `-D NAME[=VALUE]` defines; a name alone is 1.
pub(crate) fn defines(given: &[String]) -> Defines {
    let mut defines = Defines::new();
    for d in given {
        let (name, value) = d.split_once('=').unwrap_or((d, "1"));
        defines.set(name, value);
    }
    defines
}

/// Prints to standard output; a reader that went away is no failure.
pub(crate) fn print_out(content: impl AsRef<[u8]>) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(content.as_ref()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// A value as pretty JSON with a final newline.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
