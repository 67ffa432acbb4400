//! From the compiler's output to the final code: unread results are dropped, results that go straight
//! to a variable are written there, registers are assigned, labels become positions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Compiler, MAX_REGISTERS, Result};
use crate::exec::error::CompileError;
use crate::exec::instr::{Instr, Program, Source};
use crate::exec::regs::{File, Slot};

/// How far back the producer of a stored value is looked for.
const FUSE_WINDOW: usize = 48;

pub(super) fn finish(mut c: Compiler<'_>, entry_ix: usize) -> Result<Program> {
    let kept = drop_unread(&mut c);
    let kept = fuse_stores(&mut c, kept);
    compact(&mut c, &kept);
    let n_slots = assign_registers(&mut c)?;
    for instr in &mut c.code {
        instr.targets(&mut |t| *t = c.labels[*t as usize]);
    }
    let entry = &c.module.entry_points[entry_ix];
    let mut workgroup_bytes = 0u64;
    for global in c.globals.iter().filter(|g| g.source == Source::Workgroup) {
        workgroup_bytes += global.size_bytes.next_multiple_of(16);
    }
    let mut constants: Vec<_> = c.constants.iter().map(|(&(_, bits), &slot)| (slot, bits)).collect();
    constants.sort_unstable();
    Ok(Program {
        name: entry.name.clone(),
        workgroup_size: entry.workgroup_size,
        code: c.code,
        spans: c.spans,
        tables: c.tables,
        globals: c.globals,
        sites: c.sites,
        n_slots,
        n_masks: c.max_mask_depth as usize,
        constants,
        builtins: c.builtins.into_iter().collect(),
        workgroup_bytes,
    })
}

/// A number for each register of all files.
struct Dense {
    starts: [usize; 3],
    len: usize,
}

impl Dense {
    fn new(n_slots: [u32; 3]) -> Self {
        let [n, w, m] = n_slots.map(|n| n as usize);
        Self { starts: [0, n, n + w], len: n + w + m }
    }

    fn ix(&self, slot: Slot) -> usize {
        self.starts[slot.file() as usize] + slot.index()
    }
}

/// The registers of a value's table, which an indexed load reads without naming them.
fn table_reads<'a>(c: &'a Compiler<'_>, instr: &Instr) -> &'a [Slot] {
    match instr {
        Instr::IndexedLoad(x) if !c.tables[x.table as usize].is_variable => &c.tables[x.table as usize].slots,
        _ => &[],
    }
}

/// Which instructions do something that is seen. Variables count as read.
fn drop_unread(c: &mut Compiler<'_>) -> Vec<bool> {
    let dense = Dense::new(c.n_slots);
    let mut reads = vec![0u32; dense.len];
    let mut code = std::mem::take(&mut c.code);
    for instr in &mut code {
        instr.slots(&mut |s, written| reads[dense.ix(*s)] += u32::from(!written));
        table_reads(c, instr).iter().for_each(|&s| reads[dense.ix(s)] += 1);
    }
    let mut kept = vec![true; code.len()];
    for (pc, instr) in code.iter_mut().enumerate().rev() {
        if !instr.is_pure() {
            continue;
        }
        let mut is_read = false;
        instr.slots(&mut |s, written| {
            is_read |= written && (reads[dense.ix(*s)] > 0 || c.is_variable[s.file() as usize][s.index()]);
        });
        if !is_read {
            kept[pc] = false;
            instr.slots(&mut |s, written| reads[dense.ix(*s)] -= u32::from(!written));
            table_reads(c, instr).iter().for_each(|&s| reads[dense.ix(s)] -= 1);
        }
    }
    c.code = code;
    kept
}

/// `t = f(a, b); ...; variable = t` becomes one instruction where nothing between them sees the difference.
fn fuse_stores(c: &mut Compiler<'_>, mut kept: Vec<bool>) -> Vec<bool> {
    let dense = Dense::new(c.n_slots);
    let mut mentions = vec![0u32; dense.len];
    let mut is_target = vec![false; c.code.len() + 1];
    c.labels.iter().filter(|&&l| l != u32::MAX).for_each(|&l| is_target[l as usize] = true);
    for (instr, _) in c.code.iter_mut().zip(&kept).filter(|(_, k)| **k) {
        instr.slots(&mut |s, _| mentions[dense.ix(*s)] += 1);
        if let Instr::IndexedLoad(x) = instr {
            let table = &c.tables[x.table as usize];
            table.slots.iter().for_each(|&s| mentions[dense.ix(s)] += 1);
        }
    }
    for pc in 0..c.code.len() {
        let Instr::Set { variable, src } = c.code[pc] else { continue };
        if !kept[pc] || mentions[dense.ix(src)] != 2 || src.file() == File::Matrix {
            continue;
        }
        let mut at = pc;
        let found = loop {
            if at == 0 || pc - at > FUSE_WINDOW || is_target[at] {
                break None;
            }
            at -= 1;
            if !kept[at] {
                continue;
            }
            if let Instr::Alu { f, o } = c.code[at]
                && o[0] == src
            {
                break Some((f, o));
            }
            let instr = &mut c.code[at];
            let mut touches =
                instr.is_control() || matches!(instr, Instr::IndexedLoad(_) | Instr::IndexedStore(_));
            instr.slots(&mut |s, _| touches |= *s == variable);
            if touches {
                break None;
            }
        };
        if let Some((f, o)) = found {
            c.code[at] = Instr::AluStore { f, o, variable };
            kept[pc] = false;
        }
    }
    kept
}

/// Removes what is not kept; positions follow.
fn compact(c: &mut Compiler<'_>, kept: &[bool]) {
    let mut new_position = Vec::with_capacity(kept.len() + 1);
    let mut n = 0u32;
    for &k in kept {
        new_position.push(n);
        n += u32::from(k);
    }
    new_position.push(n);
    let moved = |p: u32| new_position.get(p as usize).copied().unwrap_or(u32::MAX);
    let mut i = 0;
    c.code.retain(|_| (kept[i], i += 1).0);
    i = 0;
    c.spans.retain(|_| (kept[i], i += 1).0);
    c.labels.iter_mut().for_each(|l| *l = moved(*l));
    c.loops.iter_mut().for_each(|(from, to)| (*from, *to) = (moved(*from), moved(*to)));
    c.pinned.iter_mut().for_each(|(_, from, to)| (*from, *to) = (moved(*from), moved(*to)));
}

/// Gives registers whose lives don't overlap the same place. A value lives from its first mention to its
/// last, and to the end of a loop that it is read in and that it was made before.
fn assign_registers(c: &mut Compiler<'_>) -> Result<[usize; 3]> {
    const NEVER: u32 = u32::MAX;
    let dense = Dense::new(c.n_slots);
    let mut lives = vec![(NEVER, 0u32); dense.len];
    let mut code = std::mem::take(&mut c.code);
    let n = code.len() as u32;
    fn see(live: &mut (u32, u32), at: u32) {
        *live = (live.0.min(at), live.1.max(at));
    }
    for (pc, instr) in code.iter_mut().enumerate() {
        instr.slots(&mut |s, _| see(&mut lives[dense.ix(*s)], pc as u32));
        table_reads(c, instr).iter().for_each(|&s| see(&mut lives[dense.ix(s)], pc as u32));
    }
    // Loops were recorded innermost first; the parent of each is the next that contains it.
    let mut innermost = vec![usize::MAX; code.len()];
    let mut parent = vec![usize::MAX; c.loops.len()];
    let mut by_start: Vec<usize> = (0..c.loops.len()).collect();
    by_start.sort_by_key(|&i| (c.loops[i].0, Reverse(c.loops[i].1), Reverse(i)));
    let mut open: Vec<usize> = Vec::new();
    let mut next = 0;
    for pc in 0..n {
        while next < by_start.len() && c.loops[by_start[next]].0 == pc {
            parent[by_start[next]] = open.last().copied().unwrap_or(usize::MAX);
            open.push(by_start[next]);
            next += 1;
        }
        innermost[pc as usize] = open.last().copied().unwrap_or(usize::MAX);
        while open.last().is_some_and(|&l| c.loops[l].1 == pc) {
            open.pop();
        }
    }
    for live in lives.iter_mut().filter(|l| l.0 != NEVER) {
        let mut l = innermost[live.1 as usize];
        while l != usize::MAX && c.loops[l].0 > live.0 {
            live.1 = live.1.max(c.loops[l].1);
            l = parent[l];
        }
    }
    for &(slot, from, to) in &c.pinned {
        let live = &mut lives[dense.ix(slot)];
        see(live, from);
        see(live, to);
    }
    for &slot in c.constants.values().chain(c.builtins.values()) {
        lives[dense.ix(slot)] = (0, NEVER);
    }

    let mut place = vec![0u32; dense.len];
    let mut counts = [0usize; 3];
    for file in [File::Narrow, File::Wide, File::Matrix] {
        let start = dense.starts[file as usize];
        let mut order: Vec<usize> =
            (start..start + c.n_slots[file as usize] as usize).filter(|&i| lives[i].0 != NEVER).collect();
        order.sort_by_key(|&i| lives[i].0);
        let mut busy: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
        let mut free: Vec<u32> = Vec::new();
        let count = &mut counts[file as usize];
        for i in order {
            while let Some(&Reverse((end, register))) = busy.peek()
                && end < lives[i].0
            {
                busy.pop();
                free.push(register);
            }
            place[i] = free.pop().unwrap_or_else(|| {
                *count += 1;
                *count as u32 - 1
            });
            busy.push(Reverse((lives[i].1, place[i])));
        }
        if *count > MAX_REGISTERS {
            return Err(CompileError::TooLarge {
                what: "more than a million values at a time in one invocation".into(),
                span: c.span,
            });
        }
    }
    let moved = |s: Slot| Slot::new(s.file(), place[dense.ix(s)]);
    code.iter_mut().for_each(|i| i.slots(&mut |s, _| *s = moved(*s)));
    c.tables.iter_mut().for_each(|t| t.slots.iter_mut().for_each(|s| *s = moved(*s)));
    c.constants.values_mut().for_each(|s| *s = moved(*s));
    c.builtins.values_mut().for_each(|s| *s = moved(*s));
    c.code = code;
    Ok(counts)
}
