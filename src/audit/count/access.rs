//! What is counted, and how the count is qualified.

use std::collections::{BTreeMap, HashMap};

use crate::audit::lanes::{AtomId, Value};

/// A memory access as the algebra sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// Byte offset into the buffer.
    pub(crate) offset: &'a Value,
    /// The bytes of a lane from there on: how many, and which stretches of them, where it is not all.
    pub(crate) width: u64,
    pub(crate) parts: &'a [(u64, u64)],
    /// What the offset is a multiple of.
    pub(crate) align: u64,
    /// Conditions (0 or 1) under which a lane takes part; all must hold.
    pub(crate) conditions: &'a [Value],
    /// Workgroup ids and loop counters around the access, innermost last.
    pub(crate) enclosing: &'a [AtomId],
    /// While-conditions of loops, by counter.
    pub(crate) guards: &'a HashMap<AtomId, Vec<Value>>,
}

/// How much of the space of symbol values was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coverage {
    /// Every request of the dispatch, with its multiplicity.
    Complete,
    /// Every residue of the unknown symbols, each equally likely.
    Residues,
    /// A sample of values.
    Sampled,
}

/// What was assumed, for the finding's notes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assumption {
    /// Averaged over the residues of these symbols.
    Residues(String),
    /// Distinct multiples of this unknown don't share a block.
    Large(String),
    /// Lanes for which this data-dependent condition holds are taken to be all.
    DataCondition(String),
    /// This uniform condition is taken to hold, by the name of what it depends on.
    Condition(String),
    /// The number of workgroups was inferred from a guard or clamp: (symbol, count).
    Grid(String, u64),
    /// No lane was found to take part; all were taken to.
    AllLanes,
}

/// The residues' shift of a whole request: weight by shift modulo the modulus.
pub(super) type Shifts = BTreeMap<i64, u128>;

/// One request: lane and byte offset of each active lane.
pub(super) type Request = [(usize, i64)];
