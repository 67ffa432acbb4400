//! Running a compiled kernel: bindings, workgroups over threads, subgroups between barriers.

mod image;
mod matrix;
mod memory;
mod step;
mod subgroup;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rayon::prelude::*;

use super::buffer::Buffer;
use super::compile::Builtin;
use super::error::{ExecError, Fault, FaultKind, Invocation};
use super::instr::{Global, Instr, Program, Source};
use super::regs::{MAX_LANES, Mask, Regs, first_lanes};
use super::sanitize::Sanitizer;
use super::texture::Texture;
use super::trace::{Recorder, Site};
use crate::memory::{BankModel, Space, TraceMode};
use step::Stop;

/// A workgroup may take this much memory for its registers and its workgroup variables.
const MAX_WORKGROUP_BYTES: u64 = 1 << 30;

/// The sanitizer may take this much shadow memory.
const MAX_SHADOW_BYTES: u64 = 1 << 33;

/// Warnings that are kept; more of the same kernel tell nothing new.
const MAX_WARNINGS: usize = 64;

/// Most workgroups of a dispatch in one dimension, as in WebGPU.
const MAX_WORKGROUPS: u32 = 65535;

/// How to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Lanes per subgroup, 1 to 128.
    pub subgroup_size: u32,
    /// Look for out-of-bounds accesses, data races and reads of uninitialized workgroup memory, and warn of what WGSL
    /// allows and rarely means. Runs workgroups one after the other.
    pub sanitize: bool,
    /// Run the subgroups of a workgroup from the last to the first between two barriers: a result that depends on it
    /// depends on luck.
    pub reverse_subgroups: bool,
    /// Which workgroups to trace.
    pub trace: TraceMode,
    /// The bank model for workgroup memory.
    pub banks: BankModel,
    /// Instructions that one subgroup may run; reaching it is a fault.
    pub max_steps: u64,
    /// Threads to use: one runs on the caller's, none means all of rayon's global pool.
    pub n_threads: Option<usize>,
}

impl Default for Options {
    /// Subgroups of 32, no sanitizer, no trace, 2^33 steps, all threads.
    fn default() -> Self {
        Self {
            subgroup_size: 32,
            sanitize: false,
            reverse_subgroups: false,
            trace: TraceMode::Off,
            banks: BankModel::default(),
            max_steps: 1 << 33,
            n_threads: None,
        }
    }
}

/// What a kernel's variables are bound to.
#[derive(Clone, Debug, Default)]
pub struct Bindings<'a> {
    resources: Vec<(u32, u32, Resource<'a>)>,
    immediates: Option<&'a Buffer>,
}

#[derive(Clone, Copy, Debug)]
enum Resource<'a> {
    Buffer(&'a Buffer),
    Texture(&'a Texture),
}

impl<'a> Bindings<'a> {
    /// No bindings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a storage or uniform buffer. Binding the same place again replaces it.
    pub fn buffer(mut self, group: u32, binding: u32, buffer: &'a Buffer) -> Self {
        self.resources.push((group, binding, Resource::Buffer(buffer)));
        self
    }

    /// Binds a texture.
    pub fn texture(mut self, group: u32, binding: u32, texture: &'a Texture) -> Self {
        self.resources.push((group, binding, Resource::Texture(texture)));
        self
    }

    /// Sets the immediate data (`var<immediate>`).
    pub fn immediates(mut self, data: &'a Buffer) -> Self {
        self.immediates = Some(data);
        self
    }

    fn get(&self, source: Source) -> Option<Resource<'a>> {
        match source {
            Source::Immediates => self.immediates.map(Resource::Buffer),
            Source::Binding { group, binding } => {
                self.resources.iter().rev().find(|r| (r.0, r.1) == (group, binding)).map(|r| r.2)
            }
            Source::Workgroup => None,
        }
    }
}

/// What a dispatch did.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Run {
    /// Workgroups that ran.
    pub workgroups: u64,
    /// Workgroups whose accesses were traced: fewer if sampled.
    pub traced_workgroups: u64,
    /// Instructions of the executor, summed over subgroups; times the subgroup size this is lane operations.
    pub steps: u64,
    /// Every access of the kernel with what the traced workgroups asked of it, in the order of the source. Empty
    /// without a trace; a site that no traced invocation reached has zero requests.
    pub sites: Vec<Site>,
    /// What is allowed and suspect, the first of each place and kind. Only with the sanitizer.
    pub warnings: Vec<Fault>,
}

/// Where a global is, for one run.
enum Memory<'a> {
    Words(&'a Buffer),
    /// The first word in the workgroup's memory.
    Workgroup {
        first_word: usize,
    },
    Texture(&'a Texture),
}

/// What all threads share.
struct Env<'a> {
    program: &'a Program,
    options: &'a Options,
    memories: Vec<Memory<'a>>,
    /// Elements of each global's runtime array.
    lengths: Vec<u32>,
    /// Bytes of each global, texels of a texture.
    sizes: Vec<u64>,
    /// The first global with the same memory, for each: itself where it shares none.
    same: Vec<usize>,
    workgroups: [u32; 3],
}

/// One subgroup's state.
struct Subgroup {
    regs: Regs,
    masks: Vec<Mask>,
    mask: Mask,
    /// All lanes that exist: fewer than the subgroup size in a workgroup's last subgroup.
    full: Mask,
    pc: u32,
    steps: u64,
    /// Its number in the workgroup.
    ix: u32,
    done: bool,
}

/// What one thread needs to run workgroups.
struct Worker<'a> {
    env: &'a Env<'a>,
    subgroups: Vec<Subgroup>,
    cx: Context<'a>,
    steps: u64,
}

/// The part of a worker that instructions see.
struct Context<'a> {
    env: &'a Env<'a>,
    workgroup_id: [u32; 3],
    workgroup_memory: Vec<AtomicU32>,
    recorder: Option<Recorder>,
    tracing: bool,
    sanitizer: Option<Sanitizer>,
    /// Byte offset of each lane, of the access being made.
    offsets: Box<[u32; MAX_LANES]>,
    warnings: Vec<(u32, Fault)>,
}

impl Context<'_> {
    /// Keeps a warning, one per instruction.
    fn warn(&mut self, kind: FaultKind, pc: u32, subgroup: u32, lane: usize) {
        let same = |w: &(u32, Fault)| {
            w.0 == pc && std::mem::discriminant(&w.1.kind) == std::mem::discriminant(&kind)
        };
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.iter().any(same) {
            let fault = self.fault(kind, pc, subgroup, lane);
            self.warnings.push((pc, *fault));
        }
    }

    fn fault(&self, kind: FaultKind, pc: u32, subgroup: u32, lane: usize) -> Box<Fault> {
        let program = self.env.program;
        Box::new(Fault {
            kernel: program.name.clone(),
            kind,
            span: program.spans.get(pc as usize).copied().unwrap_or_default(),
            invocation: Invocation {
                workgroup: self.workgroup_id,
                local_index: subgroup * self.env.options.subgroup_size + lane as u32,
            },
        })
    }
}

/// Runs a dispatch.
pub(super) fn run(
    program: &Program,
    workgroups: [u32; 3],
    bindings: &Bindings<'_>,
    options: &Options,
) -> Result<Run, ExecError> {
    check_options(program, workgroups, options)?;
    let env = bind(program, workgroups, bindings, options)?;
    let total = workgroups.iter().map(|&n| u64::from(n)).product::<u64>();
    let traced = match options.trace {
        TraceMode::Off => 0,
        TraceMode::All => total,
        TraceMode::Sample(n) => total.min(u64::from(n)),
    };
    let n_threads = match options.n_threads {
        _ if options.sanitize || total <= 1 => 1,
        Some(n) => n.max(1),
        None => rayon::current_num_threads(),
    };
    if options.sanitize {
        let bytes = Sanitizer::size_bytes(program, &env.sizes, &env.same);
        if bytes > MAX_SHADOW_BYTES {
            return Err(ExecError::TooLarge { bytes, limit: MAX_SHADOW_BYTES });
        }
    }
    let mut warnings = Vec::new();
    let (steps, recorder) = if n_threads == 1 {
        let mut worker = Worker::new(&env);
        (0..total).try_for_each(|ix| worker.workgroup(ix, total))?;
        warnings.extend(worker.cx.warnings.into_iter().map(|(_, fault)| fault));
        (worker.steps, worker.cx.recorder)
    } else {
        // The sanitizer runs on one thread, and only it warns.
        run_parallel(&env, total, n_threads, options.n_threads.is_some())?
    };
    let mut sites = Vec::new();
    if let Some(recorder) = recorder {
        for (key, (traffic, banks)) in program.sites.iter().zip(recorder.finish()) {
            let global = &program.globals[key.global as usize];
            let texel = match env.memories[key.global as usize] {
                Memory::Texture(texture) => texture.texel_bytes(),
                _ => key.bytes_per_lane,
            };
            sites.push(Site {
                span: key.span,
                kind: key.kind,
                space: global.space,
                buffer: global.name.clone(),
                bytes_per_lane: u64::from(texel),
                traffic,
                banks: (global.space == Space::Workgroup).then_some(banks),
            });
        }
        sites.sort_by_key(|s| s.span.to_range().map_or((usize::MAX, 0), |r| (r.start, r.end)));
    }
    Ok(Run { workgroups: total, traced_workgroups: traced, steps, sites, warnings })
}

fn run_parallel(
    env: &Env<'_>,
    total: u64,
    n_threads: usize,
    own_pool: bool,
) -> Result<(u64, Option<Recorder>), ExecError> {
    let next = AtomicU64::new(0);
    let first_failure = AtomicU64::new(u64::MAX);
    // Small chunks, so that a slow workgroup holds nobody up; large enough to make the counter cheap.
    let chunk = (total / (n_threads as u64 * 16)).clamp(1, 64);
    let work = |_| {
        let mut worker = Worker::new(env);
        loop {
            let start = next.fetch_add(chunk, Relaxed);
            if start >= total {
                return Ok(worker);
            }
            for ix in start..(start + chunk).min(total) {
                // Workgroups before a failed one still run, so that the failure reported is always the first.
                if ix > first_failure.load(Relaxed) {
                    return Ok(worker);
                }
                if let Err(fault) = worker.workgroup(ix, total) {
                    first_failure.fetch_min(ix, Relaxed);
                    return Err((ix, fault));
                }
            }
        }
    };
    let n = n_threads.min(total.try_into().unwrap_or(usize::MAX));
    let all = || (0..n).into_par_iter().map(work).collect::<Vec<Result<Worker<'_>, (u64, Box<Fault>)>>>();
    let results = if own_pool {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build();
        let pool = pool.map_err(|e| ExecError::InvalidOption(format!("{n_threads} threads: {e}")))?;
        pool.install(all)
    } else {
        all()
    };
    let (mut steps, mut recorder) = (0, None::<Recorder>);
    let mut failure: Option<(u64, Box<Fault>)> = None;
    for result in results {
        match result {
            Ok(worker) => {
                steps += worker.steps;
                match (&mut recorder, worker.cx.recorder) {
                    (Some(all), Some(one)) => all.merge(one),
                    (all @ None, one) => *all = one,
                    _ => {}
                }
            }
            Err((ix, fault)) if failure.as_ref().is_none_or(|f| ix < f.0) => failure = Some((ix, fault)),
            Err(_) => {}
        }
    }
    match failure {
        Some((_, fault)) => Err(fault.into()),
        None => Ok((steps, recorder)),
    }
}

fn check_options(program: &Program, workgroups: [u32; 3], options: &Options) -> Result<(), ExecError> {
    if !(1..=MAX_LANES as u32).contains(&options.subgroup_size) {
        let got = options.subgroup_size;
        return Err(ExecError::InvalidOption(format!("subgroup_size is {got}, must be 1 to 128")));
    }
    if options.banks.banks == 0 || options.banks.bank_bytes == 0 {
        return Err(ExecError::InvalidOption("a bank model needs at least one bank of one byte".into()));
    }
    if workgroups.iter().any(|&n| n > MAX_WORKGROUPS) {
        return Err(ExecError::InvalidOption(format!(
            "{workgroups:?} workgroups: more than {MAX_WORKGROUPS} in one dimension"
        )));
    }
    let invocations = program.workgroup_size.iter().map(|&n| u64::from(n)).product::<u64>();
    let lanes = options.subgroup_size as usize;
    let per_subgroup = Regs::size_bytes(lanes, program.n_slots) as u64 + 16 * program.n_masks as u64;
    let subgroups = invocations.div_ceil(u64::from(options.subgroup_size));
    let bytes = per_subgroup.saturating_mul(subgroups).saturating_add(program.workgroup_bytes);
    if bytes > MAX_WORKGROUP_BYTES {
        return Err(ExecError::TooLarge { bytes, limit: MAX_WORKGROUP_BYTES });
    }
    Ok(())
}

fn bind<'a>(
    program: &'a Program,
    workgroups: [u32; 3],
    bindings: &Bindings<'a>,
    options: &'a Options,
) -> Result<Env<'a>, ExecError> {
    let (mut memories, mut lengths, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_word = 0;
    for global in &program.globals {
        let mut size = global.size_bytes;
        let memory = if global.source == Source::Workgroup {
            let memory = Memory::Workgroup { first_word };
            first_word += (global.size_bytes.next_multiple_of(16) / 4) as usize;
            memory
        } else {
            match (bindings.get(global.source), global.image) {
                (None, _) => return Err(not_bound(global)),
                (Some(Resource::Buffer(buffer)), None) => {
                    size = buffer.len_bytes() as u64;
                    check_buffer(global, size)?;
                    Memory::Words(buffer)
                }
                (Some(Resource::Texture(texture)), Some(shape)) => {
                    image::check(global, shape, texture)?;
                    size = texture.size().iter().map(|&n| u64::from(n)).product();
                    Memory::Texture(texture)
                }
                (Some(Resource::Buffer(_)), Some(_)) => {
                    return Err(wrong(global, "it is a texture, a buffer was given"));
                }
                (Some(Resource::Texture(_)), None) => {
                    return Err(wrong(global, "it is a buffer, a texture was given"));
                }
            }
        };
        lengths.push(match global.runtime_array {
            Some((offset, stride)) if stride > 0 => {
                u32::try_from(size.saturating_sub(u64::from(offset)) / u64::from(stride)).unwrap_or(u32::MAX)
            }
            _ => 0,
        });
        memories.push(memory);
        sizes.push(size);
    }
    let shares = |a: &Memory<'_>, b: &Memory<'_>| match (a, b) {
        (Memory::Words(a), Memory::Words(b)) => std::ptr::eq(*a, *b),
        (Memory::Texture(a), Memory::Texture(b)) => std::ptr::eq(*a, *b),
        _ => false,
    };
    let first = |(ix, memory)| memories.iter().position(|m| shares(m, memory)).unwrap_or(ix);
    let same = memories.iter().enumerate().map(first).collect();
    Ok(Env { program, options, memories, lengths, sizes, same, workgroups })
}

fn not_bound(global: &Global) -> ExecError {
    let (group, binding) = match global.source {
        Source::Binding { group, binding } => (group, binding),
        Source::Immediates | Source::Workgroup => (0, 0),
    };
    ExecError::NotBound { group, binding, name: global.name.clone() }
}

fn wrong(global: &Global, why: impl Into<String>) -> ExecError {
    ExecError::WrongResource { name: global.name.clone(), why: why.into() }
}

fn check_buffer(global: &Global, got: u64) -> Result<(), ExecError> {
    if got < global.size_bytes {
        return Err(ExecError::BufferTooSmall { name: global.name.clone(), needed: global.size_bytes, got });
    }
    // Offsets are 32-bit, as on most GPUs.
    if got > u64::from(u32::MAX) {
        return Err(wrong(global, format!("its buffer has {got} bytes, more than 4 GiB")));
    }
    Ok(())
}

impl<'a> Worker<'a> {
    fn new(env: &'a Env<'a>) -> Self {
        let (program, options) = (env.program, env.options);
        let width = options.subgroup_size;
        let invocations: u32 = program.workgroup_size.iter().product();
        let n_subgroups = invocations.div_ceil(width);
        // Without barriers subgroups run one after the other, and can use the same registers.
        let has_barriers = program.code.iter().any(|i| matches!(i, Instr::Barrier(_)));
        let n_states = if has_barriers { n_subgroups } else { n_subgroups.min(1) };
        let mut subgroups: Vec<Subgroup> = (0..n_states)
            .map(|ix| Subgroup {
                regs: Regs::new(width as usize, program.n_slots),
                masks: vec![0; program.n_masks],
                mask: 0,
                full: 0,
                pc: 0,
                steps: 0,
                ix,
                done: false,
            })
            .collect();
        for subgroup in &mut subgroups {
            program.constants.iter().for_each(|&(slot, bits)| subgroup.regs.fill(slot, bits));
        }
        let words = (program.workgroup_bytes / 4) as usize;
        let cx = Context {
            env,
            workgroup_id: [0; 3],
            workgroup_memory: std::iter::repeat_with(AtomicU32::default).take(words).collect(),
            recorder: (options.trace != TraceMode::Off)
                .then(|| Recorder::new(program.sites.len(), options.banks)),
            tracing: false,
            sanitizer: options.sanitize.then(|| Sanitizer::new(program, &env.sizes, &env.same, width)),
            offsets: Box::new([0; MAX_LANES]),
            warnings: Vec::new(),
        };
        Self { env, subgroups, cx, steps: 0 }
    }

    fn workgroup(&mut self, ix: u64, total: u64) -> Result<(), Box<Fault>> {
        let env = self.env;
        let [nx, ny, _] = env.workgroups.map(u64::from);
        self.cx.workgroup_id = [(ix % nx) as u32, (ix / nx % ny) as u32, (ix / nx / ny) as u32];
        self.cx.tracing = env.options.trace.traces(ix, total);
        self.cx.workgroup_memory.iter_mut().for_each(|w| *w.get_mut() = 0);
        if let Some(sanitizer) = &mut self.cx.sanitizer {
            sanitizer.begin_workgroup(ix, self.cx.workgroup_id);
        }
        let width = env.options.subgroup_size;
        let n_subgroups = env.program.workgroup_size.iter().product::<u32>().div_ceil(width);
        if self.subgroups.len() < n_subgroups as usize {
            for n in 0..n_subgroups {
                let ix = if env.options.reverse_subgroups { n_subgroups - 1 - n } else { n };
                let subgroup = &mut self.subgroups[0];
                begin(env, self.cx.workgroup_id, subgroup, ix);
                // There is no barrier to stop at.
                let _ = step::run(subgroup, &mut self.cx)?;
                self.steps += subgroup.steps;
            }
            return Ok(());
        }
        for (ix, subgroup) in self.subgroups.iter_mut().enumerate() {
            begin(env, self.cx.workgroup_id, subgroup, ix as u32);
        }
        while self.run_to_barrier()? {
            if let Some(sanitizer) = &mut self.cx.sanitizer
                && let Some(subgroup) = self.subgroups.first()
                && let Instr::Barrier(scope) = env.program.code[subgroup.pc as usize - 1]
            {
                sanitizer.barrier(scope);
            }
        }
        self.steps += self.subgroups.iter().map(|s| s.steps).sum::<u64>();
        Ok(())
    }

    /// Runs every subgroup to the next barrier; whether there was one.
    fn run_to_barrier(&mut self) -> Result<bool, Box<Fault>> {
        let mut at = None;
        let n = self.subgroups.len();
        for i in 0..n {
            let reverse = self.env.options.reverse_subgroups;
            let subgroup = &mut self.subgroups[if reverse { n - 1 - i } else { i }];
            match step::run(subgroup, &mut self.cx)? {
                Stop::Barrier => at = at.or(Some((subgroup.pc, subgroup.ix))),
                Stop::End => subgroup.done = true,
            }
        }
        let Some((pc, ix)) = at else { return Ok(false) };
        let lanes = |s: &Subgroup| s.full.count_ones();
        let arrived: u32 = self.subgroups.iter().filter(|s| !s.done && s.pc == pc).map(lanes).sum();
        let expected: u32 = self.subgroups.iter().map(lanes).sum();
        if arrived == expected {
            return Ok(true);
        }
        Err(self.cx.fault(FaultKind::DivergentBarrier { arrived, expected }, pc - 1, ix, 0))
    }
}

/// Puts a subgroup at the start of a workgroup.
fn begin(env: &Env<'_>, workgroup: [u32; 3], subgroup: &mut Subgroup, ix: u32) {
    let width = env.options.subgroup_size;
    let size = env.program.workgroup_size;
    let invocations: u32 = size.iter().product();
    let first = ix * width;
    subgroup.ix = ix;
    subgroup.full = first_lanes((invocations - first).min(width) as usize);
    subgroup.mask = subgroup.full;
    (subgroup.pc, subgroup.steps, subgroup.done) = (0, 0, false);
    for &(builtin, slot) in &env.program.builtins {
        let lanes = subgroup.regs.n_mut(slot);
        for (lane, value) in lanes.iter_mut().enumerate() {
            let index = first + lane as u32;
            let local = [index % size[0], index / size[0] % size[1], index / size[0] / size[1]];
            *value = match builtin {
                Builtin::GlobalInvocationId(i) => {
                    let i = usize::from(i);
                    workgroup[i].wrapping_mul(size[i]).wrapping_add(local[i])
                }
                Builtin::LocalInvocationId(i) => local[usize::from(i)],
                Builtin::LocalInvocationIndex => index,
                Builtin::WorkgroupId(i) => workgroup[usize::from(i)],
                Builtin::NumWorkgroups(i) => env.workgroups[usize::from(i)],
                Builtin::WorkgroupSize(i) => size[usize::from(i)],
                Builtin::NumSubgroups => invocations.div_ceil(width),
                Builtin::SubgroupId => ix,
                Builtin::SubgroupSize => width,
                Builtin::SubgroupInvocationId => lane as u32,
            };
        }
    }
}
