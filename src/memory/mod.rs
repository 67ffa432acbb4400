//! The ground floor: the words in which the executor, the Metal runner and the auditor speak of memory.
//!
//! The three exist to be compared, so that what is compared is spelled once: kinds of memory and of access, places in
//! a text, traffic in blocks, banks.

mod banks;
mod place;
mod sample;
mod traffic;

pub use banks::{BankModel, BankUse};
pub use place::Location;
pub use sample::TraceMode;
pub use traffic::{BLOCK_SIZES, Block, Traffic};

use serde::Serialize;

/// Kinds of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// A storage buffer, Metal's `device`.
    Storage,
    /// Workgroup memory, Metal's `threadgroup`.
    Workgroup,
    /// A uniform buffer or immediates, Metal's `constant`.
    Uniform,
    /// A texture.
    Texture,
}

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKind {
    /// Read.
    Load,
    /// Write.
    Store,
    /// Read, change and write, as one.
    Atomic,
}

impl std::fmt::Display for AccessKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Store => "store",
            Self::Atomic => "atomic",
        })
    }
}

/// What tells the accesses of one kernel apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    /// Where it stands.
    pub at: Location,
    /// What is done.
    pub kind: AccessKind,
    /// To which kind of memory.
    pub space: Space,
    /// The variable's name.
    pub buffer: String,
    /// Bytes that one lane touches.
    pub bytes_per_lane: u64,
}
