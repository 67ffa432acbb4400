//! Machine code without the machine: what a kernel becomes on Apple, AMD, Adreno, Intel and NVIDIA GPUs, by
//! Mesa's compilers, on a Linux machine that has none of them. Nothing is executed.
//!
//! Mesa's Vulkan drivers report instructions, registers, occupancy and spills of each pipeline that they
//! compile, if they only believe that a GPU is there. [`Isa`] finds drivers, builds a stand-in for the kernel
//! driver where one is needed, and runs the compiling in a child process, so that a driver that crashes or
//! hangs is an error like any other.
//!
//! It is Mesa's compiler, not the vendor's: registers and the mix of instructions are a good guess of what
//! Apple's or NVIDIA's own would give, not their numbers.

mod build;
mod gpus;
mod module;
mod record;
mod run;
mod setup;
mod worker;

pub use build::{Isa, Origin};
pub use gpus::{GPUS, Gpu};
pub use module::Kernel;
pub use record::{Code, Occupancy, Raw};
pub use run::{Compiled, Options, Results};
pub use setup::{Package, Setup, setup_plan};
pub use worker::worker_main;

/// Why no machine code could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// No GPU has this name.
    #[error("no GPU is called `{name}`; known are {known}")]
    UnknownGpu {
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// No driver for this GPU is on this machine.
    #[error("no driver for {gpu} ({why}); `marlin isa --setup` fetches one")]
    NoDriver {
        /// The GPU's name.
        gpu: String,
        /// What was looked for.
        why: String,
    },
    /// The drivers are for Linux.
    #[error("machine code by Mesa's drivers is for Linux on x86-64 only")]
    Host,
    /// The stand-in could not be built.
    #[error("the stand-in kernel driver does not build: {0}")]
    Build(String),
    /// A file or process of ours failed.
    #[error("{what}: {why}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's message.
        why: String,
    },
    /// The driver did not come up.
    #[error("the driver for {gpu} does not come up: {why}")]
    Driver {
        /// The GPU's name.
        gpu: String,
        /// The child's message.
        why: String,
    },
    /// Packages could not be fetched.
    #[error("setup: {0}")]
    Setup(String),
    /// A kernel that naga's back end refuses.
    #[error("{0}")]
    Lower(String),
}

impl IsaError {
    pub(super) fn io(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::Io { what: what.to_string(), why: why.to_string() }
    }
}
