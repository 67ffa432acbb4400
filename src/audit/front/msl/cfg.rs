//! The control flow of a function: order, dominators, natural loops.

use std::collections::{BTreeSet, HashMap};

use super::ir::{Block, End, Function, Name};

/// A loop: its header, its blocks, and the loop around it.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) header: usize,
    pub(super) blocks: BTreeSet<usize>,
}

#[derive(Debug)]
pub(super) struct Cfg {
    pub(super) predecessors: Vec<Vec<usize>>,
    /// Reachable blocks, each before those that it dominates.
    pub(super) order: Vec<usize>,
    /// Outer loops before inner ones.
    pub(super) loops: Vec<Loop>,
    /// The innermost loop of each block.
    pub(super) innermost: Vec<Option<usize>>,
    pub(super) by_label: HashMap<Name, usize>,
}

/// Labels that a block can go to, in the order of its terminator.
pub(super) fn targets(block: &Block) -> Vec<Name> {
    match &block.end {
        End::Jump(l) => vec![*l],
        End::Branch(_, a, b) => vec![*a, *b],
        End::Switch(_, d, cases) => std::iter::once(*d).chain(cases.iter().map(|c| c.1)).collect(),
        End::Return => Vec::new(),
    }
}

impl Cfg {
    /// `None` where control flow is not made of natural loops.
    pub(super) fn new(f: &Function) -> Option<Self> {
        let n = f.blocks.len();
        let by_label: HashMap<Name, usize> = f.blocks.iter().enumerate().map(|(i, b)| (b.label, i)).collect();
        let mut successors = vec![Vec::new(); n];
        for (i, b) in f.blocks.iter().enumerate() {
            for t in targets(b) {
                let t = *by_label.get(&t)?;
                if !successors[i].contains(&t) {
                    successors[i].push(t);
                }
            }
        }
        // Depth first, without recursion.
        let mut order = Vec::new();
        let mut seen = vec![false; n];
        let mut stack = vec![(0usize, 0usize)];
        if n == 0 {
            return None;
        }
        seen[0] = true;
        while let Some((b, next)) = stack.last_mut() {
            if let Some(&s) = successors[*b].get(*next) {
                *next += 1;
                if !std::mem::replace(&mut seen[s], true) {
                    stack.push((s, 0));
                }
            } else {
                order.push(*b);
                stack.pop();
            }
        }
        order.reverse();
        let mut rank = vec![usize::MAX; n];
        for (i, &b) in order.iter().enumerate() {
            rank[b] = i;
        }
        let mut predecessors = vec![Vec::new(); n];
        for &b in &order {
            for &s in &successors[b] {
                predecessors[s].push(b);
            }
        }
        // Immediate dominators (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, 2001).
        let mut idom = vec![usize::MAX; n];
        idom[0] = 0;
        let mut changed = true;
        while changed {
            changed = false;
            for &b in order.iter().skip(1) {
                let mut new = usize::MAX;
                for &p in predecessors[b].iter().filter(|&&p| idom[p] != usize::MAX) {
                    let (mut x, mut y) = (p, if new == usize::MAX { p } else { new });
                    while x != y {
                        if rank[x] > rank[y] { x = idom[x] } else { y = idom[y] }
                    }
                    new = x;
                }
                if idom[b] != new {
                    idom[b] = new;
                    changed = true;
                }
            }
        }
        let dominates = |a: usize, mut b: usize| loop {
            if a == b {
                return true;
            }
            if b == 0 || idom[b] == usize::MAX {
                return false;
            }
            b = idom[b];
        };
        let mut loops: Vec<Loop> = Vec::new();
        for &b in &order {
            for &h in &successors[b] {
                if rank[h] > rank[b] {
                    continue;
                }
                if !dominates(h, b) {
                    return None;
                }
                let mut blocks = BTreeSet::from([h]);
                let mut work = vec![b];
                while let Some(x) = work.pop() {
                    if blocks.insert(x) {
                        work.extend(predecessors[x].iter().copied());
                    }
                }
                match loops.iter_mut().find(|l| l.header == h) {
                    Some(l) => l.blocks.extend(blocks),
                    None => loops.push(Loop { header: h, blocks }),
                }
            }
        }
        loops.sort_by_key(|l| std::cmp::Reverse(l.blocks.len()));
        let mut innermost = vec![None; n];
        for (i, l) in loops.iter().enumerate() {
            for &b in &l.blocks {
                innermost[b] = Some(i);
            }
        }
        Some(Cfg { predecessors, order, loops, innermost, by_label })
    }

    /// The child of loop `of` (or of the function) that block `b` lies in; `None` if it lies in `of` itself.
    pub(super) fn child(&self, of: Option<usize>, b: usize) -> Option<usize> {
        self.loops
            .iter()
            .enumerate()
            .filter(|(i, l)| l.blocks.contains(&b) && Some(*i) != of)
            .find(|(_, l)| match of {
                None => true,
                Some(o) => l.blocks.len() < self.loops[o].blocks.len() || l.header != self.loops[o].header,
            } && of.is_none_or(|o| l.blocks.is_subset(&self.loops[o].blocks)))
            .map(|(i, _)| i)
    }
}
