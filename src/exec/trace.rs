//! What each access of a kernel asked of memory.
//!
//! Statistics are streaming: a site keeps sums, whatever the dispatch's size. Since requests repeat, a
//! site also remembers its last few patterns (offsets relative to the first active lane, and the first
//! offset modulo the largest period) with their counts, and only counts how often each comes again.

use naga::Span;

use super::regs::{MAX_LANES, Mask, lanes};
use crate::memory::{AccessKind, BankModel, BankUse, Block, Space, Traffic};

/// One access in the source, and what it asked of memory in the traced workgroups.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// The access expression or statement.
    pub span: Span,
    /// Load, store or atomic.
    pub kind: AccessKind,
    /// What kind of memory.
    pub space: Space,
    /// The variable's name.
    pub buffer: String,
    /// Bytes from the first to the last that one lane touches.
    pub bytes_per_lane: u64,
    /// Requests, lanes, bytes, blocks.
    pub traffic: Traffic,
    /// Bank conflicts, for workgroup memory.
    pub banks: Option<BankUse>,
}

impl Site {
    /// Line and column (in bytes, from 1) in the text that the module was parsed from.
    pub fn location(&self, source: &str) -> Option<naga::SourceLocation> {
        locate(self.span, source)
    }
}

/// Line and column of a span, if it is one of this text.
pub fn locate(span: Span, source: &str) -> Option<naga::SourceLocation> {
    let range = span.to_range()?;
    source.get(range)?;
    Some(span.location(source))
}

/// What tells sites apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SiteKey {
    pub(super) span: Span,
    pub(super) kind: AccessKind,
    pub(super) global: u32,
    /// 0 for a sampled texture: its format says.
    pub(super) bytes_per_lane: u32,
}

const PATTERNS: usize = 4;

/// A pattern of a request, and what it costs.
#[derive(Clone)]
struct Pattern {
    mask: Mask,
    phase: u64,
    relative: [u32; MAX_LANES],
    traffic: Traffic,
    banks: BankUse,
    hits: u64,
}

#[derive(Clone, Default)]
struct Record {
    traffic: Traffic,
    banks: BankUse,
    patterns: Vec<Pattern>,
    next: usize,
}

impl Record {
    fn settle(&mut self, ix: usize) {
        let pattern = &mut self.patterns[ix];
        let times = std::mem::take(&mut pattern.hits);
        let (t, sum) = (&pattern.traffic, &mut self.traffic);
        sum.requests += t.requests * times;
        sum.active_lanes += t.active_lanes * times;
        sum.useful_bytes += t.useful_bytes * times;
        for i in 0..t.blocks.len() {
            sum.blocks[i] += t.blocks[i] * times;
            sum.blocks_if_aligned[i] += t.blocks_if_aligned[i] * times;
        }
        self.banks.ways += pattern.banks.ways * times;
        self.banks.ideal_ways += pattern.banks.ideal_ways * times;
        if times > 0 {
            self.banks.max_ways = self.banks.max_ways.max(pattern.banks.max_ways);
        }
    }
}

/// The records of one thread.
pub(super) struct Recorder {
    records: Vec<Record>,
    model: BankModel,
    /// Requests whose first offsets differ by a multiple of this cost the same.
    period: u64,
}

impl Recorder {
    pub(super) fn new(n_sites: usize, model: BankModel) -> Self {
        let period = lcm(Block::Line.bytes(), model.period_bytes());
        Self { records: vec![Record::default(); n_sites], model, period }
    }

    /// Counts a request of a subgroup: `offsets[lane]` for the lanes of `mask`.
    pub(super) fn record(&mut self, site: u32, offsets: &[u32], mask: Mask, bytes: u64, banked: bool) {
        if mask == 0 || bytes == 0 {
            return;
        }
        let base = offsets[mask.trailing_zeros() as usize];
        let phase = u64::from(base) % self.period;
        let mut relative = [0u32; MAX_LANES];
        if mask.count_ones() as usize == offsets.len() {
            relative.iter_mut().zip(offsets).for_each(|(r, &o)| *r = o.wrapping_sub(base));
        } else {
            lanes(mask).for_each(|l| relative[l] = offsets[l].wrapping_sub(base));
        }
        let record = &mut self.records[site as usize];
        let n = offsets.len();
        let known = record
            .patterns
            .iter()
            .position(|p| p.mask == mask && p.phase == phase && p.relative[..n] == relative[..n]);
        let ix = match known {
            Some(ix) => ix,
            None => {
                let mut traffic = Traffic::default();
                let mut active: Vec<u64> = lanes(mask).map(|l| u64::from(offsets[l])).collect();
                let banks = if banked {
                    self.model.use_of(active.iter().copied(), bytes)
                } else {
                    BankUse::default()
                };
                traffic.add_request(&mut active, bytes);
                let pattern = Pattern { mask, phase, relative, traffic, banks, hits: 0 };
                if record.patterns.len() < PATTERNS {
                    record.patterns.push(pattern);
                    record.patterns.len() - 1
                } else {
                    let ix = record.next;
                    record.settle(ix);
                    record.patterns[ix] = pattern;
                    record.next = (ix + 1) % PATTERNS;
                    ix
                }
            }
        };
        record.patterns[ix].hits += 1;
    }

    /// Counts a request that is no list of one offset per lane: `count` adds it to the sums.
    pub(super) fn record_with(&mut self, site: u32, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.records[site as usize].traffic);
    }

    /// Adds another thread's records.
    pub(super) fn merge(&mut self, mut other: Self) {
        for (mine, theirs) in self.records.iter_mut().zip(&mut other.records) {
            for ix in 0..theirs.patterns.len() {
                theirs.settle(ix);
            }
            mine.traffic.merge(&theirs.traffic);
            mine.banks.ways += theirs.banks.ways;
            mine.banks.ideal_ways += theirs.banks.ideal_ways;
            mine.banks.max_ways = mine.banks.max_ways.max(theirs.banks.max_ways);
        }
    }

    /// The sums of each site.
    pub(super) fn finish(mut self) -> Vec<(Traffic, BankUse)> {
        for record in &mut self.records {
            for ix in 0..record.patterns.len() {
                record.settle(ix);
            }
        }
        self.records.into_iter().map(|r| (r.traffic, r.banks)).collect()
    }
}

fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Remembering patterns changes no sum.
        #[test]
        fn patterns_count_as_single_requests(
            requests in proptest::collection::vec((0u32..3, 0u32..4, 1u128..256), 1..60),
        ) {
            let mut recorder = Recorder::new(1, BankModel::default());
            let (mut traffic, mut ways) = (Traffic::default(), 0);
            for (stride, base, mask) in requests {
                let offsets: Vec<u32> = (0..8).map(|l| 4 * base + l * [4, 8, 132][stride as usize]).collect();
                recorder.record(0, &offsets, mask, 4, true);
                let mut active: Vec<u64> = lanes(mask).map(|l| u64::from(offsets[l])).collect();
                ways += BankModel::default().use_of(active.iter().copied(), 4).ways;
                traffic.add_request(&mut active, 4);
            }
            let (got, banks) = recorder.finish()[0];
            proptest::prop_assert_eq!(got, traffic);
            proptest::prop_assert_eq!(banks.ways, ways);
        }
    }
}
