//! The one driver of comparisons: generate, run, verify, time, rank.

use std::cell::OnceCell;
use std::time::Duration;

use super::{Cpu, Device, Operands, Outputs, Row, RunError, Workload, verify};
use crate::exec::TraceMode;
use crate::gpu::{DeviceClass, GpuError, Language};
use crate::kernels::spec::{Case, CaseClass, Family, Problem, Role, Space, VariantInfo};
use crate::lower::Checks;

/// Which guards generated code carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksChoice {
    /// As WebGPU demands.
    Checked,
    /// None: sound because shapes were validated.
    Unchecked,
    /// A row for each.
    Both,
}

/// What to compare, and how long.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Case names to run; or one of `smoke`, `edge`, `bench`, `all`.
    pub case: String,
    /// Which guards WGSL rows carry; `None` for both on a GPU and none elsewhere.
    pub checks: Option<ChecksChoice>,
    /// Whether to time what was verified.
    pub time: bool,
    /// Time to spend on the samples of one row.
    pub budget: Duration,
    /// Whether rows of a GPU get the executor's traffic for the same plan, a sample of workgroups traced.
    pub trace: bool,
    /// Seed of all inputs.
    pub seed: u64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            case: "smoke".into(),
            checks: None,
            time: true,
            budget: Duration::from_millis(300),
            trace: false,
            seed: 1,
        }
    }
}

/// The rows of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// In order of family, case, variant.
    pub rows: Vec<Row>,
    /// GB/s of the copy that ceilings are shares of.
    pub ceiling_gbps: Option<f64>,
}

impl Comparison {
    /// Rows that ran and were wrong.
    pub fn n_wrong(&self) -> usize {
        self.rows.iter().filter(|r| !r.verified && r.skipped.is_none()).count()
    }

    /// Rows that did not run.
    pub fn n_skipped(&self) -> usize {
        self.rows.iter().filter(|r| r.skipped.is_some()).count()
    }
}

fn chosen(case: &Case, choice: &str) -> bool {
    match choice {
        "all" => true,
        "smoke" => case.class == CaseClass::Smoke,
        "edge" => case.class == CaseClass::Edge,
        "bench" => case.class == CaseClass::Bench,
        name => case.name == name,
    }
}

/// Verifies and times every chosen variant of every chosen case. `progress` hears of each row before it is
/// made, as (number, of how many, what). Submits and waits.
///
/// The copy ceiling is measured first, on the device at hand, at a size past its caches.
pub fn compare(
    device: &Device,
    families: &[Family],
    options: &CompareOptions,
    progress: &mut dyn FnMut(usize, usize, &str),
) -> Comparison {
    let mut comparison = Comparison::default();
    let jobs: Vec<_> = families
        .iter()
        .flat_map(|f| f.cases.iter().filter(|c| chosen(c, &options.case)).map(move |c| (f, c)))
        .collect();
    let n = 1 + jobs.iter().map(|(f, _)| f.variants.len()).sum::<usize>();
    progress(0, n, "copy ceiling");
    if options.time
        && matches!(device, Device::Gpu(_))
        && let Some(row) = device_row(device, options)
    {
        comparison.ceiling_gbps = row.gbps;
        comparison.rows.push(row);
    }
    let mut done = 0;
    for (family, case) in jobs {
        // Generated and uploaded once for all variants that share it.
        let shared = OnceCell::new();
        let shared_stage = OnceCell::new();
        for variant in &family.variants {
            done += 1;
            progress(done, n, &format!("{}/{} {}", family.name, variant.name, case.name));
            let own;
            let own_stage;
            let stage = if case.has_own_problem(variant.ix) {
                own = case.problem(variant.ix, options.seed);
                own_stage = Stage::new(device, &own);
                &own_stage
            } else {
                let problem = shared.get_or_init(|| case.problem(variant.ix, options.seed));
                shared_stage.get_or_init(|| Stage::new(device, problem))
            };
            for language in languages(device, variant, options) {
                let mut row = make_row(device, stage, family.name, case, variant, language, options);
                if stage.problem.cost.space == Space::Storage {
                    row.ceiling_fraction = row.gbps.zip(comparison.ceiling_gbps).map(|(g, c)| g / c);
                }
                comparison.rows.push(row);
            }
        }
    }
    fill_speedups(&mut comparison.rows);
    if matches!(device, Device::Cpu(_)) {
        rank_by_traffic(&mut comparison.rows);
    }
    comparison
}

/// A problem, with its inputs on the device.
struct Stage<'a> {
    problem: &'a Problem,
    place: Place<'a>,
}

enum Place<'a> {
    Cpu(&'a Cpu),
    Gpu(Operands<'a>),
}

impl<'a> Stage<'a> {
    fn new(device: &'a Device, problem: &'a Problem) -> Self {
        let place = match device {
            Device::Cpu(cpu) => Place::Cpu(cpu),
            Device::Gpu(gpu) => Place::Gpu(Operands::new(gpu, problem)),
        };
        Self { problem, place }
    }
}

/// Within a family and case: rows by fetched bytes, those without at the end.
fn rank_by_traffic(rows: &mut [Row]) {
    for group in rows.chunk_by_mut(|a, b| (&a.family, &a.case) == (&b.family, &b.case)) {
        group.sort_by_key(|r| r.fetched_bytes.unwrap_or(u64::MAX));
    }
}

/// The copy row: what this device moves at best, measured.
pub fn device_row(device: &Device, options: &CompareOptions) -> Option<Row> {
    let real = !matches!(device.caps().class, DeviceClass::Software | DeviceClass::Executor);
    let most = device.caps().max_binding_bytes.min(device.caps().max_buffer_bytes) / 4;
    let n = if real { most.min(128 << 20) } else { 1 << 20 };
    let n = n / crate::kernels::patterns::GRANULE * crate::kernels::patterns::GRANULE;
    let spec = crate::kernels::patterns::Spec::new(n).ok()?;
    let case = crate::kernels::patterns::case(spec, CaseClass::Bench);
    let family = crate::kernels::patterns::family();
    let variant = family.variants.iter().find(|v| v.role == Role::Ceiling)?;
    let problem = case.problem(variant.ix, options.seed);
    let language = Language::Wgsl(Checks::Unchecked);
    let mut row =
        make_row(device, &Stage::new(device, &problem), family.name, &case, variant, language, options);
    row.ceiling_fraction = row.gbps.map(|_| 1.0);
    Some(row)
}

fn languages(device: &Device, variant: &VariantInfo, options: &CompareOptions) -> Vec<Language> {
    let caps = device.caps();
    let real = !matches!(caps.class, DeviceClass::Software | DeviceClass::Executor);
    let both = if real { ChecksChoice::Both } else { ChecksChoice::Unchecked };
    let mut languages = match options.checks.unwrap_or(both) {
        ChecksChoice::Checked => vec![Language::Wgsl(Checks::Checked)],
        ChecksChoice::Unchecked => vec![Language::Wgsl(Checks::Unchecked)],
        ChecksChoice::Both => vec![Language::Wgsl(Checks::Checked), Language::Wgsl(Checks::Unchecked)],
    };
    if caps.msl && variant.twin {
        languages.push(Language::Msl);
    }
    languages
}

fn make_row(
    device: &Device,
    stage: &Stage<'_>,
    family: &str,
    case: &Case,
    variant: &VariantInfo,
    language: Language,
    options: &CompareOptions,
) -> Row {
    let problem = stage.problem;
    let (source, checks) = match language {
        Language::Wgsl(Checks::Checked) => ("wgsl", "checked"),
        Language::Wgsl(Checks::Unchecked) => ("wgsl", "unchecked"),
        Language::Msl => ("msl", "native"),
    };
    let mut row = Row {
        family: family.to_string(),
        variant: variant.name.to_string(),
        role: variant.role.name(),
        source,
        checks,
        case: case.name.clone(),
        device: device.name().to_string(),
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
        gbps: None,
        ceiling_fraction: None,
        tflops: None,
        speedup_vs_naive: None,
        skipped: None,
    };
    let plan = match case.plan(variant.ix, device.caps()) {
        Ok(plan) => plan,
        Err(refusal) => {
            row.skipped = Some(refusal.to_string());
            return row;
        }
    };
    let ran = match &stage.place {
        Place::Cpu(cpu) => cpu.run(problem, &plan).map(|(outputs, trace)| {
            row.fetched_bytes = (cpu.trace != TraceMode::Off).then_some(trace.fetched_bytes);
            (outputs, None)
        }),
        Place::Gpu(operands) => Workload::new(operands, &plan, language, options.time)
            .and_then(|workload| Ok((workload.run_blocking()?, Some(workload)))),
    };
    let (outputs, workload): (Outputs, _) = match ran {
        Ok(ran) => ran,
        // What does not fit the device is a refusal; anything else is a fault.
        Err(RunError::Gpu(e @ (GpuError::Limit { .. } | GpuError::Missing { .. }))) => {
            row.skipped = Some(e.to_string());
            return row;
        }
        Err(e) => {
            row.failure = Some(e.to_string());
            return row;
        }
    };
    let verdict = verify(problem, &outputs, options.seed);
    row.verified = verdict.failure.is_none();
    row.failure = verdict.failure;
    row.checked_elements = verdict.checked_elements;
    row.elements = verdict.elements;
    (row.max_err, row.tolerance) = verdict.worst.unzip();
    if !row.verified {
        return row;
    }
    let Some(workload) = workload else { return row };
    if options.trace {
        // The executor pretends to be the device: same capabilities, same plan.
        let cpu = Cpu { caps: device.caps().clone(), ..Cpu::default() };
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

/// Speed-ups over the first naive WGSL row of the same family, case and checks. `patterns` has none: its
/// variants compute different things.
fn fill_speedups(rows: &mut [Row]) {
    for i in 0..rows.len() {
        let same = |r: &&Row| r.family == rows[i].family && r.case == rows[i].case;
        let checks = if rows[i].checks == "native" { "unchecked" } else { rows[i].checks };
        let naive = rows
            .iter()
            .filter(same)
            .find(|r| r.role == Role::Naive.name() && r.checks == checks && r.time_ns.is_some())
            .and_then(|r| r.time_ns);
        if rows[i].family != "patterns" {
            rows[i].speedup_vs_naive = naive.zip(rows[i].time_ns).map(|(n, t)| n / t);
        }
    }
}
