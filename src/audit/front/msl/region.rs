//! Regions: the blocks of a function or of one iteration of a loop, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ir::{End, Name, Op as Ir, Operand};
use super::{MOST_STEPS, MOST_WORK, Val, Walker};
use crate::audit::lanes::{Int, Op, Value};

/// Conditions of edges, by (from, to).
pub(super) type Edges = BTreeMap<(usize, usize), Value>;

impl Walker<'_> {
    /// Names used outside the loop that defines them.
    pub(super) fn find_escaping(&mut self) {
        let mut defined: HashMap<Name, Option<usize>> = HashMap::new();
        for (b, block) in self.function.blocks.iter().enumerate() {
            for i in &block.code {
                if let Some(r) = i.result {
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
                    let inside = defined.get(name).copied().flatten();
                    if inside.is_some_and(|l| !self.cfg.loops[l].blocks.contains(&b)) {
                        escaping.insert(*name);
                    }
                    // A phi's operand belongs to the edge; loop-closed form uses it just outside.
                    if inside.is_some() && self.cfg.innermost[b] != inside {
                        escaping.insert(*name);
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
                    self.walk.conditions.push(reach.clone());
                }
                let exits = self.run_loop(l, &edges);
                if pushed {
                    self.walk.conditions.pop();
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
                self.walk.conditions.push(reach.clone());
            }
            for ix in 0..self.function.blocks[b].code.len() {
                self.work += 1;
                if self.work > MOST_STEPS || self.walk.alg.work() > MOST_WORK {
                    return Err(format!(
                        "budget: following the kernel takes more than {MOST_STEPS} steps or {MOST_WORK} operations"
                    ));
                }
                let instruction = &self.function.blocks[b].code[ix];
                if let Ir::Phi(_, incoming) = &instruction.op {
                    if b != header || of.is_none() {
                        let value = self.phi(b, incoming, &edges);
                        if let Some(name) = instruction.result {
                            self.values[name as usize] = Some(value);
                        }
                    }
                } else {
                    self.instruction(instruction);
                }
            }
            if pushed {
                self.walk.conditions.pop();
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
                    Some(s) => self.walk.alg.add(&s, c),
                });
            }
        }
        sum
    }

    /// Both conditions, as a product where that stays small, so that the two sides of a branch add up again.
    pub(super) fn along(&mut self, a: &Value, b: &Value) -> Value {
        if a.0.len() * b.0.len() <= 24 { self.walk.alg.mul(a, b) } else { self.walk.alg.both(a, b) }
    }

    /// Successors of a block with the condition of each.
    fn out_of(&mut self, b: usize) -> Vec<(usize, Value)> {
        let function = self.function;
        let block = &function.blocks[b];
        let cfg = self.cfg;
        let at = |label: &Name| cfg.by_label.get(label).copied().unwrap_or(0);
        match &block.end {
            End::Jump(l) => vec![(at(l), Value::int(1))],
            End::Branch(c, yes, no) => {
                let c = self.truth(c);
                let not = self.walk.alg.not(&c);
                vec![(at(yes), c), (at(no), not)]
            }
            End::Switch(v, default, cases) => {
                let v = self.operand(v);
                let v = self.as_int(v);
                let mut out = Vec::new();
                let mut rest = Value::int(1);
                for (case, label) in cases {
                    let hit = self.walk.alg.apply(Op::Eq(Int::U32), &[v.clone(), Value::int(*case)]);
                    let hit = if self.walk.alg.data_in(&hit).is_some() || hit.0.len() > 8 {
                        self.walk.flag("a case")
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

    pub(super) fn phi(&mut self, b: usize, incoming: &[(Operand, Name)], edges: &Edges) -> Val {
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
