//! The executor's counts beside the static ones, access by access.
//!
//! Both count the same thing in the same unit, so that a static answer that claims to be exact must equal the
//! trace of the whole dispatch. Where it does not, one of the two is wrong: [`Report::disagreements`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::analyse::{audit_lowered, constants, not_analysed, sort};
use super::auditor::sources_of;
use super::classify::{Confidence, Pattern};
use super::metal::{audit_ir, place_label};
use super::report::{Report, Site};
use super::run::AuditError;
use super::settings::Settings;
use super::variable::variables;
use crate::exec::{self, Traffic};
use crate::gpu::{Caps, Dispatch};
use crate::kernels::spec::{Case, Refusal};
use crate::lower::{Location, LowerError, Lowered, Resource, Shader};
use crate::measure::{Cpu, MetalCpu, MetalText, RunError};
use crate::memory::{AccessKind, Space};
use crate::metal::{self, Clang, SiteTraffic};

/// What a traced run counted at one access. All but the number of requests are averages per request.
#[derive(Clone, Debug, Serialize)]
pub struct Traced {
    /// Requests with at least one active lane.
    pub requests: u64,
    /// Lanes that took part.
    pub active_lanes: Option<f64>,
    /// Blocks of 32 bytes.
    pub blocks32: Option<f64>,
    /// Blocks of 64 bytes.
    pub blocks64: Option<f64>,
    /// Blocks of 128 bytes.
    pub blocks128: Option<f64>,
    /// Blocks of 32 bytes if the lowest address began a block.
    pub blocks32_if_aligned: Option<f64>,
    /// Blocks of 64 bytes if the lowest address began a block.
    pub blocks64_if_aligned: Option<f64>,
    /// Blocks of 128 bytes if the lowest address began a block.
    pub blocks128_if_aligned: Option<f64>,
    /// Distinct bytes that lanes asked for.
    pub useful_bytes: Option<f64>,
    /// Whether the static count is the same; `None` where it does not claim to be exact.
    pub agrees: Option<bool>,
    /// The sums.
    #[serde(skip)]
    pub traffic: Traffic,
}

impl Traced {
    fn new(traffic: Traffic, predicted: Option<Traffic>) -> Self {
        let average = |sum: u64| (traffic.requests > 0).then(|| sum as f64 / traffic.requests as f64);
        let [b32, b64, b128] = traffic.blocks;
        let [a32, a64, a128] = traffic.blocks_if_aligned;
        Self {
            requests: traffic.requests,
            active_lanes: average(traffic.active_lanes),
            blocks32: average(b32),
            blocks64: average(b64),
            blocks128: average(b128),
            blocks32_if_aligned: average(a32),
            blocks64_if_aligned: average(a64),
            blocks128_if_aligned: average(a128),
            useful_bytes: average(traffic.useful_bytes),
            agrees: predicted.map(|p| p == traffic),
            traffic,
        }
    }
}

/// What tells the accesses of one dispatch apart.
type Key = (Location, AccessKind, Space, String, u64);

/// A traced access.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) key: Key,
    pub(crate) traffic: Traffic,
}

impl Access {
    /// An access that the executor traced.
    fn of_executor(site: &exec::Site, at: Location) -> Self {
        let kind = match site.kind {
            exec::AccessKind::Load => AccessKind::Load,
            exec::AccessKind::Store => AccessKind::Store,
            exec::AccessKind::Atomic => AccessKind::Atomic,
        };
        let space = match site.space {
            exec::Space::Storage => Space::Storage,
            exec::Space::Workgroup => Space::Workgroup,
            exec::Space::Uniform => Space::Uniform,
            exec::Space::Texture => Space::Texture,
        };
        Self { key: (at, kind, space, site.buffer.clone(), site.bytes_per_lane), traffic: site.traffic }
    }

    /// An access that was traced in Metal text.
    fn of_metal(site: &SiteTraffic, lines: &[&str], name: &str) -> Self {
        let kind = match site.op {
            metal::Op::Store => AccessKind::Store,
            metal::Op::Atomic => AccessKind::Atomic,
            _ => AccessKind::Load,
        };
        let space = match site.memory {
            metal::Memory::Device => Space::Storage,
            metal::Memory::Constant => Space::Uniform,
            metal::Memory::Threadgroup => Space::Workgroup,
            metal::Memory::Texture => Space::Texture,
        };
        let l = place_label(site.place.clone(), lines, name);
        let at = Location { file: l.file, line: l.line, column: l.column };
        Self { key: (at, kind, space, site.buffer.clone(), site.bytes_per_lane), traffic: site.traffic }
    }
}

impl Report {
    /// Puts the traced counts beside the static ones. An access that was not foreseen becomes a row of its own.
    fn attach(&mut self, kernel: &str, traced: impl IntoIterator<Item = Access>, metal: bool) {
        let mut by_key: BTreeMap<Key, Traffic> = BTreeMap::new();
        for t in traced {
            by_key.entry(t.key).or_default().merge(&t.traffic);
        }
        let foreseen: BTreeSet<Key> = self.sites.iter().map(key_of).collect();
        for s in self.sites.iter_mut().filter(|s| s.kernel == kernel) {
            let mut key = key_of(s);
            // The code that is run may copy a struct or vector in pieces, of which there are more.
            let in_pieces =
                |k: &&Key| (&k.0, k.1, k.2, &k.3) == (&key.0, key.1, key.2, &key.3) && !foreseen.contains(*k);
            if metal
                && !by_key.contains_key(&key)
                && let Some(pieces) = by_key.keys().find(in_pieces).cloned()
            {
                s.assumptions.push(format!("the run accesses it in pieces of {} B", pieces.4));
                s.traced = by_key.remove(&pieces).map(|t| Traced::new(t, None));
                continue;
            }
            if s.space == Space::Texture {
                // Only the format of the texture knows the size of a texel.
                let texel = by_key.keys().find(|k| (&k.0, k.1, k.2, &k.3) == (&key.0, key.1, key.2, &key.3));
                key.4 = texel.map_or(key.4, |k| k.4);
            }
            // A trace of Metal has no rows for what never happened.
            let never = (metal && s.space != Space::Texture).then(Traffic::default);
            s.traced = by_key.remove(&key).or(never).map(|t| Traced::new(t, s.traffic));
        }
        for (key, traffic) in by_key.into_iter().filter(|(_, t)| t.requests > 0) {
            self.sites.push(unforeseen(key, kernel, traffic));
        }
    }

    /// The accesses whose static count claims to be exact and is not what was traced.
    pub fn disagreements(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|s| s.traced.as_ref().is_some_and(|t| t.agrees == Some(false)))
    }
}

fn key_of(s: &Site) -> Key {
    let at = Location { file: s.file.clone(), line: s.line, column: s.column };
    (at, s.op, s.space, s.buffer.clone(), s.bytes_per_lane)
}

fn unforeseen((at, op, space, buffer, bytes_per_lane): Key, kernel: &str, traffic: Traffic) -> Site {
    Site {
        file: at.file,
        line: at.line,
        column: at.column,
        kernel: kernel.into(),
        buffer,
        space,
        op,
        bytes_per_lane,
        active_lanes: None,
        pattern: Pattern::Unknown,
        stride_bytes: None,
        stride_symbol: None,
        blocks32: None,
        blocks64: None,
        blocks128: None,
        blocks32_if_aligned: None,
        blocks64_if_aligned: None,
        blocks128_if_aligned: None,
        useful_bytes: None,
        fetched_bytes: None,
        confidence: Confidence::Unknown,
        assumptions: vec!["traced, but not found by the static walk".into()],
        bank_ways: None,
        bank_model: None,
        traced: Some(Traced::new(traffic, None)),
        source: String::new(),
        traffic: None,
    }
}

/// Why nothing was traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The variant does not run this case on the executor.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The executor refused a shader or found a fault in it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] AuditError),
    /// A file that is no valid WGSL.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The executor cannot run this kernel.
    #[error("{kernel}: {message}")]
    Executor {
        /// Entry point.
        kernel: String,
        /// What it said.
        message: String,
    },
    /// A trace is of a whole dispatch.
    #[error("the number of workgroups is not known: give num_workgroups=X,Y,Z")]
    NoGrid,
    /// Parameters decide what a kernel does.
    #[error("give values for: {0}")]
    Unset(String),
    /// The size of a buffer is not in the shader.
    #[error("give the size in bytes of buffer `{0}`")]
    NoSize(String),
    /// The buffer is smaller than its type.
    #[error("buffer `{name}` has {given} bytes and needs at least {needed}")]
    TooSmall {
        /// The variable.
        name: String,
        /// Its size.
        given: usize,
        /// The least size.
        needed: u64,
    },
    /// A kernel that reads textures.
    #[error("`{0}` is a texture: kernels with textures are traced only where they are this crate's")]
    Texture(String),
    /// No compute entry point.
    #[error("there is no compute entry point to trace")]
    NothingToTrace,
}

/// The seed of the inputs that [`trace_case`] generates.
const SEED: u64 = 1;

/// Audits the kernels that a variant of this crate runs for a case, with the case's parameters and grid known,
/// and traces them on the executor with generated inputs. One report over all dispatches.
pub fn trace_case(case: &Case, variant_ix: usize, settings: &Settings) -> Result<Report, TraceError> {
    let cpu = Cpu { trace: exec::TraceMode::All, ..Cpu::with_subgroup_size(settings.subgroup_size) };
    let plan = case.plan(variant_ix, &cpu.caps)?;
    let (_, trace) = cpu.run(&case.problem(variant_ix, SEED), &plan)?;
    let mut report = Report::default();
    for (ix, dispatch) in plan.dispatches.iter().enumerate() {
        let mut one = audit_dispatch(dispatch, settings);
        let mine = trace.sites.iter().filter(|t| t.dispatch_ix == ix);
        one.attach(Shader::ENTRY, mine.map(|t| Access::of_executor(&t.site, t.at.clone())), false);
        report.merge(one);
    }
    sort(&mut report.findings);
    Ok(report)
}

/// As [`trace_case`], of the Metal twins: clang's IR of their text, audited, and run on the CPU. Parameters that the
/// text takes by reference are no accesses to the auditor.
pub fn trace_twins(
    cpu: &MetalCpu,
    case: &Case,
    variant_ix: usize,
    settings: &Settings,
) -> Result<Report, TraceError> {
    let plan = case.plan(variant_ix, &cpu.caps)?;
    let (_, trace) = cpu.run(&case.problem(variant_ix, SEED), &plan, MetalText::Twin)?;
    let mut report = Report::default();
    for (ix, dispatch) in plan.dispatches.iter().enumerate() {
        let Some(msl) = dispatch.shader.msl else { continue };
        let mut one = audit_twin(cpu.clang(), dispatch, msl, settings)?;
        let lines: Vec<&str> = msl.text.lines().collect();
        let mine = trace.sites.iter().filter(|t| t.dispatch_ix == ix).map(|t| &t.traffic);
        let accesses =
            mine.map(|t| Access::of_metal(t, &lines, msl.path)).filter(|a| a.key.2 != Space::Uniform);
        one.attach(Shader::MSL_ENTRY, accesses, true);
        report.merge(one);
    }
    sort(&mut report.findings);
    Ok(report)
}

/// Audits the Metal twin of one dispatch, its parameters and grid known.
fn audit_twin(
    clang: &Clang,
    dispatch: &Dispatch,
    msl: crate::lower::Source,
    settings: &Settings,
) -> Result<Report, TraceError> {
    let shader = &dispatch.shader;
    let lowered = shader.lower()?;
    let (source, entry, _) = MetalText::Twin.source(shader, &lowered).map_err(RunError::from)?;
    let ir = metal::llvm_ir_of(clang, &source, &entry).map_err(|list| TraceError::Executor {
        kernel: shader.label(),
        message: list.first().map_or_else(|| "clang refused it".into(), ToString::to_string),
    })?;
    let entry_ix = lowered.entry_index(Shader::ENTRY)?;
    let mut known = settings.clone();
    known.workgroups = Some(dispatch.workgroups);
    known.workgroup_size = Some(lowered.module.entry_points[entry_ix].workgroup_size);
    // The uniform block is read word by word, by its name and the byte offset.
    let bindings = lowered.bindings(entry_ix);
    let mut buffers = bindings.iter().filter(|b| b.resource != Resource::Texture);
    let uniform_slot = buffers.position(|b| b.resource == Resource::Uniform).map(|slot| slot as u32);
    let is_uniform = |p: &&metal::Param| matches!(p.binding, metal::Binding::Buffer { slot } if Some(slot) == uniform_slot);
    let params = ir.kernels.iter().filter(|k| k.name == entry).flat_map(|k| &k.params);
    if let Some(param) = params.into_iter().find(is_uniform) {
        for (i, word) in dispatch.params.chunks_exact(4).enumerate() {
            let name = if i == 0 { param.name.clone() } else { format!("{}+{}", param.name, 4 * i) };
            let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            known.values.insert(name, i64::from(value));
        }
    }
    let mut report = audit_ir(&ir, msl.path, msl.text, &known);
    report.sources.extend(sources_of(shader));
    Ok(report)
}

/// Audits the kernels that a variant of this crate runs for a case on an Apple GPU, with the case's parameters and
/// grid known.
pub fn audit_case(case: &Case, variant_ix: usize, settings: &Settings) -> Result<Report, Refusal> {
    let mut report = Report::default();
    for dispatch in &case.plan(variant_ix, &Caps::apple())?.dispatches {
        report.merge(audit_dispatch(dispatch, settings));
    }
    sort(&mut report.findings);
    Ok(report)
}

/// Audits one dispatch of a plan, its parameters and grid known.
pub fn audit_dispatch(dispatch: &Dispatch, settings: &Settings) -> Report {
    let lowered = match dispatch.shader.lower() {
        Ok(lowered) => lowered,
        Err(e) => return not_analysed(dispatch.shader.wgsl.path, Shader::ENTRY, e.to_string()),
    };
    let mut known = settings.clone();
    known.workgroups = Some(dispatch.workgroups);
    for variable in variables(&lowered.module).iter().filter(|v| v.uniform) {
        known.values.extend(variable.values(&dispatch.params));
    }
    let mut report = audit_lowered(&lowered, &known);
    report.sources.extend(sources_of(&dispatch.shader));
    report
}

/// Audits the compute entry points of any WGSL and traces them on the executor. The settings must give the number
/// of workgroups and the integers of uniform buffers; `buffers` gives the contents of storage buffers (and of uniform
/// ones that are not given by field) by the names of their variables. Integers of buffers that the settings name, such
/// as `dims[1]`, are put in.
///
/// ```
/// use std::collections::BTreeMap;
/// use wgpu_marlin::audit::{Settings, trace_wgsl};
/// use wgpu_marlin::lower::{Composed, Lowered};
///
/// let lowered = Lowered::new(Composed::verbatim("column.wgsl", "
///     @group(0) @binding(0) var<uniform> n: u32;
///     @group(0) @binding(1) var<storage, read> x: array<f32>;
///     @group(0) @binding(2) var<storage, read_write> y: array<f32>;
///     @compute @workgroup_size(64)
///     fn main(@builtin(global_invocation_id) g: vec3<u32>) { y[g.x] = x[g.x * n]; }
/// "))?;
/// let mut settings = Settings { workgroups: Some([4, 1, 1]), ..Settings::default() };
/// settings.values.insert("n".into(), 16);
/// let buffers = BTreeMap::from([("x".into(), vec![0; 16384]), ("y".into(), vec![0; 1024])]);
///
/// let report = trace_wgsl(&lowered, &settings, &buffers)?;
/// let load = report.site("x[g.x * n]").unwrap();
/// let traced = load.traced.as_ref().unwrap();
/// assert_eq!((load.blocks128, traced.blocks128), (Some(16.0), Some(16.0)));
/// assert_eq!((traced.requests, traced.agrees), (8, Some(true)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn trace_wgsl(
    lowered: &Lowered,
    settings: &Settings,
    buffers: &BTreeMap<String, Vec<u8>>,
) -> Result<Report, TraceError> {
    let grid = settings.workgroups.ok_or(TraceError::NoGrid)?;
    let mut known = settings.clone();
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut unset = Vec::new();
    for v in variables(&lowered.module) {
        let bytes = match (buffers.get(&v.name), v.runtime_stride) {
            (Some(given), _) if given.len() < v.size_bytes => {
                let (given, needed) = (given.len(), v.size_bytes as u64);
                return Err(TraceError::TooSmall { name: v.name, given, needed });
            }
            (Some(given), _) => v.fill(given.clone(), settings),
            (None, Some(_)) => return Err(TraceError::NoSize(v.name)),
            (None, None) => {
                if v.uniform {
                    unset.extend(v.unset(settings));
                }
                v.fill(vec![0; v.size_bytes], settings)
            }
        };
        if let Some(stride) = v.runtime_stride {
            let length = (bytes.len() - v.runtime_offset) / stride;
            known.values.insert(format!("arrayLength({})", v.name), length as i64);
        }
        if v.read_only {
            known.values.extend(v.values(&bytes));
        }
        contents.insert(v.name, bytes);
    }
    if !unset.is_empty() {
        return Err(TraceError::Unset(unset.join(", ")));
    }
    let mut report = audit_lowered(lowered, &known);
    let mut module = lowered.module.clone();
    let constants = constants(&module, settings);
    if let Some(size) = settings.workgroup_size {
        module.entry_points.iter_mut().for_each(|e| e.workgroup_size = size);
    }
    let is_compute = |e: &&naga::EntryPoint| e.stage == naga::ShaderStage::Compute;
    if !module.entry_points.iter().any(|e| is_compute(&e)) {
        return Err(TraceError::NothingToTrace);
    }
    for entry in module.entry_points.iter().filter(is_compute) {
        let failed = |e: &dyn std::fmt::Display| TraceError::Executor {
            kernel: entry.name.clone(),
            message: e.to_string(),
        };
        let kernel =
            exec::Kernel::new(&module, &lowered.info, &entry.name, &constants).map_err(|e| failed(&e))?;
        // Each entry point begins with the same contents.
        let bound: Vec<_> = kernel
            .bindings()
            .into_iter()
            .map(|b| {
                let bytes = contents.get(&b.name).ok_or_else(|| TraceError::Texture(b.name.clone()))?;
                Ok((b, exec::Buffer::from_bytes(bytes)))
            })
            .collect::<Result<_, TraceError>>()?;
        let bindings = bound
            .iter()
            .fold(exec::Bindings::new(), |bindings, (b, buffer)| bindings.buffer(b.group, b.binding, buffer));
        let options = exec::Options {
            subgroup_size: settings.subgroup_size,
            trace: exec::TraceMode::All,
            ..exec::Options::default()
        };
        let run = kernel.run(grid, &bindings, &options).map_err(|e| failed(&e))?;
        let at = |s: &exec::Site| lowered.composed.locate(s.span.to_range().map_or(0, |r| r.start as u32));
        report.attach(&entry.name, run.sites.iter().map(|s| Access::of_executor(s, at(s))), false);
    }
    Ok(report)
}
