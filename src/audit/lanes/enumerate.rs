//! Which values of the symbols to count at: all of them, one per residue, or a sample.
//!
//! Symbols that only shift the whole request are handled as a histogram of shifts. The others are
//! walked: over all their values where these are known, over one period where the addresses repeat
//! (modulo the block size), and else over a sample.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::algebra::{Algebra, Atom, AtomId, Lanes, SymbolKind, Value};
use super::eval::{Evaluated, Tape};
use super::op::Op;
use super::simplify::gcd;

/// A memory access as the algebra sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// Byte offset into the buffer.
    pub(crate) offset: &'a Value,
    /// Conditions (0 or 1) under which a lane takes part; all must hold.
    pub(crate) conditions: &'a [Value],
    /// Workgroup ids and loop counters around the access, innermost last.
    pub(crate) enclosing: &'a [AtomId],
    /// While-conditions of loops, by counter.
    pub(crate) guards: &'a HashMap<AtomId, Vec<Value>>,
}

/// How much of the space of symbol values was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coverage {
    /// Every request of the dispatch, with its multiplicity.
    Complete,
    /// Every residue of the unknown symbols, each equally likely.
    Residues,
    /// A sample of values.
    Sampled,
}

/// What was assumed, for the finding's notes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assumption {
    /// Averaged over the residues of these symbols.
    Residues(String),
    /// Distinct multiples of this unknown don't share a block.
    Large(String),
    /// Lanes for which this data-dependent condition holds are taken to be all.
    DataCondition(String),
    /// This uniform condition is taken to hold, by the name of what it depends on.
    Condition(String),
    /// The number of workgroups was inferred from a guard or clamp: (symbol, count).
    Grid(String, u64),
    /// No lane was found to take part; all were taken to.
    AllLanes,
}

/// The residues' shift of a whole request: weight by shift modulo the modulus.
type Shifts = BTreeMap<i64, u128>;

/// One request: lane and byte offset of each active lane.
pub(crate) type Request = [(usize, i64)];

/// What is called for each request: its lanes with byte offsets, and how often it happens.
type Visit<'v> = dyn FnMut(&Request, u128) + 'v;

/// Values of a symbol with how often each occurs.
type Weighted = Vec<(i64, u128)>;

struct Plan<'a, 'b> {
    algebra: &'a Algebra,
    access: Access<'b>,
    modulus: i64,
    coverage: Coverage,
    assumptions: BTreeSet<Assumption>,
}

/// Made-up value of an unknown parameter: large, and different for each.
fn stand_in(id: AtomId) -> i64 {
    (1021 + 97 * i64::from(id.0 % 512)) * 128
}

/// Most values tried of one symbol.
const MOST_VALUES: i64 = 4096;

/// Calls `visit` for each request with at least one active lane.
///
/// Offsets count modulo nothing: their residue modulo `modulus` and their differences are meaningful.
/// `budget` bounds the number of points times lanes.
pub(crate) fn for_each_request(
    algebra: &Algebra,
    access: Access<'_>,
    modulus: i64,
    budget: usize,
    visit: &mut Visit<'_>,
) -> (Coverage, BTreeSet<Assumption>) {
    let mut plan =
        Plan { algebra, access, modulus, coverage: Coverage::Complete, assumptions: BTreeSet::new() };
    let conditions = plan.usable_conditions();
    let (walked, shifting) = plan.split_symbols(&conditions);
    let shifts = plan.shifts(&shifting);
    let repeat = plan.repeats(&walked, &shifting);
    let found = plan.run(&conditions, &walked, &shifts, repeat, budget, visit);
    if found == 0 && !conditions.is_empty() && plan.coverage != Coverage::Complete {
        plan.assumptions.insert(Assumption::AllLanes);
        plan.coverage = Coverage::Sampled;
        plan.run(&[], &walked, &shifts, repeat, budget, visit);
    }
    (plan.coverage, plan.assumptions)
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
            if all_known || self.algebra.varies(c) || !self.algebra.varies_not_at_all(c) {
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

    /// Symbols to walk, in an order in which loop conditions can be evaluated, and symbols that only
    /// shift the request as a whole.
    fn split_symbols(&self, conditions: &[Value]) -> (Vec<AtomId>, Vec<AtomId>) {
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
        let shifting: Vec<AtomId> =
            self.algebra.symbols_in(self.access.offset).into_iter().filter(|s| !walked.contains(s)).collect();
        let rank = |id: &AtomId| match self.algebra.symbol_of(*id).map(|s| &s.kind) {
            Some(SymbolKind::Param | SymbolKind::Loaded) => 0,
            Some(SymbolKind::WorkgroupId(_)) => 1,
            _ => 2,
        };
        let mut walked: Vec<AtomId> = walked.into_iter().collect();
        walked.sort_by_key(|id| (rank(id), *id));
        (walked, shifting)
    }

    /// How often each point repeats because of enclosing symbols that the addresses don't depend on.
    fn repeats(&mut self, walked: &[AtomId], shifting: &[AtomId]) -> u128 {
        let mut repeat = 1u128;
        for id in self.access.enclosing {
            if walked.contains(id) || shifting.contains(id) {
                continue;
            }
            match self.algebra.symbol_of(*id).and_then(|s| s.count) {
                Some(n) => repeat = repeat.saturating_mul(u128::from(n)),
                None => self.coverage = self.coverage.max(Coverage::Residues),
            }
        }
        repeat
    }

    /// The histogram of the uniform part of the offset over the symbols that only shift.
    fn shifts(&mut self, shifting: &[AtomId]) -> Shifts {
        let uniform: Vec<_> = self
            .access
            .offset
            .0
            .iter()
            .filter(|(m, _)| m.iter().any(|a| shifting.contains(a)))
            .cloned()
            .collect();
        let mut all = Shifts::from([(0, 1)]);
        let mut left: Vec<AtomId> = shifting.to_vec();
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
            let period = self.period(&value, id).unwrap_or(self.modulus).min(MOST_VALUES);
            lists.push(match self.algebra.symbol_of(id).and_then(|s| s.count) {
                Some(n) => (0..period)
                    .map(|r| (r, u128::from(n).saturating_sub(r as u128).div_ceil(period as u128)))
                    .filter(|(_, w)| *w > 0)
                    .collect(),
                None if self.algebra.symbol_of(id).is_some_and(|s| s.kind == SymbolKind::Flag) => {
                    vec![(0, 1), (1, 1)]
                }
                None => {
                    if period > 1 {
                        self.assume_residues(id);
                    }
                    self.coverage = self.coverage.max(Coverage::Residues);
                    (0..period).map(|r| (r, 1)).collect()
                }
            });
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

    fn assume_residues(&mut self, id: AtomId) {
        if let Some(s) = self.algebra.symbol_of(id) {
            self.assumptions.insert(Assumption::Residues(s.name.clone()));
        }
    }

    /// Shortens lists evenly until at most `most` combinations are left.
    fn thin(&mut self, lists: &mut [Weighted], most: usize) {
        loop {
            let product = lists.iter().fold(1usize, |p, l| p.saturating_mul(l.len()));
            if product <= most {
                return;
            }
            let Some(longest) = lists.iter_mut().max_by_key(|l| l.len()) else { return };
            let keep = (longest.len() / 2).max(1);
            let step = (longest.len() / keep) | 1;
            *longest = (0..keep).map(|i| longest[i * step % longest.len()]).collect();
            self.coverage = Coverage::Sampled;
        }
    }

    fn run(
        &mut self,
        conditions: &[Value],
        walked: &[AtomId],
        shifts: &Shifts,
        repeat: u128,
        budget: usize,
        visit: &mut Visit<'_>,
    ) -> usize {
        let lanes = self.algebra.lanes();
        let most_points = (budget / lanes / shifts.len().clamp(1, 128)).max(16);
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
        self.thin(&mut sizes, most_points);
        for (list, thin) in lists.iter_mut().zip(sizes) {
            if list.is_some() {
                *list = Some(thin);
            }
        }
        let mut roots: Vec<&Value> = vec![self.access.offset];
        roots.extend(conditions);
        roots.extend(self.access.guards.values().flatten());
        let mut walk = Walk {
            tape: Tape::new(self.algebra, &roots),
            walked,
            lists: &lists,
            conditions,
            access: self.access,
            shifts,
            subgroup: self.algebra.subgroup_size(),
            lanes,
            points_left: most_points.saturating_mul(4),
            ran_out: false,
            requests: 0,
            visit,
        };
        walk.descend(0, repeat);
        let (requests, ran_out) = (walk.requests, walk.ran_out);
        if ran_out {
            self.coverage = Coverage::Sampled;
        }
        requests
    }

    /// The values to try, with weights; `None` where a loop's condition decides at each point.
    fn candidates(&mut self, id: AtomId, conditions: &[Value]) -> Option<Weighted> {
        let symbol = self.algebra.symbol_of(id)?.clone();
        let range = |n: i64| Some((0..n).map(|v| (v, 1)).collect());
        if let Some(n) = symbol.count {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            if n <= 1 << 16 {
                return range(n);
            }
            self.coverage = Coverage::Sampled;
            return range(MOST_VALUES);
        }
        if self.known(id) {
            return None;
        }
        self.coverage = self.coverage.max(Coverage::Residues);
        if symbol.kind == SymbolKind::Flag {
            return range(2);
        }
        let in_offset = self.algebra.symbols_in(self.access.offset).contains(&id);
        if matches!(symbol.kind, SymbolKind::Param | SymbolKind::Loaded) {
            let large = stand_in(id);
            if !in_offset {
                return Some(vec![(large, 1)]);
            }
            let period = self.period(self.access.offset, id).unwrap_or(32).min(MOST_VALUES);
            if period > 1 {
                self.assume_residues(id);
            }
            self.assumptions.insert(Assumption::Large(symbol.name));
            return Some((0..period).map(|r| (large + r, 1)).collect());
        }
        if let Some(n) = self.bound(id, conditions) {
            if matches!(symbol.kind, SymbolKind::WorkgroupId(_)) {
                self.assumptions.insert(Assumption::Grid(symbol.name, n as u64));
            }
            return range(n);
        }
        let mut period = if in_offset { self.period(self.access.offset, id) } else { Some(1) };
        for c in conditions {
            period = period.and_then(|p| lcm(p, self.step(c, id)?.0));
        }
        let multiplies = self.multiplies_lanes(id);
        match period {
            Some(p) => {
                if p > 1 {
                    self.assume_residues(id);
                }
                let base = if multiplies { stand_in(id) } else { 0 };
                Some((0..p).map(|r| (base + r, 1)).collect())
            }
            None => {
                self.coverage = Coverage::Sampled;
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
        let mut stack: Vec<AtomId> = self.access.offset.atoms().collect();
        while let Some(a) = stack.pop() {
            if let Atom::Apply(op, args) = self.algebra.atom(a) {
                if let (Op::Min(_), [x, top]) = (op, args.as_slice()) {
                    for (x, top) in [(x, top), (top, x)] {
                        if top.as_lanes().is_some() && self.algebra.symbols_in(x).contains(&id) {
                            clamps.push((x.clone(), top.clone()));
                        }
                    }
                }
                stack.extend(args.iter().flat_map(|v| v.atoms()));
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
        for i in 0..self.algebra.size() {
            let other = AtomId(i as u32);
            if let Some(s) = self.algebra.symbol_of(other) {
                let unknown = matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded) && s.count.is_none();
                tape.set(other, if unknown { stand_in(other) } else { 0 });
            }
        }
        let mut holds = |v: i64| {
            tape.set(id, v);
            tape.run();
            limits.iter().all(|l| tape.value(l).any())
                && differences.iter().all(|d| match tape.value(d) {
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

    /// The least number of steps of `id` after which every address is the same modulo the modulus.
    fn period(&self, value: &Value, id: AtomId) -> Option<i64> {
        let mut period = 1i64;
        for (m, c) in value.0.iter() {
            let mut dependent = m.iter().filter(|&&a| self.algebra.info(a).symbols.contains(&id));
            let Some(&first) = dependent.next() else { continue };
            let (atom_period, delta) = self.step_atom(first, id)?;
            let mut change = gcd(0, delta);
            if dependent.clone().any(|&a| a != id) || (dependent.next().is_some() && first != id) {
                return None;
            }
            change = match c {
                Lanes::Uniform(c) => gcd(change.wrapping_mul(*c), self.modulus),
                Lanes::Each(v) => v.iter().fold(self.modulus, |g, c| gcd(g, change.wrapping_mul(*c))),
            };
            if delta == 0 {
                change = self.modulus;
            }
            period = lcm(period, atom_period.checked_mul(self.modulus / change.max(1))?)?;
        }
        Some(period)
    }

    /// `(steps, change)`: after that many steps of `id` the value is larger by just that, in every lane.
    fn step(&self, v: &Value, id: AtomId) -> Option<(i64, i64)> {
        let mut parts = Vec::new();
        let mut steps = 1i64;
        for (m, c) in v.0.iter() {
            if !m.iter().any(|&a| self.algebra.info(a).symbols.contains(&id)) {
                continue;
            }
            let (&[atom], Lanes::Uniform(c)) = (m.as_slice(), c) else {
                // Products: fine only if no factor changes over the steps.
                let mut still = 1i64;
                for &a in m {
                    if self.algebra.info(a).symbols.contains(&id) {
                        let (n, change) = self.step_atom(a, id)?;
                        if change != 0 {
                            return None;
                        }
                        still = lcm(still, n)?;
                    }
                }
                steps = lcm(steps, still)?;
                continue;
            };
            let (n, change) = self.step_atom(atom, id)?;
            steps = lcm(steps, n)?;
            parts.push((n, change.checked_mul(*c)?));
        }
        let mut total = 0i64;
        for (n, change) in parts {
            total = total.checked_add(change.checked_mul(steps / n)?)?;
        }
        Some((steps, total))
    }

    fn step_atom(&self, atom: AtomId, id: AtomId) -> Option<(i64, i64)> {
        if atom == id {
            return Some((1, 1));
        }
        if !self.algebra.info(atom).symbols.contains(&id) {
            return Some((1, 0));
        }
        let Atom::Apply(op, args) = self.algebra.atom(atom) else { return None };
        let (n, change) = self.step(&args[0], id)?;
        let second = args.get(1);
        let constant = second.and_then(Value::as_int);
        match op {
            Op::Div(_) | Op::Rem(_) => {
                let c = constant.filter(|&c| c > 0)?;
                let times = c / gcd(c, change).max(1);
                let steps = n.checked_mul(times)?;
                let quotient = change.checked_mul(times)? / c;
                (steps <= MOST_VALUES).then_some((steps, if matches!(op, Op::Div(_)) { quotient } else { 0 }))
            }
            Op::And(_) | Op::Or(_) | Op::Xor(_) => {
                let highest = match constant {
                    Some(c) if c >= 0 => c,
                    _ => {
                        let second = second?;
                        let (lo, hi) = self.algebra.range(second);
                        if self.algebra.symbols_in(second).contains(&id) || lo < Some(0) {
                            return None;
                        }
                        hi?
                    }
                };
                let span = 1i64 << (64 - highest.leading_zeros()).min(40);
                let times = span / gcd(span, change).max(1);
                let steps = n.checked_mul(times)?;
                let moved = if matches!(op, Op::And(_)) { 0 } else { change.checked_mul(times)? };
                (steps <= MOST_VALUES).then_some((steps, moved))
            }
            Op::Lt(_) | Op::Eq(_) | Op::Min(_) | Op::Max(_) => {
                let (n2, change2) = self.step(second?, id)?;
                let steps = lcm(n, n2)?;
                let (a, b) = (change.checked_mul(steps / n)?, change2.checked_mul(steps / n2)?);
                let keeps = matches!(op, Op::Min(_) | Op::Max(_));
                (a == b).then_some((steps, if keeps { a } else { 0 }))
            }
            _ => {
                let mut steps = n;
                if change != 0 {
                    return None;
                }
                for a in &args[1..] {
                    let (m, change) = self.step(a, id)?;
                    if change != 0 {
                        return None;
                    }
                    steps = lcm(steps, m)?;
                }
                Some((steps, 0))
            }
        }
    }
}

fn lcm(a: i64, b: i64) -> Option<i64> {
    let both = a / gcd(a, b).max(1) * b;
    (both <= MOST_VALUES).then_some(both)
}

/// The walk over points, one level per symbol.
struct Walk<'a, 'b> {
    tape: Tape<'a>,
    walked: &'b [AtomId],
    lists: &'b [Option<Weighted>],
    conditions: &'b [Value],
    access: Access<'b>,
    shifts: &'b Shifts,
    subgroup: usize,
    lanes: usize,
    points_left: usize,
    ran_out: bool,
    requests: usize,
    visit: &'b mut Visit<'b>,
}

impl Walk<'_, '_> {
    fn descend(&mut self, depth: usize, weight: u128) {
        if self.ran_out {
            return;
        }
        let Some(&id) = self.walked.get(depth) else {
            if self.points_left == 0 {
                self.ran_out = true;
                return;
            }
            self.points_left -= 1;
            return self.leaf(weight);
        };
        match &self.lists[depth] {
            Some(list) => {
                for &(v, w) in list {
                    self.enter(id, v, depth, weight.saturating_mul(w));
                }
            }
            None => {
                for v in 0.. {
                    self.tape.set(id, v);
                    self.tape.run();
                    let on = self
                        .access
                        .guards
                        .get(&id)
                        .is_some_and(|guards| guards.iter().all(|g| self.tape.value(g).any()));
                    if !on || self.ran_out {
                        break;
                    }
                    if v > 1 << 16 {
                        self.ran_out = true;
                        break;
                    }
                    self.enter(id, v, depth, weight);
                }
            }
        }
    }

    fn enter(&mut self, id: AtomId, v: i64, depth: usize, weight: u128) {
        self.tape.set(id, v);
        self.descend(depth + 1, weight);
    }

    fn leaf(&mut self, weight: u128) {
        self.tape.run();
        let mut active = vec![true; self.lanes];
        for c in self.conditions {
            match self.tape.value(c) {
                Evaluated::Uniform(0) => return,
                Evaluated::Uniform(_) => {}
                Evaluated::Each(v) => active.iter_mut().zip(&v).for_each(|(a, v)| *a &= *v != 0),
            }
        }
        let offsets = self.tape.value(self.access.offset);
        let mut request = Vec::with_capacity(self.subgroup);
        for start in (0..self.lanes).step_by(self.subgroup) {
            let end = (start + self.subgroup).min(self.lanes);
            if !active[start..end].contains(&true) {
                continue;
            }
            for (&shift, &times) in self.shifts {
                request.clear();
                request.extend(
                    (start..end).filter(|&l| active[l]).map(|l| (l, offsets.at(l).wrapping_add(shift))),
                );
                self.requests += 1;
                (self.visit)(&request, weight.saturating_mul(times));
            }
        }
    }
}

impl Algebra {
    /// Uniform over the whole workgroup, not only over each subgroup.
    pub(crate) fn varies_not_at_all(&self, v: &Value) -> bool {
        v.0.iter().all(|(m, c)| {
            matches!(c, Lanes::Uniform(_))
                && m.iter().all(|&a| match self.atom(a) {
                    Atom::Symbol(_) => true,
                    Atom::Data => false,
                    Atom::Apply(_, args) => args.iter().all(|a| self.varies_not_at_all(a)),
                })
        })
    }
}
