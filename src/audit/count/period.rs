//! After how many steps of a symbol the addresses repeat.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::audit::lanes::{Algebra, Atom, AtomId, Lanes, Op, Value, gcd};

/// Most values tried of one symbol.
pub(super) const MOST_VALUES: i64 = 4096;

/// By atom and symbol: after how many steps of the symbol the atom has changed by how much.
type Steps = HashMap<(AtomId, AtomId), Option<(i64, i64)>>;

/// Periods of values, modulo a number of bytes.
pub(super) struct Periods<'a> {
    algebra: &'a Algebra,
    modulus: i64,
    /// What [`Periods::step_atom`] found.
    steps: RefCell<Steps>,
}

impl<'a> Periods<'a> {
    pub(super) fn new(algebra: &'a Algebra, modulus: i64) -> Self {
        Self { algebra, modulus, steps: RefCell::default() }
    }

    /// The least number of steps of `id` after which every address is the same modulo the modulus.
    pub(super) fn period(&self, value: &Value, id: AtomId) -> Option<i64> {
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
    pub(super) fn step(&self, v: &Value, id: AtomId) -> Option<(i64, i64)> {
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
        // Atoms share their arguments: each is looked at once.
        if let Some(known) = self.steps.borrow().get(&(atom, id)) {
            return *known;
        }
        let found = self.step_application(atom, id);
        self.steps.borrow_mut().insert((atom, id), found);
        found
    }

    fn step_application(&self, atom: AtomId, id: AtomId) -> Option<(i64, i64)> {
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

pub(super) fn lcm(a: i64, b: i64) -> Option<i64> {
    let both = a / gcd(a, b).max(1) * b;
    (both <= MOST_VALUES).then_some(both)
}
