//! The interpreter's loop.

use super::{Context, Subgroup, image, matrix, memory, subgroup};
use crate::exec::error::{Fault, FaultKind};
use crate::exec::instr::Instr;
use crate::exec::regs::{Mask, lanes};

/// Why a subgroup stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Stop {
    /// At a barrier: the position is after it.
    Barrier,
    End,
}

/// Runs a subgroup to the next barrier or its end.
pub(super) fn run(sg: &mut Subgroup, cx: &mut Context<'_>) -> Result<Stop, Box<Fault>> {
    let program = cx.env.program;
    let code = &program.code[..];
    let mut pc = sg.pc;
    let mut steps = sg.steps;
    if sg.done {
        return Ok(Stop::End);
    }
    /// Goes on at a position if no lane is active.
    macro_rules! skip_if_empty {
        ($to:expr) => {
            if sg.mask == 0 {
                pc = $to;
            }
        };
    }
    loop {
        let instr = &code[pc as usize];
        steps += 1;
        pc += 1;
        match instr {
            Instr::Alu { f, o } => f(&mut sg.regs, o),
            Instr::AluStore { f, o, variable } => {
                if sg.mask == sg.full {
                    f(&mut sg.regs, &[*variable, o[1], o[2], o[3]]);
                } else {
                    f(&mut sg.regs, o);
                    sg.regs.copy_masked(*variable, o[0], sg.mask);
                }
            }
            Instr::Copy { dst, src } => sg.regs.copy(*dst, *src),
            Instr::Set { variable, src } => {
                if sg.mask == sg.full {
                    sg.regs.copy(*variable, *src);
                } else if sg.mask != 0 {
                    sg.regs.copy_masked(*variable, *src, sg.mask);
                }
            }
            Instr::IndexedLoad(indexed) => memory::indexed(sg, cx, indexed, pc - 1, false)?,
            Instr::IndexedStore(indexed) => memory::indexed(sg, cx, indexed, pc - 1, true)?,
            Instr::Load(access) => memory::load(sg, cx, access, pc - 1)?,
            Instr::Store(access) => memory::store(sg, cx, access, pc - 1)?,
            Instr::Atomic(atomic) => memory::atomic(sg, cx, atomic, pc - 1)?,
            Instr::ArrayLength { dst, global } => {
                sg.regs.fill(*dst, u64::from(cx.env.lengths[*global as usize]));
            }
            Instr::Image(access) => image::access(sg, cx, access, pc - 1)?,
            Instr::ImageSize { dst, global, query } => image::size(sg, cx, dst, *global, *query),

            Instr::If { condition, saved, otherwise } => {
                let taken = sg.regs.truth(*condition) & sg.mask;
                sg.masks[*saved as usize] = sg.mask & !taken;
                sg.mask = taken;
                skip_if_empty!(*otherwise);
            }
            Instr::Else { saved, end } => {
                std::mem::swap(&mut sg.mask, &mut sg.masks[*saved as usize]);
                skip_if_empty!(*end);
            }
            Instr::EndIf { saved, skip } => {
                sg.mask |= sg.masks[*saved as usize];
                skip_if_empty!(*skip);
            }
            Instr::Loop { breaks } => {
                sg.masks[*breaks as usize] = 0;
                sg.masks[*breaks as usize + 1] = 0;
            }
            Instr::Leave { to, skip } => {
                sg.masks[*to as usize] |= sg.mask;
                sg.mask = 0;
                pc = *skip;
            }
            Instr::LeaveIf { condition, when, to, skip } => {
                let truth = sg.regs.truth(*condition);
                let leaving = sg.mask & if *when { truth } else { !truth };
                sg.masks[*to as usize] |= leaving;
                sg.mask &= !leaving;
                skip_if_empty!(*skip);
            }
            Instr::Continuing { continues, skip } => {
                sg.mask |= std::mem::take(&mut sg.masks[*continues as usize]);
                skip_if_empty!(*skip);
            }
            Instr::EndLoop { breaks, start, skip } => {
                if sg.mask != 0 {
                    if steps > cx.env.options.max_steps {
                        let lane = sg.mask.trailing_zeros() as usize;
                        let kind = FaultKind::StepLimit(cx.env.options.max_steps);
                        return Err(cx.fault(kind, pc - 1, sg.ix, lane));
                    }
                    pc = *start;
                } else {
                    sg.mask = sg.masks[*breaks as usize];
                    skip_if_empty!(*skip);
                }
            }
            Instr::Switch { selector, breaks, values, default } => {
                switch(sg, *selector, *breaks as usize, values, *default);
                sg.mask = 0;
            }
            Instr::Case { lanes, next } => {
                sg.mask |= sg.masks[*lanes as usize];
                skip_if_empty!(*next);
            }
            Instr::Rejoin { lanes, skip } => {
                sg.mask |= sg.masks[*lanes as usize];
                skip_if_empty!(*skip);
            }
            Instr::Clear { mask } => sg.masks[*mask as usize] = 0,

            Instr::Barrier(_) => {
                if sg.mask != sg.full {
                    let (arrived, expected) = (sg.mask.count_ones(), sg.full.count_ones());
                    let lane = sg.mask.trailing_zeros() as usize;
                    return Err(cx.fault(
                        FaultKind::DivergentBarrier { arrived, expected },
                        pc - 1,
                        sg.ix,
                        lane,
                    ));
                }
                (sg.pc, sg.steps) = (pc, steps);
                return Ok(Stop::Barrier);
            }
            Instr::SubgroupBarrier => {
                if let Some(sanitizer) = &mut cx.sanitizer {
                    if sg.mask != sg.full {
                        let (arrived, expected) = (sg.mask.count_ones(), sg.full.count_ones());
                        let lane = sg.mask.trailing_zeros() as usize;
                        let kind = FaultKind::DivergentBarrier { arrived, expected };
                        return Err(cx.fault(kind, pc - 1, sg.ix, lane));
                    }
                    sanitizer.subgroup_barrier(sg.ix);
                }
            }
            Instr::Ballot { dst, predicate } => {
                subgroup::warn_divergent(sg, cx, pc - 1);
                subgroup::ballot(sg, dst, *predicate);
            }
            Instr::Gather(gather) => {
                subgroup::warn_divergent(sg, cx, pc - 1);
                subgroup::warn_absent(sg, cx, gather, pc - 1);
                subgroup::gather(sg, gather);
            }
            Instr::Collective(collective) => {
                subgroup::warn_divergent(sg, cx, pc - 1);
                subgroup::collective(sg, collective);
            }
            Instr::CheckShift { amount, bits } => {
                if cx.sanitizer.is_some() {
                    let amounts = sg.regs.n(*amount);
                    if let Some(lane) = lanes(sg.mask).find(|&l| amounts[l] >= *bits) {
                        let kind = FaultKind::LargeShift { amount: amounts[lane], bits: *bits };
                        cx.warn(kind, pc - 1, sg.ix, lane);
                    }
                }
            }
            Instr::Matrix(op) => matrix::operate(sg, op),
            Instr::MatrixAccess(access) => matrix::access(sg, cx, access, pc - 1)?,
            Instr::End => {
                (sg.pc, sg.steps) = (pc, steps);
                return Ok(Stop::End);
            }
        }
    }
}

fn switch(
    sg: &mut Subgroup,
    selector: crate::exec::regs::Slot,
    breaks: usize,
    values: &[Option<u32>],
    default: Option<u32>,
) {
    sg.masks[breaks] = 0;
    let mut rest = sg.mask;
    let lanes = sg.regs.n(selector);
    for (i, value) in values.iter().enumerate() {
        let mut case: Mask = 0;
        if let Some(value) = value {
            crate::exec::regs::lanes(rest).for_each(|l| case |= Mask::from(lanes[l] == *value) << l);
        }
        sg.masks[breaks + 1 + i] = case;
        rest &= !case;
    }
    match default {
        Some(i) => sg.masks[breaks + 1 + i as usize] = rest,
        None => sg.masks[breaks] = rest,
    }
}
