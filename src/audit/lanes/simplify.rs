//! Applying operations: what can be folded or split exactly is, the rest becomes an atom.

use super::algebra::{Algebra, Atom, Range};
use super::op::{Int, Op};
use super::value::{AtomId, Lanes, Value};

impl Algebra {
    /// `op` applied to `args`, simplified as far as is exact.
    pub(crate) fn apply(&mut self, op: Op, args: &[Value]) -> Value {
        if let Some(v) = self.fold(&op, args) {
            return v;
        }
        match op {
            Op::Div(t) => self.div(t, &args[0], &args[1]),
            Op::Rem(t) => self.rem(t, &args[0], &args[1]),
            Op::Shl(t) => match args[1].as_lanes() {
                Some(by) => {
                    let factor =
                        Value::lanes(by.map(|b| 1i64 << (b as u32 % u32::from(t.bits.max(1))).min(62)));
                    self.mul(&args[0], &factor)
                }
                None => self.apply_atom(op, args.to_vec(), (None, None)),
            },
            Op::Shr(t) => match args[1].as_int() {
                Some(by) if (0..i64::from(t.bits)).contains(&by) && self.is_natural(&args[0]) => {
                    self.div(t, &args[0], &Value::int(1i64 << by.min(62)))
                }
                _ => {
                    let range = if self.is_natural(&args[0]) {
                        (Some(0), self.range(&args[0]).1)
                    } else {
                        (None, None)
                    };
                    self.apply_atom(op, args.to_vec(), range)
                }
            },
            Op::And(t) => self.and(t, &args[0], &args[1]),
            Op::Or(t) => self.or(t, &args[0], &args[1]),
            Op::Xor(t) => {
                if args[0] == args[1] {
                    return Value::int(0);
                }
                if args[1].as_int() == Some(0) {
                    return args[0].clone();
                }
                let hi = [self.range(&args[0]).1, self.range(&args[1]).1];
                let range = match hi {
                    [Some(a), Some(b)] if self.is_natural(&args[0]) && self.is_natural(&args[1]) => {
                        (Some(0), Some(ones_above(a.max(b))))
                    }
                    _ => ((!t.signed).then_some(0), None),
                };
                self.apply_atom(op, args.to_vec(), range)
            }
            Op::Min(t) | Op::Max(t) => {
                let keep_first = matches!(op, Op::Min(_));
                let (a, b) = (&args[0], &args[1]);
                if a == b {
                    return a.clone();
                }
                if self.comparable(t, a, b) {
                    let (lo, hi) = self.range(&a.sub(b));
                    if hi.is_some_and(|h| h <= 0) {
                        return if keep_first { a.clone() } else { b.clone() };
                    }
                    if lo.is_some_and(|l| l >= 0) {
                        return if keep_first { b.clone() } else { a.clone() };
                    }
                }
                let ((la, ha), (lb, hb)) = (self.range(a), self.range(b));
                let range = if !self.comparable(t, a, b) {
                    // A wrapped operand is huge, so only what bounds both from outside is known.
                    if t.signed || !keep_first {
                        ((!t.signed).then_some(0), None)
                    } else {
                        (
                            Some(0),
                            if self.is_natural(b) {
                                hb
                            } else if self.is_natural(a) {
                                ha
                            } else {
                                None
                            },
                        )
                    }
                } else if keep_first {
                    (both(la, lb, i64::min), either(ha, hb, i64::min))
                } else {
                    (either(la, lb, i64::max), both(ha, hb, i64::max))
                };
                self.apply_atom(op, args.to_vec(), range)
            }
            Op::Lt(t) => {
                if self.comparable(t, &args[0], &args[1]) {
                    let (lo, hi) = self.range(&args[0].sub(&args[1]));
                    if hi.is_some_and(|h| h < 0) {
                        return Value::int(1);
                    }
                    if lo.is_some_and(|l| l >= 0) {
                        return Value::int(0);
                    }
                }
                self.apply_atom(op, args.to_vec(), (Some(0), Some(1)))
            }
            Op::Eq(t) => {
                if args[0] == args[1] {
                    return Value::int(1);
                }
                if self.comparable(t, &args[0], &args[1]) {
                    let (lo, hi) = self.range(&args[0].sub(&args[1]));
                    if hi.is_some_and(|h| h < 0) || lo.is_some_and(|l| l > 0) {
                        return Value::int(0);
                    }
                }
                self.apply_atom(op, args.to_vec(), (Some(0), Some(1)))
            }
            Op::Select => {
                if args[1] == args[2] {
                    return args[1].clone();
                }
                if let Some(c) = args[0].as_int() {
                    return args[if c != 0 { 1 } else { 2 }].clone();
                }
                // A condition is 0 or 1, so that b + c·(a - b) is exact and stays a polynomial.
                if self.range(&args[0]) == (Some(0), Some(1)) {
                    let difference = args[1].sub(&args[2]);
                    let chosen = self.mul(&args[0], &difference);
                    return self.add(&args[2], &chosen);
                }
                let ((la, ha), (lb, hb)) = (self.range(&args[1]), self.range(&args[2]));
                self.apply_atom(op, args.to_vec(), (both(la, lb, i64::min), both(ha, hb, i64::max)))
            }
            Op::ReverseBits(t) => {
                let most = (!t.signed && t.bits < 63).then(|| (1i64 << t.bits) - 1);
                self.apply_atom(op, args.to_vec(), ((!t.signed).then_some(0), most))
            }
            Op::LeadingZeros(t) | Op::TrailingZeros(t) | Op::CountOnes(t) => {
                self.apply_atom(op, args.to_vec(), (Some(0), Some(i64::from(t.bits))))
            }
        }
    }

    /// 1 where `c` is 0: conditions are 0 or 1.
    pub(crate) fn not(&self, c: &Value) -> Value {
        Value::int(1).sub(c)
    }

    /// Both conditions.
    pub(crate) fn both(&mut self, a: &Value, b: &Value) -> Value {
        match (a.as_int(), b.as_int()) {
            (Some(0), _) | (_, Some(0)) => Value::int(0),
            (Some(_), _) => b.clone(),
            (_, Some(_)) => a.clone(),
            _ if a == b => a.clone(),
            _ if a.0.len() * b.0.len() <= 4 => self.mul(a, b),
            _ => self.apply_atom(Op::And(Int::BOOL), vec![a.clone(), b.clone()], (Some(0), Some(1))),
        }
    }

    /// Either condition.
    pub(crate) fn either(&mut self, a: &Value, b: &Value) -> Value {
        let (not_a, not_b) = (self.not(a), self.not(b));
        let neither = self.both(&not_a, &not_b);
        self.not(&neither)
    }

    fn fold(&self, op: &Op, args: &[Value]) -> Option<Value> {
        let known: Vec<Lanes> = args.iter().map(Value::as_lanes).collect::<Option<_>>()?;
        let on = |lane: usize| {
            let read: Vec<i64> =
                known.iter().map(|v| op.operand().map_or(v.at(lane), |t| t.wrap(v.at(lane)))).collect();
            op.on(&read)
        };
        let uniform = known.iter().all(|v| matches!(v, Lanes::Uniform(_)));
        let lanes =
            if uniform { Lanes::Uniform(on(0)) } else { Lanes::new((0..self.lanes()).map(on).collect()) };
        Some(Value::lanes(lanes))
    }

    /// Bounds over all lanes and all values of the symbols.
    pub(crate) fn range(&self, v: &Value) -> Range {
        let (mut lo, mut hi) = self.range_by_terms(v);
        if lo.is_none() || hi.is_none() || v.0.len() > 1 {
            // r - c·(r / c) is r % c: pair such terms, then what is left is bounded term by term.
            if let Some((rest, span)) = self.without_one_remainder(v) {
                let (l, h) = self.range(&rest);
                lo = either(lo, l, i64::max);
                hi = either(hi, h.and_then(|h| h.checked_add(span)), i64::min);
            }
        }
        (lo, hi)
    }

    fn range_by_terms(&self, v: &Value) -> Range {
        let (mut lo, mut hi) = (Some(0i64), Some(0i64));
        for (m, c) in v.0.iter() {
            let (mut l, mut h) = (Some(1i64), Some(1i64));
            for &a in m {
                let (al, ah) = self.info(a).range;
                if m.len() > 1 && al.is_none_or(|x| x < 0) {
                    // Only products of factors that are at least 0 are bounded by the products of bounds.
                    (l, h) = (None, None);
                    break;
                }
                l = both(l, al, i64::saturating_mul);
                h = both(h, ah, i64::saturating_mul);
            }
            let ends = [c.least(), c.most()]
                .map(|c| if c >= 0 { (mul(l, c), mul(h, c)) } else { (mul(h, c), mul(l, c)) });
            let low = both(ends[0].0, ends[1].0, i64::min);
            let high = both(ends[0].1, ends[1].1, i64::max);
            lo = both(lo, low, i64::saturating_add);
            hi = both(hi, high, i64::saturating_add);
        }
        (lo, hi)
    }

    /// Finds `m·r - c·m·(r / c)` in `v`; gives `v` without it and its largest value, `m·(c - 1)`.
    fn without_one_remainder(&self, v: &Value) -> Option<(Value, i64)> {
        for (m, coefficient) in v.0.iter() {
            let (&[atom], Lanes::Uniform(k)) = (m.as_slice(), coefficient) else { continue };
            let Atom::Apply(Op::Div(_), args) = self.atom(atom) else { continue };
            let Some(c) = args[1].as_int() else { continue };
            if c <= 0 || *k >= 0 || k % c != 0 {
                continue;
            }
            let times = -k / c;
            let dividend = &args[0];
            let there = dividend.0.iter().all(|t| {
                v.0.iter().any(|(vm, vc)| {
                    *vm == t.0 && (vm.is_empty() || vc.least() >= t.1.most().saturating_mul(times))
                })
            });
            if there && self.is_natural(dividend) {
                let quotient = super::value::of_atom(atom).scale(c * times);
                let rest = v.add(&quotient).sub(&dividend.scale(times));
                return Some((rest, times.saturating_mul(c - 1)));
            }
        }
        None
    }

    /// Known to be at least 0, so that no unsigned wrap happened on the way.
    pub(crate) fn is_natural(&self, v: &Value) -> bool {
        self.range(v).0.is_some_and(|l| l >= 0)
    }

    /// Whether comparing the integers compares the typed values: nothing wraps.
    fn comparable(&self, t: Int, a: &Value, b: &Value) -> bool {
        t.signed || (self.is_natural(a) && self.is_natural(b))
    }

    fn div(&mut self, t: Int, p: &Value, by: &Value) -> Value {
        if by.as_int() == Some(1) {
            return p.clone();
        }
        if !self.is_natural(p) {
            return self.apply_atom(Op::Div(t), vec![p.clone(), by.clone()], (None, None));
        }
        if let Some(c) = by.as_int().filter(|&c| c > 0) {
            let terms_natural = p.0.iter().all(|(m, _)| m.iter().all(|&a| self.info(a).range.0 >= Some(0)));
            if !terms_natural {
                return self.apply_atom(Op::Div(t), vec![p.clone(), by.clone()], (Some(0), None));
            }
            let quotient = p.map_coefficients(|x| x.div_euclid(c));
            let mut rest = p.map_coefficients(|x| x.rem_euclid(c));
            // Where terms are negative, what is left can be larger than the type holds, though the dividend is not.
            if self.range(&rest).1.is_some_and(|h| t.wrap(h) != h) {
                let hi = self.range(p).1.map(|h| h / c);
                return self.apply_atom(Op::Div(t), vec![p.clone(), by.clone()], (Some(0), hi));
            }
            if self.range(&rest).1.is_some_and(|h| h < c) {
                return quotient;
            }
            // A common factor of divisor and rest goes: (8·k) / 64 is k / 8.
            let common = rest.0.iter().fold(c, |g, (_, v)| gcd(g, gcd_of(v)));
            let mut divisor = c;
            let whole = rest.0.iter().all(|(m, _)| !m.is_empty());
            if common > 1 && whole {
                rest = rest.map_coefficients(|x| x / common);
                divisor = c / common;
            }
            // (y / a) / c is y / (a·c).
            if let Some(Atom::Apply(Op::Div(_), inner)) = rest.as_atom().map(|a| self.atom(a))
                && let Some(product) =
                    inner[1].as_int().filter(|&a| a > 0).and_then(|a| a.checked_mul(divisor))
            {
                let y = inner[0].clone();
                let nested = self.div(t, &y, &Value::int(product));
                return self.add(&quotient, &nested);
            }
            let hi = self.range(&rest).1.map(|h| h / divisor);
            let atom = self.apply_atom(Op::Div(t), vec![rest, Value::int(divisor)], (Some(0), hi));
            return self.add(&quotient, &atom);
        }
        // (q·N + r) / N is q + r / N.
        if let Some(n) = by.as_atom()
            && self.is_divisor(by)
        {
            let (with, rest) = p.partition(|m, _| m.contains(&n));
            let quotient = with.divide_by_atom(n);
            if self.is_natural(&quotient) && self.is_natural(&rest) {
                if rest.0.is_empty() {
                    return quotient;
                }
                let hi = self.range(&rest).1;
                let atom = self.apply_atom(Op::Div(t), vec![rest, by.clone()], (Some(0), hi));
                return self.add(&quotient, &atom);
            }
        }
        let hi = self.range(p).1;
        let range = if self.is_natural(by) { (Some(0), hi) } else { (None, None) };
        self.apply_atom(Op::Div(t), vec![p.clone(), by.clone()], range)
    }

    fn rem(&mut self, t: Int, p: &Value, by: &Value) -> Value {
        let splits = self.is_natural(p) && self.is_divisor(by);
        if !splits {
            return self.apply_atom(Op::Rem(t), vec![p.clone(), by.clone()], (None, None));
        }
        let quotient = self.div(t, p, by);
        let back = self.mul(&quotient, by);
        let rest = p.sub(&back);
        self.add(&rest, &Value::int(0))
    }

    /// Known not to be 0. Symbols that a kernel divides by are taken not to be.
    fn is_divisor(&self, v: &Value) -> bool {
        let symbol = v.as_atom().is_some_and(|a| self.symbol_of(a).is_some());
        self.range(v).0.is_some_and(|l| l >= if symbol { 0 } else { 1 })
    }

    fn and(&mut self, t: Int, a: &Value, b: &Value) -> Value {
        let (p, mask) = match (a.as_int(), b.as_int()) {
            (_, Some(mask)) => (a, mask),
            (Some(mask), _) => (b, mask),
            _ if a == b => return a.clone(),
            _ if t == Int::BOOL => return self.both(a, b),
            _ => {
                let hi =
                    [self.range(a), self.range(b)].into_iter().filter(|r| r.0 >= Some(0)).filter_map(|r| r.1);
                let hi = hi.min();
                let lo = (!t.signed || self.is_natural(a) || self.is_natural(b)).then_some(0);
                return self.apply_atom(Op::And(t), vec![a.clone(), b.clone()], (lo, hi));
            }
        };
        let mask = Int { signed: false, ..t }.wrap(mask);
        if mask == 0 {
            return Value::int(0);
        }
        // What 64-bit code writes for a 32-bit index, which is taken not to overflow.
        if t.bits == 64 && mask == i64::from(u32::MAX) {
            return p.clone();
        }
        if self.is_natural(p)
            && let Some(runs) = runs_of_ones(mask, t.bits)
        {
            // Bits lo..hi of p are p % 2^hi - p % 2^lo.
            let mut sum = Value::int(0);
            for (lo, hi) in runs {
                let top = if hi >= t.bits.min(62) { p.clone() } else { self.rem(t, p, &Value::int(1 << hi)) };
                let low = self.rem(t, p, &Value::int(1 << lo));
                let bits = top.sub(&low);
                sum = self.add(&sum, &bits);
            }
            return sum;
        }
        // With its sign bit in the mask, a negative value stays negative.
        let natural = t.wrap(mask) >= 0;
        self.apply_atom(
            Op::And(t),
            vec![p.clone(), Value::int(mask)],
            (natural.then_some(0), natural.then_some(mask)),
        )
    }

    fn or(&mut self, t: Int, a: &Value, b: &Value) -> Value {
        if t == Int::BOOL {
            return self.either(a, b);
        }
        if a == b || b.as_int() == Some(0) {
            return a.clone();
        }
        if a.as_int() == Some(0) {
            return b.clone();
        }
        // No bit in common: or is a sum.
        for (high, low) in [(a, b), (b, a)] {
            let step = high.0.iter().fold(0, |g, (_, v)| gcd(g, gcd_of(v)));
            if self.is_natural(high) && self.is_natural(low) {
                let aligned = 1i64 << step.trailing_zeros().min(62);
                if self.range(low).1.is_some_and(|h| h < aligned) {
                    return self.add(a, b);
                }
            }
        }
        // All low bits: what is there of them goes, then all are set.
        for (p, mask) in [(a, b), (b, a)] {
            let low = mask.as_int().filter(|&m| m > 0 && m < 1 << 31 && (m & (m + 1)) == 0);
            if let Some(mask) = low.filter(|_| self.is_natural(p)) {
                let bits = self.rem(t, p, &Value::int(mask + 1));
                let high = p.sub(&bits);
                return self.add(&high, &Value::int(mask));
            }
        }
        let hi = match (self.range(a), self.range(b)) {
            ((Some(la), Some(ha)), (Some(lb), Some(hb))) if la >= 0 && lb >= 0 => {
                Some(ones_above(ha.max(hb)))
            }
            _ => None,
        };
        let lo = (self.is_natural(a) && self.is_natural(b)).then_some(0);
        self.apply_atom(Op::Or(t), vec![a.clone(), b.clone()], (lo, hi))
    }

    /// Whether the atom is a quotient or comparison and so on, rather than a symbol.
    pub(crate) fn is_application(&self, id: AtomId) -> bool {
        matches!(self.atom(id), Atom::Apply(..))
    }
}

/// At most two runs of one bits as `(lowest bit, one past the highest)`.
fn runs_of_ones(mask: i64, bits: u8) -> Option<Vec<(u8, u8)>> {
    let mut runs = Vec::new();
    let mut at = 0u8;
    while at < bits.min(63) {
        if mask >> at & 1 == 1 {
            let start = at;
            while at < bits.min(63) && mask >> at & 1 == 1 {
                at += 1;
            }
            runs.push((start, if at >= bits.min(63) { bits } else { at }));
        } else {
            at += 1;
        }
    }
    (runs.len() <= 2).then_some(runs)
}

fn ones_above(v: i64) -> i64 {
    if v <= 0 { 0 } else { i64::MAX >> (v.leading_zeros() - 1) }
}

pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

fn gcd_of(v: &Lanes) -> i64 {
    match v {
        Lanes::Uniform(x) => gcd(0, *x),
        Lanes::Each(x) => x.iter().fold(0, |g, &x| gcd(g, x)),
    }
}

fn both(a: Option<i64>, b: Option<i64>, f: impl Fn(i64, i64) -> i64) -> Option<i64> {
    Some(f(a?, b?))
}

fn either(a: Option<i64>, b: Option<i64>, f: impl Fn(i64, i64) -> i64) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(f(a, b)),
        (a, b) => a.or(b),
    }
}

fn mul(bound: Option<i64>, by: i64) -> Option<i64> {
    if by == 0 { Some(0) } else { bound.map(|b| b.saturating_mul(by)) }
}
