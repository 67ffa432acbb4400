//! One row of a comparison: a variant's text run on a device, verified, and timed or traced.

use super::verify;
use super::{Cpu, MetalCpu, MetalText, Operands, Outputs, Row, RunError, Workload};
use crate::exec::TraceMode;
use crate::gpu::{Caps, Gpu, GpuError, Language, Plan};
use crate::kernels::spec::{Case, Problem, VariantInfo};
use crate::lower::Checks;

use super::CompareOptions;

/// A variant at a case.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) family: &'a str,
    pub(super) case: &'a Case,
    pub(super) variant: &'a VariantInfo,
}

fn name_of(checks: Checks) -> &'static str {
    match checks {
        Checks::Checked => "checked",
        Checks::Unchecked => "unchecked",
    }
}

fn names_of(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::Wgsl(checks) => ("wgsl", name_of(checks)),
        Language::Msl => ("msl", "native"),
    }
}

/// How wgpu has a text compiled, read from wgpu-hal 30: with naga's MSL Metal gets a language version and is asked to
/// preserve invariance, with passed-through MSL it gets its defaults. Both leave fast math at Metal's default.
fn gpu_options(gpu: &Gpu, language: Language) -> String {
    let backend = gpu.info.backend.to_str();
    match language {
        Language::Wgsl(checks) if gpu.info.backend == wgpu::Backend::Metal => format!(
            "naga to MSL, language version of the OS, invariance preserved, math mode by default; {}",
            checks.describe()
        ),
        Language::Wgsl(checks) => format!("naga for {backend}; {}", checks.describe()),
        Language::Msl => "MSL passed through, all compile options by default".into(),
    }
}

impl Job<'_> {
    /// On a GPU: verified, then timed if that is asked for.
    pub(super) fn on_gpu(
        &self,
        gpu: &Gpu,
        operands: &Operands<'_>,
        language: Language,
        options: &CompareOptions,
    ) -> Row {
        let problem = operands.problem();
        let (source, checks) = names_of(language);
        let mut row = self.empty_row(&gpu.info.name, source, checks, problem);
        row.compile_options = gpu_options(gpu, language);
        let Some(plan) = self.plan(&gpu.caps, &mut row) else { return row };
        let ran = Workload::new(operands, &plan, language, options.time)
            .and_then(|workload| Ok((workload.run_blocking()?, workload)));
        let Some((outputs, workload)) = keep(ran, &mut row) else { return row };
        if !judge(&mut row, problem, &outputs, options.seed) {
            return row;
        }
        if options.trace {
            // The executor pretends to be the device: same capabilities, same plan.
            let cpu = Cpu { caps: gpu.caps.clone(), ..Cpu::default() };
            row.fetched_bytes = cpu.run(problem, &plan).ok().map(|(_, trace)| trace.fetched_bytes);
        }
        if !options.time {
            return row;
        }
        match workload.time_blocking(options.budget) {
            Ok(timings) => {
                row.timing_method = Some(timings.method.name());
                row.samples = timings.samples_ns.len();
                row.time_ns = timings.median_ns();
                row.gbps = row.time_ns.map(|t| problem.cost.useful_bytes as f64 / t);
                let flops = problem.cost.flops;
                row.tflops = row.time_ns.filter(|_| flops > 0).map(|t| flops as f64 / t / 1e3);
            }
            Err(e) => {
                row.verified = false;
                row.failure = Some(format!("timing: {e}"));
            }
        }
        row
    }

    /// A row on a GPU that does not run, and why.
    pub(super) fn skipped_on_gpu(
        &self,
        gpu: &Gpu,
        problem: &Problem,
        language: Language,
        reason: &str,
    ) -> Row {
        let (source, checks) = names_of(language);
        let mut row = self.empty_row(&gpu.info.name, source, checks, problem);
        row.skipped = Some(reason.to_string());
        row
    }

    /// On the executor: verified and traced. The executor has no guards to leave out: `checks` only names the row.
    pub(super) fn on_executor(
        &self,
        cpu: &Cpu,
        problem: &Problem,
        checks: Checks,
        options: &CompareOptions,
    ) -> Row {
        let mut row = self.empty_row("cpu", "wgsl", name_of(checks), problem);
        row.compile_options = "naga IR, interpreted; nothing guarded".into();
        let Some(plan) = self.plan(&cpu.caps, &mut row) else { return row };
        let Some((outputs, trace)) = keep(cpu.run(problem, &plan), &mut row) else { return row };
        row.fetched_bytes = (cpu.trace != TraceMode::Off).then_some(trace.fetched_bytes);
        judge(&mut row, problem, &outputs, options.seed);
        row
    }

    /// As Metal text through clang: verified and traced; skipped with the reason where there is no clang.
    pub(super) fn on_metal_cpu(
        &self,
        metal: Result<&MetalCpu, &str>,
        problem: &Problem,
        text: MetalText,
        options: &CompareOptions,
    ) -> Row {
        let checks = match text {
            MetalText::Twin => "native",
            MetalText::Lowered(checks) => name_of(checks),
        };
        let mut row = self.empty_row("cpu", "msl", checks, problem);
        let metal = match metal {
            Ok(metal) => metal,
            Err(reason) => {
                row.skipped = Some(reason.to_string());
                return row;
            }
        };
        let guards = match text {
            MetalText::Twin => "",
            MetalText::Lowered(checks) => checks.describe(),
        };
        let comma = if guards.is_empty() { "" } else { ", " };
        let version = metal.clang().version();
        row.compile_options = format!("{version}: -O1, IEEE arithmetic, nothing contracted{comma}{guards}");
        let Some(plan) = self.plan(&metal.caps, &mut row) else { return row };
        let Some((outputs, trace)) = keep(metal.run(problem, &plan, text), &mut row) else { return row };
        row.fetched_bytes = (metal.trace != TraceMode::Off).then_some(trace.fetched_bytes);
        judge(&mut row, problem, &outputs, options.seed);
        row
    }

    fn empty_row(&self, device: &str, source: &'static str, checks: &'static str, problem: &Problem) -> Row {
        Row {
            family: self.family.to_string(),
            variant: self.variant.name.to_string(),
            role: self.variant.role.name(),
            source,
            checks,
            compile_options: String::new(),
            case: self.case.name.clone(),
            device: device.to_string(),
            verified: false,
            failure: None,
            checked_elements: 0,
            elements: 0,
            max_err: None,
            tolerance: None,
            time_ns: None,
            timing_method: None,
            samples: 0,
            useful_bytes: problem.cost.useful_bytes,
            fetched_bytes: None,
            fetched_vs_wgsl: None,
            gbps: None,
            ceiling_fraction: None,
            tflops: None,
            speedup_vs_naive: None,
            skipped: None,
        }
    }

    /// The plan for a device; a refusal goes into the row.
    fn plan(&self, caps: &Caps, row: &mut Row) -> Option<Plan> {
        match self.case.plan(self.variant.ix, caps) {
            Ok(plan) => Some(plan),
            Err(refusal) => {
                row.skipped = Some(refusal.to_string());
                None
            }
        }
    }
}

/// What ran; otherwise the reason goes into the row. What does not fit the device is a refusal; anything else is a
/// fault.
fn keep<T>(ran: Result<T, RunError>, row: &mut Row) -> Option<T> {
    match ran {
        Ok(ran) => return Some(ran),
        Err(RunError::Gpu(e @ (GpuError::Limit { .. } | GpuError::Missing { .. }))) => {
            row.skipped = Some(e.to_string());
        }
        Err(e) => row.failure = Some(e.to_string()),
    }
    None
}

/// Compares outputs with the reference, and says whether they are right.
fn judge(row: &mut Row, problem: &Problem, outputs: &Outputs, seed: u64) -> bool {
    let verdict = verify(problem, outputs, seed);
    row.verified = verdict.failure.is_none();
    row.failure = verdict.failure;
    row.checked_elements = verdict.checked_elements;
    row.elements = verdict.elements;
    (row.max_err, row.tolerance) = verdict.worst.unzip();
    row.verified
}
