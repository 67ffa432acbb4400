//! The accesses of a kernel by where they go, so that looking for neighbours takes no time that grows with their square.

use std::collections::HashMap;

use crate::audit::classify::Classified;
use crate::audit::lanes::{Algebra, AtomId, SymbolKind, Value};
use crate::audit::site::{Place, RawSite};
use crate::memory::AccessKind;

/// Loops of at most so many rounds are followed.
pub(super) const MOST_ROUNDS: u64 = 64;
/// Most neighbours that are looked at.
const MOST_NEIGHBOURS: usize = 256;

/// Accesses whose distance from one another depends on nothing but lanes and short loops.
type Family<'a> = (&'a str, AccessKind, Value);

/// See the module.
pub(crate) struct Index<'a> {
    exact: HashMap<Value, Vec<usize>>,
    /// By family: first byte of lane 0 in the first round, with the access.
    families: HashMap<Family<'a>, Vec<(i64, &'a RawSite)>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(algebra: &Algebra, sites: &'a [Classified]) -> Self {
        let mut exact: HashMap<Value, Vec<usize>> = HashMap::new();
        let mut families: HashMap<Family<'a>, Vec<(i64, &'a RawSite)>> = HashMap::new();
        for (ix, site) in sites.iter().enumerate() {
            if let Place::Offset(v) = &site.raw.place {
                exact.entry(v.clone()).or_default().push(ix);
            }
            for raw in std::iter::once(&site.raw).chain(&site.copies) {
                let Place::Offset(v) = &raw.place else { continue };
                let (rest, begin) = split(algebra, v);
                families.entry((&raw.buffer, raw.kind, rest)).or_default().push((begin, raw));
            }
        }
        families.values_mut().for_each(|f| f.sort_by_key(|m| m.0));
        Self { exact, families }
    }

    /// The accesses at just this offset of any buffer.
    pub(super) fn at(&self, offset: &Value) -> &[usize] {
        self.exact.get(offset).map_or(&[], Vec::as_slice)
    }

    /// The accesses of a family, nearest first, at most [`MOST_NEIGHBOURS`].
    pub(super) fn near(&self, algebra: &Algebra, raw: &RawSite) -> Vec<&'a RawSite> {
        let Place::Offset(v) = &raw.place else { return Vec::new() };
        let (rest, begin) = split(algebra, v);
        let key: Family<'_> = (&raw.buffer, raw.kind, rest);
        let Some(family) = self.families.get(&key) else { return Vec::new() };
        let mut above = family.partition_point(|m| m.0 < begin);
        let mut below = above;
        let mut out = Vec::new();
        while out.len() < MOST_NEIGHBOURS && (below > 0 || above < family.len()) {
            let up = family.get(above).map(|m| m.0.wrapping_sub(begin));
            let down = below.checked_sub(1).map(|b| begin.wrapping_sub(family[b].0));
            match (up, down) {
                (Some(u), Some(d)) if d < u => below -= 1,
                (Some(_), _) => above += 1,
                (None, _) => below -= 1,
            }
            let taken = if up.is_some_and(|u| down.is_none_or(|d| d >= u)) { above - 1 } else { below };
            out.push(family[taken].1);
        }
        out
    }
}

/// The part of an offset that neighbours share, and where lane 0 begins without it.
fn split(algebra: &Algebra, v: &Value) -> (Value, i64) {
    let short = |id: &AtomId| {
        algebra
            .symbol_of(*id)
            .is_some_and(|s| s.kind == SymbolKind::Loop && s.count.is_some_and(|n| n <= MOST_ROUNDS))
    };
    let moves =
        |m: &Vec<AtomId>| m.is_empty() || m.iter().any(|a| algebra.info(*a).symbols.iter().any(short));
    let (own, rest) = v.partition(|m, _| moves(m));
    let begin = own.0.iter().find(|(m, _)| m.is_empty()).map_or(0, |(_, c)| c.at(0));
    (rest, begin)
}
