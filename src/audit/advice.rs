//! Advice that was checked: a change of layout is applied to the model, and the access counted again.
//!
//! For workgroup memory the changes are maps of addresses, applied to every access of the array: spare bytes after
//! each row, after each round of the banks, or an exclusive or of the column with the row. One is proposed only if
//! the access then meets in no bank (or in half as many), and no other access of the array in more than before.

use super::classify::{Classified, Pattern};
use super::lanes::{Int, Op, Value};
use super::settings::Settings;
use super::site::{Place, RawSite, Walked};
use crate::memory::Space;

/// Most changes of layout that are tried for an access.
const MOST_CANDIDATES: usize = 32;
/// Most accesses of an array, copies included, that are counted again for each.
const MOST_ACCESSES: usize = 64;
/// Operations on lanes after which a kernel's advice is given up.
const MOST_WORK: u64 = 1 << 28;

/// A change of an array's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// `spare` bytes more after every `row`.
    Spare { row: u64, spare: u64 },
    /// The column exclusive-ored with the row, in units.
    Swizzle { row: u64, unit: u64, mask: u64 },
}

impl Change {
    fn apply(self, walked: &mut Walked, offset: &Value) -> Value {
        let alg = &mut walked.algebra;
        let row_of = |alg: &mut super::lanes::Algebra, row: u64| {
            alg.apply(Op::Div(Int::U32), &[offset.clone(), Value::int(row as i64)])
        };
        match self {
            Change::Spare { row, spare } => {
                let rows = row_of(alg, row).scale(spare as i64);
                alg.add(offset, &rows)
            }
            Change::Swizzle { row, unit, mask } => {
                let rows = row_of(alg, row);
                let low = alg.apply(Op::And(Int::U32), &[rows, Value::int(mask as i64)]);
                alg.apply(Op::Xor(Int::U32), &[offset.clone(), low.scale(unit as i64)])
            }
        }
    }

    fn text(self, unit: u64) -> String {
        match self {
            Change::Spare { row, spare } => {
                let times = if spare > unit { format!(" * {}", spare / unit) } else { String::new() };
                format!(
                    "rows of {} bytes instead of {row} (element i at i + i / {}{times})",
                    row + spare,
                    row / unit
                )
            }
            Change::Swizzle { row, mask, .. } => {
                format!("element i at i ^ (i / {} & {mask})", row / unit)
            }
        }
    }
}

/// Puts advice that was counted beside each bank conflict.
pub(super) fn check(walked: &mut Walked, merged: &mut [Classified], settings: &Settings) {
    let begun = walked.spent.get();
    for ix in 0..merged.len() {
        let site = &merged[ix];
        let Some((ways, ideal)) = site.bank_ways.filter(|_| site.pattern == Pattern::BankConflict) else {
            continue;
        };
        if ways < 2 * ideal.max(1) || site.raw.collective || walked.spent.get() - begun > MOST_WORK {
            continue;
        }
        let fix = fix_of(walked, merged, ix, settings);
        merged[ix].fix = fix;
    }
}

fn fix_of(walked: &mut Walked, merged: &[Classified], ix: usize, settings: &Settings) -> Option<String> {
    let site = &merged[ix];
    let (ways, ideal) = site.bank_ways?;
    let of_site =
        |c: &Classified| -> Vec<RawSite> { std::iter::once(&c.raw).chain(&c.copies).cloned().collect() };
    let mine = of_site(site);
    let others: Vec<RawSite> = merged
        .iter()
        .enumerate()
        .filter(|(i, c)| *i != ix && c.raw.space == Space::Workgroup && c.raw.buffer == site.raw.buffer)
        .flat_map(|(_, c)| of_site(c))
        .collect();
    if mine.len() + others.len() > MOST_ACCESSES {
        return None;
    }
    let before: Vec<u64> =
        others.iter().map(|raw| count(walked, raw, None, settings).map_or(u64::MAX, |c| c.0)).collect();
    let unit = unit_of(&mine);
    let mut best: Option<(u64, Change)> = None;
    for change in candidates(&mine, site.stride_bytes, unit, settings) {
        let mut now = 0;
        for raw in &mine {
            now = now.max(count(walked, raw, Some(change), settings)?.0);
        }
        if now * 2 > ways || best.is_some_and(|(least, _)| now >= least) {
            continue;
        }
        let mut harms = false;
        for (raw, before) in others.iter().zip(&before) {
            harms |= count(walked, raw, Some(change), settings).is_some_and(|c| c.0 > *before);
        }
        if harms {
            continue;
        }
        best = Some((now, change));
        if now <= ideal.max(1) {
            break;
        }
    }
    let (now, change) = best?;
    let every = if mine.len() > 1 { format!(" in all {} copies", mine.len()) } else { String::new() };
    Some(format!(
        "help: {}: {now} way{} instead of {ways}{every}, counted",
        change.text(unit),
        if now == 1 { "" } else { "s" }
    ))
}

/// The size of an element, which no change can split.
fn unit_of(mine: &[RawSite]) -> u64 {
    let least = mine.iter().flat_map(|raw| raw.pitches.iter().copied()).min();
    let width = mine.iter().map(|raw| raw.width).min().unwrap_or(4);
    least.unwrap_or(width).max(1)
}

/// Changes worth trying: those that follow the source's rows first, and of these the ones that cost least memory.
fn candidates(mine: &[RawSite], stride: Option<i64>, unit: u64, settings: &Settings) -> Vec<Change> {
    let period = settings.banks.period_bytes();
    let mut rows: Vec<u64> = mine.iter().flat_map(|raw| raw.pitches.iter().copied()).collect();
    rows.extend(stride.and_then(|s| u64::try_from(s).ok()).filter(|_| rows.iter().all(|&r| r <= unit)));
    rows.sort_unstable();
    rows.dedup();
    rows.retain(|&r| r >= 2 * unit && r % unit == 0);
    let spares = |row: u64| {
        let sizes = [1u64, 2, 3, 4, 6, 8, 12, 16, 32].into_iter().map(move |n| n * unit);
        sizes.take_while(move |&q| q < row.max(period)).map(move |spare| Change::Spare { row, spare })
    };
    let mut own: Vec<Change> = rows.iter().flat_map(|&row| spares(row)).collect();
    let cost = |c: &Change| match c {
        Change::Spare { row, spare } => (spare * 4096 / row, *spare),
        Change::Swizzle { .. } => (0, 0),
    };
    own.sort_by_key(cost);
    own.truncate(MOST_CANDIDATES / 2);
    let round = period.max(unit);
    own.extend(spares(round).take(4));
    for row in rows.into_iter().chain([round]) {
        if row.is_power_of_two() && unit.is_power_of_two() && row >= round {
            own.push(Change::Swizzle { row, unit, mask: (round / unit).max(1) - 1 });
        }
    }
    own.truncate(MOST_CANDIDATES);
    own
}

/// Ways of an access and the least that would do, with the array laid out anew.
fn count(
    walked: &mut Walked,
    raw: &RawSite,
    change: Option<Change>,
    settings: &Settings,
) -> Option<(u64, u64)> {
    let Place::Offset(offset) = &raw.place else { return None };
    if walked.algebra.data_in(offset).is_some() {
        return None;
    }
    let moved = match change {
        Some(change) => change.apply(walked, offset),
        None => offset.clone(),
    };
    let access = raw.access(&moved, &walked.guards);
    let memo = walked.memo.clone();
    let (counted, ways) = memo.count(&walked.algebra, access, Some(settings.banks), settings.budget / 8);
    walked.spent.set(walked.spent.get() + counted.work);
    ways.map(|w| (w.ways, w.ideal_ways))
}
