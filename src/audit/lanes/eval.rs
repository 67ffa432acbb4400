//! Values at chosen symbol values: one integer per invocation.

use std::collections::HashMap;

use super::algebra::{Algebra, Atom};
use super::op::Op;
use super::value::{AtomId, Lanes, Value};

/// An evaluated atom or value.
#[derive(Clone, Debug)]
pub(crate) enum Evaluated {
    Uniform(i64),
    Each(Vec<i64>),
}

impl Evaluated {
    pub(crate) fn at(&self, lane: usize) -> i64 {
        match self {
            Evaluated::Uniform(v) => *v,
            Evaluated::Each(v) => v[lane],
        }
    }

    /// Not 0 for any lane.
    pub(crate) fn any(&self) -> bool {
        match self {
            Evaluated::Uniform(v) => *v != 0,
            Evaluated::Each(v) => v.iter().any(|x| *x != 0),
        }
    }
}

/// A polynomial over slots of a tape.
#[derive(Debug)]
struct Compiled<'a> {
    terms: Vec<(Vec<usize>, &'a Lanes)>,
}

#[derive(Debug)]
struct Step<'a> {
    slot: usize,
    id: AtomId,
    /// `None` for data.
    op: Option<&'a Op>,
    args: Vec<Compiled<'a>>,
    /// Whether operands wrap to their type. They don't where a parameter's value was made up, since made-up
    /// values are larger than real ones.
    wraps: bool,
}

/// What has to be evaluated, in order, for some values: the roots.
///
/// Steps are kept by level: level 0 depends on no symbol of `order`, level `n` on `order[n - 1]` at the latest, so
/// that a walk over symbol values evaluates again only what changes.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    lanes: usize,
    slots: Vec<Option<Evaluated>>,
    symbols: HashMap<AtomId, usize>,
    levels: Vec<Vec<Step<'a>>>,
    roots: Vec<Compiled<'a>>,
}

impl<'a> Tape<'a> {
    /// All steps at one level.
    pub(crate) fn new(algebra: &'a Algebra, roots: &[&'a Value]) -> Self {
        Self::by_level(algebra, roots, &[])
    }

    /// With levels by the symbols of `order`.
    pub(crate) fn by_level(algebra: &'a Algebra, roots: &[&'a Value], order: &[AtomId]) -> Self {
        let ids = algebra.closure(roots.iter().copied());
        let slot_of: HashMap<AtomId, usize> = ids.iter().enumerate().map(|(i, &a)| (a, i)).collect();
        let compile = |v: &'a Value| Compiled {
            terms: v.0.iter().map(|(m, c)| (m.iter().map(|a| slot_of[a]).collect(), c)).collect(),
        };
        let mut levels: Vec<Vec<Step<'a>>> = (0..=order.len()).map(|_| Vec::new()).collect();
        let mut symbols = HashMap::new();
        for (slot, &id) in ids.iter().enumerate() {
            let info = algebra.info(id);
            let (op, args) = match &info.atom {
                Atom::Symbol(_) => {
                    symbols.insert(id, slot);
                    continue;
                }
                Atom::Data => (None, Vec::new()),
                Atom::Apply(op, args) => (Some(op), args.iter().map(compile).collect()),
            };
            let known = |s: &AtomId| algebra.symbol_of(*s).is_some_and(|s| s.count.is_some());
            let wraps = info.symbols.iter().all(known);
            levels[level(&info.symbols, order)].push(Step { slot, id, op, args, wraps });
        }
        let roots = roots.iter().copied().map(compile).collect();
        Tape { lanes: algebra.lanes(), slots: vec![None; ids.len()], symbols, levels, roots }
    }

    /// Operations per lane that a level takes.
    pub(crate) fn cost(&self, level: usize) -> usize {
        1 + self.levels[level]
            .iter()
            .map(|s| 1 + s.args.iter().map(|a| a.terms.len()).sum::<usize>())
            .sum::<usize>()
    }

    /// Sets a symbol for the evaluations that follow.
    pub(crate) fn set(&mut self, symbol: AtomId, value: i64) {
        if let Some(&slot) = self.symbols.get(&symbol) {
            self.slots[slot] = Some(Evaluated::Uniform(value));
        }
    }

    /// Sets every symbol.
    pub(crate) fn set_all(&mut self, value: impl Fn(AtomId) -> i64) {
        for (&id, &slot) in &self.symbols {
            self.slots[slot] = Some(Evaluated::Uniform(value(id)));
        }
    }

    /// Evaluates all steps with the symbols as they are set; unset symbols are 0.
    pub(crate) fn run(&mut self) {
        for level in 0..self.levels.len() {
            self.run_level(level);
        }
    }

    /// Evaluates the steps of one level; those below must have been evaluated.
    pub(crate) fn run_level(&mut self, level: usize) {
        for i in 0..self.levels[level].len() {
            let step = &self.levels[level][i];
            let result = match step.op {
                Some(op) => self.apply(op, &step.args, step.wraps),
                // Data is spread out, each lane far from the others.
                None => Evaluated::Each(
                    (0..self.lanes)
                        .map(|l| ((l as i64 + 1) * 7919 + i64::from(step.id.0) * 104_729) % 65_521 * 4096)
                        .collect(),
                ),
            };
            let slot = step.slot;
            self.slots[slot] = Some(result);
        }
    }

    fn apply(&self, op: &Op, args: &[Compiled<'a>], wraps: bool) -> Evaluated {
        let read: Vec<Evaluated> = args.iter().map(|a| self.evaluate(a)).collect();
        let operand = op.operand();
        let on = |lane: usize| {
            let mut at = [0i64; 3];
            for (slot, v) in at.iter_mut().zip(&read) {
                let v = v.at(lane);
                *slot = match operand {
                    Some(t) if wraps || (v < 0 && !t.signed && t.bits < 64) => t.wrap(v),
                    _ => v,
                };
            }
            op.on(&at[..read.len().min(3)])
        };
        if read.iter().all(|v| matches!(v, Evaluated::Uniform(_))) {
            Evaluated::Uniform(on(0))
        } else {
            Evaluated::Each((0..self.lanes).map(on).collect())
        }
    }

    /// Root number `ix` as far as it has been evaluated.
    pub(crate) fn root(&self, ix: usize) -> Evaluated {
        self.evaluate(&self.roots[ix])
    }

    /// Adds root number `ix` to `sum`, lane by lane.
    pub(crate) fn add_root(&self, ix: usize, sum: &mut [i64]) {
        let mut uniform = 0i64;
        for (m, c) in &self.roots[ix].terms {
            let (product, varying) = self.factors(m);
            match (c, varying.as_slice()) {
                (Lanes::Uniform(c), []) => uniform = uniform.wrapping_add(product.wrapping_mul(*c)),
                (c, varying) => add_lanes(c, product, varying, sum),
            }
        }
        if uniform != 0 {
            sum.iter_mut().for_each(|s| *s = s.wrapping_add(uniform));
        }
    }

    /// The product of the uniform factors of a monomial, and the others.
    fn factors(&self, m: &[usize]) -> (i64, Vec<&[i64]>) {
        let mut product = 1i64;
        let mut varying = Vec::new();
        for &slot in m {
            match &self.slots[slot] {
                Some(Evaluated::Uniform(x)) => product = product.wrapping_mul(*x),
                Some(Evaluated::Each(x)) => varying.push(x.as_slice()),
                None => product = 0,
            }
        }
        (product, varying)
    }

    fn evaluate(&self, v: &Compiled<'a>) -> Evaluated {
        let mut uniform = 0i64;
        let mut each: Option<Vec<i64>> = None;
        for (m, c) in &v.terms {
            let (product, varying) = self.factors(m);
            if let (Lanes::Uniform(c), []) = (c, varying.as_slice()) {
                uniform = uniform.wrapping_add(product.wrapping_mul(*c));
                continue;
            }
            let sum = each.get_or_insert_with(|| vec![0; self.lanes]);
            add_lanes(c, product, &varying, sum);
        }
        match each {
            None => Evaluated::Uniform(uniform),
            Some(mut v) => {
                if uniform != 0 {
                    v.iter_mut().for_each(|x| *x = x.wrapping_add(uniform));
                }
                Evaluated::Each(v)
            }
        }
    }
}

/// Adds a term that differs between lanes to `sum`. The two common forms are loops without branches.
fn add_lanes(c: &Lanes, product: i64, varying: &[&[i64]], sum: &mut [i64]) {
    match (c, varying) {
        (Lanes::Uniform(c), [v]) => {
            let by = product.wrapping_mul(*c);
            sum.iter_mut().zip(*v).for_each(|(s, v)| *s = s.wrapping_add(v.wrapping_mul(by)));
        }
        (Lanes::Each(c), []) => {
            sum.iter_mut().zip(c.iter()).for_each(|(s, c)| *s = s.wrapping_add(c.wrapping_mul(product)));
        }
        _ => {
            for (lane, s) in sum.iter_mut().enumerate() {
                let lanes = varying.iter().fold(product, |p, v| p.wrapping_mul(v[lane]));
                *s = s.wrapping_add(lanes.wrapping_mul(c.at(lane)));
            }
        }
    }
}

/// The level of something that depends on `symbols`.
pub(crate) fn level(symbols: &[AtomId], order: &[AtomId]) -> usize {
    let last = order.iter().rposition(|s| symbols.contains(s));
    last.map_or(0, |at| at + 1)
}
