//! Which values of the symbols to count at: all of them, one per residue, or a sample.
//!
//! Symbols that only shift the whole request are handled as a histogram of shifts. The others are
//! walked: over all their values where these are known, over one period where the addresses repeat
//! (modulo the block size), and else over a sample.

use std::collections::{BTreeSet, HashMap};

use super::access::{Access, Assumption, Coverage, Shifts};
use super::period::{MOST_VALUES, Periods, lcm};
use super::walk::{Shapes, Walk, Weighted, for_each_shifted, parts};
use crate::audit::lanes::{
    Algebra, Atom, AtomId, Evaluated, Lanes, Op, Symbol, SymbolKind, Tape, Value, gcd,
};

struct Plan<'a, 'b> {
    algebra: &'a Algebra,
    access: Access<'b>,
    modulus: i64,
    periods: Periods<'a>,
    /// Symbols that only shift the request as a whole, by amounts that depend on no walked symbol.
    shifting: Vec<AtomId>,
    /// Symbols that only shift the request as a whole, by amounts that depend on walked symbols: walked too.
    mixed: BTreeSet<AtomId>,
    stand_ins: HashMap<AtomId, i64>,
    coverage: Coverage,
    assumptions: BTreeSet<Assumption>,
    /// The number of workgroups that the requests stand for; `None` where it can't be told.
    groups: Option<f64>,
    work: u64,
}

/// Most conditions of which one is tried without.
const MOST_DROPPED: usize = 12;
/// Most points where not all can be looked at anyway.
const MOST_SAMPLES: usize = 128;

/// The requests of an access, as far as they were looked at.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) shapes: Shapes,
    shifts: Shifts,
    modulus: i64,
    pub(super) coverage: Coverage,
    pub(super) assumptions: BTreeSet<Assumption>,
    /// The number of workgroups that they stand for, if that can be told.
    pub(super) groups: Option<f64>,
    pub(super) work: u64,
}

impl Requests {
    /// Collects the requests with at least one active lane. Offsets count modulo nothing: their residue modulo
    /// `modulus` and their differences are meaningful. `budget` bounds the number of points times lanes.
    pub(super) fn collect(algebra: &Algebra, access: Access<'_>, modulus: i64, budget: usize) -> Self {
        Self::collect_with(algebra, access, modulus, budget, 1)
    }

    /// With other made-up values of what is not known: `scale` times larger.
    pub(super) fn collect_with(
        algebra: &Algebra,
        access: Access<'_>,
        modulus: i64,
        budget: usize,
        scale: i64,
    ) -> Self {
        let mut plan = Plan {
            algebra,
            access,
            modulus,
            periods: Periods::new(algebra, modulus),
            shifting: Vec::new(),
            mixed: BTreeSet::new(),
            stand_ins: stand_ins(algebra, access, scale),
            coverage: Coverage::Complete,
            assumptions: BTreeSet::new(),
            groups: Some(1.0),
            work: 0,
        };
        let conditions = plan.usable_conditions();
        let walked = plan.split_symbols(&conditions);
        let shifts = plan.shifts();
        let repeat = plan.repeats(&walked);
        let mut shapes = plan.run(&conditions, &walked, repeat, budget);
        if shapes.offsets.is_empty() && !conditions.is_empty() && plan.coverage != Coverage::Complete {
            plan.assumptions.insert(Assumption::AllLanes);
            plan.coverage = Coverage::Sampled;
            plan.groups = None;
            // Made-up values may contradict one condition: the others still say which lanes take part.
            let without = |skip: usize| -> Vec<Value> {
                conditions.iter().enumerate().filter(|(i, _)| *i != skip).map(|(_, c)| c.clone()).collect()
            };
            if (2..=MOST_DROPPED).contains(&conditions.len()) {
                for skip in (0..conditions.len()).rev() {
                    shapes = plan.run(&without(skip), &walked, repeat, budget / 4);
                    if !shapes.offsets.is_empty() {
                        break;
                    }
                }
            }
            if shapes.offsets.is_empty() {
                shapes = plan.run(&[], &walked, repeat, budget);
            }
        }
        Requests {
            shapes,
            shifts,
            modulus,
            coverage: plan.coverage,
            assumptions: plan.assumptions,
            groups: plan.groups,
            work: plan.work,
        }
    }

    /// Calls `visit` with the offsets of each shape of request less the lowest, the lowest modulo the modulus,
    /// and how often that happens.
    pub(super) fn for_each(&self, visit: &mut dyn FnMut(&[i64], i64, u128)) {
        for_each_shifted(&self.shapes, &self.shifts, self.modulus, visit);
    }
}

/// Made-up values of unknown parameters: large, and different for each.
fn stand_ins(algebra: &Algebra, access: Access<'_>, scale: i64) -> HashMap<AtomId, i64> {
    let guards = access.enclosing.iter().filter_map(|id| access.guards.get(id)).flatten();
    let roots = std::iter::once(access.offset).chain(access.conditions).chain(guards);
    let symbols: BTreeSet<AtomId> = roots.flat_map(|v| algebra.symbols_in(v)).collect();
    symbols
        .into_iter()
        .zip(0i64..)
        .map(|(id, n)| (id, (1021 + 97 * (n % 512)) * 128 * scale + 13 * (scale - 1)))
        .collect()
}

fn product(lists: &[Weighted]) -> usize {
    lists.iter().fold(1usize, |p, l| p.saturating_mul(l.len()))
}

impl Plan<'_, '_> {
    /// Every value of the symbol is known or follows from its loop's condition.
    fn known(&self, id: AtomId) -> bool {
        let Some(symbol) = self.algebra.symbol_of(id) else { return false };
        if symbol.count.is_some() {
            return true;
        }
        self.access.guards.get(&id).is_some_and(|guards| {
            !guards.is_empty()
                && guards.iter().all(|g| {
                    self.algebra.data_in(g).is_none()
                        && self.algebra.symbols_in(g).iter().all(|&s| s == id || (s < id && self.known(s)))
                })
        })
    }

    /// Conditions that decide which lanes take part. Uniform ones with unknown symbols are left out:
    /// where they fail, there is no request, so that only the number of requests is not known.
    fn usable_conditions(&mut self) -> Vec<Value> {
        let mut kept = Vec::new();
        for c in self.access.conditions {
            if let Some(why) = self.algebra.data_in(c) {
                self.assumptions.insert(Assumption::DataCondition(why.to_string()));
                self.coverage = Coverage::Sampled;
                continue;
            }
            let all_known = self.algebra.symbols_in(c).iter().all(|&s| self.known(s));
            if all_known || self.algebra.varies_in_workgroup(c) {
                kept.push(c.clone());
            } else {
                let unknown = self.algebra.symbols_in(c).into_iter().find(|&s| !self.known(s));
                let name = unknown.and_then(|s| self.algebra.symbol_of(s)).map(|s| s.name.clone());
                self.assumptions.insert(Assumption::Condition(name.unwrap_or_default()));
                self.coverage = self.coverage.max(Coverage::Residues);
            }
        }
        kept
    }

    /// Symbols to walk, in an order in which loop conditions can be evaluated. The others only shift the request as
    /// a whole.
    fn split_symbols(&mut self, conditions: &[Value]) -> Vec<AtomId> {
        let mut walked: BTreeSet<AtomId> =
            conditions.iter().flat_map(|c| self.algebra.symbols_in(c)).collect();
        for (m, c) in self.access.offset.0.iter() {
            let complex =
                !matches!(c, Lanes::Uniform(_)) || m.iter().any(|&a| self.algebra.is_application(a));
            if complex {
                let term = Value(std::rc::Rc::new(vec![(m.clone(), c.clone())]));
                walked.extend(self.algebra.symbols_in(&term));
            }
        }
        // Loops whose length follows from their condition are walked, with what the condition needs.
        let mut more: Vec<AtomId> = self.access.enclosing.to_vec();
        more.extend(walked.iter().copied());
        while let Some(id) = more.pop() {
            let uncounted = self.algebra.symbol_of(id).is_some_and(|s| s.count.is_none());
            if uncounted && self.known(id) {
                walked.insert(id);
                for g in self.access.guards.get(&id).into_iter().flatten() {
                    for s in self.algebra.symbols_in(g) {
                        if walked.insert(s) {
                            more.push(s);
                        }
                    }
                }
            }
        }
        let mut shifting: Vec<AtomId> =
            self.algebra.symbols_in(self.access.offset).into_iter().filter(|s| !walked.contains(s)).collect();
        // What shares a product with a walked symbol can't be summed up apart from it.
        let products = &self.access.offset.0;
        while let Some(at) = shifting.iter().position(|s| {
            products.iter().any(|(m, _)| m.contains(s) && m.iter().any(|other| walked.contains(other)))
        }) {
            let symbol = shifting.swap_remove(at);
            walked.insert(symbol);
            self.mixed.insert(symbol);
        }
        self.shifting = shifting;
        let rank = |id: &AtomId| match self.algebra.symbol_of(*id).map(|s| &s.kind) {
            Some(SymbolKind::Param | SymbolKind::Loaded) => 0,
            Some(SymbolKind::WorkgroupId(_)) => 1,
            _ => 2,
        };
        let mut walked: Vec<AtomId> = walked.into_iter().collect();
        walked.sort_by_key(|id| (rank(id), *id));
        walked
    }

    /// How often each point repeats because of enclosing symbols that the addresses don't depend on.
    fn repeats(&mut self, walked: &[AtomId]) -> u128 {
        let mut repeat = 1u128;
        for id in self.access.enclosing {
            if walked.contains(id) || self.shifting.contains(id) {
                continue;
            }
            match self.algebra.symbol_of(*id).and_then(|s| s.count) {
                Some(n) => {
                    repeat = repeat.saturating_mul(u128::from(n));
                    self.stands_for(*id, n as f64);
                }
                None => {
                    self.coverage = self.coverage.max(Coverage::Residues);
                    self.stands_for(*id, 1.0);
                }
            }
        }
        repeat
    }

    /// The histogram of the uniform part of the offset over the symbols that only shift.
    fn shifts(&mut self) -> Shifts {
        let shifting = self.shifting.clone();
        let uniform: Vec<_> = self
            .access
            .offset
            .0
            .iter()
            .filter(|(m, _)| m.iter().any(|a| shifting.contains(a)))
            .cloned()
            .collect();
        let mut all = Shifts::from([(0, 1)]);
        let mut left: Vec<AtomId> = shifting.clone();
        while let Some(first) = left.pop() {
            // The symbols that share products with this one are walked together.
            let mut group = vec![first];
            let mut at = 0;
            while at < group.len() {
                let member = group[at];
                for (m, _) in uniform.iter().filter(|(m, _)| m.contains(&member)) {
                    for &other in m {
                        if let Some(i) = left.iter().position(|&l| l == other) {
                            group.push(left.swap_remove(i));
                        }
                    }
                }
                at += 1;
            }
            let terms: Vec<_> =
                uniform.iter().filter(|(m, _)| m.iter().any(|a| group.contains(a))).cloned().collect();
            let part = self.group_shifts(&group, &terms);
            let mut sum = Shifts::new();
            for (a, wa) in &all {
                for (b, wb) in &part {
                    *sum.entry((a + b).rem_euclid(self.modulus)).or_default() += wa.saturating_mul(*wb);
                }
            }
            all = sum;
        }
        all
    }

    fn group_shifts(&mut self, group: &[AtomId], terms: &[(Vec<AtomId>, Lanes)]) -> Shifts {
        let value = Value(std::rc::Rc::new(terms.to_vec()));
        let mut lists: Vec<Weighted> = Vec::new();
        for &id in group {
            lists.push(self.residues(&value, id));
        }
        self.thin(&mut lists, 1 << 16);
        let mut shifts = Shifts::new();
        let mut at = vec![0usize; lists.len()];
        if lists.iter().any(Vec::is_empty) {
            return shifts;
        }
        loop {
            let mut weight = 1u128;
            let mut values = HashMap::new();
            for (i, list) in lists.iter().enumerate() {
                values.insert(group[i], list[at[i]].0);
                weight = weight.saturating_mul(list[at[i]].1);
            }
            let mut shift = 0i64;
            for (m, c) in terms {
                let product = m.iter().fold(c.at(0), |p, a| {
                    p.wrapping_mul(values.get(a).copied().unwrap_or(0)) % (self.modulus << 20)
                });
                shift = (shift + product) % self.modulus;
            }
            *shifts.entry(shift.rem_euclid(self.modulus)).or_default() += weight;
            let mut digit = 0;
            loop {
                at[digit] += 1;
                if at[digit] < lists[digit].len() {
                    break;
                }
                at[digit] = 0;
                digit += 1;
                if digit == lists.len() {
                    return shifts;
                }
            }
        }
    }

    /// The values of a symbol in which `value` is polynomial, as far as they differ modulo the modulus.
    fn residues(&mut self, value: &Value, id: AtomId) -> Weighted {
        let period = self.periods.period(value, id).unwrap_or(self.modulus).min(MOST_VALUES);
        let values = match self.algebra.symbol_of(id) {
            Some(Symbol { count: Some(n), .. }) => *n as f64,
            Some(Symbol { kind: SymbolKind::Flag, .. }) => 2.0,
            _ => period as f64,
        };
        self.stands_for(id, values);
        match self.algebra.symbol_of(id) {
            Some(Symbol { count: Some(n), .. }) => (0..period)
                .map(|r| (r, u128::from(*n).saturating_sub(r as u128).div_ceil(period as u128)))
                .filter(|(_, w)| *w > 0)
                .collect(),
            Some(Symbol { kind: SymbolKind::Flag, .. }) => vec![(0, 1), (1, 1)],
            _ => {
                if period > 1 {
                    self.assume_residues(id);
                }
                self.coverage = self.coverage.max(Coverage::Residues);
                (0..period).map(|r| (r, 1)).collect()
            }
        }
    }

    /// Takes note that so many values of a symbol are walked: of loops all are one workgroup's, of what is not known
    /// or differs between workgroups each is another's.
    fn stands_for(&mut self, id: AtomId, values: f64) {
        let Some(symbol) = self.algebra.symbol_of(id) else { return };
        if symbol.kind != SymbolKind::Loop {
            self.groups = self.groups.map(|g| g * values);
        } else if symbol.count.is_none() {
            self.groups = None;
        }
    }

    /// The steps in which an unknown may grow so that the offset stays a multiple of what it must be one of.
    fn aligned_step(&self, id: AtomId) -> i64 {
        let align = i64::try_from(self.access.align).unwrap_or(1).max(1);
        let mut common = 0;
        for (m, c) in self.access.offset.0.iter() {
            if m.iter().any(|&a| a != id && self.algebra.info(a).symbols.contains(&id)) {
                return 1;
            }
            if m.contains(&id) {
                common = match c {
                    Lanes::Uniform(c) => gcd(common, *c),
                    Lanes::Each(c) => c.iter().fold(common, |g, c| gcd(g, *c)),
                };
            }
        }
        align / gcd(align, common).max(1)
    }

    fn stand_in(&self, id: AtomId) -> i64 {
        self.stand_ins.get(&id).copied().unwrap_or(1021 * 128)
    }

    fn assume_residues(&mut self, id: AtomId) {
        if let Some(s) = self.algebra.symbol_of(id) {
            self.assumptions.insert(Assumption::Residues(s.name.clone()));
        }
    }

    /// Shortens lists evenly until at most `most` combinations are left.
    fn thin(&mut self, lists: &mut [Weighted], most: usize) {
        loop {
            if product(lists) <= most {
                return;
            }
            let Some(longest) = lists.iter_mut().max_by_key(|l| l.len()) else { return };
            let keep = (longest.len() / 2).max(1);
            let step = (longest.len() / keep) | 1;
            *longest = (0..keep).map(|i| longest[i * step % longest.len()]).collect();
            self.coverage = Coverage::Sampled;
            self.groups = None;
        }
    }

    fn run(&mut self, conditions: &[Value], walked: &[AtomId], repeat: u128, budget: usize) -> Shapes {
        let most_points = (budget / self.algebra.lanes()).max(16);
        let mut lists = Vec::new();
        for &id in walked {
            lists.push(self.candidates(id, conditions));
        }
        let mut sizes: Vec<_> = lists
            .clone()
            .into_iter()
            .map(Option::unwrap_or_default)
            .map(|l| if l.is_empty() { vec![(0, 1)] } else { l })
            .collect();
        if product(&sizes) > most_points {
            self.thin(&mut sizes, most_points.min(MOST_SAMPLES));
        }
        for (list, thin) in lists.iter_mut().zip(sizes) {
            if list.is_some() {
                *list = Some(thin);
            }
        }
        let parts = parts(self.algebra, self.access.offset, walked);
        // What only shifts the request is not walked.
        let parts: Vec<Value> = parts
            .iter()
            .map(|p| p.partition(|m, _| m.iter().all(|a| !self.shifting.contains(a))).0)
            .collect();
        let most_points = most_points.saturating_mul(4);
        let mut walk = Walk::new(
            self.algebra,
            self.access,
            &parts,
            conditions,
            (walked, &lists),
            self.modulus,
            most_points,
        );
        walk.run(repeat);
        self.work += walk.work;
        if walk.ran_out {
            self.coverage = Coverage::Sampled;
            self.groups = None;
        }
        walk.shapes
    }

    /// The values to try, with weights; `None` where a loop's condition decides at each point.
    fn candidates(&mut self, id: AtomId, conditions: &[Value]) -> Option<Weighted> {
        if self.mixed.contains(&id) {
            return Some(self.residues(self.access.offset, id));
        }
        let symbol = self.algebra.symbol_of(id)?.clone();
        let range = |n: i64| Some((0..n).map(|v| (v, 1)).collect());
        if let Some(n) = symbol.count {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            if n <= 1 << 16 {
                self.stands_for(id, n as f64);
                return range(n);
            }
            self.coverage = Coverage::Sampled;
            self.groups = None;
            return range(MOST_VALUES);
        }
        if self.known(id) {
            return None;
        }
        self.coverage = self.coverage.max(Coverage::Residues);
        if symbol.kind == SymbolKind::Flag {
            self.stands_for(id, 2.0);
            return range(2);
        }
        let in_offset = self.algebra.symbols_in(self.access.offset).contains(&id);
        if matches!(symbol.kind, SymbolKind::Param | SymbolKind::Loaded) {
            let large = self.stand_in(id);
            if !in_offset {
                return Some(vec![(large, 1)]);
            }
            let period = self.periods.period(self.access.offset, id).unwrap_or(32).min(MOST_VALUES);
            if period > 1 {
                self.assume_residues(id);
            }
            self.assumptions.insert(Assumption::Large(symbol.name));
            self.stands_for(id, (period as u64).div_ceil(self.aligned_step(id) as u64) as f64);
            let step = self.aligned_step(id);
            return Some((0..period).step_by(step as usize).map(|r| (large + r, 1)).collect());
        }
        if let Some(n) = self.bound(id, conditions) {
            if matches!(symbol.kind, SymbolKind::WorkgroupId(_)) {
                self.assumptions.insert(Assumption::Grid(symbol.name, n as u64));
                self.stands_for(id, n as f64);
            }
            return range(n);
        }
        let mut period = if in_offset { self.periods.period(self.access.offset, id) } else { Some(1) };
        for c in conditions {
            period = period.and_then(|p| lcm(p, self.periods.step(c, id)?.0));
        }
        let multiplies = self.multiplies_lanes(id);
        match period {
            Some(p) => {
                if p > 1 {
                    self.assume_residues(id);
                }
                let base = if multiplies { self.stand_in(id) } else { 0 };
                self.stands_for(id, p as f64);
                Some((0..p).map(|r| (base + r, 1)).collect())
            }
            None => {
                self.coverage = Coverage::Sampled;
                self.groups = None;
                range(64)
            }
        }
    }

    /// Whether the symbol is a factor of a lane-varying term: an unknown stride.
    fn multiplies_lanes(&self, id: AtomId) -> bool {
        self.access.offset.0.iter().any(|(m, c)| {
            m.contains(&id)
                && (!matches!(c, Lanes::Uniform(_)) || m.iter().any(|&a| self.algebra.info(a).varies))
        })
    }

    /// One past the last value of `id` for which the conditions, or a clamp in the offset, leave any lane
    /// unclamped, all other symbols at their least; `None` if there is no such end.
    fn bound(&self, id: AtomId, conditions: &[Value]) -> Option<i64> {
        let mut limits: Vec<Value> =
            conditions.iter().filter(|c| self.algebra.symbols_in(c).contains(&id)).cloned().collect();
        let mut clamps = Vec::new();
        for a in self.algebra.closure([self.access.offset]) {
            if let Atom::Apply(Op::Min(_), args) = self.algebra.atom(a)
                && let [x, top] = args.as_slice()
            {
                for (x, top) in [(x, top), (top, x)] {
                    if top.as_lanes().is_some() && self.algebra.symbols_in(x).contains(&id) {
                        clamps.push((x.clone(), top.clone()));
                    }
                }
            }
        }
        if limits.is_empty() && clamps.is_empty() {
            return None;
        }
        let differences: Vec<Value> = clamps.iter().map(|(x, top)| top.sub(x)).collect();
        limits.retain(|l| self.algebra.data_in(l).is_none());
        let mut roots: Vec<&Value> = limits.iter().collect();
        roots.extend(&differences);
        let mut tape = Tape::new(self.algebra, &roots);
        tape.set_all(|other| {
            let unknown = self.algebra.symbol_of(other).is_some_and(|s| {
                matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded) && s.count.is_none()
            });
            if unknown { self.stand_in(other) } else { 0 }
        });
        let mut holds = |v: i64| {
            tape.set(id, v);
            tape.run();
            (0..limits.len()).all(|l| tape.root(l).any())
                && (limits.len()..limits.len() + differences.len()).all(|d| match tape.root(d) {
                    Evaluated::Uniform(x) => x > 0,
                    Evaluated::Each(x) => x.iter().any(|&x| x > 0),
                })
        };
        if !holds(0) || holds(1 << 20) {
            return None;
        }
        let (mut low, mut high) = (0i64, 1i64 << 20);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if holds(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        (high <= 1 << 16).then_some(high)
    }
}
