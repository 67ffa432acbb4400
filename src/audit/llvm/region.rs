//! Regions: the blocks of a function or of one iteration of a loop, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::parse::{End, Op as Ir, Operand, Ty};
use super::{MOST_WORK, Pointer, Val, Walker};
use crate::audit::lanes::{AtomId, Evaluated, Int, Op, Symbol, SymbolKind, Tape, Value, of_atom};

/// Conditions of edges, by (from, to).
type Edges = BTreeMap<(usize, usize), Value>;

/// Most iterations counted one by one.
const MOST_TRIPS: i64 = 1 << 12;

/// Name, type, incoming operands with their blocks.
type Phi<'p> = (&'p str, &'p Ty, &'p [(Operand, String)]);

#[derive(Clone)]
enum Carried {
    Same,
    Steps(Value),
    Uniform,
    Unknown(Rc<str>),
}

impl Walker<'_> {
    /// Names used outside the loop that defines them.
    pub(super) fn find_escaping(&mut self) {
        let mut defined: HashMap<&str, Option<usize>> = HashMap::new();
        for (b, block) in self.function.blocks.iter().enumerate() {
            for i in &block.code {
                if let Some(r) = &i.result {
                    defined.insert(r, self.cfg.innermost[b]);
                }
            }
        }
        let mut escaping = HashSet::new();
        for (b, block) in self.function.blocks.iter().enumerate() {
            let mut used = Vec::new();
            for i in &block.code {
                locals(&i.op, &mut used);
            }
            match &block.end {
                End::Branch(c, ..) | End::Switch(c, ..) => used.push(c),
                End::Jump(_) | End::Return => {}
            }
            for o in used {
                if let Operand::Local(name) = o {
                    let inside = defined.get(name.as_str()).copied().flatten();
                    if inside.is_some_and(|l| !self.cfg.loops[l].blocks.contains(&b)) {
                        escaping.insert(name.clone());
                    }
                    // A phi's operand belongs to the edge; loop-closed form uses it just outside.
                    if inside.is_some() && self.cfg.innermost[b] != inside {
                        escaping.insert(name.clone());
                    }
                }
            }
        }
        self.escaping = escaping;
    }

    /// Walks the blocks of `of` (the function if `None`), inner loops as one. Gives the conditions of all
    /// edges that leave it or go back to its header.
    pub(super) fn region(&mut self, of: Option<usize>) -> Result<Edges, String> {
        let cfg = self.cfg;
        let header = of.map_or(0, |l| cfg.loops[l].header);
        let mut edges = Edges::new();
        let mut leaving = Edges::new();
        let mut done: BTreeSet<usize> = BTreeSet::new();
        for &b in &cfg.order {
            let inside = of.is_none_or(|l| cfg.loops[l].blocks.contains(&b));
            if !inside || done.contains(&b) {
                continue;
            }
            let reach = if b == header { Some(Value::int(1)) } else { self.reach(b, &edges) };
            let child = cfg.child(of, b);
            let Some(reach) = reach.filter(|r| *r != Value::int(0)) else {
                match child {
                    Some(l) => done.extend(&cfg.loops[l].blocks),
                    None => drop(done.insert(b)),
                }
                continue;
            };
            if let Some(l) = child {
                done.extend(&cfg.loops[l].blocks);
                let pushed = reach.as_int().is_none();
                if pushed {
                    self.conditions.push(reach.clone());
                }
                let exits = self.run_loop(l, &edges);
                if pushed {
                    self.conditions.pop();
                }
                for (edge, c) in exits? {
                    let c = self.along(&reach, &c);
                    self.put(of, header, edge, c, &mut edges, &mut leaving);
                }
                continue;
            }
            done.insert(b);
            let pushed = reach.as_int().is_none();
            if pushed {
                self.conditions.push(reach.clone());
            }
            for ix in 0..self.function.blocks[b].code.len() {
                self.work += 1;
                if self.work > MOST_WORK || self.alg.size() > 2 * MOST_WORK {
                    return Err(format!("the kernel is too large to follow: more than {MOST_WORK} steps"));
                }
                let instruction = &self.function.blocks[b].code[ix];
                if let Ir::Phi(_, incoming) = &instruction.op {
                    if b != header || of.is_none() {
                        let value = self.phi(b, incoming, &edges);
                        if let Some(name) = &instruction.result {
                            self.values.insert(name.clone(), value);
                        }
                    }
                } else {
                    self.instruction(instruction);
                }
            }
            if pushed {
                self.conditions.pop();
            }
            let out: Vec<(usize, Value)> = self.out_of(b);
            for (to, c) in out {
                let c = self.along(&reach, &c);
                self.put(of, header, (b, to), c, &mut edges, &mut leaving);
            }
        }
        Ok(leaving)
    }

    fn put(
        &mut self,
        of: Option<usize>,
        header: usize,
        edge: (usize, usize),
        c: Value,
        inside: &mut Edges,
        leaving: &mut Edges,
    ) {
        let stays = of.is_none_or(|l| self.cfg.loops[l].blocks.contains(&edge.1) && edge.1 != header);
        let into = if stays { inside } else { leaving };
        match into.get(&edge) {
            Some(old) => {
                let sum = old.add(&c);
                into.insert(edge, sum);
            }
            None => drop(into.insert(edge, c)),
        }
    }

    /// The sum over the incoming edges, which exclude one another.
    fn reach(&mut self, b: usize, edges: &Edges) -> Option<Value> {
        let mut sum: Option<Value> = None;
        for &p in &self.cfg.predecessors[b] {
            if let Some(c) = edges.get(&(p, b)) {
                sum = Some(match sum {
                    None => c.clone(),
                    Some(s) => self.alg.add(&s, c),
                });
            }
        }
        sum
    }

    /// Both conditions, as a product where that stays small, so that the two sides of a branch add up again.
    fn along(&mut self, a: &Value, b: &Value) -> Value {
        if a.0.len() * b.0.len() <= 24 { self.alg.mul(a, b) } else { self.alg.both(a, b) }
    }

    /// Successors of a block with the condition of each.
    fn out_of(&mut self, b: usize) -> Vec<(usize, Value)> {
        let function = self.function;
        let block = &function.blocks[b];
        let cfg = self.cfg;
        let at = |label: &str| cfg.by_label.get(label).copied().unwrap_or(0);
        match &block.end {
            End::Jump(l) => vec![(at(l), Value::int(1))],
            End::Branch(c, yes, no) => {
                let c = self.truth(c);
                let not = self.alg.not(&c);
                vec![(at(yes), c), (at(no), not)]
            }
            End::Switch(v, default, cases) => {
                let v = self.operand(v);
                let v = self.as_int(v);
                let mut out = Vec::new();
                let mut rest = Value::int(1);
                for (case, label) in cases {
                    let hit = self.alg.apply(Op::Eq(Int::U32), &[v.clone(), Value::int(*case)]);
                    let hit = if self.alg.data_in(&hit).is_some() || hit.0.len() > 8 {
                        self.flag("a case")
                    } else {
                        hit
                    };
                    rest = rest.sub(&hit);
                    out.push((at(label), hit));
                }
                out.push((at(default), rest));
                out
            }
            End::Return => Vec::new(),
        }
    }

    fn phi(&mut self, b: usize, incoming: &[(Operand, String)], edges: &Edges) -> Val {
        let mut merged: Option<Val> = None;
        for (o, label) in incoming {
            let Some(&p) = self.cfg.by_label.get(label) else { continue };
            let Some(c) = edges.get(&(p, b)).cloned().filter(|c| *c != Value::int(0)) else { continue };
            let v = self.operand(o);
            merged = Some(match merged {
                None => v,
                // Relative to reaching the block at all, the edge's own condition decides.
                Some(other) => self.merge(&c, &v, &other),
            });
        }
        merged.unwrap_or(Val::Other(None))
    }

    fn run_loop(&mut self, l: usize, outside: &Edges) -> Result<Edges, String> {
        let cfg = self.cfg;
        let header = cfg.loops[l].header;
        let function = self.function;
        let phis: Vec<Phi<'_>> = function.blocks[header]
            .code
            .iter()
            .filter_map(|i| match (&i.result, &i.op) {
                (Some(name), Ir::Phi(ty, incoming)) => Some((name.as_str(), ty, incoming.as_slice())),
                _ => None,
            })
            .collect();
        let starts: Vec<Val> =
            phis.iter().map(|(_, _, incoming)| self.phi(header, incoming, outside)).collect();

        // One quiet iteration with placeholders.
        let mut varying: HashMap<usize, Rc<str>> = HashMap::new();
        let mut atoms: Vec<Option<AtomId>>;
        let mut carried: Vec<Carried>;
        let mut exits;
        let mut rounds = 0;
        let saved = self.values.clone();
        loop {
            self.values.clone_from(&saved);
            atoms = Vec::new();
            for (i, (name, ty, _)) in phis.iter().enumerate() {
                let why = varying.get(&i).cloned().or_else(|| self.why(&starts[i]));
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
                    _ => (self.unknown(ty, Some("a value carried by a loop".into())), None),
                };
                atoms.push(atom);
                self.values.insert((*name).to_string(), value);
            }
            self.quiet += 1;
            let outer = std::mem::take(&mut self.conditions);
            let result = self.region(Some(l));
            self.conditions = outer;
            self.quiet -= 1;
            exits = result?;
            let diverges = exits.values().find_map(|c| self.why_int(c));
            carried = Vec::new();
            for (i, (_, _, incoming)) in phis.iter().enumerate() {
                let end = self.phi(header, incoming, &exits);
                carried.push(self.classify(i, &atoms, &starts[i], &end, diverges.as_ref()));
            }
            let mut new = false;
            for (i, c) in carried.iter().enumerate() {
                if let Carried::Unknown(why) = c {
                    new |= varying.insert(i, why.clone()).is_none();
                }
            }
            rounds += 1;
            if !new || rounds > 6 {
                break;
            }
        }
        self.values = saved;

        // The recorded iteration.
        let name = phis
            .iter()
            .zip(&carried)
            .find(|(_, c)| matches!(c, Carried::Steps(_)))
            .map_or("iteration", |((n, _, _), _)| n.split(['.', '-']).next().unwrap_or(n));
        let counter = self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Loop, count: None });
        let Some(k) = counter.as_atom() else { return Ok(Edges::new()) };
        let mut known: HashMap<AtomId, Value> = HashMap::new();
        for (i, (phi, _, _)) in phis.iter().enumerate() {
            let (Some(atom), Some(start)) = (atoms[i], integer_of(&starts[i])) else {
                let v = self.unknown(phis[i].1, Some("a value carried by a loop".into()));
                self.values.insert((*phi).to_string(), v);
                continue;
            };
            let value = match &carried[i] {
                Carried::Same => start,
                Carried::Steps(step) => {
                    let moved = self.alg.mul(&counter, step);
                    self.alg.add(&start, &moved)
                }
                Carried::Uniform => self.fresh("a value carried by a loop"),
                Carried::Unknown(why) => self.alg.data(why, true),
            };
            known.insert(atom, value.clone());
            let value = match &starts[i] {
                Val::Pointer(p) => Val::Pointer(Pointer { offset: value, ..p.clone() }),
                _ => Val::Int(value),
            };
            self.values.insert((*phi).to_string(), value);
        }
        let mut guards = Vec::new();
        let mut known_end = true;
        for ((_, to), c) in &exits {
            if *to == header {
                continue;
            }
            let c = self.alg.substitute(c, &mut known);
            known_end &= self.alg.data_in(&c).is_none();
            let stays = self.alg.not(&c);
            guards.push(self.one_later(&stays, k));
        }
        let mut trips = None;
        if known_end && !guards.is_empty() {
            if guards.iter().all(|g| self.alg.symbols_in(g).iter().all(|&s| s == k)) {
                trips = self.count_trips(&guards, k);
            }
            match trips {
                Some(n) => self.alg.set_count(k, n),
                None => drop(self.guards.insert(k, guards.clone())),
            }
        }
        let diverges = guards.iter().any(|g| self.alg.varies(g) || self.alg.data_in(g).is_some());
        self.enclosing.push(k);
        self.depth += 1;
        // Lanes that have left earlier take no part.
        let mut taking_part = Vec::new();
        if diverges {
            taking_part = guards.clone();
            self.conditions.extend(taking_part.iter().cloned());
        }
        let result = self.region(Some(l));
        let length = self.conditions.len();
        self.conditions.truncate(length - taking_part.len());
        self.depth -= 1;
        self.enclosing.pop();
        let recorded = result?;

        // What is used afterwards has the last iteration's value.
        let last = match trips.filter(|_| !diverges && recorded.keys().filter(|e| e.1 != header).count() == 1)
        {
            Some(n) => Value::int(i64::try_from(n).unwrap_or(i64::MAX) - 1),
            None if diverges => self.alg.data("a loop that lanes leave at different times", true),
            None => self.fresh("the number of iterations of a loop"),
        };
        let defined: Vec<String> = cfg.loops[l]
            .blocks
            .iter()
            .flat_map(|&b| function.blocks[b].code.iter().filter_map(|i| i.result.clone()))
            .filter(|n| self.escaping.contains(n))
            .collect();
        let mut at_end = HashMap::from([(k, last)]);
        for name in defined {
            if let Some(v) = self.values.get(&name).cloned() {
                let v = self.substituted(&v, &mut at_end);
                self.values.insert(name, v);
            }
        }
        // How lanes leave: one way out is taken by all; of several, each by some.
        let ways: Vec<(usize, usize)> = recorded.keys().copied().filter(|e| e.1 != header).collect();
        let mut out = Edges::new();
        let mut rest = Value::int(1);
        for (i, edge) in ways.iter().enumerate() {
            let c = if i + 1 == ways.len() {
                rest.clone()
            } else {
                let c = match recorded.get(edge).and_then(|c| self.why_int(c)) {
                    Some(why) => self.alg.data_in_range(&why, (Some(0), Some(1))),
                    None => self.flag("a way out of a loop"),
                };
                rest = rest.sub(&c);
                c
            };
            out.insert(*edge, c);
        }
        Ok(out)
    }

    fn substituted(&mut self, v: &Val, known: &mut HashMap<AtomId, Value>) -> Val {
        match v {
            Val::Int(x) => Val::Int(self.alg.substitute(x, known)),
            Val::Pointer(p) => {
                Val::Pointer(Pointer { offset: self.alg.substitute(&p.offset, known), ..p.clone() })
            }
            Val::Vector(c) => Val::Vector(Rc::new(c.iter().map(|v| self.substituted(v, known)).collect())),
            other => other.clone(),
        }
    }

    fn placeholder(&mut self, why: Option<Rc<str>>) -> Value {
        match why {
            Some(why) => self.alg.data(&why, true),
            None => self.fresh("a loop-carried value"),
        }
    }

    fn classify(
        &mut self,
        i: usize,
        atoms: &[Option<AtomId>],
        start: &Val,
        end: &Val,
        diverges: Option<&Rc<str>>,
    ) -> Carried {
        let same_base = match (start, end) {
            (Val::Pointer(a), Val::Pointer(b)) => a.base == b.base,
            (Val::Int(_), Val::Int(_)) => true,
            _ => false,
        };
        let (Some(atom), Some(value), true) = (atoms[i], integer_of(end), same_base) else {
            return Carried::Unknown("a value carried by a loop".into());
        };
        let step = value.sub(&of_atom(atom));
        if step == Value::int(0) {
            return Carried::Same;
        }
        let mine: BTreeSet<AtomId> = atoms.iter().flatten().copied().collect();
        let depends = self.alg.closure([&step]).into_iter().any(|a| mine.contains(&a));
        if !depends && self.alg.data_in(&step).is_none() {
            return Carried::Steps(step);
        }
        let why = self.why_int(&value).or_else(|| self.why(start)).or_else(|| diverges.cloned());
        why.map_or(Carried::Uniform, Carried::Unknown)
    }

    /// `g` one iteration earlier, or true in the first.
    fn one_later(&mut self, g: &Value, k: AtomId) -> Value {
        let counter = of_atom(k);
        let mut known = HashMap::from([(k, counter.sub(&Value::int(1)))]);
        let earlier = self.alg.substitute(g, &mut known);
        let first = self.alg.apply(Op::Eq(Int::U32), &[counter, Value::int(0)]);
        self.alg.either(&first, &earlier)
    }

    fn count_trips(&self, guards: &[Value], k: AtomId) -> Option<u64> {
        let mut tape = Tape::new(&self.alg, &guards.iter().collect::<Vec<_>>());
        for at in 0..MOST_TRIPS {
            tape.set(k, at);
            tape.run();
            let lanes: Vec<Evaluated> = (0..guards.len()).map(|g| tape.root(g)).collect();
            if !(0..self.alg.lanes()).any(|l| lanes.iter().all(|g| g.at(l) != 0)) {
                return Some(at as u64);
            }
        }
        None
    }
}

fn integer_of(v: &Val) -> Option<Value> {
    match v {
        Val::Int(v) => Some(v.clone()),
        Val::Pointer(p) => Some(p.offset.clone()),
        _ => None,
    }
}

/// The operands of an instruction.
fn locals<'i>(op: &'i Ir, out: &mut Vec<&'i Operand>) {
    match op {
        Ir::Binary(_, _, a, b) | Ir::Compare(_, _, a, b) => out.extend([a, b]),
        Ir::Select(a, b, c) => out.extend([&a.1, &b.1, &c.1]),
        Ir::Phi(_, incoming) => out.extend(incoming.iter().map(|i| &i.0)),
        Ir::Cast(_, _, a, _) | Ir::Load(_, a) | Ir::Atomic(_, a) | Ir::ExtractValue(a, _) => out.push(a),
        Ir::Gep(_, a, indices) => {
            out.push(a);
            out.extend(indices.iter().map(|i| &i.1));
        }
        Ir::Store(a, b) => out.extend([&a.1, b]),
        Ir::Call(_, _, args) => out.extend(args.iter().map(|a| &a.1)),
        Ir::Extract(_, a, b) => out.extend([a, b]),
        Ir::Insert(_, a, b, c) | Ir::Shuffle(_, a, b, c) => out.extend([a, b, c]),
        Ir::Alloca => {}
        Ir::Opaque(_, operands) => out.extend(operands),
    }
}
