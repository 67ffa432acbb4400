//! Values at chosen symbol values: one integer per invocation.

use super::algebra::{Algebra, Atom, AtomId, Lanes, Value};
use super::op::Op;

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

/// What has to be evaluated, in order, for some values.
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    algebra: &'a Algebra,
    /// Applications and data, arguments first.
    steps: Vec<AtomId>,
    slots: Vec<Option<Evaluated>>,
    /// Per step: whether operands wrap to their type. They don't where a parameter's value was made up,
    /// since made-up values are larger than real ones.
    wraps: Vec<bool>,
}

impl<'a> Tape<'a> {
    pub(crate) fn new(algebra: &'a Algebra, values: &[&Value]) -> Self {
        let mut need = vec![false; algebra.size()];
        let mut stack: Vec<AtomId> = values.iter().flat_map(|v| v.atoms()).collect();
        while let Some(a) = stack.pop() {
            if std::mem::replace(&mut need[a.0 as usize], true) {
                continue;
            }
            if let Atom::Apply(_, args) = algebra.atom(a) {
                stack.extend(args.iter().flat_map(|v| v.atoms()));
            }
        }
        let steps: Vec<AtomId> = (0..need.len())
            .filter(|&i| need[i])
            .map(|i| AtomId(i as u32))
            .filter(|&a| !matches!(algebra.atom(a), Atom::Symbol(_)))
            .collect();
        let wraps = steps
            .iter()
            .map(|&a| {
                algebra
                    .info(a)
                    .symbols
                    .iter()
                    .all(|&s| algebra.symbol_of(s).is_some_and(|s| s.count.is_some()))
            })
            .collect();
        Tape { algebra, steps, slots: vec![None; algebra.size()], wraps }
    }

    /// Sets a symbol for the evaluations that follow.
    pub(crate) fn set(&mut self, symbol: AtomId, value: i64) {
        self.slots[symbol.0 as usize] = Some(Evaluated::Uniform(value));
    }

    /// Evaluates all steps with the symbols as they are set; unset symbols are 0.
    pub(crate) fn run(&mut self) {
        for i in 0..self.steps.len() {
            let id = self.steps[i];
            let result = match self.algebra.atom(id) {
                Atom::Apply(op, args) => self.apply(op, args, self.wraps[i]),
                // Data is spread out, each lane far from the others.
                Atom::Data => Evaluated::Each(
                    (0..self.algebra.lanes())
                        .map(|lane| ((lane as i64 + 1) * 7919 + i64::from(id.0) * 104_729) % 65_521 * 4096)
                        .collect(),
                ),
                Atom::Symbol(_) => continue,
            };
            self.slots[id.0 as usize] = Some(result);
        }
    }

    fn apply(&self, op: &Op, args: &[Value], wraps: bool) -> Evaluated {
        let read: Vec<Evaluated> = args.iter().map(|a| self.value(a)).collect();
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
            Evaluated::Each((0..self.algebra.lanes()).map(on).collect())
        }
    }

    /// A value after [`run`](Self::run).
    pub(crate) fn value(&self, v: &Value) -> Evaluated {
        let mut uniform = 0i64;
        let mut each: Option<Vec<i64>> = None;
        let lanes = self.algebra.lanes();
        for (m, c) in v.0.iter() {
            let mut product = 1i64;
            let mut varying: Option<Vec<i64>> = match c {
                Lanes::Uniform(c) => {
                    product = *c;
                    None
                }
                Lanes::Each(c) => Some(c.to_vec()),
            };
            for a in m {
                match &self.slots[a.0 as usize] {
                    Some(Evaluated::Uniform(x)) => product = product.wrapping_mul(*x),
                    Some(Evaluated::Each(x)) => match &mut varying {
                        Some(v) => v.iter_mut().zip(x).for_each(|(v, x)| *v = v.wrapping_mul(*x)),
                        None => varying = Some(x.clone()),
                    },
                    None => product = 0,
                }
            }
            match varying {
                None => uniform = uniform.wrapping_add(product),
                Some(v) => {
                    let sum = each.get_or_insert_with(|| vec![0; lanes]);
                    for (s, x) in sum.iter_mut().zip(&v) {
                        *s = s.wrapping_add(x.wrapping_mul(product));
                    }
                }
            }
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
