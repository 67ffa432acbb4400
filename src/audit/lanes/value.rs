//! Integers per lane, and polynomials over atoms with such coefficients.

use std::rc::Rc;

/// One integer per invocation of the workgroup. `Each` is never constant: build with [`Lanes::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lanes {
    /// The same for all.
    Uniform(i64),
    /// By local invocation index.
    Each(Rc<[i64]>),
}

impl Lanes {
    /// From one value per invocation.
    pub(crate) fn new(values: Vec<i64>) -> Self {
        match values.first() {
            Some(&first) if values.iter().any(|&v| v != first) => Lanes::Each(values.into()),
            Some(&first) => Lanes::Uniform(first),
            None => Lanes::Uniform(0),
        }
    }

    /// The value of one invocation.
    pub(crate) fn at(&self, lane: usize) -> i64 {
        match self {
            Lanes::Uniform(v) => *v,
            Lanes::Each(v) => v.get(lane).copied().unwrap_or(0),
        }
    }

    /// Applies `f` to each value.
    pub(crate) fn map(&self, f: impl Fn(i64) -> i64) -> Self {
        match self {
            Lanes::Uniform(v) => Lanes::Uniform(f(*v)),
            Lanes::Each(v) => Lanes::new(v.iter().map(|&x| f(x)).collect()),
        }
    }

    pub(super) fn zip(&self, other: &Self, f: impl Fn(i64, i64) -> i64) -> Self {
        match (self, other) {
            (Lanes::Uniform(a), Lanes::Uniform(b)) => Lanes::Uniform(f(*a, *b)),
            (Lanes::Each(a), Lanes::Uniform(b)) => Lanes::new(a.iter().map(|&a| f(a, *b)).collect()),
            (Lanes::Uniform(a), Lanes::Each(b)) => Lanes::new(b.iter().map(|&b| f(*a, b)).collect()),
            (Lanes::Each(a), Lanes::Each(b)) => {
                Lanes::new(a.iter().zip(b.iter()).map(|(&a, &b)| f(a, b)).collect())
            }
        }
    }

    /// Smallest value.
    pub(crate) fn least(&self) -> i64 {
        match self {
            Lanes::Uniform(v) => *v,
            Lanes::Each(v) => v.iter().copied().min().unwrap_or(0),
        }
    }

    /// Largest value.
    pub(crate) fn most(&self) -> i64 {
        match self {
            Lanes::Uniform(v) => *v,
            Lanes::Each(v) => v.iter().copied().max().unwrap_or(0),
        }
    }

    /// Whether two lanes of one subgroup differ.
    pub(crate) fn varies(&self, subgroup_size: usize) -> bool {
        match self {
            Lanes::Uniform(_) => false,
            Lanes::Each(v) => v.chunks(subgroup_size).any(|c| c.iter().any(|x| *x != c[0])),
        }
    }
}

/// Names an atom of an [`Algebra`]; an application's arguments always have smaller ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AtomId(pub(crate) u32);

/// A product of atoms, sorted, with repetition for powers; empty for the constant term.
pub(crate) type Monomial = Vec<AtomId>;

/// A polynomial: sorted by monomial, no zero coefficient. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Value(pub(crate) Rc<Vec<(Monomial, Lanes)>>);

impl Value {
    /// The same integer in every lane.
    pub(crate) fn int(v: i64) -> Self {
        Value::lanes(Lanes::Uniform(v))
    }

    /// A known integer per lane.
    pub(crate) fn lanes(v: Lanes) -> Self {
        if v == Lanes::Uniform(0) { Value(Rc::new(vec![])) } else { Value(Rc::new(vec![(vec![], v)])) }
    }

    /// The lane vector, if no atom is in it.
    pub(crate) fn as_lanes(&self) -> Option<Lanes> {
        match self.0.as_slice() {
            [] => Some(Lanes::Uniform(0)),
            [(m, v)] if m.is_empty() => Some(v.clone()),
            _ => None,
        }
    }

    /// The integer, if it is known and the same in every lane.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self.as_lanes()? {
            Lanes::Uniform(v) => Some(v),
            Lanes::Each(_) => None,
        }
    }

    /// The atom, if the value is just that.
    pub(crate) fn as_atom(&self) -> Option<AtomId> {
        match self.0.as_slice() {
            [(m, Lanes::Uniform(1))] if m.len() == 1 => Some(m[0]),
            _ => None,
        }
    }

    /// All atoms that appear directly.
    pub(crate) fn atoms(&self) -> impl Iterator<Item = AtomId> + '_ {
        self.0.iter().flat_map(|(m, _)| m.iter().copied())
    }

    pub(super) fn from_terms(mut terms: Vec<(Monomial, Lanes)>) -> Self {
        terms.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out: Vec<(Monomial, Lanes)> = Vec::with_capacity(terms.len());
        for (m, v) in terms {
            match out.last_mut() {
                Some(last) if last.0 == m => last.1 = last.1.zip(&v, i64::wrapping_add),
                _ => out.push((m, v)),
            }
        }
        out.retain(|(_, v)| *v != Lanes::Uniform(0));
        Value(Rc::new(out))
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        if self.0.is_empty() {
            return other.clone();
        }
        if other.0.is_empty() {
            return self.clone();
        }
        Self::from_terms(self.0.iter().chain(other.0.iter()).cloned().collect())
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        self.add(&other.scale(-1))
    }

    pub(crate) fn scale(&self, by: i64) -> Self {
        if by == 1 {
            return self.clone();
        }
        Self::from_terms(self.0.iter().map(|(m, v)| (m.clone(), v.map(|x| x.wrapping_mul(by)))).collect())
    }

    /// Each coefficient through `f`, terms that become 0 dropped.
    pub(crate) fn map_coefficients(&self, f: impl Fn(i64) -> i64 + Copy) -> Self {
        Self::from_terms(self.0.iter().map(|(m, v)| (m.clone(), v.map(f))).collect())
    }

    /// The terms that `keep` holds for, and the others.
    pub(crate) fn partition(&self, keep: impl Fn(&Monomial, &Lanes) -> bool) -> (Self, Self) {
        let (a, b): (Vec<_>, Vec<_>) = self.0.iter().cloned().partition(|(m, v)| keep(m, v));
        (Value(Rc::new(a)), Value(Rc::new(b)))
    }

    /// With one factor `atom` taken out of every term; all terms must have it.
    pub(crate) fn divide_by_atom(&self, atom: AtomId) -> Self {
        let without = |m: &Monomial| {
            let mut m = m.clone();
            if let Some(at) = m.iter().position(|&a| a == atom) {
                m.remove(at);
            }
            m
        };
        Self::from_terms(self.0.iter().map(|(m, v)| (without(m), v.clone())).collect())
    }
}

/// An atom as a value.
pub(crate) fn of_atom(id: AtomId) -> Value {
    Value(Rc::new(vec![(vec![id], Lanes::Uniform(1))]))
}
