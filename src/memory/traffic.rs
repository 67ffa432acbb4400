//! What requests to memory move: the one count that the executor's trace, the Metal trace and the
//! auditor's algebra are all compared in.

/// Block sizes in bytes at which traffic is counted: a sector, a half line, a line.
pub const BLOCK_SIZES: [u64; 3] = [32, 64, 128];

/// One of the block sizes in which traffic is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Block {
    /// 32 bytes: what an NVIDIA GPU fetches for a miss.
    Sector,
    /// 64 bytes: Intel's line.
    Half,
    /// 128 bytes: the line of all others.
    Line,
}

impl Block {
    /// Its place in [`BLOCK_SIZES`] and in the arrays of [`Traffic`].
    pub fn ix(self) -> usize {
        self as usize
    }

    /// Its size.
    pub fn bytes(self) -> u64 {
        BLOCK_SIZES[self.ix()]
    }

    /// "sector" or "line".
    pub fn noun(self) -> &'static str {
        if self == Block::Sector { "sector" } else { "line" }
    }
}

/// Sums over the requests of one access site.
///
/// A request is what the active lanes of one subgroup ask of memory with one instruction.
/// Divide by [`requests`](Self::requests) for averages per request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of requests with at least one active lane.
    pub requests: u64,
    /// Active lanes, summed over requests.
    pub active_lanes: u64,
    /// Distinct bytes touched, summed over requests: a byte that two lanes of a request read counts once.
    pub useful_bytes: u64,
    /// Distinct blocks of 32, 64 and 128 bytes touched, summed over requests.
    pub blocks: [u64; 3],
    /// The same with each request's lowest address subtracted first, so that misalignment drops out.
    pub blocks_if_aligned: [u64; 3],
}

impl Traffic {
    /// Counts one request: `offsets` are the byte offsets of the active lanes' first bytes, in any
    /// order, each lane touching `bytes_per_lane` contiguous bytes. An empty request counts nothing.
    pub fn add_request(&mut self, offsets: &mut [u64], bytes_per_lane: u64) {
        if offsets.is_empty() || bytes_per_lane == 0 {
            return;
        }
        offsets.sort_unstable();
        self.requests += 1;
        self.active_lanes += offsets.len() as u64;
        let lowest = offsets[0];
        let mut covered_to = 0;
        for &start in offsets.iter() {
            let end = start + bytes_per_lane;
            self.useful_bytes += end - start.max(covered_to).min(end);
            covered_to = covered_to.max(end);
        }
        for (i, &size) in BLOCK_SIZES.iter().enumerate() {
            self.blocks[i] += distinct_blocks(offsets, 0, bytes_per_lane, size);
            self.blocks_if_aligned[i] += distinct_blocks(offsets, lowest, bytes_per_lane, size);
        }
    }

    /// As [`add_request`](Self::add_request), of lanes that touch several stretches each: `parts` are their distances
    /// from a lane's offset and their lengths.
    pub fn add_request_of_parts(&mut self, offsets: &[u64], parts: &[(u64, u64)]) {
        let all =
            offsets.iter().flat_map(|&o| parts.iter().map(move |&(at, length)| (o + at, o + at + length)));
        let mut stretches: Vec<(u64, u64)> = all.filter(|s| s.1 > s.0).collect();
        stretches.sort_unstable();
        let Some(&(lowest, _)) = stretches.first() else { return };
        self.requests += 1;
        self.active_lanes += offsets.len() as u64;
        let mut covered_to = 0;
        let (mut free, mut free_if_aligned) = ([0; 3], [0; 3]);
        for &(start, end) in &stretches {
            self.useful_bytes += end - start.max(covered_to).min(end);
            covered_to = covered_to.max(end);
            for (i, &size) in BLOCK_SIZES.iter().enumerate() {
                let count = |origin: u64, next_free: &mut u64| {
                    let first = ((start - origin) / size).max(*next_free);
                    let last = (end - origin - 1) / size;
                    let new = (last + 1).saturating_sub(first);
                    *next_free = (*next_free).max(last + 1);
                    new
                };
                self.blocks[i] += count(0, &mut free[i]);
                self.blocks_if_aligned[i] += count(lowest, &mut free_if_aligned[i]);
            }
        }
    }

    /// Adds another sum, for example another workgroup's.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.active_lanes += other.active_lanes;
        self.useful_bytes += other.useful_bytes;
        for i in 0..BLOCK_SIZES.len() {
            self.blocks[i] += other.blocks[i];
            self.blocks_if_aligned[i] += other.blocks_if_aligned[i];
        }
    }

    /// Bytes that memory must deliver at a block size of [`BLOCK_SIZES`]`[block_ix]`.
    pub fn fetched_bytes(&self, block_ix: usize) -> u64 {
        self.blocks[block_ix] * BLOCK_SIZES[block_ix]
    }
}

/// Distinct blocks of `size` bytes under sorted `offsets`, with `origin` subtracted from each.
fn distinct_blocks(offsets: &[u64], origin: u64, bytes_per_lane: u64, size: u64) -> u64 {
    let mut count = 0;
    let mut next_free = 0;
    for &offset in offsets {
        let first = ((offset - origin) / size).max(next_free);
        let last = (offset - origin + bytes_per_lane - 1) / size;
        if last >= first {
            count += last - first + 1;
            next_free = last + 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The plainest count: a set of bytes, a set of blocks.
    fn by_sets(offsets: &[u64], width: u64) -> Traffic {
        let bytes: BTreeSet<u64> = offsets.iter().flat_map(|&o| o..o + width).collect();
        let low = *offsets.iter().min().unwrap();
        let count = |origin: u64, size: u64| {
            bytes.iter().map(|b| (b - origin) / size).collect::<BTreeSet<_>>().len() as u64
        };
        Traffic {
            requests: 1,
            active_lanes: offsets.len() as u64,
            useful_bytes: bytes.len() as u64,
            blocks: BLOCK_SIZES.map(|s| count(0, s)),
            blocks_if_aligned: BLOCK_SIZES.map(|s| count(low, s)),
        }
    }

    proptest::proptest! {
        /// One part is the plain request; a split one is the same bytes.
        #[test]
        fn parts_count_as_the_bytes_that_they_cover(
            offsets in proptest::collection::vec(0u64..4096, 1..32), width in 1u64..40, cut in 0u64..40,
        ) {
            let cut = cut.min(width);
            let mut whole = Traffic::default();
            whole.add_request(&mut offsets.clone(), width);
            let mut parts = Traffic::default();
            parts.add_request_of_parts(&offsets, &[(0, cut), (cut, width - cut)]);
            proptest::prop_assert_eq!(whole, parts);
        }

        #[test]
        fn equals_a_count_by_sets(offsets in proptest::collection::vec(0u64..2000, 1..64), width in 1u64..20) {
            let mut t = Traffic::default();
            t.add_request(&mut offsets.clone(), width);
            proptest::prop_assert_eq!(t, by_sets(&offsets, width));
        }
    }

    #[test]
    fn unit_stride_fills_its_line_and_a_column_does_not() {
        let mut unit = Traffic::default();
        unit.add_request(&mut (0..32).map(|l| 4 * l).collect::<Vec<_>>(), 4);
        assert_eq!(unit.blocks, [4, 2, 1]);
        let mut column = Traffic::default();
        column.add_request(&mut (0..32).map(|l| 4096 * l).collect::<Vec<_>>(), 4);
        assert_eq!(column.blocks, [32, 32, 32]);
        assert_eq!(column.useful_bytes, 128);
    }
}
