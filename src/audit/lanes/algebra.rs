//! Atoms and their exact arithmetic.

use std::collections::HashMap;
use std::rc::Rc;

use super::op::Op;
use super::value::{AtomId, Lanes, Monomial, Value, of_atom};

/// More terms than this and a value is given up as data: no index that people write comes near.
const MAX_TERMS: usize = 64;

/// Where a symbol comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SymbolKind {
    /// A component of the workgroup id.
    WorkgroupId(u8),
    /// A parameter of the kernel: uniform field, override, number of workgroups, array length.
    Param,
    /// The number of completed iterations of a loop.
    Loop,
    /// Loaded from one address by the whole subgroup, or computed from such.
    Loaded,
    /// An unknown condition, 0 or 1.
    Flag,
}

/// A value that is uniform over a subgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Symbol {
    /// As the source calls it.
    pub(crate) name: String,
    pub(crate) kind: SymbolKind,
    /// If known, the symbol takes every value in `0..count`.
    pub(crate) count: Option<u64>,
}

/// What an atom is.
#[derive(Clone, Debug)]
pub(crate) enum Atom {
    Symbol(Symbol),
    /// Unknown, different per lane.
    Data,
    Apply(Op, Vec<Value>),
}

/// Bounds of a value, inclusive; `None` is unbounded.
pub(crate) type Range = (Option<i64>, Option<i64>);

#[derive(Debug)]
pub(crate) struct AtomInfo {
    pub(crate) atom: Atom,
    pub(crate) range: Range,
    /// Differs between lanes of one subgroup (as far as can be told).
    pub(crate) varies: bool,
    /// Differs between lanes of the workgroup.
    pub(crate) varies_in_workgroup: bool,
    /// Data that it depends on.
    pub(crate) data: Option<Rc<str>>,
    /// Symbols that it depends on, sorted.
    pub(crate) symbols: Rc<[AtomId]>,
}

/// The arena of atoms for one entry point.
#[derive(Debug)]
pub(crate) struct Algebra {
    lanes: usize,
    subgroup_size: usize,
    pub(super) atoms: Vec<AtomInfo>,
    interned: HashMap<(Op, Vec<Value>), AtomId>,
    work: u64,
}

impl Algebra {
    /// For workgroups of `lanes` invocations in subgroups of `subgroup_size`; both at least 1.
    pub(crate) fn new(lanes: usize, subgroup_size: usize) -> Self {
        Algebra {
            lanes: lanes.max(1),
            subgroup_size: subgroup_size.max(1),
            atoms: Vec::new(),
            interned: HashMap::new(),
            work: 0,
        }
    }

    /// Invocations per workgroup.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Lanes per subgroup.
    pub(crate) fn subgroup_size(&self) -> usize {
        self.subgroup_size
    }

    /// Number of atoms made so far, a measure of work.
    pub(crate) fn size(&self) -> usize {
        self.atoms.len()
    }

    fn push(&mut self, info: AtomInfo) -> AtomId {
        let id = AtomId(u32::try_from(self.atoms.len()).unwrap_or(u32::MAX));
        self.atoms.push(info);
        id
    }

    pub(crate) fn atom(&self, id: AtomId) -> &Atom {
        &self.atoms[id.0 as usize].atom
    }

    pub(crate) fn info(&self, id: AtomId) -> &AtomInfo {
        &self.atoms[id.0 as usize]
    }

    /// The symbol behind an id; `None` for other atoms.
    pub(crate) fn symbol_of(&self, id: AtomId) -> Option<&Symbol> {
        match self.atom(id) {
            Atom::Symbol(s) => Some(s),
            _ => None,
        }
    }

    /// The operation and arguments behind an id; `None` for other atoms.
    pub(crate) fn application(&self, id: AtomId) -> Option<(&Op, &[Value])> {
        match self.atom(id) {
            Atom::Apply(op, args) => Some((op, args)),
            _ => None,
        }
    }

    /// A new symbol, taken to be at least 0.
    pub(crate) fn symbol(&mut self, symbol: Symbol) -> Value {
        let mut hi = symbol.count.map(|c| i64::try_from(c).unwrap_or(i64::MAX).saturating_sub(1).max(0));
        if symbol.kind == SymbolKind::Flag {
            hi = Some(1);
        }
        let id = AtomId(u32::try_from(self.atoms.len()).unwrap_or(u32::MAX));
        self.push(AtomInfo {
            atom: Atom::Symbol(symbol),
            range: (Some(0), hi),
            varies: false,
            varies_in_workgroup: false,
            data: None,
            symbols: [id].into(),
        });
        of_atom(id)
    }

    /// Calls a symbol by another name.
    pub(crate) fn rename(&mut self, id: AtomId, name: &str) {
        if let Atom::Symbol(s) = &mut self.atoms[id.0 as usize].atom {
            s.name = name.into();
        }
    }

    /// Terms handled so far, a measure of the time spent.
    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    /// Gives a loop counter its number of iterations once it is known.
    pub(crate) fn set_count(&mut self, id: AtomId, iterations: u64) {
        let info = &mut self.atoms[id.0 as usize];
        if let Atom::Symbol(s) = &mut info.atom {
            s.count = Some(iterations);
            info.range.1 = Some(i64::try_from(iterations).unwrap_or(i64::MAX).saturating_sub(1).max(0));
        }
    }

    /// A new value that is different per lane in a way that is not known; `why` completes
    /// "the index depends on …".
    pub(crate) fn data(&mut self, why: &str, at_least_zero: bool) -> Value {
        self.data_in_range(why, (at_least_zero.then_some(0), None))
    }

    /// [`data`](Self::data) with bounds.
    pub(crate) fn data_in_range(&mut self, why: &str, range: Range) -> Value {
        let why: Rc<str> = why.into();
        let id = self.push(AtomInfo {
            atom: Atom::Data,
            range,
            varies: true,
            varies_in_workgroup: true,
            data: Some(why),
            symbols: [].into(),
        });
        of_atom(id)
    }

    /// An application as an atom, the same one for the same arguments.
    pub(super) fn apply_atom(&mut self, op: Op, args: Vec<Value>, range: Range) -> Value {
        let key = (op, args);
        self.work += 1 + key.1.iter().map(|a| a.0.len() as u64).sum::<u64>();
        if let Some(&id) = self.interned.get(&key) {
            return of_atom(id);
        }
        let varies = key.1.iter().any(|a| self.varies(a));
        let varies_in_workgroup = key.1.iter().any(|a| self.varies_in_workgroup(a));
        let data = key.1.iter().find_map(|a| self.data_in(a));
        let mut symbols: Vec<AtomId> = key.1.iter().flat_map(|a| self.symbols_in(a)).collect();
        symbols.sort_unstable();
        symbols.dedup();
        let id = self.push(AtomInfo {
            atom: Atom::Apply(key.0.clone(), key.1.clone()),
            range,
            varies,
            varies_in_workgroup,
            data,
            symbols: symbols.into(),
        });
        self.interned.insert(key, id);
        of_atom(id)
    }

    /// Product. Squares of conditions are conditions.
    pub(crate) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        if let Some(c) = a.as_int() {
            return b.scale(c);
        }
        if let Some(c) = b.as_int() {
            return a.scale(c);
        }
        self.work += (a.0.len() * b.0.len()) as u64;
        if a.0.len() * b.0.len() > MAX_TERMS {
            return self.too_large(&[a, b]);
        }
        let mut terms = Vec::with_capacity(a.0.len() * b.0.len());
        for (ma, va) in a.0.iter() {
            for (mb, vb) in b.0.iter() {
                let mut m: Monomial = ma.iter().chain(mb).copied().collect();
                m.sort_unstable();
                m.dedup_by(|x, y| x == y && self.is_condition(*x));
                if m.len() > 8 {
                    return self.data("a product of too many unknowns", false);
                }
                terms.push((m, va.zip(vb, i64::wrapping_mul)));
            }
        }
        Value::from_terms(terms)
    }

    /// Sum, given up as data when it grows beyond all reason.
    pub(crate) fn add(&mut self, a: &Value, b: &Value) -> Value {
        let sum = a.add(b);
        self.work += sum.0.len() as u64;
        if sum.0.len() > MAX_TERMS {
            return self.too_large(&[&sum]);
        }
        sum
    }

    /// What is made of values whose sum or product is given up: as uniform as they are.
    fn too_large(&mut self, of: &[&Value]) -> Value {
        const WHY: &str = "an expression too large to follow";
        if of.iter().any(|v| self.varies_in_workgroup(v)) {
            return self.data(WHY, false);
        }
        let value = self.symbol(Symbol { name: WHY.into(), kind: SymbolKind::Loaded, count: None });
        if let Some(id) = value.as_atom() {
            self.atoms[id.0 as usize].range = (None, None);
        }
        value
    }

    fn is_condition(&self, id: AtomId) -> bool {
        matches!(self.atom(id), Atom::Apply(Op::Lt(_) | Op::Eq(_), _))
    }

    /// Whether lanes of one subgroup can have different values.
    pub(crate) fn varies(&self, v: &Value) -> bool {
        v.0.iter().any(|(m, c)| c.varies(self.subgroup_size) || m.iter().any(|&a| self.info(a).varies))
    }

    /// Whether lanes of the workgroup can have different values.
    pub(crate) fn varies_in_workgroup(&self, v: &Value) -> bool {
        v.0.iter()
            .any(|(m, c)| matches!(c, Lanes::Each(_)) || m.iter().any(|&a| self.info(a).varies_in_workgroup))
    }

    /// The data that the value depends on, if any.
    pub(crate) fn data_in(&self, v: &Value) -> Option<Rc<str>> {
        v.atoms().find_map(|a| self.info(a).data.clone())
    }

    /// The reason behind an atom that is data.
    pub(crate) fn data_of(&self, id: AtomId) -> Option<Rc<str>> {
        matches!(self.atom(id), Atom::Data).then(|| self.info(id).data.clone()).flatten()
    }

    /// The symbols that the value depends on, sorted.
    pub(crate) fn symbols_in(&self, v: &Value) -> Vec<AtomId> {
        let mut all: Vec<AtomId> = v.atoms().flat_map(|a| self.info(a).symbols.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// All atoms that the values depend on, through applications, sorted.
    pub(crate) fn closure<'v>(&self, values: impl IntoIterator<Item = &'v Value>) -> Vec<AtomId> {
        let mut seen = std::collections::BTreeSet::new();
        let mut stack: Vec<AtomId> = values.into_iter().flat_map(|v| v.atoms()).collect();
        while let Some(a) = stack.pop() {
            if seen.insert(a)
                && let Atom::Apply(_, args) = self.atom(a)
            {
                stack.extend(args.iter().flat_map(|v| v.atoms()));
            }
        }
        seen.into_iter().collect()
    }

    /// `v` with atoms replaced, operations applied anew. `known` is filled as it goes.
    pub(crate) fn substitute(&mut self, v: &Value, known: &mut HashMap<AtomId, Value>) -> Value {
        let all = self.closure([v]);
        self.work += all.len() as u64;
        for id in all {
            if known.contains_key(&id) {
                continue;
            }
            if let Atom::Apply(op, args) = self.atom(id).clone() {
                let new: Vec<Value> = args.iter().map(|a| self.replace_direct(a, known)).collect();
                if new != args {
                    let applied = self.apply(op, &new);
                    known.insert(id, applied);
                }
            }
        }
        self.replace_direct(v, known)
    }

    fn replace_direct(&mut self, v: &Value, known: &HashMap<AtomId, Value>) -> Value {
        if !v.atoms().any(|a| known.contains_key(&a)) {
            return v.clone();
        }
        let mut sum = Value::int(0);
        for (m, c) in v.0.iter() {
            let mut product = Value::lanes(c.clone());
            for a in m {
                let factor = known.get(a).cloned().unwrap_or_else(|| of_atom(*a));
                product = self.mul(&product, &factor);
            }
            sum = self.add(&sum, &product);
        }
        sum
    }

    /// Text for people reading a failed test, with symbols by name and lane vectors as their first and last values.
    pub(crate) fn describe(&self, v: &Value) -> String {
        let mut parts = Vec::new();
        for (m, c) in v.0.iter().rev() {
            let names: Vec<String> = m.iter().map(|&a| self.describe_atom(a)).collect();
            let coefficient = match c {
                Lanes::Uniform(x) => x.to_string(),
                Lanes::Each(x) => {
                    format!("[{}, {}, …, {}]", x[0], x[1.min(x.len() - 1)], x[x.len() - 1])
                }
            };
            parts.push(match (names.is_empty(), coefficient.as_str()) {
                (true, _) => coefficient,
                (false, "1") => names.join("·"),
                (false, _) => format!("{coefficient}·{}", names.join("·")),
            });
        }
        if parts.is_empty() { "0".into() } else { parts.join(" + ").replace("+ -", "- ") }
    }

    fn describe_atom(&self, id: AtomId) -> String {
        match self.atom(id) {
            Atom::Symbol(s) => s.name.clone(),
            Atom::Data => "data".into(),
            Atom::Apply(op, args) => {
                let term = |a: &Value| {
                    let text = self.describe(a);
                    if a.0.len() > 1 { format!("({text})") } else { text }
                };
                let args: Vec<String> = args.iter().map(term).collect();
                let infix = match op {
                    Op::Div(_) => "/",
                    Op::Rem(_) => "%",
                    Op::Shl(_) => "<<",
                    Op::Shr(_) => ">>",
                    Op::And(_) => "&",
                    Op::Or(_) => "|",
                    Op::Xor(_) => "^",
                    Op::Lt(_) => "<",
                    Op::Eq(_) => "==",
                    Op::Min(_) => return format!("min({})", args.join(", ")),
                    Op::Max(_) => return format!("max({})", args.join(", ")),
                    Op::Select => return format!("select({})", args.join(", ")),
                    Op::LeadingZeros(_) => return format!("clz({})", args.join(", ")),
                    Op::TrailingZeros(_) => return format!("ctz({})", args.join(", ")),
                    Op::CountOnes(_) => return format!("popcount({})", args.join(", ")),
                    Op::ReverseBits(_) => return format!("reverse_bits({})", args.join(", ")),
                };
                format!("({})", args.join(&format!(" {infix} ")))
            }
        }
    }
}
