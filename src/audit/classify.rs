//! From a symbolic access to its verdict: counts, and the form of the addresses across the lanes.

use serde::Serialize;

use super::count::{Access, Assumption, Counted, Coverage, PerGroup, Sums};
use super::lanes::{Algebra, AtomId, Value};
use super::settings::Settings;
use super::site::{Place, RawSite, Walked};
use super::stride::{product_of_parameters, symbolic_stride, walk_of};
use crate::memory::{BLOCK_SIZES, Space, Traffic};

/// The form of an access across the lanes of a subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// One lane takes part.
    SingleLane,
    /// All lanes, or all lanes of each row, read one address.
    Broadcast,
    /// Consecutive lanes touch consecutive memory.
    Coalesced,
    /// Runs of consecutive lanes touch consecutive memory, the runs are apart.
    Rows,
    /// Coalesced, but begins inside a block.
    Misaligned,
    /// Consecutive lanes are a constant distance apart that is more than what each touches.
    Strided,
    /// Strided, and each lane walks through its own stretch of memory in a loop.
    Sequential,
    /// The addresses depend on loaded data that differs per lane.
    Scattered,
    /// Lanes of a subgroup need different words of the same bank of workgroup memory.
    BankConflict,
    /// A texture: addresses are not visible.
    Texture,
    /// No lane of the dispatch comes to it.
    Unreached,
    /// Could not be followed; the assumptions say why.
    Unknown,
}

impl Pattern {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::SingleLane => "single-lane",
            Pattern::Broadcast => "broadcast",
            Pattern::Coalesced => "coalesced",
            Pattern::Rows => "rows",
            Pattern::Misaligned => "misaligned",
            Pattern::Strided => "strided",
            Pattern::Sequential => "sequential",
            Pattern::Scattered => "scattered",
            Pattern::BankConflict => "bank-conflict",
            Pattern::Texture => "texture",
            Pattern::Unreached => "unreached",
            Pattern::Unknown => "unknown",
        }
    }
}

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Nothing is known.
    Unknown,
    /// Counted over a sample of values, or with conditions taken to hold.
    Estimated,
    /// Exact as an average over the residues of what is not known.
    Averaged,
    /// Counted over every request of the dispatch.
    Exact,
}

impl Confidence {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Unknown => "unknown",
            Confidence::Estimated => "estimated",
            Confidence::Averaged => "averaged",
            Confidence::Exact => "exact",
        }
    }
}

/// A loop in which each lane walks contiguous memory.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    /// Its counter.
    pub(crate) counter: String,
    /// From one step to the next.
    pub(crate) bytes: i64,
    /// Number of steps, if known.
    pub(crate) count: Option<u64>,
}

/// An access with its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Classified {
    pub(crate) raw: RawSite,
    pub(crate) pattern: Pattern,
    pub(crate) confidence: Confidence,
    pub(crate) sums: Option<Sums>,
    pub(crate) stride_bytes: Option<i64>,
    pub(crate) stride_symbol: Option<String>,
    pub(crate) assumptions: Vec<String>,
    /// A request with the most active lanes: lane and byte offset, as it would be for some values of what is unknown.
    pub(crate) example: Vec<(usize, i64)>,
    /// Distinct addresses of the example request.
    pub(crate) distinct: usize,
    pub(crate) rows: usize,
    /// Whether each lane's address is equally far from the one before.
    pub(crate) even: bool,
    /// Words that the worst bank must deliver, and the least that would do.
    pub(crate) bank_ways: Option<(u64, u64)>,
    /// Why the address is data-dependent or unknown.
    pub(crate) reason: Option<String>,
    /// The loop, if one has each lane walk contiguous memory.
    pub(crate) walk: Option<Steps>,
    /// Lanes that take part on average where the addresses are not known.
    pub(crate) lanes: Option<f64>,
    /// Most lanes that take part in one request where the addresses are not known.
    pub(crate) most_lanes: usize,
    /// The access in other copies, by inlining or unrolling.
    pub(crate) copies: Vec<RawSite>,
    /// All copies, and those of the same form as this, which is the worst.
    pub(crate) n_copies: usize,
    pub(crate) n_alike: usize,
    /// The sums over all copies, where every request of each was counted.
    pub(crate) total: Option<Sums>,
    /// The sums of all copies in an average workgroup, where they are known.
    pub(crate) per_group: Option<PerGroup>,
    /// What would help, after it was counted.
    pub(crate) fix: Option<String>,
}

impl Classified {
    pub(crate) fn average(&self, pick: impl Fn(&Sums) -> u128) -> Option<f64> {
        let s = self.sums.as_ref()?;
        (s.requests > 0).then(|| pick(s) as f64 / s.requests as f64)
    }

    /// The sums over all copies as [`Traffic`], if every request was counted.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        let s = self.total.as_ref()?;
        let small = |v: u128| u64::try_from(v).ok();
        let mut t = Traffic {
            requests: small(s.requests)?,
            active_lanes: small(s.active_lanes)?,
            useful_bytes: small(s.useful_bytes)?,
            ..Traffic::default()
        };
        for i in 0..BLOCK_SIZES.len() {
            t.blocks[i] = small(s.blocks[i])?;
            t.blocks_if_aligned[i] = small(s.blocks_if_aligned[i])?;
        }
        Some(t)
    }
}

/// What is said of the results of adding to a counter that all lanes share.
pub(crate) const SLOTS: &str = "slots that an atomic counter hands out";
/// What is said of running sums over a subgroup.
pub(crate) const PREFIX: &str = "a prefix sum over the subgroup";

/// Reasons that mean data, as opposed to something that could not be followed.
pub(crate) fn is_data_dependent(why: &str) -> bool {
    ["values loaded", "the result of an atomic", "a loop that lanes leave", "a texture", SLOTS, PREFIX]
        .iter()
        .any(|p| why.starts_with(p))
}

/// An address that depends on data: the lanes that take part can be counted all the same, and the slots of a counter
/// are consecutive.
fn by_data(
    walked: &Walked,
    raw: &RawSite,
    offset: &Value,
    why: &str,
    settings: &Settings,
    out: &mut Classified,
) {
    let alg = &walked.algebra;
    out.reason = Some(why.to_string());
    let data_dependent = is_data_dependent(why);
    out.pattern = if data_dependent { Pattern::Scattered } else { Pattern::Unknown };
    out.confidence = if data_dependent { Confidence::Estimated } else { Confidence::Unknown };
    let dense = dense_slots(alg, offset);
    let nothing = Value::int(0);
    let stand_in = dense.as_ref().unwrap_or(&nothing);
    let access = raw.access(stand_in, &walked.guards);
    let banks = (raw.space == Space::Workgroup).then_some(settings.banks);
    let (counted, _) = walked.memo.count(alg, access, banks, settings.budget / 16);
    walked.spent.set(walked.spent.get() + counted.work);
    let requests = counted.sums.requests;
    if requests == 0 {
        out.assumptions.push(format!("not counted: the address depends on {why}"));
        return;
    }
    out.most_lanes = counted.example.len();
    out.lanes = Some(counted.sums.active_lanes as f64 / requests as f64);
    out.per_group = counted.per_group(raw.bytes()).filter(|_| dense.is_some() || out.most_lanes == 1);
    if dense.is_some() {
        out.assumptions.push("the slots of a subgroup's lanes are consecutive".into());
        out.sums = Some(counted.sums);
        out.example = counted.example;
    } else if counted.sums.active_lanes == requests && raw.width <= BLOCK_SIZES[0] {
        out.assumptions.push(format!("an aligned element, at an address that depends on {why}"));
        out.confidence = Confidence::Estimated;
        out.pattern = Pattern::SingleLane;
        out.sums = Some(counted.sums);
    } else {
        out.assumptions.push(format!("not counted: the address depends on {why}"));
    }
}

/// The offset with consecutive numbers in place of slots and prefix sums, if it depends on no other data.
fn dense_slots(alg: &Algebra, offset: &Value) -> Option<Value> {
    let is_slot = |id: &AtomId| {
        alg.application(*id).is_none()
            && alg.data_of(*id).is_some_and(|why| *why == *SLOTS || *why == *PREFIX)
    };
    let (with, mut dense) = offset.partition(|m, _| m.iter().any(|a| alg.info(*a).data.is_some()));
    let size = alg.subgroup_size() as i64;
    for (m, c) in with.0.iter() {
        let ([slot], super::lanes::Lanes::Uniform(c)) = (m.as_slice(), c) else { return None };
        if !is_slot(slot) {
            return None;
        }
        let ranks: Vec<i64> = (0..alg.lanes() as i64).map(|l| l % size * c).collect();
        dense = dense.add(&Value::lanes(super::lanes::Lanes::new(ranks)));
    }
    Some(dense)
}

/// Operations on lanes that counting the accesses of one kernel may take: seconds.
const MOST_COUNTING: u64 = 1 << 31;

/// Bytes that a lane may touch with one access: sums over a subgroup stay far below 2^64.
const MOST_BYTES: u64 = 1 << 40;

/// Counts and classifies one access.
pub(crate) fn classify(walked: &Walked, raw: &RawSite, settings: &Settings) -> Classified {
    let alg = &walked.algebra;
    let mut out = Classified {
        raw: raw.clone(),
        pattern: Pattern::Unknown,
        confidence: Confidence::Unknown,
        sums: None,
        stride_bytes: None,
        stride_symbol: None,
        assumptions: Vec::new(),
        example: Vec::new(),
        distinct: 0,
        rows: 1,
        even: false,
        bank_ways: None,
        reason: None,
        walk: None,
        lanes: None,
        most_lanes: 0,
        copies: Vec::new(),
        n_copies: 1,
        n_alike: 1,
        total: None,
        per_group: None,
        fix: None,
    };
    let offset = match &raw.place {
        Place::Offset(v) => v,
        Place::Unknown(why) => {
            out.reason = Some(why.clone());
            out.assumptions.push(format!("not counted: {why}"));
            out.pattern = if raw.space == Space::Texture { Pattern::Texture } else { Pattern::Unknown };
            return out;
        }
    };
    if raw.width > MOST_BYTES {
        let why = format!("an access of {} bytes per lane", raw.width);
        out.assumptions.push(format!("not counted: {why}"));
        out.reason = Some(why);
        return out;
    }
    if let Some(why) = alg.data_in(offset) {
        by_data(walked, raw, offset, &why, settings, &mut out);
        return out;
    }
    if walked.spent.get() > MOST_COUNTING {
        let why = "budget: the kernel's other accesses took all the work that a kernel is given";
        out.reason = Some(why.into());
        out.assumptions.push(format!("not counted: {why}"));
        return out;
    }
    let conditions = deciding(walked, raw);
    let access = Access { conditions: &conditions, ..raw.access(offset, &walked.guards) };
    let banks = (raw.space == Space::Workgroup).then_some(settings.banks);
    let (counted, ways) = walked.memo.count(alg, access, banks, settings.budget);
    walked.spent.set(walked.spent.get() + counted.work);
    out.confidence = match counted.coverage {
        Coverage::Complete => Confidence::Exact,
        Coverage::Residues => Confidence::Averaged,
        Coverage::Sampled => Confidence::Estimated,
    };
    out.assumptions = counted.assumptions.iter().map(describe_assumption).collect();
    if let Some(note) = &raw.assumed {
        out.confidence = out.confidence.min(Confidence::Estimated);
        out.assumptions.push(note.clone());
    }
    out.sums = Some(counted.sums);
    out.per_group = counted.per_group(raw.bytes());
    if counted.sums.requests == 0 {
        out.pattern = Pattern::Unreached;
        return out;
    }
    if raw.collective
        && let Some(s) = &mut out.sums
    {
        // Lines are counted as one per lane, but the whole subgroup moves them.
        s.active_lanes = s.requests * u128::from(settings.subgroup_size);
    }
    let form = form_of(&counted, raw.width);
    out.pattern = form.pattern;
    out.distinct = form.distinct;
    out.rows = form.rows;
    let step = |p: &[(usize, i64)]| p[1].1.wrapping_sub(p[0].1);
    out.even = counted.example.windows(2).all(|p| step(p) == step(&counted.example[..2]));
    if raw.collective && matches!(out.pattern, Pattern::Strided | Pattern::Rows) {
        // A matrix is loaded row by row whatever the layout.
        out.pattern = Pattern::Rows;
    }
    if matches!(out.pattern, Pattern::Strided | Pattern::Rows) {
        // A distance that comes from a made-up value says nothing.
        out.stride_bytes = form.stride.filter(|_| counted.real);
        if out.stride_bytes.is_none() {
            out.stride_symbol = symbolic_stride(alg, offset, form.pair);
            if out.stride_symbol.as_ref().is_some_and(|s| s.contains("f(")) {
                let simple = product_of_parameters(alg, offset, form.pair);
                out.stride_symbol = simple.or(out.stride_symbol);
            }
        }
    }
    if out.pattern == Pattern::Strided {
        out.walk = walk_of(alg, offset, raw, form.stride, out.stride_symbol.is_some());
        if out.walk.is_some() {
            out.pattern = Pattern::Sequential;
        }
    }
    if let Some(w) = ways {
        out.bank_ways = Some((w.ways, w.ideal_ways));
        let conflict = w.ways > w.ideal_ways.max(1);
        out.pattern = match (conflict, out.pattern) {
            (true, _) => Pattern::BankConflict,
            (false, Pattern::SingleLane) => Pattern::SingleLane,
            (false, Pattern::Broadcast) => Pattern::Broadcast,
            (false, _) => Pattern::Coalesced,
        };
    } else if out.pattern == Pattern::Coalesced {
        let ix = settings.target.block().ix();
        let s = &counted.sums;
        let more = |i: usize, by_half: u128| s.blocks[i] * 2 > s.blocks_if_aligned[i] * (2 + by_half);
        if more(0, 0) || more(ix, 1) || (ix != 0 && s.blocks[ix] * 2 == s.blocks_if_aligned[ix] * 3) {
            out.pattern = Pattern::Misaligned;
        }
    }
    out.example = counted.example;
    out
}

/// Most conditions that are kept though they decide about all lanes together in a way that is not known.
const MOST_UNDECIDED: usize = 8;

/// The conditions that a count looks at. Those that are the same for all lanes and not known change nothing but how often
/// an access happens, which is not known then: of a long chain of `else if` a few will do.
fn deciding<'r>(walked: &Walked, raw: &'r RawSite) -> std::borrow::Cow<'r, [Value]> {
    if raw.conditions.len() <= 2 * MOST_UNDECIDED {
        return raw.conditions.as_slice().into();
    }
    let alg = &walked.algebra;
    let mut undecided = 0;
    let keep = |c: &&Value| {
        let unknown = |id: AtomId| {
            alg.symbol_of(id).is_some_and(|s| s.count.is_none()) && !walked.guards.contains_key(&id)
        };
        if alg.varies_in_workgroup(c) || !alg.symbols_in(c).into_iter().any(unknown) {
            return true;
        }
        undecided += 1;
        undecided <= MOST_UNDECIDED
    };
    raw.conditions.iter().filter(keep).cloned().collect::<Vec<_>>().into()
}

fn describe_assumption(a: &Assumption) -> String {
    match a {
        Assumption::Residues(name) => format!("each residue is equally likely: `{name}`"),
        Assumption::Large(name) => format!("large, so that distinct multiples don't share a block: `{name}`"),
        Assumption::DataCondition(why) => {
            format!("all lanes take part, though a condition depends on {why}")
        }
        Assumption::Condition(name) => format!("reached whatever the value: `{name}`"),
        Assumption::Grid(name, n) => format!("`{name}` ends at {n}, where its guard or clamp does"),
        Assumption::AllLanes => "reached, though a condition was not found to hold".into(),
    }
}

struct Form {
    pattern: Pattern,
    stride: Option<i64>,
    distinct: usize,
    rows: usize,
    /// Two lanes whose distance is the stride.
    pair: Option<(usize, usize)>,
}

/// The form of the example request.
fn form_of(counted: &Counted, width: u64) -> Form {
    let lanes = &counted.example;
    let w = width as i64;
    // One entry per change of address, in lane order.
    let mut steps: Vec<(usize, i64)> = Vec::new();
    for &(lane, at) in lanes {
        if steps.last().is_none_or(|&(_, last)| last != at) {
            steps.push((lane, at));
        }
    }
    let mut sorted: Vec<i64> = lanes.iter().map(|l| l.1).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let distinct = sorted.len();
    let plain = |pattern| Form { pattern, stride: None, distinct, rows: 1, pair: None };
    if counted.sums.active_lanes == counted.sums.requests {
        return plain(Pattern::SingleLane);
    }
    let shared = lanes.len() >= 2 * distinct;
    if distinct <= 1 {
        return plain(Pattern::Broadcast);
    }
    let gap = |a: i64, b: i64| b.wrapping_sub(a);
    let contiguous = sorted.windows(2).all(|p| gap(p[0], p[1]) <= w);
    if contiguous {
        return plain(if shared { Pattern::Broadcast } else { Pattern::Coalesced });
    }
    if shared && distinct <= 2 {
        return plain(Pattern::Broadcast);
    }
    // Runs of contiguous addresses.
    let mut strides: Vec<(i64, usize)> = Vec::new();
    for p in steps.windows(2) {
        let d = gap(p[0].1, p[1].1);
        if d.unsigned_abs() > w.unsigned_abs() {
            match strides.iter_mut().find(|s| s.0 == d) {
                Some(s) => s.1 += 1,
                None => strides.push((d, 1)),
            }
        }
    }
    let mut starts: Vec<i64> = vec![sorted[0]];
    starts.extend(sorted.windows(2).filter(|p| gap(p[0], p[1]) > w).map(|p| p[1]));
    let runs = starts.len();
    let run_bytes = distinct as i64 / runs as i64 * w;
    let pattern = if runs < distinct && (distinct / runs >= 4 || run_bytes >= 32) {
        Pattern::Rows
    } else {
        Pattern::Strided
    };
    let lane_at = |at: i64| lanes.iter().find(|l| l.1 == at).map(|l| l.0);
    let (pitch, pair) = match starts[..] {
        // From the beginning of one run to that of the next.
        [first, second, ..] if runs < distinct => {
            (Some(gap(first, second)), lane_at(first).zip(lane_at(second)))
        }
        _ => {
            let most = strides.iter().max_by_key(|s| s.1).map(|s| s.0);
            let at = steps.windows(2).find(|p| Some(gap(p[0].1, p[1].1)) == most);
            (most.map(i64::abs), at.map(|p| (p[0].0, p[1].0)))
        }
    };
    Form { pattern, stride: pitch, distinct, rows: runs, pair }
}
