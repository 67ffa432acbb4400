//! Loops: which variables step evenly, how many iterations there are, what is known afterwards.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use naga::{AddressSpace, Block, Expression, Handle, Statement};

use super::value::Val;
use super::{Exit, Flow, WalkError, Walker};
use crate::audit::classify::is_data_dependent;
use crate::audit::lanes::{AtomId, Symbol, SymbolKind, Value, of_atom};

/// Longest loop that is unrolled where its variables don't step evenly.
const MOST_UNROLLED: usize = 40;

/// What is said of a value that changes from round to round in a way that is not followed.
const CARRIED: &str = "a value carried by a loop";

/// A variable that a loop may change: frame and index.
type Root = (usize, usize);

/// What became of a loop-carried integer.
#[derive(Clone)]
enum Carried {
    Same,
    Steps(Value),
    /// Differs from iteration to iteration, but not between lanes.
    Uniform,
    Unknown(Rc<str>),
}

impl<'a> Walker<'a> {
    pub(super) fn run_loop(
        &mut self,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<Flow, WalkError> {
        let mut roots = BTreeSet::new();
        self.changed(body, &mut roots);
        self.changed(continuing, &mut roots);
        let start = self.state.clone();
        let header = header_of(body);

        // One quiet iteration with placeholders shows how each variable changes; a variable that turns
        // out to differ between lanes is marked so and the iteration repeated.
        let mut placeholders = Placeholders::default();
        let mut carried;
        let mut breaks;
        // Variables that a `break` leaves with another value than the iteration began with.
        let mut left_changed;
        let mut rounds = 0;
        loop {
            self.state = start.clone();
            placeholders.atoms.clear();
            for &(frame, ix) in &roots {
                let value = self.state[frame][ix].clone();
                self.state[frame][ix] = self.placeholder(&value, (frame, ix, 0), &mut placeholders, 0);
            }
            self.walk.quiet += 1;
            let loaded = self.loaded.clone();
            let result = self.iteration(body, continuing, break_if, None);
            self.loaded = loaded;
            self.walk.quiet -= 1;
            let (flow, again) = result?;
            breaks = flow.breaks.iter().map(|e| e.condition.clone()).collect::<Vec<_>>();
            let mut leaving = breaks.clone();
            leaving.extend(flow.returns.iter().map(|e| e.condition.clone()));
            leaving.extend(again.clone());
            left_changed = BTreeSet::new();
            for (atom, slot, _) in &placeholders.atoms {
                for exit in &flow.breaks {
                    if self.value_at(&exit.state, *slot).and_then(|v| v.as_atom()) != Some(*atom) {
                        left_changed.insert(*slot);
                    }
                }
            }
            let diverges = leaving.iter().find_map(|c| self.why(&Val::Int(c.clone())));
            carried = self.classify(&placeholders, diverges.as_ref());
            let demoted = placeholders.demote(&carried);
            rounds += 1;
            if !demoted || rounds > 6 {
                breaks.extend(again);
                break;
            }
        }
        // Where the end depends on a variable that does not step evenly, running it may show more.
        let deciding = self.walk.alg.closure(&breaks);
        let uneven = placeholders.atoms.iter().any(|(atom, slot, _)| {
            matches!(carried.get(slot), Some(Carried::Uniform | Carried::Unknown(_)))
                && deciding.contains(atom)
        });
        // What is computed from the lane's index round by round, as a reversal of bits, shows itself only so.
        let followed = |c: Option<&Carried>| match c {
            Some(Carried::Unknown(why)) => !is_data_dependent(why) && **why != *CARRIED,
            _ => false,
        };
        let uneven = uneven || placeholders.atoms.iter().any(|(_, slot, _)| followed(carried.get(slot)));
        if uneven {
            self.state = start.clone();
            if self.unrolls(body, continuing, break_if)? {
                self.state = start;
                return self.unroll(body, continuing, break_if);
            }
        }

        // The recorded iteration: variables in terms of the counter.
        let name = self.counter_name(&placeholders, &carried);
        let counter = self.walk.alg.symbol(Symbol { name, kind: SymbolKind::Loop, count: None });
        let Some(k) = counter.as_atom() else { return Ok(Flow::default()) };
        let mut known = HashMap::new();
        self.state = start.clone();
        for (atom, slot, initial) in placeholders.atoms.clone() {
            let value = match carried.get(&slot).cloned().unwrap_or(Carried::Same) {
                Carried::Same => initial,
                Carried::Steps(step) => {
                    let moved = self.walk.alg.mul(&counter, &step);
                    self.walk.alg.add(&initial, &moved)
                }
                Carried::Uniform => self.walk.fresh(CARRIED),
                Carried::Unknown(why) => self.walk.alg.data(&why, true),
            };
            known.insert(atom, value);
        }
        for &(frame, ix) in &roots {
            let value = self.state[frame][ix].clone();
            self.state[frame][ix] = self.iteration_value(&value, (frame, ix, 0), &placeholders, &known, 0);
        }
        let mut guards = Vec::new();
        let mut known_end = true;
        for b in &breaks {
            let b = self.walk.alg.substitute(b, &mut known);
            known_end &= self.walk.alg.data_in(&b).is_none();
            guards.push(self.walk.alg.not(&b));
        }
        let at_top = header.is_some() && breaks.len() == 1;
        if !at_top {
            // Lanes reach iteration k if they did not leave in iteration k - 1.
            guards = guards.iter().map(|g| self.walk.one_later(g, k)).collect();
        }
        let mut trips = None;
        if known_end && !guards.is_empty() {
            let only_k = guards.iter().all(|g| self.walk.alg.symbols_in(g).iter().all(|&s| s == k));
            if only_k {
                trips = self.walk.count_trips(&guards, k);
            }
            match trips {
                Some(n) => self.walk.alg.set_count(k, n),
                None => drop(self.walk.guards.insert(k, guards.clone())),
            }
        }
        if trips == Some(0) && at_top {
            // Only the header runs, once.
            self.state = start;
            let flow = self.block(body, None)?;
            self.state = flow.breaks.into_iter().next().map_or_else(|| self.state.clone(), |e| e.state);
            return Ok(Flow::default());
        }
        self.walk.enclosing.push(k);
        self.walk.depth += 1;
        let first = self.walk.sites.len();
        let outer_header = self.header_sites.take();
        let (flow, _) = self.iteration(body, continuing, break_if, header)?;
        let header_end = std::mem::replace(&mut self.header_sites, outer_header);
        self.walk.depth -= 1;
        self.walk.enclosing.pop();
        if let (Some(end), true) = (header_end, at_top) {
            self.header_runs_once_more(first..end, k, &guards, trips);
        }

        // Afterwards.
        let diverges = guards.iter().chain(&breaks).find_map(|g| {
            (self.walk.alg.data_in(g).is_some() || self.walk.alg.varies(g))
                .then(|| Rc::from("a loop that lanes leave at different times"))
        });
        let mut after = HashMap::new();
        for (atom, slot, initial) in placeholders.atoms.clone() {
            let how = carried.get(&slot).cloned().unwrap_or(Carried::Same);
            let how = if left_changed.contains(&slot) { Carried::Uniform } else { how };
            let value = match (how, &diverges) {
                (Carried::Same, _) => initial,
                (Carried::Unknown(why), _) => self.walk.alg.data(&why, true),
                (_, Some(why)) => self.walk.alg.data(&Rc::clone(why), true),
                (Carried::Steps(step), None) => {
                    let times = match trips.filter(|_| at_top) {
                        Some(n) => Value::int(i64::try_from(n).unwrap_or(i64::MAX)),
                        None => self.walk.fresh("the number of iterations of a loop"),
                    };
                    let moved = self.walk.alg.mul(&times, &step);
                    self.walk.alg.add(&initial, &moved)
                }
                (Carried::Uniform, None) => self.walk.fresh("the last value of a loop"),
            };
            after.insert(atom, value);
        }
        self.state = start;
        for &(frame, ix) in &roots {
            let value = self.state[frame][ix].clone();
            self.state[frame][ix] = self.iteration_value(&value, (frame, ix, 0), &placeholders, &after, 0);
        }
        Ok(self.left_by_return(flow.returns))
    }

    /// Lanes that returned inside the loop don't go on after it.
    fn left_by_return(&mut self, returns: Vec<Exit>) -> Flow {
        let mut flow = Flow::default();
        for exit in returns {
            let condition = match self.why(&Val::Int(exit.condition.clone())) {
                Some(why) => self.walk.alg.data_in_range(&why, (Some(0), Some(1))),
                None => self.walk.flag("a return from a loop"),
            };
            let value = exit.value.map(|v| self.forget(&v));
            let fall = flow.fall.take().unwrap_or_else(|| Value::int(1));
            let stays = self.walk.alg.not(&condition);
            flow.fall = Some(self.walk.alg.both(&fall, &stays));
            let mut state = exit.state;
            state.truncate(self.state.len());
            flow.returns.push(Exit { condition, state, value });
        }
        flow
    }

    fn forget(&mut self, value: &Val) -> Val {
        match value {
            Val::Int(v) if v.as_int().is_none() => match self.why(value) {
                Some(why) => Val::Int(self.walk.alg.data(&why, true)),
                None => Val::Int(self.walk.fresh("a value returned from a loop")),
            },
            Val::Composite(c) => Val::Composite(Rc::new(c.iter().map(|v| self.forget(v)).collect())),
            other => other.clone(),
        }
    }

    /// Body and continuing block once. Gives how lanes left, and the condition of `break_if`.
    fn iteration(
        &mut self,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
        mark: Option<usize>,
    ) -> Result<(Flow, Option<Value>), WalkError> {
        let mut flow = self.block(body, mark)?;
        let fall = flow.fall.clone().unwrap_or_else(|| Value::int(1));
        let mut on = fall;
        for exit in std::mem::take(&mut flow.continues) {
            if on == Value::int(0) {
                self.state = exit.state;
            } else {
                let state = std::mem::take(&mut self.state);
                self.state = self.merge_states(&exit.condition, &exit.state, &state);
            }
            on = self.walk.alg.either(&on, &exit.condition);
        }
        let mut again = None;
        if on != Value::int(0) {
            self.walk.conditions.push(on);
            self.block(continuing, None)?;
            if let Some(c) = break_if {
                let c = self.condition(c)?;
                again = Some(c);
            }
            self.walk.conditions.pop();
        }
        Ok((flow, again))
    }

    /// Replaces the integers in a variable's value by placeholders, others by their unknown successors.
    fn placeholder(&mut self, value: &Val, slot: Slot, p: &mut Placeholders, depth: usize) -> Val {
        match value {
            Val::Int(initial) => {
                let marked = p.varying.get(&slot).cloned();
                let v = match marked.or_else(|| self.why(value)) {
                    Some(why) => self.walk.alg.data(&why, true),
                    None => self.walk.fresh("a loop-carried value"),
                };
                if let Some(atom) = v.as_atom() {
                    p.atoms.push((atom, slot, initial.clone()));
                }
                Val::Int(v)
            }
            Val::Composite(c) if depth < 4 => Val::Composite(Rc::new(
                c.iter()
                    .enumerate()
                    .map(|(i, v)| {
                        let inner = (slot.0, slot.1, slot.2 * 257 + i + 1);
                        self.placeholder(v, inner, p, depth + 1)
                    })
                    .collect(),
            )),
            Val::Other(None) => Val::Other(Some(CARRIED.into())),
            other => other.clone(),
        }
    }

    /// The variable's value with each placeholder's integer replaced.
    fn iteration_value(
        &mut self,
        value: &Val,
        slot: Slot,
        p: &Placeholders,
        known: &HashMap<AtomId, Value>,
        depth: usize,
    ) -> Val {
        match value {
            Val::Int(initial) => {
                let atom = p.atoms.iter().find(|(_, s, _)| *s == slot).map(|(a, _, _)| *a);
                Val::Int(atom.and_then(|a| known.get(&a).cloned()).unwrap_or_else(|| initial.clone()))
            }
            Val::Composite(c) if depth < 4 => Val::Composite(Rc::new(
                c.iter()
                    .enumerate()
                    .map(|(i, v)| {
                        let inner = (slot.0, slot.1, slot.2 * 257 + i + 1);
                        self.iteration_value(v, inner, p, known, depth + 1)
                    })
                    .collect(),
            )),
            Val::Other(None) => Val::Other(Some(CARRIED.into())),
            other => other.clone(),
        }
    }

    fn value_at(&self, state: &super::State, slot: Slot) -> Option<Value> {
        let mut digits = Vec::new();
        let mut rest = slot.2;
        while rest > 0 {
            digits.push((rest - 1) % 257);
            rest = (rest - 1) / 257;
        }
        let mut value = state.get(slot.0)?.get(slot.1)?.clone();
        for d in digits.into_iter().rev() {
            value = value.component(d);
        }
        match value {
            Val::Int(v) => Some(v),
            _ => None,
        }
    }

    fn classify(&mut self, p: &Placeholders, diverges: Option<&Rc<str>>) -> HashMap<Slot, Carried> {
        let mine: BTreeSet<AtomId> = p.atoms.iter().map(|(a, _, _)| *a).collect();
        let mut steps: HashMap<Slot, Carried> = HashMap::new();
        let mut same = BTreeSet::new();
        for (atom, slot, _) in &p.atoms {
            if self.value_at(&self.state, *slot).and_then(|v| v.as_atom()) == Some(*atom) {
                same.insert(*atom);
                steps.insert(*slot, Carried::Same);
            }
        }
        for (atom, slot, initial) in &p.atoms {
            if same.contains(atom) {
                continue;
            }
            let Some(end) = self.value_at(&self.state, *slot) else {
                steps.insert(*slot, Carried::Unknown(CARRIED.into()));
                continue;
            };
            let placeholder = of_atom(*atom);
            let step = end.sub(&placeholder);
            let depends =
                self.walk.alg.closure([&step]).into_iter().any(|a| mine.contains(&a) && !same.contains(&a));
            let own_only = self.walk.alg.data_in(&step).is_none();
            let carried = if !depends && own_only {
                Carried::Steps(step)
            } else {
                let why = self
                    .why(&Val::Int(end))
                    .or_else(|| self.why(&Val::Int(initial.clone())))
                    .or_else(|| diverges.cloned());
                why.map_or(Carried::Uniform, Carried::Unknown)
            };
            steps.insert(*slot, carried);
        }
        steps
    }

    fn counter_name(&self, p: &Placeholders, carried: &HashMap<Slot, Carried>) -> String {
        let stepping =
            p.atoms.iter().find(|(_, s, _)| matches!(carried.get(s), Some(Carried::Steps(_))) && s.2 == 0);
        let name = stepping.filter(|(_, s, _)| s.0 > 0).and_then(|(_, s, _)| {
            let function = self.frames.get(s.0 - 1)?.function;
            function.local_variables.iter().nth(s.1)?.1.name.clone()
        });
        name.unwrap_or_else(|| "iteration".into())
    }

    /// The loop's own condition is evaluated once more than its body runs.
    fn header_runs_once_more(
        &mut self,
        sites: std::ops::Range<usize>,
        k: AtomId,
        guards: &[Value],
        trips: Option<u64>,
    ) {
        if sites.is_empty() || self.walk.quiet > 0 {
            return;
        }
        let name = self.walk.alg.symbol_of(k).map_or_else(String::new, |s| s.name.clone());
        let count = trips.map(|n| n + 1);
        let counter = self.walk.alg.symbol(Symbol { name, kind: SymbolKind::Loop, count });
        let Some(id) = counter.as_atom() else { return };
        let mut known = HashMap::from([(k, counter)]);
        let mut reached = Vec::new();
        for g in guards {
            let g = self.walk.alg.substitute(g, &mut known);
            let g = self.walk.one_later(&g, id);
            if trips.is_none() || self.walk.alg.varies_in_workgroup(&g) {
                reached.push(g);
            }
        }
        if trips.is_none() && self.walk.guards.contains_key(&k) {
            self.walk.guards.insert(id, reached.clone());
        }
        for ix in sites {
            let mut site = self.walk.sites[ix].clone();
            if let crate::audit::site::Place::Offset(v) = &mut site.place {
                *v = self.walk.alg.substitute(v, &mut known);
            }
            for c in &mut site.conditions {
                *c = self.walk.alg.substitute(c, &mut known);
            }
            site.conditions.extend(reached.iter().cloned());
            for e in &mut site.enclosing {
                if *e == k {
                    *e = id;
                }
            }
            self.walk.sites[ix] = site;
        }
    }

    /// Whether the loop, run concretely, ends within [`MOST_UNROLLED`] iterations for all lanes alike.
    fn unrolls(
        &mut self,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<bool, WalkError> {
        self.walk.quiet += 1;
        let loaded = self.loaded.clone();
        let mut ended = false;
        for _ in 0..MOST_UNROLLED {
            let (flow, again) = self.iteration(body, continuing, break_if, None)?;
            if !flow.returns.is_empty() {
                break;
            }
            let left = flow.breaks.iter().find(|e| e.condition != Value::int(0));
            match (left.map(|e| e.condition.as_int()), again.map(|c| c.as_int())) {
                (None, None | Some(Some(0))) => {}
                (Some(Some(1)), _) | (None, Some(Some(1))) => {
                    ended = true;
                    break;
                }
                _ => break,
            }
        }
        self.loaded = loaded;
        self.walk.quiet -= 1;
        Ok(ended)
    }

    fn unroll(
        &mut self,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<Flow, WalkError> {
        self.walk.depth += 1;
        for _ in 0..MOST_UNROLLED {
            let (flow, again) = self.iteration(body, continuing, break_if, None)?;
            if let Some(exit) = flow.breaks.into_iter().find(|e| e.condition != Value::int(0)) {
                self.state = exit.state;
                break;
            }
            if again.and_then(|c| c.as_int()) == Some(1) {
                break;
            }
        }
        self.walk.depth -= 1;
        Ok(Flow::default())
    }

    /// Variables that a block may store to.
    fn changed(&self, block: &Block, roots: &mut BTreeSet<Root>) {
        for statement in block {
            match statement {
                Statement::Store { pointer, .. } => self.root(*pointer, roots),
                Statement::Call { arguments, function, .. } => {
                    for a in arguments {
                        self.root(*a, roots);
                    }
                    // Private globals may be written anywhere below.
                    let info = &self.info[*function];
                    for (ix, g) in self.private.iter().enumerate() {
                        if info[*g].contains(naga::valid::GlobalUse::WRITE) {
                            roots.insert((0, ix));
                        }
                    }
                }
                Statement::Block(b) => self.changed(b, roots),
                Statement::If { accept, reject, .. } => {
                    self.changed(accept, roots);
                    self.changed(reject, roots);
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|c| self.changed(&c.body, roots)),
                Statement::Loop { body, continuing, .. } => {
                    self.changed(body, roots);
                    self.changed(continuing, roots);
                }
                _ => {}
            }
        }
    }

    fn root(&self, mut pointer: Handle<Expression>, roots: &mut BTreeSet<Root>) {
        let frame = self.frame();
        loop {
            match frame.function.expressions[pointer] {
                Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => pointer = base,
                Expression::LocalVariable(v) => {
                    roots.insert((self.frames.len(), v.index()));
                    return;
                }
                Expression::FunctionArgument(i) => {
                    if let Some(Val::Local(f, v, _)) = frame.args.get(i as usize) {
                        roots.insert((*f, *v));
                    }
                    return;
                }
                Expression::GlobalVariable(g) => {
                    if self.module.global_variables[g].space == AddressSpace::Private
                        && let Some(ix) = self.private.iter().position(|p| *p == g)
                    {
                        roots.insert((0, ix));
                    }
                    return;
                }
                _ => return,
            }
        }
    }
}

/// A variable, and an integer in it: digits of base 257 of the path, each one more than the index.
type Slot = (usize, usize, usize);

#[derive(Default)]
struct Placeholders {
    atoms: Vec<(AtomId, Slot, Value)>,
    varying: HashMap<Slot, Rc<str>>,
}

impl Placeholders {
    /// Marks what turned out to differ between lanes; says whether anything is new.
    fn demote(&mut self, carried: &HashMap<Slot, Carried>) -> bool {
        let mut new = false;
        for (slot, c) in carried {
            if let Carried::Unknown(why) = c {
                new |= self.varying.insert(*slot, why.clone()).is_none();
            }
        }
        new
    }
}

/// The statement that ends a loop at its top: `if c {} else { break }`, nothing but expressions before it.
fn header_of(body: &Block) -> Option<usize> {
    for (ix, statement) in body.iter().enumerate() {
        match statement {
            Statement::Emit(_) => {}
            Statement::If { accept, reject, .. } => {
                let only_break = |b: &Block| matches!(b.first(), Some(Statement::Break)) && b.len() == 1;
                let one =
                    (only_break(accept) && reject.is_empty()) || (only_break(reject) && accept.is_empty());
                return one.then_some(ix);
            }
            _ => return None,
        }
    }
    None
}
