//! Running Metal kernels on the CPU: what to bind, how to watch, what comes back.
//!
//! A threadgroup is a set of coroutines on one thread of the host; barriers and simdgroup functions are
//! rendezvous at which they switch. Threadgroups run one after another, in order, so that a run is repeatable.
//! Within a threadgroup lanes run in order between two rendezvous, or in reverse order
//! ([`RunOptions::reverse_lanes`]): a result that depends on it depends on luck.
//!
//! Buffers are copied in and out, with wide gaps between them. [`Program::run`] checks every address before it is
//! used, so that a kernel that strays gives a [`RunError::OutOfBounds`]; [`Program::run_unwatched`] does not. Either way
//! a kernel that reaches for more than Metal has is refused before it is loaded (`admit`), and one that is loaded runs
//! in a process of its own with limits (`child`): whatever it does ends as a [`RunError`].

#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod child;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod launch;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod memory;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod object;
mod program;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod shadow;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod trace;

pub use program::Program;

use super::diagnostic::Diagnostic;
use super::instrument::Op;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
use super::instrument::Site;
use super::location::Place;
use crate::memory::Traffic;
use std::fmt;
use std::time::Duration;

/// Bytes of private variables that a thread may have in memory, of all functions together.
const MAX_PRIVATE_BYTES: u64 = 1 << 20;

/// How a kernel is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Threads per simdgroup, 4 to 64; Apple GPUs have 32.
    pub simd_width: u32,
    /// Runs the threads between two rendezvous from the last to the first.
    pub reverse_lanes: bool,
    /// Looks for accesses out of bounds, races and reads of threadgroup memory that nobody wrote.
    pub sanitize: bool,
    /// Counts what each access moves.
    pub trace: bool,
    /// Counts it for about so many threadgroups, evenly spread over the grid; `None` for all.
    pub trace_sample: Option<u32>,
    /// Jumps backwards that all threads together may take.
    pub max_steps: u64,
    /// Time that the run may take.
    pub max_time: Duration,
    /// Bytes of threadgroup memory at each `[[threadgroup(index)]]`: index and length.
    pub threadgroup_lengths: Vec<(u32, u64)>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            simd_width: 32,
            reverse_lanes: false,
            sanitize: false,
            trace: false,
            trace_sample: None,
            max_steps: 1 << 36,
            max_time: Duration::from_secs(120),
            threadgroup_lengths: Vec::new(),
        }
    }
}

/// A buffer at `[[buffer(slot)]]`.
#[derive(Debug)]
pub struct Bound<'a> {
    /// The slot.
    pub slot: u32,
    /// Its bytes.
    pub data: Data<'a>,
}

/// What a kernel may do with a buffer's bytes.
#[derive(Debug)]
pub enum Data<'a> {
    /// Read them; what it writes is lost, and a fault when the run is sanitized.
    Read(&'a [u8]),
    /// Read and write them.
    Write(&'a mut [u8]),
}

impl<'a> Bound<'a> {
    /// A buffer that the kernel only reads.
    pub fn read(slot: u32, bytes: &'a [u8]) -> Self {
        Self { slot, data: Data::Read(bytes) }
    }

    /// A buffer that the kernel may write.
    pub fn write(slot: u32, bytes: &'a mut [u8]) -> Self {
        Self { slot, data: Data::Write(bytes) }
    }
}

/// A texture at `[[texture(index)]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texture {
    /// The index.
    pub index: u32,
    /// Texels in a row.
    pub width: u32,
    /// Rows; 1 for one dimension.
    pub height: u32,
    /// Slices; 1 for two dimensions.
    pub depth: u32,
    /// Layers of an array; 1 for no array.
    pub layers: u32,
    /// Four words per texel, x fastest: the bits of floats, or integers.
    pub texels: Vec<[u32; 4]>,
}

/// What a run found beside its result.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[must_use]
pub struct Run {
    /// What the sanitizer found; empty if it was not asked.
    pub faults: Vec<Fault>,
    /// What each access moved, in the order of the text; empty if no trace was asked.
    pub traffic: Vec<SiteTraffic>,
    /// Threadgroups that [`traffic`](Self::traffic) is of.
    pub traced_threadgroups: u64,
    /// Bytes of threadgroup memory that a threadgroup used.
    pub threadgroup_bytes: u64,
    /// Jumps backwards that all threads together took.
    pub steps: u64,
}

/// Memory that an access went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Memory {
    /// A `device` buffer.
    Device,
    /// A `constant` buffer.
    Constant,
    /// Threadgroup memory.
    Threadgroup,
    /// Texels.
    Texture,
}

impl From<Memory> for crate::memory::Space {
    fn from(memory: Memory) -> Self {
        match memory {
            Memory::Device => Self::Storage,
            Memory::Constant => Self::Uniform,
            Memory::Threadgroup => Self::Workgroup,
            Memory::Texture => Self::Texture,
        }
    }
}

/// What the accesses of one place moved.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SiteTraffic {
    /// Where in the user's text.
    pub place: Place,
    /// Load, store or atomic.
    pub op: Op,
    /// Memory that it went to.
    pub memory: Memory,
    /// Name of the parameter or threadgroup variable.
    pub buffer: String,
    /// Bytes per lane.
    pub bytes_per_lane: u64,
    /// The sums over all requests. A request is what the lanes of a simdgroup do at one instruction, matched by
    /// how often each lane came by since the last rendezvous.
    #[serde(with = "numbers")]
    pub traffic: Traffic,
}

/// [`Traffic`] on its way from the process that counted it.
mod numbers {
    use super::Traffic;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Numbers = (u64, u64, u64, [u64; 3], [u64; 3]);

    pub(super) fn serialize<S: Serializer>(t: &Traffic, to: S) -> Result<S::Ok, S::Error> {
        (t.requests, t.active_lanes, t.useful_bytes, t.blocks, t.blocks_if_aligned).serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Traffic, D::Error> {
        let (requests, active_lanes, useful_bytes, blocks, blocks_if_aligned) = Numbers::deserialize(from)?;
        Ok(Traffic { requests, active_lanes, useful_bytes, blocks, blocks_if_aligned })
    }
}

/// What a kernel does wrong though it goes on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Where.
    pub place: Place,
    /// Load, store or atomic.
    pub op: Op,
    /// Name of the parameter or threadgroup variable.
    pub buffer: String,
    /// Byte offset in it at which it was first seen.
    pub offset: u64,
}

/// Kinds of [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FaultKind {
    /// Another thread touches the same byte, one of the two writes, and nothing orders them.
    Race {
        /// Where the other does.
        other: Place,
        /// What it does there.
        other_op: Op,
    },
    /// A read of threadgroup memory that no thread of the threadgroup has written.
    Uninitialized,
    /// A read of a private variable that the thread has not written.
    UninitializedPrivate,
    /// A write to a buffer that was bound for reading.
    ReadOnly,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Load => "load",
            Op::Store => "store",
            Op::Atomic => "atomic",
            Op::ThreadgroupBarrier => "threadgroup_barrier",
            Op::SimdgroupBarrier => "simdgroup_barrier",
            Op::Simd => "simdgroup function",
            Op::Trap => "trap",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, place, op, buffer, offset } = self;
        match kind {
            FaultKind::Race { other, other_op } => {
                write!(
                    f,
                    "{place}: race: this {op} of `{buffer}` at byte {offset} and the {other_op} at {other} by another thread are not ordered"
                )
            }
            FaultKind::Uninitialized => write!(
                f,
                "{place}: this load of threadgroup memory `{buffer}` at byte {offset} reads what no thread wrote"
            ),
            FaultKind::UninitializedPrivate => write!(
                f,
                "{place}: this load of the private variable `{buffer}` at byte {offset} reads what was never written"
            ),
            FaultKind::ReadOnly => {
                write!(f, "{place}: this {op} writes `{buffer}` at byte {offset}, which is bound for reading")
            }
        }
    }
}

/// Why a run gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum RunError {
    /// The text does not compile, or reaches for what Metal does not have.
    #[serde(skip)]
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Build(Vec<Diagnostic>),
    /// This machine can't run kernels.
    #[error("Metal kernels run on x86-64 and aarch64 Unix machines only")]
    Host,
    /// No kernel has that name.
    #[error("no kernel `{name}`; there are: {}", .kernels.join(", "))]
    NoKernel {
        /// The name asked for.
        name: String,
        /// The names there are.
        kernels: Vec<String>,
    },
    /// A parameter has nothing bound to it.
    #[error("nothing is bound to `{name}` ({what})")]
    NotBound {
        /// The parameter.
        name: String,
        /// Its slot in words.
        what: String,
    },
    /// A size that no dispatch can have.
    #[error("{0}")]
    Size(String),
    /// Something outside of the kernel failed: the compiler, the cache, the disk, a process.
    #[error("could not run: {0}")]
    CouldNotRun(String),
    /// The kernel came to an instruction that ends it: a trap, or code that the compiler took for unreachable.
    #[error("{place}: the kernel ends itself here (a trap, or code that its author says is never reached)")]
    Trap {
        /// Where.
        place: Place,
    },
    /// The kernel's process died.
    #[error("the kernel's process died: {how}{}", near(.place))]
    Died {
        /// How, in words.
        how: String,
        /// The last access or barrier before it; the default place if there was none.
        place: Place,
    },
    /// More private memory than a thread has.
    #[error("{bytes} bytes of private variables; a thread has {} here", MAX_PRIVATE_BYTES)]
    PrivateMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// An access outside everything that is bound.
    #[error(
        "{place}: {op} of {bytes} bytes out of bounds: {what} (thread {thread:?} of threadgroup {threadgroup:?})"
    )]
    OutOfBounds {
        /// Where.
        place: Place,
        /// Load, store or atomic.
        op: Op,
        /// Bytes of the access.
        bytes: u64,
        /// How far from which buffer.
        what: String,
        /// Position in the threadgroup.
        thread: [u32; 3],
        /// Position of the threadgroup.
        threadgroup: [u32; 3],
    },
    /// Threads of a threadgroup wait at different barriers, or some never come.
    #[error("{place}: divergent barrier: {arrived} of {of} threads are at it, {elsewhere}")]
    DivergentBarrier {
        /// The barrier.
        place: Place,
        /// Threads that wait there.
        arrived: u32,
        /// Threads of the threadgroup.
        of: u32,
        /// Where the others are.
        elsewhere: String,
    },
    /// The kernel took more steps or time than it may.
    #[error("stopped after {steps} loop steps and {seconds} s: the kernel does not end")]
    Endless {
        /// Jumps backwards taken.
        steps: u64,
        /// Seconds taken, in tenths.
        seconds: Tenths,
    },
    /// More threadgroup memory than there is.
    #[error("{bytes} bytes of threadgroup memory; a threadgroup has {}", super::MAX_THREADGROUP_BYTES)]
    ThreadgroupMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// Something that this runtime does not have.
    #[error("not supported on the CPU: {0}")]
    Unsupported(String),
}

/// "near ..." for a place that is known.
fn near(place: &Place) -> String {
    if place.line > 0 { format!(", near {place}") } else { String::new() }
}

/// Tenths of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tenths(pub u64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// A site, or the default for a number that is out of range.
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
fn site(sites: &[Site], number: u32) -> Site {
    sites.get(number as usize).cloned().unwrap_or(Site { place: Place::default(), op: Op::Load, bytes: 0 })
}
