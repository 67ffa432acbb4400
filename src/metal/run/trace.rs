//! What the accesses of a run move.

use super::memory::Memories;
use super::{SiteTraffic, site};
use crate::exec::Traffic;
use crate::metal::instrument::Site;
use std::collections::{BTreeMap, HashMap};

/// Offsets are kept in the low bits, the region's number above.
const OFFSET_BITS: u32 = 44;

/// Collects the accesses of one simdgroup between two rendezvous, and the sums of all.
#[derive(Default)]
pub(super) struct Tracer {
    /// Per simdgroup and site: what each lane did, in order.
    open: Vec<HashMap<u32, Vec<Vec<u64>>>>,
    /// Per site and region.
    sums: BTreeMap<(u32, u64), Traffic>,
}

impl Tracer {
    pub(super) fn new(simdgroups: usize) -> Self {
        Self { open: vec![HashMap::new(); simdgroups], sums: BTreeMap::new() }
    }

    /// Lane `lane` of simdgroup `simdgroup` touches `offset` of region number `region`.
    pub(super) fn add(&mut self, simdgroup: usize, lane: usize, site: u32, region: usize, offset: usize) {
        let lanes = self.open[simdgroup].entry(site).or_default();
        if lanes.len() <= lane {
            lanes.resize(lane + 1, Vec::new());
        }
        lanes[lane].push((region as u64) << OFFSET_BITS | offset as u64);
    }

    /// Counts the requests of a simdgroup that has come to a rendezvous or its end: the first accesses of all
    /// lanes at a site are one request, then the second, and so on.
    pub(super) fn close(&mut self, simdgroup: usize, sites: &[Site]) {
        let mut offsets: Vec<u64> = Vec::new();
        for (site_ix, lanes) in self.open[simdgroup].drain() {
            let bytes = site(sites, site_ix).bytes;
            let most = lanes.iter().map(Vec::len).max().unwrap_or(0);
            for nth in 0..most {
                let mut request: Vec<u64> = lanes.iter().filter_map(|l| l.get(nth).copied()).collect();
                request.sort_unstable();
                for part in request.chunk_by(|a, b| a >> OFFSET_BITS == b >> OFFSET_BITS) {
                    offsets.clear();
                    offsets.extend(part.iter().map(|o| o & ((1 << OFFSET_BITS) - 1)));
                    let sum = self.sums.entry((site_ix, part[0] >> OFFSET_BITS)).or_default();
                    sum.add_request(&mut offsets, bytes);
                }
            }
        }
    }

    /// The sums by place, in the order of the text. Copies of one access that unrolling made are one again.
    pub(super) fn finish(self, sites: &[Site], memories: &Memories) -> Vec<SiteTraffic> {
        let mut rows: Vec<SiteTraffic> = Vec::new();
        for ((site_ix, region), traffic) in self.sums {
            let Some(region) = memories.region(region as usize) else { continue };
            let s = site(sites, site_ix);
            let same = |r: &&mut SiteTraffic| {
                r.place == s.place && r.op == s.op && r.buffer == region.name && r.bytes_per_lane == s.bytes
            };
            match rows.iter_mut().find(same) {
                Some(row) => row.traffic.merge(&traffic),
                None => rows.push(SiteTraffic {
                    place: s.place,
                    op: s.op,
                    memory: region.memory,
                    buffer: region.name.clone(),
                    bytes_per_lane: s.bytes,
                    traffic,
                }),
            }
        }
        rows.sort_by(|a, b| (&a.place, a.op, &a.buffer).cmp(&(&b.place, b.op, &b.buffer)));
        rows
    }
}
