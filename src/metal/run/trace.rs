//! What the accesses of a run move.

use super::memory::Memories;
use super::{SiteTraffic, site};
use crate::memory::Traffic;
use crate::metal::instrument::Site;
use std::collections::BTreeMap;

/// Offsets are kept in the low bits, the region's number above.
const OFFSET_BITS: u32 = 44;

/// Collects the accesses of one simdgroup between two rendezvous, and the sums of all.
#[derive(Default)]
pub(super) struct Tracer {
    /// Per simdgroup.
    open: Vec<Open>,
    /// Per site and region.
    sums: BTreeMap<(u32, u64), Traffic>,
}

/// What the lanes of a simdgroup did since its last rendezvous.
#[derive(Clone, Default)]
struct Open {
    /// Per site the number of its slot, from 1; 0 where nothing was done.
    slot_of: Vec<u32>,
    /// Per slot the site, and what each lane did there, in order. Kept and used again.
    slots: Vec<(u32, Vec<Vec<u64>>)>,
    used: usize,
}

impl Open {
    fn lanes(&mut self, site: u32) -> &mut Vec<Vec<u64>> {
        let site_ix = site as usize;
        if self.slot_of.len() <= site_ix {
            self.slot_of.resize(site_ix + 1, 0);
        }
        if self.slot_of[site_ix] == 0 {
            self.used += 1;
            self.slot_of[site_ix] = self.used as u32;
            if self.slots.len() < self.used {
                self.slots.push((site, Vec::new()));
            }
            self.slots[self.used - 1].0 = site;
        }
        &mut self.slots[self.slot_of[site_ix] as usize - 1].1
    }
}

impl Tracer {
    pub(super) fn new(simdgroups: usize) -> Self {
        Self { open: vec![Open::default(); simdgroups], sums: BTreeMap::new() }
    }

    /// Lane `lane` of simdgroup `simdgroup` touches `offset` of region number `region`.
    pub(super) fn add(&mut self, simdgroup: usize, lane: usize, site: u32, region: usize, offset: usize) {
        let lanes = self.open[simdgroup].lanes(site);
        if lanes.len() <= lane {
            lanes.resize(lane + 1, Vec::new());
        }
        lanes[lane].push((region as u64) << OFFSET_BITS | offset as u64);
    }

    /// Counts the requests of a simdgroup that has come to a rendezvous or its end: the first accesses of all
    /// lanes at a site are one request, then the second, and so on.
    pub(super) fn close(&mut self, simdgroup: usize, sites: &[Site]) {
        let (mut offsets, mut request): (Vec<u64>, Vec<u64>) = Default::default();
        let open = &mut self.open[simdgroup];
        for &mut (site_ix, ref mut lanes) in &mut open.slots[..open.used] {
            let bytes = sites.get(site_ix as usize).map_or(0, |s| s.bytes);
            let most = lanes.iter().map(Vec::len).max().unwrap_or(0);
            for nth in 0..most {
                request.clear();
                request.extend(lanes.iter().filter_map(|l| l.get(nth).copied()));
                request.sort_unstable();
                for part in request.chunk_by(|a, b| a >> OFFSET_BITS == b >> OFFSET_BITS) {
                    offsets.clear();
                    offsets.extend(part.iter().map(|o| o & ((1 << OFFSET_BITS) - 1)));
                    let sum = self.sums.entry((site_ix, part[0] >> OFFSET_BITS)).or_default();
                    sum.add_request(&mut offsets, bytes);
                }
            }
            lanes.iter_mut().for_each(Vec::clear);
            open.slot_of[site_ix as usize] = 0;
        }
        open.used = 0;
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
