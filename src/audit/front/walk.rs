//! What both front ends keep while they walk a kernel: the algebra, the accesses found, and where they are.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::audit::lanes::{
    Algebra, AtomId, Evaluated, Int, Lanes, Op, Symbol, SymbolKind, Tape, Value, of_atom,
};
use crate::audit::settings::Settings;
use crate::audit::site::{RawSite, Walked};

/// The state of a walk that has nothing to do with the language.
pub(super) struct Walk<'a> {
    pub(super) settings: &'a Settings,
    pub(super) alg: Algebra,
    pub(super) sites: Vec<RawSite>,
    /// While-conditions of loops whose length was not found, by counter.
    pub(super) guards: HashMap<AtomId, Vec<Value>>,
    /// Invocations of a workgroup in x, y and z.
    pub(super) workgroup: [u32; 3],
    /// Whether that is a guess.
    pub(super) workgroup_assumed: bool,
    pub(super) group_ids: [Value; 3],
    /// Conditions under which lanes are here, outermost first.
    pub(super) conditions: Vec<Value>,
    /// Workgroup ids and loop counters around, innermost last.
    pub(super) enclosing: Vec<AtomId>,
    parameters: HashMap<String, Value>,
    /// Names of parameters that were asked for, those included that have a value.
    asked: BTreeSet<String>,
    /// Number of loops around.
    pub(super) depth: usize,
    /// Above 0 nothing is recorded.
    pub(super) quiet: u32,
}

impl<'a> Walk<'a> {
    /// For workgroups of this size; `id_name` is what the language calls the workgroup's id. Refuses sizes that no
    /// device runs.
    pub(super) fn new(settings: &'a Settings, workgroup: [u32; 3], id_name: &str) -> Result<Self, usize> {
        let total = workgroup.iter().map(|&x| x as usize).product::<usize>();
        if total == 0 || total > 4096 {
            return Err(total);
        }
        let mut alg = Algebra::new(total, settings.subgroup_size as usize);
        let group_ids = std::array::from_fn(|axis| {
            let count = settings.workgroups.map(|n| u64::from(n[axis]));
            if count == Some(1) {
                return Value::int(0);
            }
            let name = format!("{id_name}.{}", ["x", "y", "z"][axis]);
            alg.symbol(Symbol { name, kind: SymbolKind::WorkgroupId(axis as u8), count })
        });
        let enclosing = group_ids.iter().filter_map(Value::as_atom).collect();
        Ok(Self {
            settings,
            alg,
            sites: Vec::new(),
            guards: HashMap::new(),
            workgroup,
            workgroup_assumed: false,
            group_ids,
            conditions: Vec::new(),
            enclosing,
            parameters: HashMap::new(),
            asked: BTreeSet::new(),
            depth: 0,
            quiet: 0,
        })
    }

    /// What was found, for the classifier.
    pub(super) fn finish(self, name: String) -> Walked {
        let Self { alg: algebra, sites, guards, asked: parameters, workgroup, workgroup_assumed, .. } = self;
        let (memo, spent) = Default::default();
        Walked { name, algebra, sites, guards, parameters, workgroup, workgroup_assumed, memo, spent }
    }

    pub(super) fn push_site(&mut self, site: RawSite) {
        if self.quiet == 0 && site.width > 0 {
            self.sites.push(site);
        }
    }

    /// A value by local invocation index.
    pub(super) fn lanes(&self, f: impl Fn(i64) -> i64) -> Value {
        Value::lanes(Lanes::new((0..self.alg.lanes() as i64).map(f).collect()))
    }

    /// The position in the workgroup, x fastest.
    pub(super) fn local_id(&self, axis: usize) -> Value {
        let [x, y, _] = self.workgroup.map(i64::from);
        match axis {
            0 => self.lanes(|l| l % x),
            1 => self.lanes(|l| l / x % y),
            _ => self.lanes(|l| l / (x * y)),
        }
    }

    /// The position in the grid.
    pub(super) fn global_id(&self, axis: usize) -> Value {
        self.group_ids[axis].scale(i64::from(self.workgroup[axis])).add(&self.local_id(axis))
    }

    /// A named parameter: its value if it was set, else one symbol per name.
    pub(super) fn parameter(&mut self, name: &str) -> Value {
        if !self.asked.contains(name) {
            self.asked.insert(name.into());
        }
        if let Some(v) = self.settings.value_of(name) {
            return Value::int(v);
        }
        if let Some(v) = self.parameters.get(name) {
            return v.clone();
        }
        let v = self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Param, count: None });
        self.parameters.insert(name.into(), v.clone());
        v
    }

    /// The same of a parameter that has two names.
    pub(super) fn parameter_named(&mut self, name: &str, other: &str) -> Value {
        let by_other = self.settings.value_of(name).is_none() && self.settings.value_of(other).is_some();
        self.parameter(if by_other { other } else { name })
    }

    /// Something unknown that is the same for all lanes.
    pub(super) fn fresh(&mut self, name: &str) -> Value {
        self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Loaded, count: None })
    }

    /// An unknown condition that is the same for all lanes.
    pub(super) fn flag(&mut self, name: &str) -> Value {
        self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Flag, count: None })
    }

    /// `a` where the condition holds, else `b`.
    pub(super) fn select(&mut self, c: &Value, a: &Value, b: &Value) -> Value {
        match self.alg.data_in(c) {
            Some(why) if a != b => {
                let natural = self.alg.is_natural(a) && self.alg.is_natural(b);
                self.alg.data(&why, natural)
            }
            _ => self.alg.apply(Op::Select, &[c.clone(), a.clone(), b.clone()]),
        }
    }

    /// Why an integer differs between lanes, if it does.
    pub(super) fn why(&self, v: &Value) -> Option<Rc<str>> {
        self.alg
            .data_in(v)
            .or_else(|| self.alg.varies(v).then(|| "a value computed from the lane's index".into()))
    }

    /// `g` one iteration earlier, or true in the first.
    pub(super) fn one_later(&mut self, g: &Value, k: AtomId) -> Value {
        let counter = of_atom(k);
        let mut known = HashMap::from([(k, counter.sub(&Value::int(1)))]);
        let earlier = self.alg.substitute(g, &mut known);
        let first = self.alg.apply(Op::Eq(Int::U32), &[counter, Value::int(0)]);
        self.alg.either(&first, &earlier)
    }

    /// Iterations until no lane satisfies the guards.
    pub(super) fn count_trips(&self, guards: &[Value], k: AtomId) -> Option<u64> {
        let mut tape = Tape::new(&self.alg, &guards.iter().collect::<Vec<_>>());
        let mut on = |at: i64| {
            tape.set(k, at);
            tape.run();
            let lanes: Vec<Evaluated> = (0..guards.len()).map(|g| tape.root(g)).collect();
            (0..self.alg.lanes()).any(|l| lanes.iter().all(|g| g.at(l) != 0))
        };
        for at in 0..256 {
            if !on(at) {
                return Some(at as u64);
            }
        }
        // Long loops: conditions of counters hold up to an end.
        let (mut low, mut high) = (255, 512);
        while on(high) {
            low = high;
            high *= 2;
            if high > 1 << 31 {
                return None;
            }
        }
        while high - low > 1 {
            let middle = (low + high) / 2;
            if on(middle) { low = middle } else { high = middle }
        }
        Some(high as u64)
    }
}
