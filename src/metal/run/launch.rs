//! One run: threadgroups one after another, the threads of each as coroutines that switch at rendezvous.

mod hooks;

use super::MAX_PRIVATE_BYTES;
use super::child;
use super::memory::Memories;
use super::object::{Compiled, Object, ThreadIds, open};
use super::shadow::{Met, Moment, Shadow};
use super::trace::Tracer;
use super::{Bound, Fault, FaultKind, Memory, Op, Run, RunError, RunOptions, Tenths, Texture, site};
use crate::memory::TraceMode;
use crate::metal::location::Place;
use crate::metal::signature::{Binding, Kernel};
use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::collections::{BTreeMap, HashSet};
use std::ffi::c_void;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Stack of a thread beside its private variables; untouched pages cost nothing.
const STACK_BYTES: usize = 128 << 10;
/// What an instruction may take of the stack where nothing is kept in registers: one vector.
const STACK_BYTES_PER_INSTRUCTION: u64 = 64;
/// Steps between two looks at the clock.
const STEPS_PER_LOOK: i64 = 1 << 20;
/// Lanes and bytes per lane of an exchange (`struct marlin_exchange`).
const EXCHANGE_LANES: usize = 64;
/// Faults that are kept; more of the same kernel tell nothing new.
const MAX_FAULTS: usize = 64;

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// At a threadgroup barrier.
    Barrier {
        site: u32,
        flags: u32,
    },
    /// At a simdgroup barrier.
    SimdBarrier {
        site: u32,
        flags: u32,
    },
    /// At a simdgroup function, with its value in `pending`.
    Exchange {
        site: u32,
        size: u32,
    },
    Done,
}

struct Thread {
    ids: ThreadIds,
    state: State,
    yielder: *const Yielder<(), ()>,
    pending: [u8; 64],
    /// The exchange that the thread goes on with.
    exchange: *const Exchange,
    /// Barriers passed that order threadgroup and device memory: of the threadgroup, of the simdgroup.
    epochs: [[u32; 2]; 2],
    /// Simdgroup functions passed.
    exchanged: u32,
    stack: (usize, usize),
    /// Private variables that are in memory now, innermost function last.
    privates: Vec<Private>,
}

/// A private variable of a thread.
struct Private {
    start: usize,
    len: usize,
    /// Number of its name.
    name: u32,
    /// A bit per byte that was written; empty if nobody asks.
    written: Vec<u64>,
}

impl Private {
    fn contains(&self, address: usize, bytes: usize) -> bool {
        address >= self.start
            && address - self.start <= self.len
            && self.len - (address - self.start) >= bytes
    }

    /// Remembers a write.
    fn write(&mut self, offset: usize, bytes: usize) {
        if !self.written.is_empty() {
            (offset..offset + bytes).for_each(|b| self.written[b / 64] |= 1 << (b % 64));
        }
    }

    /// The first byte of a read that counts and was never written.
    fn unwritten(&self, offset: usize, bytes: usize, mask: i64) -> Option<usize> {
        let counts = |b: &usize| mask == -1 || *b < 63 && mask >> b & 1 != 0;
        let missing = |b: &usize| self.written[(offset + b) / 64] >> ((offset + b) % 64) & 1 == 0;
        if self.written.is_empty() { None } else { (0..bytes).find(|b| counts(b) && missing(b)) }
    }
}

/// `struct marlin_exchange` of `shim/runtime.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Exchange {
    active: u64,
    padding: [u64; 7],
    slots: [[u8; 64]; EXCHANGE_LANES],
}

/// Exchanges of a simdgroup. A simdgroup function may hold on to one while it makes the next.
const EXCHANGES: usize = 4;

/// A run, as the hooks see it.
struct Launch<'a> {
    object: &'a Object,
    options: &'a RunOptions,
    memories: &'a mut Memories,
    threads: Vec<Thread>,
    current: usize,
    exchanges: Vec<[Exchange; EXCHANGES]>,
    next_exchange: Vec<usize>,
    error: Option<RunError>,
    shadow: Option<Shadow>,
    tracer: Option<Tracer>,
    /// Whether this threadgroup is traced.
    tracing: bool,
    traced_threadgroups: u64,
    faults: Vec<Fault>,
    seen: HashSet<(u32, u32, u8)>,
    started: Instant,
    steps: u64,
    threadgroup: u32,
}

impl Launch<'_> {
    /// Checks and records an access before it happens.
    fn access(&mut self, address: usize, bytes: usize, site_ix: u32) -> Result<(), RunError> {
        child::LAST_SITE.store(site_ix, Relaxed);
        let sites = &self.object.info.sites;
        let op = sites.get(site_ix as usize).map_or(Op::Load, |s| s.op);
        let thread = &mut self.threads[self.current];
        if address >= thread.stack.0 && address < thread.stack.1 {
            let Some(private) = thread.privates.iter_mut().rev().find(|p| p.contains(address, bytes)) else {
                return Err(self.strayed(site_ix, bytes, "on the stack, in no private variable".to_owned()));
            };
            if op != Op::Load {
                private.write(address - private.start, bytes);
            }
            return Ok(());
        }
        let thread = &self.threads[self.current];
        let Some((number, region)) = self.memories.find(address, bytes) else {
            let constant = |&(start, len): &(usize, usize)| {
                address >= start && address.checked_add(bytes).is_some_and(|end| end <= start + len)
            };
            if op == Op::Load && self.object.constants.iter().any(constant) {
                return Ok(());
            }
            return Err(self.strayed(site_ix, bytes, self.memories.describe(address)));
        };
        let offset = address - region.start;
        if self.tracing
            && let Some(tracer) = &mut self.tracer
        {
            let simdgroup = thread.ids.simdgroup_index_in_threadgroup as usize;
            tracer.add(simdgroup, thread.ids.thread_index_in_simdgroup as usize, site_ix, number, offset);
        }
        if let Some(shadow) = &mut self.shadow {
            let kind = usize::from(region.memory != Memory::Threadgroup);
            let threads = self.threads.len() as u32;
            let now = Moment {
                thread: self.threadgroup * threads + self.current as u32 + 1,
                threadgroup: self.threadgroup,
                simdgroup: thread.ids.simdgroup_index_in_threadgroup,
                epoch: thread.epochs[0][kind],
                simd_epoch: thread.epochs[1][kind],
                exchange: thread.exchanged,
                site: site_ix,
                atomic: op == Op::Atomic,
            };
            let met = shadow.touch(address, bytes, region.memory, op, now);
            let read_only = op != Op::Load && !region.writable;
            let name = region.name.clone();
            if let Some(met) = met {
                self.fault(met, site_ix, &name, offset);
            }
            if read_only {
                self.keep((site_ix, 0, 2), FaultKind::ReadOnly, site_ix, &name, offset);
            }
        }
        Ok(())
    }

    /// The error of an access that leaves what it may touch.
    fn strayed(&self, site_ix: u32, bytes: usize, what: String) -> RunError {
        let (s, thread) = (site(&self.object.info.sites, site_ix), &self.threads[self.current]);
        RunError::OutOfBounds {
            place: s.place,
            op: s.op,
            bytes: bytes as u64,
            what,
            thread: thread.ids.thread_position_in_threadgroup,
            threadgroup: thread.ids.threadgroup_position_in_grid,
        }
    }

    /// A private variable of the current thread begins.
    fn private_begin(&mut self, start: usize, bytes: u64, name: u32) {
        let len = bytes as usize;
        let written = if self.shadow.is_some() { vec![0; len.div_ceil(64)] } else { Vec::new() };
        self.threads[self.current].privates.push(Private { start, len, name, written });
    }

    /// The variable at `start` holds nothing again.
    fn private_fresh(&mut self, start: usize) {
        let privates = &mut self.threads[self.current].privates;
        if let Some(p) = privates.iter_mut().rev().find(|p| p.start == start) {
            p.written.fill(0);
        }
    }

    /// The last `count` variables end with their function.
    fn private_end(&mut self, count: u32) {
        let privates = &mut self.threads[self.current].privates;
        privates.truncate(privates.len().saturating_sub(count as usize));
    }

    /// Checks an access that is meant for the private variable at `base`; of a load the bytes of `mask` count as read.
    fn private_access(
        &mut self,
        address: usize,
        bytes: u64,
        base: usize,
        mask: i64,
        site_ix: u32,
    ) -> Result<(), RunError> {
        child::LAST_SITE.store(site_ix, Relaxed);
        let bytes = bytes as usize;
        let privates = &mut self.threads[self.current].privates;
        // Out of a function that was not told of: nothing is known, the general check decides.
        let Some(private) = privates.iter_mut().rev().find(|p| p.start == base) else {
            return self.access(address, bytes, site_ix);
        };
        let name = self.object.info.privates.get(private.name as usize).cloned().unwrap_or_default();
        if !private.contains(address, bytes) {
            let len = private.len;
            let what = if address < base {
                format!("{} bytes before the start of `{name}` ({len} bytes)", base - address)
            } else {
                format!("at byte {} of `{name}`, which has {len} bytes", address - base)
            };
            return Err(self.strayed(site_ix, bytes, what));
        }
        let offset = address - base;
        if self.object.info.sites.get(site_ix as usize).is_some_and(|s| s.op != Op::Load) {
            private.write(offset, bytes);
        } else if let Some(byte) = private.unwritten(offset, bytes, mask) {
            self.keep((site_ix, 0, 1), FaultKind::UninitializedPrivate, site_ix, &name, offset + byte);
        }
        Ok(())
    }

    fn fault(&mut self, met: Met, site_ix: u32, buffer: &str, offset: usize) {
        let sites = &self.object.info.sites;
        let (kind, key, byte) = match met {
            Met::Race { other, byte } => {
                let other_site = site(sites, other);
                (
                    FaultKind::Race { other: other_site.place, other_op: other_site.op },
                    (site_ix.min(other), site_ix.max(other), 0),
                    byte,
                )
            }
            Met::Uninitialized { byte } => (FaultKind::Uninitialized, (site_ix, 0, 1), byte),
        };
        self.keep(key, kind, site_ix, buffer, offset + byte);
    }

    /// Keeps a fault whose like was not seen yet.
    fn keep(&mut self, key: (u32, u32, u8), kind: FaultKind, site_ix: u32, buffer: &str, offset: usize) {
        if self.faults.len() < MAX_FAULTS && self.seen.insert(key) {
            let s = site(&self.object.info.sites, site_ix);
            let (buffer, offset) = (buffer.to_owned(), offset as u64);
            self.faults.push(Fault { kind, place: s.place, op: s.op, buffer, offset });
        }
    }

    /// Lets threads go on from what they wait at, or says why none can. `false` when all are done.
    fn release(&mut self) -> Result<bool, RunError> {
        let width = self.options.simd_width as usize;
        let count = self.threads.len();
        let mut any_simd = false;
        for simdgroup in 0..count.div_ceil(width) {
            let lanes = simdgroup * width..(simdgroup * width + width).min(count);
            if let Some(tracer) = &mut self.tracer {
                tracer.close(simdgroup, &self.object.info.sites);
            }
            // Lanes that came to different calls go on call by call, in the order of the text.
            let site = self.threads[lanes.clone()].iter().filter_map(|t| simd_site(t.state)).min();
            let Some(site) = site else { continue };
            any_simd = true;
            let here: Vec<usize> =
                lanes.clone().filter(|&t| simd_site(self.threads[t].state) == Some(site)).collect();
            self.release_simd(simdgroup, lanes.start, &here);
        }
        if any_simd {
            return Ok(true);
        }
        let waiting = |t: &Thread| match t.state {
            State::Barrier { site, .. } => Some(site),
            _ => None,
        };
        let Some(first) = self.threads.iter().find_map(waiting) else { return Ok(false) };
        let arrived = self.threads.iter().filter(|t| waiting(t) == Some(first)).count();
        if arrived != count {
            return Err(self.divergent(first, arrived as u32));
        }
        for thread in &mut self.threads {
            if let State::Barrier { flags, .. } = thread.state {
                thread.pass(0, flags);
            }
            thread.state = State::Ready;
        }
        Ok(true)
    }

    fn release_simd(&mut self, simdgroup: usize, first: usize, here: &[usize]) {
        let slot = self.next_exchange[simdgroup];
        self.next_exchange[simdgroup] = (slot + 1) % EXCHANGES;
        let exchange = &mut self.exchanges[simdgroup][slot];
        exchange.active = 0;
        for &t in here {
            let thread = &mut self.threads[t];
            let lane = t - first;
            match thread.state {
                State::Exchange { size, .. } => {
                    exchange.active |= 1 << lane;
                    let size = (size as usize).min(thread.pending.len());
                    exchange.slots[lane][..size].copy_from_slice(&thread.pending[..size]);
                    thread.exchange = exchange;
                    thread.exchanged += 1;
                }
                State::SimdBarrier { flags, .. } => thread.pass(1, flags),
                _ => {}
            }
            thread.state = State::Ready;
        }
    }

    fn divergent(&self, site_ix: u32, arrived: u32) -> RunError {
        let mut others: BTreeMap<Option<u32>, u32> = BTreeMap::new();
        for thread in &self.threads {
            match thread.state {
                State::Barrier { site, .. } if site != site_ix => *others.entry(Some(site)).or_default() += 1,
                State::Barrier { .. } => {}
                _ => *others.entry(None).or_default() += 1,
            }
        }
        let elsewhere: Vec<String> = others
            .iter()
            .map(|(other, n)| match other {
                Some(other) => format!("{n} at the barrier at {}", self.place(*other)),
                None => format!("{n} ended without it"),
            })
            .collect();
        let of = self.threads.len() as u32;
        RunError::DivergentBarrier {
            place: self.place(site_ix),
            arrived,
            of,
            elsewhere: elsewhere.join(", "),
        }
    }

    fn place(&self, site_ix: u32) -> Place {
        site(&self.object.info.sites, site_ix).place
    }
}

impl Thread {
    /// Passes a barrier of the threadgroup (0) or simdgroup (1) that orders the memories of `flags`.
    fn pass(&mut self, scope: usize, flags: u32) {
        const DEVICE: u32 = 1;
        const THREADGROUP: u32 = 2;
        self.epochs[scope][0] += u32::from(flags & THREADGROUP != 0);
        self.epochs[scope][1] += u32::from(flags & DEVICE != 0);
    }
}

fn simd_site(state: State) -> Option<u32> {
    match state {
        State::Exchange { site, .. } | State::SimdBarrier { site, .. } => Some(site),
        _ => None,
    }
}

type Fiber = Coroutine<(), (), (), DefaultStack>;

/// Runs a kernel over a grid, in a process of its own.
pub(super) fn run(
    compiled: &Compiled,
    kernel: &Kernel,
    threadgroups: [u32; 3],
    threads: [u32; 3],
    buffers: &mut [Bound],
    textures: &mut [Texture],
    options: &RunOptions,
) -> Result<Run, RunError> {
    let per_group = threads.iter().fold(1u64, |n, &k| n.saturating_mul(u64::from(k)));
    let product = |sizes: [u32; 3]| sizes.iter().try_fold(1u64, |n, &k| n.checked_mul(u64::from(k)));
    let groups = product(threadgroups).unwrap_or(u64::MAX);
    if !(1..=1024).contains(&per_group) {
        return Err(RunError::Size(format!("a threadgroup has 1 to 1024 threads, not {threads:?}")));
    }
    if groups.checked_mul(per_group).is_none_or(|n| n >= 1 << 32) {
        return Err(RunError::Size(format!(
            "{threadgroups:?} threadgroups of {threads:?} threads are too many"
        )));
    }
    if !(4..=64).contains(&options.simd_width) || !options.simd_width.is_power_of_two() {
        return Err(RunError::Size(format!(
            "a simdgroup has 4, 8, 16, 32 or 64 threads, not {}",
            options.simd_width
        )));
    }
    for param in &kernel.params {
        let Binding::Threadgroup { index } = param.binding else { continue };
        if !param.optional && !options.threadgroup_lengths.iter().any(|(i, _)| *i == index) {
            let what = format!("no length for threadgroup memory {index}");
            return Err(RunError::NotBound { name: param.name.clone(), what });
        }
    }
    let mut memories = Memories::new(kernel, buffers, textures)?;
    let ended = child::run(options.max_time, |limit| {
        let ran = open(compiled).and_then(|object| {
            limit();
            // The child's own: what it changes besides buffers and textures is lost with it.
            in_child(&object, &mut memories, threadgroups, threads, options)
        });
        serde_json::to_vec(&ran).unwrap_or_default()
    })?;
    let run = match ended {
        child::Ended::Reported(report) => serde_json::from_slice::<Result<Run, RunError>>(&report)
            .map_err(|e| RunError::CouldNotRun(format!("the report of the kernel's process: {e}")))??,
        child::Ended::TimeOut => {
            let seconds = Tenths((options.max_time.as_millis() / 100) as u64);
            return Err(RunError::Endless { steps: 0, seconds });
        }
        child::Ended::Signal { signal, site, below_stack } => {
            let place = site.map(|s| compiled.site(s).place).unwrap_or_default();
            let how = match signal {
                _ if below_stack => "its stack overflowed".to_owned(),
                libc::SIGSEGV | libc::SIGBUS => "it touched memory that is not there".to_owned(),
                libc::SIGILL | libc::SIGTRAP => "it came to an instruction that ends it".to_owned(),
                libc::SIGFPE => "an arithmetic trap".to_owned(),
                libc::SIGSYS => "it asked something of the system".to_owned(),
                libc::SIGKILL => "it was killed, perhaps for want of memory".to_owned(),
                other => format!("signal {other}"),
            };
            return Err(RunError::Died { how, place });
        }
        child::Ended::Silent(how) => return Err(RunError::Died { how, place: Place::default() }),
    };
    memories.copy_out(kernel, buffers, textures);
    Ok(run)
}

/// Runs a loaded kernel, in the process that is there for it.
fn in_child(
    object: &Object,
    memories: &mut Memories,
    threadgroups: [u32; 3],
    threads: [u32; 3],
    options: &RunOptions,
) -> Result<Run, RunError> {
    if object.private_bytes > MAX_PRIVATE_BYTES {
        return Err(RunError::PrivateMemory { bytes: object.private_bytes });
    }
    let rest = object.instructions.saturating_mul(STACK_BYTES_PER_INSTRUCTION).min(1 << 26);
    let stack_bytes = STACK_BYTES + object.private_bytes as usize + rest as usize;
    let per_group = threads.iter().product::<u32>();
    let groups = threadgroups.iter().map(|&n| u64::from(n)).product::<u64>();
    let simdgroups = (per_group as usize).div_ceil(options.simd_width as usize);
    let empty = Exchange { active: 0, padding: [0; 7], slots: [[0; 64]; EXCHANGE_LANES] };
    let mut launch = Launch {
        object,
        options,
        memories,
        threads: Vec::with_capacity(per_group as usize),
        current: 0,
        exchanges: vec![[empty; EXCHANGES]; simdgroups],
        next_exchange: vec![0; simdgroups],
        error: None,
        shadow: options.sanitize.then(Shadow::default),
        tracer: options.trace.then(|| Tracer::new(simdgroups)),
        tracing: false,
        traced_threadgroups: 0,
        faults: Vec::new(),
        seen: HashSet::new(),
        started: Instant::now(),
        steps: 0,
        threadgroup: 0,
    };
    // SAFETY: the table and the counters are the object's own, and this process has one run.
    unsafe {
        *object.host = hooks::TABLE;
        *object.steps = STEPS_PER_LOOK;
    }
    let mut stacks: Vec<DefaultStack> = Vec::new();
    let sample = options.trace_sample.map_or(TraceMode::All, TraceMode::Sample);
    let mut result = Ok(());
    'grid: for z in 0..threadgroups[2] {
        for y in 0..threadgroups[1] {
            for x in 0..threadgroups[0] {
                let number = u64::from(launch.threadgroup);
                launch.tracing = options.trace && sample.traces(number, groups);
                launch.traced_threadgroups += u64::from(launch.tracing);
                result = run_threadgroup(
                    &mut launch,
                    [x, y, z],
                    threadgroups,
                    threads,
                    (&mut stacks, stack_bytes),
                );
                if result.is_err() {
                    break 'grid;
                }
                launch.threadgroup += 1;
            }
        }
    }
    result?;
    // SAFETY: as above.
    let left = unsafe { *object.steps };
    let traffic = launch.tracer.take().map_or(Vec::new(), |t| t.finish(&object.info.sites, launch.memories));
    Ok(Run {
        faults: launch.faults,
        traffic,
        traced_threadgroups: launch.traced_threadgroups,
        threadgroup_bytes: launch.memories.threadgroup_bytes(),
        steps: launch.steps + (STEPS_PER_LOOK - left) as u64,
    })
}

/// Runs one threadgroup to its end. Stacks are lent by `stacks` and given back.
fn run_threadgroup(
    launch: &mut Launch,
    at: [u32; 3],
    threadgroups: [u32; 3],
    threads: [u32; 3],
    (stacks, stack_bytes): (&mut Vec<DefaultStack>, usize),
) -> Result<(), RunError> {
    launch.memories.poison();
    if let Some(shadow) = &mut launch.shadow {
        shadow.forget_threadgroup();
    }
    launch.threads.clear();
    let count = threads.iter().product::<u32>();
    let width = launch.options.simd_width;
    let mut fibers: Vec<Fiber> = Vec::with_capacity(count as usize);
    let entry = launch.object.entry;
    let arguments = launch.memories.arguments.as_ptr() as usize;
    for i in 0..count {
        let stack = match stacks.pop() {
            Some(stack) => stack,
            None => DefaultStack::new(stack_bytes)
                .map_err(|e| RunError::CouldNotRun(format!("no stack for a thread: {e}")))?,
        };
        let local = [i % threads[0], i / threads[0] % threads[1], i / threads[0] / threads[1]];
        let ids = ThreadIds {
            thread_position_in_grid: std::array::from_fn(|d| at[d] * threads[d] + local[d]),
            thread_position_in_threadgroup: local,
            threadgroup_position_in_grid: at,
            threads_per_grid: std::array::from_fn(|d| threadgroups[d] * threads[d]),
            threads_per_threadgroup: threads,
            threadgroups_per_grid: threadgroups,
            thread_index_in_threadgroup: i,
            thread_index_in_simdgroup: i % width,
            simdgroup_index_in_threadgroup: i / width,
            threads_per_simdgroup: width,
            simdgroups_per_threadgroup: count.div_ceil(width),
        };
        launch.threads.push(Thread {
            ids,
            state: State::Ready,
            yielder: std::ptr::null(),
            pending: [0; 64],
            exchange: std::ptr::null(),
            epochs: [[0; 2]; 2],
            exchanged: 0,
            stack: (stack.limit().get(), stack.base().get()),
            privates: Vec::new(),
        });
        fibers.push(Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            hooks::with(|l| l.threads[l.current].yielder = yielder);
            // Threads would use the same lines of the host's cache if their frames were equally far from the
            // tops of their page-aligned stacks.
            staggered(i, &mut || {
                // SAFETY: the entry reads one pointer per buffer parameter of its kernel; `Memories` made them.
                unsafe { entry(arguments as *const *mut c_void) }
            });
        }));
    }
    let launch: *mut Launch = launch;
    hooks::enter(launch.cast());
    let result = schedule(launch, &mut fibers);
    hooks::leave();
    for mut fiber in fibers {
        if !fiber.done() {
            // SAFETY: what is left on the stack is the kernel's, hooks that hold nothing, and `staggered`:
            // nothing there has a destructor.
            unsafe { fiber.force_reset() };
        }
        stacks.push(fiber.into_stack());
    }
    result
}

/// Calls `f` some way down the stack, a different way for neighbours.
#[inline(never)]
fn staggered(i: u32, f: &mut dyn FnMut()) {
    let mut pad = [0u8; 64];
    std::hint::black_box(&mut pad);
    if i.is_multiple_of(16) {
        f()
    } else {
        staggered(i % 16 - 1, f)
    }
    std::hint::black_box(&mut pad);
}

/// Resumes threads until all are done.
fn schedule(launch: *mut Launch, fibers: &mut [Fiber]) -> Result<(), RunError> {
    let count = fibers.len();
    // SAFETY: here and below `launch` is exclusively this call's; no reference to it lives while a fiber runs.
    let (reverse, current) = unsafe { ((*launch).options.reverse_lanes, (*launch).object.current) };
    loop {
        for n in 0..count {
            let i = if reverse { count - 1 - n } else { n };
            // SAFETY: see above.
            unsafe {
                let l = &mut *launch;
                if l.threads[i].state != State::Ready {
                    continue;
                }
                l.current = i;
                *current = &raw const l.threads[i].ids;
                child::STACK.store(l.threads[i].stack.0, Relaxed);
            }
            let outcome = fibers[i].resume(());
            // SAFETY: see above.
            let l = unsafe { &mut *launch };
            if let Some(error) = l.error.take() {
                return Err(error);
            }
            if matches!(outcome, CoroutineResult::Return(())) {
                l.threads[i].state = State::Done;
            }
        }
        // SAFETY: see above.
        if !unsafe { &mut *launch }.release()? {
            return Ok(());
        }
    }
}
