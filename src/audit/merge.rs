//! Copies of one access: a line that is inlined, unrolled or called several times.
//!
//! The worst copy gives verdict and figures. Copies whose addresses depend on data, and copies that could not be
//! followed, are rows of their own, so that what is not known hides nothing that is.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::classify::{Classified, Confidence, Pattern};
use super::count::Sums;
use super::finding::Label;
use super::settings::Settings;

/// Most copies of an access that are kept for counting them again.
const MOST_COPIES: usize = 64;

/// What can be said of a copy's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Known,
    DataDependent,
    NotFollowed,
}

fn class(c: &Classified) -> Class {
    match c.pattern {
        Pattern::Unknown => Class::NotFollowed,
        Pattern::Scattered => Class::DataDependent,
        _ => Class::Known,
    }
}

/// How bad a copy is: what it wastes per request, then how its form is judged.
fn badness(c: &Classified, settings: &Settings) -> (f64, u8) {
    let block = settings.target.block();
    let waste = match c.bank_ways {
        Some((ways, ideal)) => ways as f64 / ideal.max(1) as f64,
        None => {
            let fetched = c.average(|s| s.blocks[block.ix()]).unwrap_or(0.0) * block.bytes() as f64;
            fetched - c.average(|s| s.useful_bytes).unwrap_or(0.0)
        }
    };
    (waste, rank(c.pattern))
}

fn rank(p: Pattern) -> u8 {
    match p {
        Pattern::Unknown => 10,
        Pattern::Scattered => 9,
        Pattern::Sequential | Pattern::Strided => 8,
        Pattern::BankConflict => 7,
        Pattern::Rows => 6,
        Pattern::Misaligned => 5,
        Pattern::Coalesced => 4,
        Pattern::Broadcast => 3,
        Pattern::SingleLane => 2,
        Pattern::Texture => 1,
        Pattern::Unreached => 0,
    }
}

/// Where an access stands and what it does.
type Key = ((String, u32, u32), String, crate::memory::AccessKind, u64);

/// One row per access of the source and class of its copies.
pub(super) fn merge(
    all: Vec<Classified>,
    locate: &dyn Fn(&Range<usize>) -> Label,
    settings: &Settings,
) -> Vec<Classified> {
    let mut order: Vec<Vec<Classified>> = Vec::new();
    let mut by_key: HashMap<Key, usize> = HashMap::new();
    let mut places = HashMap::new();
    for c in all {
        let place = places.entry((c.raw.span.start, c.raw.span.end)).or_insert_with(|| {
            let l = locate(&c.raw.span);
            (l.file, l.line, l.column)
        });
        let key = (place.clone(), c.raw.buffer.clone(), c.raw.kind, c.raw.width);
        let ix = *by_key.entry(key).or_insert_with(|| {
            order.push(Vec::new());
            order.len() - 1
        });
        order[ix].push(c);
    }
    let mut merged = Vec::new();
    for group in order {
        let n = group.len();
        let classes: BTreeSet<Class> = group.iter().map(class).collect();
        let mixed = classes.len() > 1;
        let mut rest = group;
        for wanted in classes {
            let (mine, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|c| class(c) == wanted);
            rest = others;
            merged.extend(worst_of(mine, n, mixed, settings));
        }
    }
    merged
}

/// The worst of copies of one class, with the sums over all of them.
fn worst_of(mut copies: Vec<Classified>, n: usize, mixed: bool, settings: &Settings) -> Option<Classified> {
    let total =
        copies.iter().map(|c| c.sums).reduce(|a, b| a.zip(b).map(|(a, b)| Sums::plus(&a, &b))).flatten();
    let exact = !mixed && copies.iter().all(|c| c.confidence == Confidence::Exact);
    let per_group = copies.iter().map(|c| c.per_group).reduce(|a, b| a.zip(b).map(|(a, b)| a + b)).flatten();
    let badnesses: Vec<(f64, u8)> = copies.iter().map(|c| badness(c, settings)).collect();
    let worst = (0..copies.len()).reduce(|a, b| {
        let order = badnesses[b].0.total_cmp(&badnesses[a].0).then(badnesses[b].1.cmp(&badnesses[a].1));
        if order.is_gt() { b } else { a }
    })?;
    let alike = copies.iter().filter(|c| c.pattern == copies[worst].pattern).count();
    let mut row = copies.swap_remove(worst);
    row.total = total.filter(|_| exact);
    if row.total.is_none() && row.confidence == Confidence::Exact {
        row.assumptions.push("other copies of the access are not counted exactly".into());
    }
    row.per_group = per_group;
    row.n_copies = n;
    row.n_alike = alike;
    row.copies = copies.into_iter().map(|c| c.raw).take(MOST_COPIES).collect();
    Some(row)
}
