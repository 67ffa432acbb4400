//! What can go wrong, as data with source spans.

use naga::Span;

use crate::memory::AccessKind;

/// Why a kernel can't be compiled for the executor. Found before anything runs.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The module has no compute entry point of this name.
    #[error("no compute entry point named `{0}`")]
    NoEntryPoint(String),
    /// A pipeline-overridable constant is missing, unknown, or out of its type's range.
    #[error("pipeline constants: {0}")]
    Overrides(String),
    /// The executor does not implement what the kernel uses.
    #[error("not supported by the CPU executor: {what}")]
    Unsupported {
        /// The construct, by its name in WGSL or in naga's IR.
        what: String,
        /// Where it is used.
        span: Span,
    },
    /// The kernel exceeds a limit that keeps memory and time bounded.
    #[error("too large for the CPU executor: {what}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Where.
        span: Span,
    },
}

impl CompileError {
    /// The source range that the error is about.
    pub fn span(&self) -> Option<Span> {
        match *self {
            Self::Unsupported { span, .. } | Self::TooLarge { span, .. } => span.is_defined().then_some(span),
            Self::NoEntryPoint(_) | Self::Overrides(_) => None,
        }
    }
}

/// Why a dispatch did not finish.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The kernel uses a binding that was not given.
    #[error("`{name}` at @group({group}) @binding({binding}) is not bound")]
    NotBound {
        /// Bind group index.
        group: u32,
        /// Binding index in the group.
        binding: u32,
        /// The variable's name.
        name: String,
    },
    /// A buffer where the kernel has a texture, or the reverse, or a texture of another format or shape.
    #[error("`{name}` is bound to the wrong kind of resource: {why}")]
    WrongResource {
        /// The variable's name.
        name: String,
        /// What was expected and what was given.
        why: String,
    },
    /// A buffer is smaller than the variable's type.
    #[error("`{name}` needs a buffer of at least {needed} bytes, got {got}")]
    BufferTooSmall {
        /// The variable's name.
        name: String,
        /// Bytes that the type needs; a runtime-sized array counts as one element.
        needed: u64,
        /// Bytes given.
        got: u64,
    },
    /// An option is out of its range.
    #[error("{0}")]
    InvalidOption(String),
    /// A workgroup's registers and memory, or the sanitizer's shadow memory, exceed the executor's limit.
    #[error(
        "the executor needs {bytes} bytes for registers, workgroup memory or shadow memory, more than {limit}"
    )]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The kernel did something wrong.
    #[error(transparent)]
    Fault(#[from] Box<Fault>),
}

impl ExecError {
    /// The fault, if the kernel is to blame.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) => Some(fault),
            _ => None,
        }
    }
}

/// One invocation of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invocation {
    /// `workgroup_id`.
    pub workgroup: [u32; 3],
    /// `local_invocation_index`.
    pub local_index: u32,
}

impl std::fmt::Display for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [x, y, z] = self.workgroup;
        write!(f, "invocation {} of workgroup ({x}, {y}, {z})", self.local_index)
    }
}

/// A mistake of the kernel, found while it ran.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("kernel `{kernel}`: {kind}; {invocation}")]
pub struct Fault {
    /// The entry point.
    pub kernel: String,
    /// What happened.
    pub kind: FaultKind,
    /// The source of the statement or expression; undefined if the module was made without spans.
    pub span: Span,
    /// Who did it: the lowest such lane.
    pub invocation: Invocation,
}

/// The kinds of [`Fault`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// An index outside of its array, vector, matrix or texture. Only with the sanitizer; without it the
    /// index is clamped.
    #[error("index {index} is out of bounds of `{name}`, which has {length} elements there")]
    OutOfBounds {
        /// The variable.
        name: String,
        /// The index as the kernel computed it.
        index: i64,
        /// Elements that can be indexed.
        length: u64,
    },
    /// Two invocations access the same bytes with no barrier between them, and at least one writes.
    /// Only with the sanitizer.
    #[error(
        "data race on `{name}` at byte {offset}: {kind} after an unsynchronized {earlier_kind} by {earlier}"
    )]
    Race {
        /// The variable.
        name: String,
        /// Byte offset in the variable.
        offset: u64,
        /// The access that found the race.
        kind: AccessKind,
        /// The access before it.
        earlier_kind: AccessKind,
        /// Who made that.
        earlier: Invocation,
        /// The source of that.
        earlier_span: Span,
    },
    /// A read of workgroup memory that no invocation of the workgroup has written. WGSL defines it as zero, but
    /// kernels that run without zero-initialization read garbage. Only with the sanitizer.
    #[error("read of uninitialized workgroup memory: `{name}` at byte {offset}")]
    Uninitialized {
        /// The variable.
        name: String,
        /// Byte offset in the variable.
        offset: u64,
    },
    /// A barrier that some invocations of the workgroup don't reach.
    #[error("barrier in divergent control flow: reached by {arrived} of {expected} invocations")]
    DivergentBarrier {
        /// Invocations that are at this barrier.
        arrived: u32,
        /// Invocations that should be.
        expected: u32,
    },
    /// A subgroup operation that not all lanes of the subgroup come to: GPUs differ in which lanes take part. A warning.
    #[error("subgroup operation in divergent control flow: {active} of {lanes} lanes take part")]
    DivergentSubgroup {
        /// Lanes that are active.
        active: u32,
        /// Lanes of the subgroup.
        lanes: u32,
    },
    /// A lane asks for the value of a lane that is not there, or not active: it gets anything. A warning.
    #[error("the value of lane {lane} is asked for, which {}", if *.exists { "is not active" } else { "does not exist" })]
    AbsentLane {
        /// The lane asked for.
        lane: u32,
        /// Whether the subgroup has it.
        exists: bool,
    },
    /// A shift by as many bits as the type has, or more: WGSL takes the amount modulo the width, which is rarely what is
    /// meant. A warning.
    #[error("a shift by {amount} of a type with {bits} bits shifts by {}", .amount % .bits)]
    LargeShift {
        /// The amount as the kernel computed it.
        amount: u32,
        /// Bits of the type.
        bits: u32,
    },
    /// A subgroup ran more instructions than [`Options::max_steps`](super::Options::max_steps).
    #[error("more than {0} steps: an infinite loop?")]
    StepLimit(u64),
}
