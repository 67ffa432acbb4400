//! What the accesses of a request's neighbourhood use together: a block that one access fetches serves the others.

use std::collections::HashSet;

use super::Context;
use super::index::MOST_ROUNDS;
use crate::audit::classify::Classified;
use crate::audit::lanes::{AtomId, SymbolKind, Tape, Value};
use crate::audit::site::Place;

/// Neighbours are at most so many bytes away.
const NEAR: u64 = 4096;

impl Context<'_> {
    /// The part of each stride of this access that it and its neighbours in the same buffer use together, each lane
    /// at its own distance and in all rounds of short loops.
    pub(super) fn covered(&self, site: &Classified) -> f64 {
        let (Some(stride), Place::Offset(mine)) = (site.stride_bytes, &site.raw.place) else { return 0.0 };
        let stride = stride.max(1);
        let mut tape = Tape::new(self.algebra, &[mine]);
        tape.set_all(|id| self.elsewhere(id));
        tape.run();
        let begin: Vec<(usize, i64)> = {
            let at = tape.root(0);
            site.example.iter().map(|&(lane, _)| (lane, at.at(lane))).collect()
        };
        let mut bytes = HashSet::new();
        let least = begin.iter().map(|e| e.1).min().unwrap_or(0);
        let stretches: HashSet<i64> = begin.iter().map(|e| e.1.wrapping_sub(least) / stride).collect();
        let all = stretches.len().max(1) * usize::try_from(stride).unwrap_or(usize::MAX / 4096);
        for other in self.index.near(self.algebra, &site.raw) {
            let Place::Offset(theirs) = &other.place else { continue };
            self.rounds(mine, &theirs.sub(mine), &mut |at| {
                for &(lane, begin) in &begin {
                    let at = at[lane];
                    if at.wrapping_sub(begin).unsigned_abs() < NEAR {
                        bytes.extend((0..other.width.min(256) as i64).map(|b| at.wrapping_add(b)));
                    }
                }
            });
            if bytes.len() >= all {
                break;
            }
        }
        bytes.len() as f64 / (stretches.len().max(1) as f64 * stride as f64)
    }

    /// The address `mine + distance` of each lane in each round of the short loops that it depends on. Nothing if the
    /// distance depends on anything else.
    fn rounds(&self, mine: &Value, distance: &Value, visit: &mut dyn FnMut(&[i64])) {
        let short = |id: &AtomId| {
            let symbol = self.algebra.symbol_of(*id).filter(|s| s.kind == SymbolKind::Loop)?;
            symbol.count.filter(|&n| n <= MOST_ROUNDS).map(|n| (*id, n))
        };
        let in_distance = self.algebra.symbols_in(distance);
        if !in_distance.iter().all(|id| short(id).is_some()) || self.algebra.data_in(distance).is_some() {
            return;
        }
        let mut loops: Vec<_> =
            in_distance.iter().chain(&self.algebra.symbols_in(mine)).filter_map(short).collect();
        loops.sort_unstable();
        loops.dedup();
        let rounds = loops.iter().fold(1u64, |p, (_, n)| p.saturating_mul(*n));
        if rounds > MOST_ROUNDS {
            return;
        }
        let mut tape = Tape::new(self.algebra, &[mine, distance]);
        tape.set_all(|id| self.elsewhere(id));
        for round in 0..rounds {
            let mut rest = round;
            for &(id, n) in &loops {
                tape.set(id, (rest % n) as i64);
                rest /= n;
            }
            tape.run();
            let (mine, distance) = (tape.root(0), tape.root(1));
            let at = |lane| mine.at(lane).wrapping_add(distance.at(lane));
            visit(&(0..self.algebra.lanes()).map(at).collect::<Vec<_>>());
        }
    }

    /// A value of a symbol whose value does not matter: the first round of loops, something large for the rest.
    fn elsewhere(&self, id: AtomId) -> i64 {
        let is_loop = self.algebra.symbol_of(id).is_some_and(|s| s.kind == SymbolKind::Loop);
        if is_loop { 0 } else { 1 << 20 }
    }
}
