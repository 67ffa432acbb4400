//! Loops: values carried from iteration to iteration in terms of a counter, and what is known afterwards.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::ir::{Name, Op as Ir, Operand, Ty};
use super::region::Edges;
use super::{Pointer, Val, Walker, private};
use crate::audit::classify::is_data_dependent;
use crate::audit::lanes::{AtomId, Int, Op, Symbol, SymbolKind, Value, of_atom};

/// Name, type, incoming operands with their blocks.
pub(super) type Phi<'p> = (Name, &'p Ty, &'p [(Operand, Name)]);

#[derive(Clone)]
enum Carried {
    Same,
    Steps(Value),
    /// In terms of the counter.
    Form(Value),
    Uniform,
    Unknown(Rc<str>),
}

/// What is followed through a loop by itself: a phi, or a component of one that is a short vector.
#[derive(Clone, Copy)]
struct Slot {
    phi: usize,
    part: Option<usize>,
}

impl Slot {
    /// The slots of phis that begin with these values.
    fn all(starts: &[Val]) -> Vec<Slot> {
        let mut out = Vec::new();
        for (phi, start) in starts.iter().enumerate() {
            match start {
                Val::Vector(parts) if parts.len() <= 4 && parts.iter().all(|p| matches!(p, Val::Int(_))) => {
                    out.extend((0..parts.len()).map(|part| Slot { phi, part: Some(part) }));
                }
                _ => out.push(Slot { phi, part: None }),
            }
        }
        out
    }

    /// Its value of those of all phis.
    fn of(self, values: &[Val]) -> Val {
        match (self.part, &values[self.phi]) {
            (Some(part), Val::Vector(parts)) => parts.get(part).cloned().unwrap_or(Val::Other(None)),
            (_, value) => value.clone(),
        }
    }
}

/// How the values of a loop's phis change over one iteration, as far as a quiet look at it showed.
struct Look {
    atoms: Vec<Option<AtomId>>,
    carried: Vec<Carried>,
    exits: Edges,
}

impl Walker<'_> {
    pub(super) fn run_loop(&mut self, l: usize, outside: &Edges) -> Result<Edges, String> {
        let header = self.cfg.loops[l].header;
        let function = self.function;
        let phis: Vec<Phi<'_>> = function.blocks[header]
            .code
            .iter()
            .filter_map(|i| match (i.result, &i.op) {
                (Some(name), Ir::Phi(ty, incoming)) => Some((name, ty, incoming.as_slice())),
                _ => None,
            })
            .collect();
        let starts: Vec<Val> =
            phis.iter().map(|(_, _, incoming)| self.phi(header, incoming, outside)).collect();
        let name = String::from("iteration");
        let counter = self.walk.alg.symbol(Symbol { name, kind: SymbolKind::Loop, count: None });
        let Some(k) = counter.as_atom() else { return Ok(Edges::new()) };
        let state = self.private.clone();
        let slots = Slot::all(&starts);
        let each: Vec<Val> = slots.iter().map(|s| s.of(&starts)).collect();
        let look = self.look(l, &phis, (&slots, &each), k)?;
        // Followed from the state before, which the look has not kept.
        let looked = std::mem::replace(&mut self.private, state);
        if let Some(edges) = self.unroll(l, &phis, &starts, &look.unresolved())? {
            return Ok(edges);
        }
        self.private = looked;
        self.record_loop(l, &phis, (&slots, &each), look, k)
    }

    /// Gives the phis the values of their slots.
    fn set_phis(&mut self, phis: &[Phi<'_>], slots: &[Slot], values: Vec<Val>) {
        let mut vectors: Vec<Vec<Val>> = vec![Vec::new(); phis.len()];
        for (slot, value) in slots.iter().zip(values) {
            match slot.part {
                Some(_) => vectors[slot.phi].push(value),
                None => self.values[phis[slot.phi].0 as usize] = Some(value),
            }
        }
        for ((name, _, _), parts) in phis.iter().zip(vectors) {
            if !parts.is_empty() {
                self.values[*name as usize] = Some(Val::Vector(Rc::new(parts)));
            }
        }
    }

    /// Quiet iterations with placeholders, until what differs between lanes is known.
    fn look(
        &mut self,
        l: usize,
        phis: &[Phi<'_>],
        (slots, starts): (&[Slot], &[Val]),
        k: AtomId,
    ) -> Result<Look, String> {
        let header = self.cfg.loops[l].header;
        // What an earlier look at a loop within a loop found holds for this one too.
        let mut varying: HashMap<usize, Rc<str>> = if self.walk.quiet > 0 {
            self.varying.get(&l).cloned().unwrap_or_default()
        } else {
            HashMap::new()
        };
        let mut rounds = 0;
        let mut before = self.private.clone();
        loop {
            self.private.clone_from(&before);
            let mut atoms: Vec<Option<AtomId>> = Vec::new();
            let mut values = Vec::new();
            for (i, slot) in slots.iter().enumerate() {
                let ty = phis[slot.phi].1;
                let why = varying.get(&i).cloned();
                let why = why.or_else(|| self.why(&starts[i]).map(|_| CARRIED.into()));
                let (value, atom) = match &starts[i] {
                    Val::Int(_) => {
                        let v = self.placeholder(why);
                        (Val::Int(v.clone()), v.as_atom())
                    }
                    Val::Pointer(p) => {
                        let v = self.placeholder(why);
                        let at = v.as_atom();
                        (Val::Pointer(Pointer { offset: v, ..p.clone() }), at)
                    }
                    _ => (self.unknown(ty, Some(CARRIED.into())), None),
                };
                atoms.push(atom);
                values.push(value);
            }
            self.set_phis(phis, slots, values);
            self.walk.quiet += 1;
            let outer = std::mem::take(&mut self.walk.conditions);
            let result = self.region(Some(l));
            self.walk.conditions = outer;
            self.walk.quiet -= 1;
            let exits = result?;
            let diverges = exits.values().find_map(|c| self.cause(&[c]).or_else(|| self.walk.why(c)));
            let ends: Vec<Val> =
                phis.iter().map(|(_, _, incoming)| self.phi(header, incoming, &exits)).collect();
            let ends: Vec<Val> = slots.iter().map(|s| s.of(&ends)).collect();
            let mut carried: Vec<Carried> = (0..slots.len())
                .map(|i| self.classify(i, &atoms, &starts[i], &ends[i], diverges.as_ref()))
                .collect();
            self.closed_forms(&atoms, starts, &ends, &mut carried, k);
            let mut new = false;
            for (i, c) in carried.iter().enumerate() {
                if let Carried::Unknown(why) = c {
                    new |= varying.insert(i, why.clone()).is_none();
                }
            }
            let changed = private::changed(&before, &self.private);
            new |= !changed.is_empty();
            private::remove(&mut before, &changed);
            rounds += 1;
            if !new || rounds > 6 {
                self.private = before;
                self.varying.insert(l, varying);
                return Ok(Look { atoms, carried, exits });
            }
        }
    }

    /// The iteration that is recorded, with the carried values in terms of the counter.
    fn record_loop(
        &mut self,
        l: usize,
        phis: &[Phi<'_>],
        (slots, starts): (&[Slot], &[Val]),
        look: Look,
        k: AtomId,
    ) -> Result<Edges, String> {
        let (cfg, function) = (self.cfg, self.function);
        let header = cfg.loops[l].header;
        let Look { atoms, carried, exits } = look;
        let stepping =
            slots.iter().zip(&carried).find(|(s, c)| matches!(c, Carried::Steps(_)) && s.part.is_none());
        if let Some((slot, _)) = stepping {
            let n = &phis[slot.phi].0;
            let text = &function.names[*n as usize];
            let own = text.split(['.', '-']).next().unwrap_or(text);
            // The optimizer's own names say nothing.
            let made = own == "indvars" || own == "lsr" || own.chars().all(|c| c.is_ascii_digit());
            let named = if made { self.counter_of(l) } else { None };
            let name = named.unwrap_or_else(|| if made { "iteration".into() } else { own.to_string() });
            self.walk.alg.rename(k, &name);
        }
        let counter = of_atom(k);
        let mut known: HashMap<AtomId, Value> = HashMap::new();
        let mut values = Vec::new();
        for (i, slot) in slots.iter().enumerate() {
            let (Some(atom), Some(start)) = (atoms[i], integer_of(&starts[i])) else {
                values.push(self.unknown(phis[slot.phi].1, Some(CARRIED.into())));
                continue;
            };
            let value = match &carried[i] {
                Carried::Same => start,
                Carried::Steps(step) => self.moved(&start, step, &counter),
                Carried::Form(form) => form.clone(),
                Carried::Uniform => self.walk.fresh(CARRIED),
                Carried::Unknown(why) => self.walk.alg.data(why, true),
            };
            known.insert(atom, value.clone());
            let value = match &starts[i] {
                Val::Pointer(p) => Val::Pointer(Pointer { offset: value, ..p.clone() }),
                _ => Val::Int(value),
            };
            values.push(value);
        }
        self.set_phis(phis, slots, values);
        let mut guards = Vec::new();
        let mut known_end = true;
        for ((_, to), c) in &exits {
            if *to == header {
                continue;
            }
            let c = self.walk.alg.substitute(c, &mut known);
            known_end &= self.walk.alg.data_in(&c).is_none();
            let stays = self.walk.alg.not(&c);
            guards.push(self.walk.one_later(&stays, k));
        }
        let mut trips = None;
        if known_end && !guards.is_empty() {
            if guards.iter().all(|g| self.walk.alg.symbols_in(g).iter().all(|&s| s == k)) {
                trips = self.walk.count_trips(&guards, k);
            }
            match trips {
                Some(n) => self.walk.alg.set_count(k, n),
                None => drop(self.walk.guards.insert(k, guards.clone())),
            }
        }
        let diverges = guards.iter().any(|g| self.walk.alg.varies(g) || self.walk.alg.data_in(g).is_some());
        let mut before = self.private.clone();
        self.walk.enclosing.push(k);
        self.walk.depth += 1;
        // Lanes that have left earlier take no part.
        let outer = self.walk.conditions.len();
        if diverges {
            self.walk.conditions.extend(guards);
        }
        let result = self.region(Some(l));
        self.walk.conditions.truncate(outer);
        self.walk.depth -= 1;
        self.walk.enclosing.pop();
        let recorded = result?;
        let changed = private::changed(&before, &self.private);
        private::remove(&mut before, &changed);
        self.private = before;

        // What is used afterwards has the last iteration's value.
        let last = match trips.filter(|_| !diverges && recorded.keys().filter(|e| e.1 != header).count() == 1)
        {
            Some(n) => Value::int(i64::try_from(n).unwrap_or(i64::MAX) - 1),
            None if diverges => self.walk.alg.data("a loop that lanes leave at different times", true),
            None => self.walk.fresh("the number of iterations of a loop"),
        };
        let mut at_end = HashMap::from([(k, last)]);
        for name in self.escaping_from(l) {
            if let Some(v) = self.values[name as usize].clone() {
                self.values[name as usize] = Some(self.substituted(&v, &mut at_end));
            }
        }
        Ok(self.ways_out(&recorded, header))
    }

    /// The counter that the text declares where the loop stands.
    fn counter_of(&self, l: usize) -> Option<String> {
        let blocks = &self.cfg.loops[l].blocks;
        let header = self.cfg.loops[l].header;
        let places = std::iter::once(&header)
            .chain(blocks.iter().filter(|b| **b != header))
            .flat_map(|&b| self.function.blocks[b].code.iter().filter_map(|i| i.debug))
            .filter_map(|id| self.ir.locations.place(id));
        let mut lines: Vec<u32> = places.map(|p| p.line).filter(|l| *l > 0).collect();
        // The loop begins no later than what is in it.
        lines.sort_unstable();
        lines.dedup();
        lines.into_iter().take(3).find_map(|line| self.names.counter(line).map(String::from))
    }

    /// How lanes leave: one way out is taken by all; of several, each by some.
    pub(super) fn ways_out(&mut self, edges: &Edges, header: usize) -> Edges {
        let ways: Vec<(usize, usize)> = edges.keys().copied().filter(|e| e.1 != header).collect();
        let mut out = Edges::new();
        let mut rest = Value::int(1);
        for (i, edge) in ways.iter().enumerate() {
            let c = if i + 1 == ways.len() {
                rest.clone()
            } else {
                let c = match edges.get(edge).and_then(|c| self.walk.why(c)) {
                    Some(why) => self.walk.alg.data_in_range(&why, (Some(0), Some(1))),
                    None => self.walk.flag("a way out of a loop"),
                };
                rest = rest.sub(&c);
                c
            };
            out.insert(*edge, c);
        }
        out
    }

    /// Names defined in the loop and used outside it.
    pub(super) fn escaping_from(&self, l: usize) -> Vec<Name> {
        self.cfg.loops[l]
            .blocks
            .iter()
            .flat_map(|&b| self.function.blocks[b].code.iter().filter_map(|i| i.result))
            .filter(|n| self.escaping.contains(n))
            .collect()
    }

    fn substituted(&mut self, v: &Val, known: &mut HashMap<AtomId, Value>) -> Val {
        match v {
            Val::Int(x) => Val::Int(self.walk.alg.substitute(x, known)),
            Val::Pointer(p) => {
                Val::Pointer(Pointer { offset: self.walk.alg.substitute(&p.offset, known), ..p.clone() })
            }
            Val::Vector(c) => Val::Vector(Rc::new(c.iter().map(|v| self.substituted(v, known)).collect())),
            other => other.clone(),
        }
    }

    fn placeholder(&mut self, why: Option<Rc<str>>) -> Value {
        match why {
            Some(why) => self.walk.alg.data(&why, true),
            None => self.walk.fresh("a loop-carried value"),
        }
    }

    fn moved(&mut self, start: &Value, step: &Value, times: &Value) -> Value {
        let moved = self.walk.alg.mul(times, step);
        self.walk.alg.add(start, &moved)
    }

    fn classify(
        &mut self,
        i: usize,
        atoms: &[Option<AtomId>],
        start: &Val,
        end: &Val,
        diverges: Option<&Rc<str>>,
    ) -> Carried {
        let (Some(atom), Some(value), true) = (atoms[i], integer_of(end), same_base(start, end)) else {
            return Carried::Unknown(CARRIED.into());
        };
        let step = value.sub(&of_atom(atom));
        if step == Value::int(0) {
            return Carried::Same;
        }
        let mine: BTreeSet<AtomId> = atoms.iter().flatten().copied().collect();
        let depends = self.walk.alg.closure([&step]).into_iter().any(|a| mine.contains(&a));
        if !depends && self.walk.alg.data_in(&step).is_none() {
            return Carried::Steps(step);
        }
        let starting = integer_of(start);
        let mut values = vec![&value];
        values.extend(&starting);
        if let Some(why) = self.cause(&values) {
            return Carried::Unknown(why);
        }
        let differs = self.walk.why(&value).is_some() || self.why(start).is_some();
        match (differs, diverges) {
            (_, Some(why)) if is_data_dependent(why) => Carried::Unknown(why.clone()),
            (true, _) | (_, Some(_)) => Carried::Unknown(CARRIED.into()),
            (false, None) => Carried::Uniform,
        }
    }

    /// The data that values depend on, as opposed to what could not be followed.
    pub(super) fn cause(&self, values: &[&Value]) -> Option<Rc<str>> {
        let atoms = self.walk.alg.closure(values.iter().copied());
        atoms.into_iter().filter_map(|a| self.walk.alg.data_of(a)).find(|why| is_data_dependent(why))
    }

    /// What follows from values that step evenly: such a value of the iteration before.
    fn closed_forms(
        &mut self,
        atoms: &[Option<AtomId>],
        starts: &[Val],
        ends: &[Val],
        carried: &mut [Carried],
        k: AtomId,
    ) {
        let before = of_atom(k).sub(&Value::int(1));
        loop {
            // All that is resolved, one iteration ago.
            let mut known: HashMap<AtomId, Value> = HashMap::new();
            let mut open: BTreeSet<AtomId> = BTreeSet::new();
            for (i, c) in carried.iter().enumerate() {
                let (Some(atom), Some(start)) = (atoms[i], integer_of(&starts[i])) else { continue };
                let value = match c {
                    Carried::Same => start,
                    Carried::Steps(step) => {
                        let step = step.clone();
                        self.moved(&start, &step, &before)
                    }
                    Carried::Form(form) => {
                        self.walk.alg.substitute(form, &mut HashMap::from([(k, before.clone())]))
                    }
                    Carried::Uniform | Carried::Unknown(_) => {
                        open.insert(atom);
                        continue;
                    }
                };
                known.insert(atom, value);
            }
            let mut found = false;
            for (i, c) in carried.iter_mut().enumerate() {
                let (true, Some(start), Some(end)) = (
                    matches!(c, Carried::Uniform | Carried::Unknown(_)) && same_base(&starts[i], &ends[i]),
                    integer_of(&starts[i]),
                    integer_of(&ends[i]),
                ) else {
                    continue;
                };
                if self.walk.alg.closure([&end]).iter().any(|a| open.contains(a)) {
                    continue;
                }
                let form = self.walk.alg.substitute(&end, &mut known.clone());
                if self.walk.alg.data_in(&form).is_some() {
                    continue;
                }
                let first = self.walk.alg.substitute(&form, &mut HashMap::from([(k, Value::int(0))]));
                *c = Carried::Form(if first == start {
                    form
                } else {
                    let at_first = self.walk.alg.apply(Op::Eq(Int::U32), &[of_atom(k), Value::int(0)]);
                    self.walk.alg.apply(Op::Select, &[at_first, start, form])
                });
                found = true;
            }
            if !found {
                return;
            }
        }
    }
}

/// What is said of a value of which no more is known.
pub(super) const CARRIED: &str = "a value carried by a loop";

impl Look {
    /// Phis of integers and pointers for which no closed form was found; whether they differ between lanes.
    fn unresolved(&self) -> Vec<bool> {
        let integers = self.carried.iter().zip(&self.atoms).filter(|(_, a)| a.is_some());
        integers
            .filter_map(|(c, _)| match c {
                Carried::Uniform => Some(false),
                Carried::Unknown(_) => Some(true),
                _ => None,
            })
            .collect()
    }
}

fn same_base(start: &Val, end: &Val) -> bool {
    match (start, end) {
        (Val::Pointer(a), Val::Pointer(b)) => a.base == b.base,
        (Val::Int(_), Val::Int(_)) => true,
        _ => false,
    }
}

fn integer_of(v: &Val) -> Option<Value> {
    match v {
        Val::Int(v) => Some(v.clone()),
        Val::Pointer(p) => Some(p.offset.clone()),
        _ => None,
    }
}
