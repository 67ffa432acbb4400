//! The one driver of comparisons: generate, run, verify, time, rank.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::row::Job;
use super::{Cpu, Device, MetalCpu, MetalText, Operands, Row, check_passthrough};
use crate::gpu::{DeviceClass, Gpu, Language};
use crate::kernels::spec::{Case, CaseClass, Family, Role, Space, VariantInfo};
use crate::lower::Checks;
use crate::metal::Clang;

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

/// At which cases Metal text runs beside the WGSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MslCases {
    /// At none.
    None,
    /// On the CPU at the first chosen case of each family, since clang takes about half a second per kernel that it
    /// has not compiled before; on a GPU at all.
    First,
    /// At all.
    All,
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
    /// Where Metal text runs: on a Mac the twins, through passthrough; on the CPU the twins and what naga makes of
    /// the WGSL, through clang.
    pub msl: MslCases,
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
            msl: MslCases::All,
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

/// How far a comparison is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Number of the row or case that is being made.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// Family, variant, case.
    pub what: &'a str,
    /// What is there already, without speedups.
    pub so_far: &'a Comparison,
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

/// Verifies and times every chosen variant of every chosen case. `progress` hears of each row that is made.
/// Submits and waits.
///
/// The copy ceiling is measured first, on the device at hand, at a size past its caches. On the CPU rows are
/// made on as many threads as there are cores.
pub fn compare(
    device: &Device,
    families: &[Family],
    options: &CompareOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Comparison {
    let cases: Vec<(&Family, &Case)> = families
        .iter()
        .flat_map(|f| f.cases.iter().filter(|c| chosen(c, &options.case)).map(move |c| (f, c)))
        .collect();
    let mut comparison = match device {
        Device::Gpu(gpu) => on_gpu(gpu, &cases, options, progress),
        Device::Cpu(cpu) => on_cpu(cpu, &cases, options, progress),
    };
    fill_speedups(&mut comparison.rows);
    comparison
}

fn on_gpu(
    gpu: &Gpu,
    cases: &[(&Family, &Case)],
    options: &CompareOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Comparison {
    let mut comparison = Comparison::default();
    let n = cases.iter().map(|(f, _)| f.variants.len()).sum::<usize>() + 1;
    progress(Progress { done: 0, of: n, what: "copy ceiling", so_far: &comparison });
    if options.time
        && let Some(row) = copy_row(gpu, options)
    {
        comparison.ceiling_gbps = row.gbps;
        comparison.rows.push(row);
    }
    let passthrough = (gpu.caps.msl && options.msl != MslCases::None).then(|| check_passthrough(gpu));
    let mut done = 0;
    for (family, case) in cases {
        // Generated and uploaded once for all variants that share it.
        let (shared, shared_operands) = (OnceCell::new(), OnceCell::new());
        for variant in &family.variants {
            done += 1;
            let what = format!("{}/{} {}", family.name, variant.name, case.name);
            progress(Progress { done, of: n, what: &what, so_far: &comparison });
            let job = Job { family: family.name, case, variant };
            let own;
            let own_operands;
            let operands = if case.has_own_problem(variant.ix) {
                own = case.problem(variant.ix, options.seed);
                own_operands = Operands::new(gpu, &own);
                &own_operands
            } else {
                let problem = shared.get_or_init(|| case.problem(variant.ix, options.seed));
                shared_operands.get_or_init(|| Operands::new(gpu, problem))
            };
            for language in languages(gpu, variant, options) {
                let mut row = match (language, &passthrough) {
                    (Language::Msl, Some(Err(reason))) => {
                        job.skipped_on_gpu(gpu, operands.problem(), language, reason)
                    }
                    _ => job.on_gpu(gpu, operands, language, options),
                };
                if operands.problem().cost.space == Space::Storage {
                    row.ceiling_fraction = row.gbps.zip(comparison.ceiling_gbps).map(|(g, c)| g / c);
                }
                comparison.rows.push(row);
            }
        }
    }
    comparison
}

fn on_cpu(
    cpu: &Cpu,
    cases: &[(&Family, &Case)],
    options: &CompareOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Comparison {
    let checks = match options.checks {
        Some(ChecksChoice::Checked) => &[Checks::Checked][..],
        None | Some(ChecksChoice::Unchecked) => &[Checks::Unchecked],
        Some(ChecksChoice::Both) => &[Checks::Checked, Checks::Unchecked],
    };
    let metal = (options.msl != MslCases::None).then(|| metal_of(cpu));
    let has_metal = |ix: usize| match options.msl {
        MslCases::None => false,
        MslCases::First => ix == 0 || cases[ix - 1].0.name != cases[ix].0.name,
        MslCases::All => true,
    };
    let texts = |ix: usize, variant: &VariantInfo| {
        let mut texts: Vec<CpuText> = checks.iter().map(|c| CpuText::Wgsl(*c)).collect();
        if has_metal(ix) {
            texts.extend(checks.iter().map(|c| CpuText::Metal(MetalText::Lowered(*c))));
            texts.extend(variant.twin.then_some(CpuText::Metal(MetalText::Twin)));
        }
        texts
    };
    let of_case = |(ix, (f, _)): (usize, &(&Family, &Case))| -> usize {
        f.variants.iter().map(|v| texts(ix, v).len()).sum()
    };
    let n = cases.iter().enumerate().map(of_case).sum();
    let mut comparison = Comparison::default();
    for (case_ix, (family, case)) in cases.iter().enumerate() {
        // One case at a time, so that only its inputs are in memory.
        let mut shared = None;
        let mut jobs = Vec::new();
        for variant in &family.variants {
            let problem = if case.has_own_problem(variant.ix) {
                Arc::new(case.problem(variant.ix, options.seed))
            } else {
                shared.get_or_insert_with(|| Arc::new(case.problem(variant.ix, options.seed))).clone()
            };
            let job = Job { family: family.name, case, variant };
            jobs.extend(texts(case_ix, variant).into_iter().map(|text| (job, problem.clone(), text)));
        }
        let start = comparison.rows.len();
        let what = format!("{} {}", family.name, case.name);
        let mut heard = |made| {
            progress(Progress { done: start + made, of: n, what: &what, so_far: &comparison });
        };
        heard(0);
        let make = |ix: usize| {
            let (job, problem, text) = &jobs[ix];
            match (text, &metal) {
                (CpuText::Metal(text), Some(metal)) => {
                    job.on_metal_cpu(metal.as_ref().map_err(String::as_str), problem, *text, options)
                }
                (CpuText::Metal(_), None) => unreachable!("`texts` has none"),
                (CpuText::Wgsl(checks), _) => job.on_executor(cpu, problem, *checks, options),
            }
        };
        let mut rows = in_parallel(jobs.len(), &make, &mut heard);
        compare_traffic(&mut rows);
        rank_by_traffic(&mut rows);
        comparison.rows.append(&mut rows);
    }
    comparison
}

/// What a row of the CPU runs.
#[derive(Clone, Copy)]
enum CpuText {
    Wgsl(Checks),
    Metal(MetalText),
}

/// The way to run Metal text beside the executor, or why there is none.
fn metal_of(cpu: &Cpu) -> Result<MetalCpu, String> {
    if cpu.caps.subgroup_size != Some(32) {
        return Err("needs subgroups of 32 lanes, as Apple's GPUs have".into());
    }
    let clang = Clang::find().map_err(|e| e.summary())?;
    let mut metal = MetalCpu::new(clang, &cpu.caps);
    metal.sanitize = cpu.sanitize;
    metal.trace = cpu.trace;
    Ok(metal)
}

/// `make` of each number below `n`, on a thread per core; `done` hears how many there are.
fn in_parallel<T: Send>(n: usize, make: &(dyn Fn(usize) -> T + Sync), done: &mut dyn FnMut(usize)) -> Vec<T> {
    // Not rayon's threads: a row holds locks while it runs, and what it runs uses rayon.
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from).min(n);
    let mut made: Vec<Option<T>> = (0..n).map(|_| None).collect();
    if n_threads <= 1 {
        for (ix, slot) in made.iter_mut().enumerate() {
            *slot = Some(make(ix));
            done(ix + 1);
        }
        return made.into_iter().flatten().collect();
    }
    let next = AtomicUsize::new(0);
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                loop {
                    let ix = next.fetch_add(1, Relaxed);
                    if ix >= n || send.send((ix, make(ix))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (count, (ix, row)) in receive.iter().enumerate() {
            made[ix] = Some(row);
            done(count + 1);
        }
    });
    made.into_iter().flatten().collect()
}

/// Tells Metal text from its WGSL by what they fetch.
fn compare_traffic(rows: &mut [Row]) {
    for i in 0..rows.len() {
        let wgsl = rows.iter().find(|r| r.source == "wgsl" && r.variant == rows[i].variant);
        let wgsl = wgsl.and_then(|r| r.fetched_bytes).filter(|f| *f > 0);
        if rows[i].source != "wgsl" {
            rows[i].fetched_vs_wgsl = rows[i].fetched_bytes.zip(wgsl).map(|(m, w)| m as f64 / w as f64);
        }
    }
}

/// Variants by the fetched bytes of their WGSL, those without at the end; the texts of a variant together.
fn rank_by_traffic(rows: &mut [Row]) {
    let mut keys: HashMap<String, u64> = HashMap::new();
    for row in rows.iter().filter(|r| r.source == "wgsl") {
        let fetched = row.fetched_bytes.unwrap_or(u64::MAX);
        keys.entry(row.variant.clone()).and_modify(|k| *k = fetched.min(*k)).or_insert(fetched);
    }
    rows.sort_by_key(|r| keys.get(&r.variant).copied().unwrap_or(u64::MAX));
}

/// The copy row: what this device moves at best, measured. The executor has no time to measure.
pub fn device_row(device: &Device, options: &CompareOptions) -> Option<Row> {
    match device {
        Device::Gpu(gpu) => copy_row(gpu, options),
        Device::Cpu(_) => None,
    }
}

fn copy_row(gpu: &Gpu, options: &CompareOptions) -> Option<Row> {
    let real = !matches!(gpu.caps.class, DeviceClass::Software | DeviceClass::Executor);
    let most = gpu.caps.max_binding_bytes.min(gpu.caps.max_buffer_bytes) / 4;
    let n = if real { most.min(128 << 20) } else { 1 << 20 };
    let n = n / crate::kernels::patterns::GRANULE * crate::kernels::patterns::GRANULE;
    let spec = crate::kernels::patterns::Spec::new(n).ok()?;
    let case = crate::kernels::patterns::case(spec, CaseClass::Bench);
    let family = crate::kernels::patterns::family();
    let variant = family.variants.iter().find(|v| v.role == Role::Ceiling)?;
    let problem = case.problem(variant.ix, options.seed);
    let language = Language::Wgsl(Checks::Unchecked);
    let job = Job { family: family.name, case: &case, variant };
    let mut row = job.on_gpu(gpu, &Operands::new(gpu, &problem), language, options);
    row.ceiling_fraction = row.gbps.map(|_| 1.0);
    Some(row)
}

fn languages(gpu: &Gpu, variant: &VariantInfo, options: &CompareOptions) -> Vec<Language> {
    let real = !matches!(gpu.caps.class, DeviceClass::Software | DeviceClass::Executor);
    let both = if real { ChecksChoice::Both } else { ChecksChoice::Unchecked };
    let mut languages = match options.checks.unwrap_or(both) {
        ChecksChoice::Checked => vec![Language::Wgsl(Checks::Checked)],
        ChecksChoice::Unchecked => vec![Language::Wgsl(Checks::Unchecked)],
        ChecksChoice::Both => vec![Language::Wgsl(Checks::Checked), Language::Wgsl(Checks::Unchecked)],
    };
    if gpu.caps.msl && variant.twin && options.msl != MslCases::None {
        languages.push(Language::Msl);
    }
    languages
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
