//! What the front ends hand to the classifier: the accesses of one kernel, still symbolic.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::count::{Access, Memo};
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
    /// Bytes per lane, from the first to the last.
    pub(crate) width: u64,
    /// The stretches of these that are touched, as (distance, length); none where all are.
    pub(crate) parts: Vec<(u64, u64)>,
    /// What addresses are multiples of, as the language promises.
    pub(crate) align: u64,
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

impl RawSite {
    /// Bytes that a lane touches.
    pub(crate) fn bytes(&self) -> u64 {
        if self.parts.is_empty() { self.width } else { self.parts.iter().map(|p| p.1).sum() }
    }

    /// As it is counted, at this offset.
    pub(crate) fn access<'a>(
        &'a self,
        offset: &'a Value,
        guards: &'a HashMap<AtomId, Vec<Value>>,
    ) -> Access<'a> {
        Access {
            offset,
            width: self.width,
            parts: &self.parts,
            align: self.align,
            conditions: &self.conditions,
            enclosing: &self.enclosing,
            guards,
        }
    }

    /// Makes accesses of one place to parts of one element one access: a compiler loads an element field by field. In
    /// workgroup memory each is a request to the banks by itself.
    pub(crate) fn join_parts(sites: &mut Vec<RawSite>) {
        let mut out: Vec<RawSite> = Vec::with_capacity(sites.len());
        let mut rest = std::mem::take(sites).into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut group = vec![(0i64, first)];
            while let Some(next) = rest.peek()
                && let Some(distance) = group[0].1.distance_to_part(next)
            {
                let Some(next) = rest.next() else { break };
                group.push((distance, next));
            }
            out.extend(joined(group));
        }
        *sites = out;
    }

    /// The distance to another access of the same statement to the same element, if it may be one.
    fn distance_to_part(&self, other: &RawSite) -> Option<i64> {
        let stride = self.record.as_ref().map(|r| r.stride)?;
        let same = self.space != Space::Workgroup
            && (self.span.start, self.kind, &self.buffer) == (other.span.start, other.kind, &other.buffer)
            && self.record == other.record
            && self.conditions == other.conditions
            && self.enclosing == other.enclosing
            && self.assumed == other.assumed;
        let (Place::Offset(a), Place::Offset(b)) = (&self.place, &other.place) else { return None };
        let distance = if same { b.sub(a).as_int()? } else { return None };
        (distance.unsigned_abs() < stride).then_some(distance)
    }
}

/// One access of each run of pieces that lies within an element and has no piece twice.
fn joined(mut group: Vec<(i64, RawSite)>) -> Vec<RawSite> {
    if group.len() == 1 {
        return group.into_iter().map(|g| g.1).collect();
    }
    group.sort_by_key(|g| g.0);
    let stride = group[0].1.record.as_ref().map_or(0, |r| r.stride);
    let mut out: Vec<(i64, RawSite)> = Vec::new();
    for (at, site) in group {
        if let Some((start, last)) = out.last_mut() {
            let from = (at - *start) as u64;
            let end = from + site.width;
            if from >= last.width && end <= stride {
                if last.parts.is_empty() {
                    last.parts.push((0, last.width));
                }
                match last.parts.last_mut() {
                    Some(part) if part.0 + part.1 == from => part.1 += site.width,
                    _ => last.parts.push((from, site.width)),
                }
                last.width = end;
                continue;
            }
        }
        out.push((at, site));
    }
    let whole = |mut s: RawSite| {
        if s.parts.len() == 1 {
            s.parts.clear();
        }
        s
    };
    out.into_iter().map(|(_, s)| whole(s)).collect()
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
    /// Invocations of a workgroup in x, y and z.
    pub(crate) workgroup: [u32; 3],
    /// Whether the text leaves them to the host, which was not asked.
    pub(crate) workgroup_assumed: bool,
    /// Counts that other kernels of the file have made.
    pub(crate) memo: Arc<Memo>,
    /// Operations on lanes that the counts of this kernel's accesses have taken.
    pub(crate) spent: Cell<u64>,
}
