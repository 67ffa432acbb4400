//! How often, and at what cost: blocks and banks per request of an access.

mod access;
mod enumerate;
mod memo;
mod period;
mod walk;

use std::collections::BTreeSet;

use super::lanes::{Algebra, SymbolKind};
use crate::memory::{BLOCK_SIZES, BankModel, BankUse, Traffic};
use enumerate::Requests;

pub(crate) use access::{Access, Assumption, Coverage};
pub(crate) use memo::Memo;

/// Sums over requests, weighted by how often each request happens. The fields are those of
/// [`Traffic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) requests: u128,
    pub(crate) active_lanes: u128,
    pub(crate) useful_bytes: u128,
    pub(crate) blocks: [u128; 3],
    pub(crate) blocks_if_aligned: [u128; 3],
}

impl Sums {
    /// Both together.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let three = |a: [u128; 3], b: [u128; 3]| std::array::from_fn(|i| a[i].saturating_add(b[i]));
        Sums {
            requests: self.requests.saturating_add(other.requests),
            active_lanes: self.active_lanes.saturating_add(other.active_lanes),
            useful_bytes: self.useful_bytes.saturating_add(other.useful_bytes),
            blocks: three(self.blocks, other.blocks),
            blocks_if_aligned: three(self.blocks_if_aligned, other.blocks_if_aligned),
        }
    }

    fn add(&mut self, one: &Traffic, weight: u128) {
        let add = |a: &mut u128, b: u64| *a = a.saturating_add(u128::from(b).saturating_mul(weight));
        add(&mut self.requests, one.requests);
        add(&mut self.active_lanes, one.active_lanes);
        add(&mut self.useful_bytes, one.useful_bytes);
        for i in 0..BLOCK_SIZES.len() {
            add(&mut self.blocks[i], one.blocks[i]);
            add(&mut self.blocks_if_aligned[i], one.blocks_if_aligned[i]);
        }
    }
}

/// The count of one access.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) sums: Sums,
    pub(crate) coverage: Coverage,
    pub(crate) assumptions: BTreeSet<Assumption>,
    /// The first request with the most active lanes: lane and byte offset.
    pub(crate) example: Vec<(usize, i64)>,
    /// Whether the distances between lanes are real: they don't change with the values made up for unknowns.
    pub(crate) real: bool,
    /// The number of workgroups that the sums stand for, if that can be told.
    pub(crate) groups: Option<f64>,
    /// Operations on lanes that it took.
    pub(crate) work: u64,
}

/// What an access asks of memory in an average workgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PerGroup {
    /// Bytes that lanes ask for, each lane's counted.
    pub(crate) asked_bytes: f64,
    /// Distinct bytes per request.
    pub(crate) useful_bytes: f64,
    /// Blocks of 32, 64 and 128 bytes.
    pub(crate) blocks: [f64; 3],
}

impl std::ops::Add for PerGroup {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            asked_bytes: self.asked_bytes + other.asked_bytes,
            useful_bytes: self.useful_bytes + other.useful_bytes,
            blocks: std::array::from_fn(|i| self.blocks[i] + other.blocks[i]),
        }
    }
}

impl Counted {
    /// The sums of one workgroup on average, of an access of `width` bytes per lane.
    pub(crate) fn per_group(&self, width: u64) -> Option<PerGroup> {
        let groups = self.groups.filter(|g| *g > 0.0)?;
        let s = &self.sums;
        Some(PerGroup {
            asked_bytes: s.active_lanes as f64 * width as f64 / groups,
            useful_bytes: s.useful_bytes as f64 / groups,
            blocks: s.blocks.map(|b| b as f64 / groups),
        })
    }
}

/// The modulus of [`Requests`] in which blocks are counted.
const LINE: i64 = BLOCK_SIZES[2] as i64;

/// Counts the blocks of an access, and where it is asked for the words per bank.
pub(crate) fn count(
    algebra: &Algebra,
    access: Access<'_>,
    banks: Option<BankModel>,
    budget: usize,
) -> (Counted, Option<BankUse>) {
    let requests = Requests::collect(algebra, access, LINE, budget);
    let ways = banks.map(|banks| {
        let period = banks.period_bytes() as i64;
        if period == LINE {
            worst_use(banks, &requests, access.width)
        } else {
            worst_use(banks, &Requests::collect(algebra, access, period, budget), access.width)
        }
    });
    let unknown = algebra.symbols_in(access.offset).iter().any(|&s| {
        algebra
            .symbol_of(s)
            .is_some_and(|s| s.count.is_none() && matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded))
    });
    let mut counted = blocks_of(requests, access);
    if unknown && counted.example.len() > 1 {
        let other = Requests::collect_with(algebra, access, LINE, budget / 16, 3);
        counted.real = distances(&counted.example) == distances(&other.shapes.example);
        counted.work += other.work;
    }
    (counted, ways)
}

/// Byte offsets of a request's lanes, less the first.
fn distances(request: &[(usize, i64)]) -> Vec<(usize, i64)> {
    let first = request.first().map_or(0, |r| r.1);
    request.iter().map(|&(lane, at)| (lane, at.wrapping_sub(first))).collect()
}

fn blocks_of(requests: Requests, access: Access<'_>) -> Counted {
    let mut sums = Sums::default();
    let mut offsets: Vec<u64> = Vec::new();
    requests.for_each(&mut |shape, lowest, weight| {
        offsets.clear();
        offsets.extend(shape.iter().map(|&o| (o.wrapping_add(lowest)) as u64 & (u64::MAX >> 2)));
        let mut one = Traffic::default();
        match access.parts {
            [] => one.add_request(&mut offsets, access.width),
            parts => one.add_request_of_parts(&offsets, parts),
        }
        sums.add(&one, weight);
    });
    let Requests { coverage, assumptions, shapes, groups, work, .. } = requests;
    Counted { sums, coverage, assumptions, example: shapes.example, real: true, groups, work }
}

/// The worst use of banks of one request. What a shape's first address is within a word is all that matters.
fn worst_use(model: BankModel, requests: &Requests, width: u64) -> BankUse {
    let word = i64::from(model.bank_bytes.max(1));
    let period = model.period_bytes() as i64;
    let mut worst = BankUse::default();
    let mut last: Option<(*const i64, i64)> = None;
    requests.for_each(&mut |shape, lowest, _| {
        let lowest = lowest.rem_euclid(word);
        if last.replace((shape.as_ptr(), lowest)) == Some((shape.as_ptr(), lowest)) {
            return;
        }
        // Distances are far below a quarter of the range; banks only know offsets modulo their period.
        let bias = shape.iter().copied().min().unwrap_or(0).div_euclid(period).wrapping_mul(period);
        let offsets = shape.iter().map(|&o| (o.wrapping_sub(bias).wrapping_add(lowest)) as u64);
        let one = model.use_of(offsets, width.min(64 * word as u64));
        if one.ways * worst.ideal_ways.max(1) > worst.ways * one.ideal_ways.max(1) || worst.ways == 0 {
            worst = one;
        }
    });
    worst
}
