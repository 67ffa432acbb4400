//! The walk over points: one level per symbol, requests collected by their shape.

use std::collections::HashMap;

use super::access::{Access, Request, Shifts};
use crate::audit::lanes::{Algebra, AtomId, Evaluated, Tape, Value, level};

/// Values of a symbol with how often each occurs.
pub(super) type Weighted = Vec<(i64, u128)>;

/// All requests of an access that were looked at: few shapes, each at few distances from a block's border.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// Byte offsets of the active lanes, less the lowest.
    pub(super) offsets: Vec<Vec<i64>>,
    /// By shape and lowest offset modulo the modulus: how often.
    pub(super) times: Vec<HashMap<i64, u128>>,
    by_offsets: HashMap<Vec<i64>, usize>,
    last: usize,
    /// The first request with the most active lanes: lane and byte offset.
    pub(super) example: Vec<(usize, i64)>,
}

impl Shapes {
    fn add(&mut self, request: &Request, modulus: i64, weight: u128) {
        if request.len() > self.example.len() {
            self.example = request.to_vec();
        }
        let lowest = request.iter().map(|r| r.1).min().unwrap_or(0);
        let same = |shape: &Vec<i64>| {
            shape.len() == request.len()
                && shape.iter().zip(request).all(|(s, r)| *s == r.1.wrapping_sub(lowest))
        };
        let known = self.offsets.get(self.last).is_some_and(same);
        if !known {
            let shape: Vec<i64> = request.iter().map(|r| r.1.wrapping_sub(lowest)).collect();
            let next = self.offsets.len();
            self.last = *self.by_offsets.entry(shape.clone()).or_insert(next);
            if self.last == next {
                self.offsets.push(shape);
                self.times.push(HashMap::new());
            }
        }
        let times = self.times[self.last].entry(lowest.rem_euclid(modulus)).or_default();
        *times = times.saturating_add(weight);
    }
}

/// Operations per lane that a point may take on average.
const WORK_PER_POINT: u64 = 8;

/// One walk.
pub(super) struct Walk<'a> {
    tape: Tape<'a>,
    walked: &'a [AtomId],
    lists: &'a [Option<Weighted>],
    /// Roots that are conditions, by the level at which they are known.
    conditions: Vec<Vec<usize>>,
    /// Roots that are loop conditions, by symbol.
    guards: HashMap<AtomId, Vec<usize>>,
    /// The offset, summed up to each level.
    sums: Vec<Vec<i64>>,
    /// The lanes that take part, up to each level.
    active: Vec<Vec<bool>>,
    modulus: i64,
    subgroup: usize,
    points_left: usize,
    /// Operations per lane, by level.
    costs: Vec<usize>,
    most_work: u64,
    pub(super) work: u64,
    pub(super) ran_out: bool,
    pub(super) shapes: Shapes,
}

/// The terms of a value by level.
pub(super) fn parts(algebra: &Algebra, value: &Value, walked: &[AtomId]) -> Vec<Value> {
    let at = |m: &Vec<AtomId>| m.iter().map(|&a| level(&algebra.info(a).symbols, walked)).max().unwrap_or(0);
    (0..=walked.len()).map(|n| value.partition(|m, _| at(m) == n).0).collect()
}

impl<'a> Walk<'a> {
    /// `parts` is the offset by level; each walked symbol has a list of values.
    pub(super) fn new(
        algebra: &'a Algebra,
        access: Access<'a>,
        parts: &'a [Value],
        conditions: &'a [Value],
        (walked, lists): (&'a [AtomId], &'a [Option<Weighted>]),
        modulus: i64,
        most_points: usize,
    ) -> Self {
        let mut roots: Vec<&Value> = parts.iter().collect();
        let mut by_level = vec![Vec::new(); walked.len() + 1];
        for c in conditions {
            by_level[level(&algebra.symbols_in(c), walked)].push(roots.len());
            roots.push(c);
        }
        let mut guards: HashMap<AtomId, Vec<usize>> = HashMap::new();
        for &id in walked {
            for g in access.guards.get(&id).into_iter().flatten() {
                guards.entry(id).or_default().push(roots.len());
                roots.push(g);
            }
        }
        let lanes = algebra.lanes();
        let tape = Tape::by_level(algebra, &roots, walked);
        let costs = (0..=walked.len()).map(|l| tape.cost(l) * lanes).collect();
        Walk {
            tape,
            costs,
            most_work: (most_points * lanes) as u64 * WORK_PER_POINT,
            work: 0,
            walked,
            lists,
            conditions: by_level,
            guards,
            sums: vec![vec![0; lanes]; walked.len() + 1],
            active: vec![vec![true; lanes]; walked.len() + 1],
            modulus,
            subgroup: algebra.subgroup_size(),
            points_left: most_points,
            ran_out: false,
            shapes: Shapes::default(),
        }
    }

    /// Visits all points, each with `weight` times the weights of its values.
    pub(super) fn run(&mut self, weight: u128) {
        if self.reach(0) {
            self.descend(0, weight);
        }
    }

    fn descend(&mut self, depth: usize, weight: u128) {
        let Some(&id) = self.walked.get(depth) else {
            return self.leaf(weight);
        };
        let lists = self.lists;
        match &lists[depth] {
            Some(list) => {
                for &(v, w) in list {
                    self.tape.set(id, v);
                    self.enter(depth + 1, weight.saturating_mul(w));
                    if self.ran_out {
                        return;
                    }
                }
            }
            None => {
                for v in 0.. {
                    self.tape.set(id, v);
                    self.tape.run_level(depth + 1);
                    self.work += self.costs[depth + 1] as u64;
                    let on =
                        self.guards.get(&id).is_some_and(|g| g.iter().all(|&ix| self.tape.root(ix).any()));
                    if !on {
                        return;
                    }
                    if v > 1 << 16 || self.work > self.most_work {
                        self.ran_out = true;
                    }
                    if self.ran_out {
                        return;
                    }
                    self.enter(depth + 1, weight);
                }
            }
        }
    }

    fn enter(&mut self, level: usize, weight: u128) {
        if self.points_left == 0 {
            self.ran_out = true;
            return;
        }
        if self.reach(level) {
            self.descend(level, weight);
        } else {
            self.points_left -= 1;
        }
    }

    /// Evaluates what is new at a level; says whether any lane takes part still.
    fn reach(&mut self, level: usize) -> bool {
        self.tape.run_level(level);
        self.work += self.costs[level] as u64;
        if self.work > self.most_work {
            self.ran_out = true;
            return false;
        }
        if level > 0 {
            let (before, rest) = self.active.split_at_mut(level);
            rest[0].copy_from_slice(&before[level - 1]);
            let (before, rest) = self.sums.split_at_mut(level);
            rest[0].copy_from_slice(&before[level - 1]);
        }
        let active = &mut self.active[level];
        for &ix in &self.conditions[level] {
            match self.tape.root(ix) {
                Evaluated::Uniform(0) => return false,
                Evaluated::Uniform(_) => {}
                Evaluated::Each(v) => active.iter_mut().zip(&v).for_each(|(a, v)| *a &= *v != 0),
            }
        }
        if !active.contains(&true) {
            return false;
        }
        self.tape.add_root(level, &mut self.sums[level]);
        true
    }

    fn leaf(&mut self, weight: u128) {
        if self.points_left == 0 {
            self.ran_out = true;
            return;
        }
        self.points_left -= 1;
        let level = self.walked.len();
        let (active, offsets) = (&self.active[level], &self.sums[level]);
        let mut request = Vec::with_capacity(self.subgroup);
        for start in (0..offsets.len()).step_by(self.subgroup) {
            let end = (start + self.subgroup).min(offsets.len());
            request.clear();
            request.extend((start..end).filter(|&l| active[l]).map(|l| (l, offsets[l])));
            if !request.is_empty() {
                self.shapes.add(&request, self.modulus, weight);
            }
        }
    }
}

/// Calls `visit` for each shape and each lowest offset modulo `modulus`, with how often that happens.
pub(super) fn for_each_shifted(
    shapes: &Shapes,
    shifts: &Shifts,
    modulus: i64,
    visit: &mut dyn FnMut(&[i64], i64, u128),
) {
    for (offsets, times) in shapes.offsets.iter().zip(&shapes.times) {
        let mut sum = std::collections::BTreeMap::<i64, u128>::new();
        for (&residue, &weight) in times {
            for (&shift, &n) in shifts {
                let at = sum.entry((residue + shift).rem_euclid(modulus)).or_default();
                *at = at.saturating_add(weight.saturating_mul(n));
            }
        }
        for (residue, weight) in sum {
            visit(offsets, residue, weight);
        }
    }
}
