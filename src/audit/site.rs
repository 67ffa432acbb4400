//! What the front ends hand to the classifier: the accesses of one kernel, still symbolic.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::count::Memo;
use super::lanes::{Algebra, AtomId, Value};
use crate::memory::{AccessKind, Space};

/// An element that has parts: a struct, or a vector that is taken component by component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The type's name.
    pub(crate) name: String,
    /// Bytes from one element to the next.
    pub(crate) stride: u64,
    /// Whether it is a vector, which can be loaded as one.
    pub(crate) vector: bool,
}

/// How the byte offset came out.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A byte offset into the buffer.
    Offset(Value),
    /// Not an address that can be followed, and why.
    Unknown(String),
}

/// One access, once per place in the inlined program.
#[derive(Clone, Debug)]
pub(crate) struct RawSite {
    /// The access, in bytes of the text that the front end read.
    pub(crate) span: Range<usize>,
    /// The index that differs between lanes, if one does.
    pub(crate) index_span: Option<Range<usize>>,
    pub(crate) buffer: String,
    pub(crate) space: Space,
    pub(crate) kind: AccessKind,
    /// Bytes per lane.
    pub(crate) width: u64,
    pub(crate) place: Place,
    pub(crate) conditions: Vec<Value>,
    pub(crate) enclosing: Vec<AtomId>,
    pub(crate) record: Option<Record>,
    /// What the source multiplies indices by on the way, in bytes: rows of arrays, and factors of the index.
    pub(crate) pitches: Vec<u64>,
    /// What was assumed to follow it at all.
    pub(crate) assumed: Option<String>,
    /// Number of loops around it.
    pub(crate) depth: usize,
    /// Rows of a matrix that a subgroup moves as one; 1 for accesses of single lanes.
    pub(crate) collective: bool,
}

/// A kernel after its front end.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) name: String,
    pub(crate) algebra: Algebra,
    pub(crate) sites: Vec<RawSite>,
    /// While-conditions of loops whose length was not found, by counter.
    pub(crate) guards: HashMap<AtomId, Vec<Value>>,
    /// Names of values that were asked for: what the settings can give.
    pub(crate) parameters: BTreeSet<String>,
    /// Counts that other kernels of the file have made.
    pub(crate) memo: Arc<Memo>,
    /// Operations on lanes that the counts of this kernel's accesses have taken.
    pub(crate) spent: Cell<u64>,
}
