//! Subgroup operations: on the active lanes.

use naga::{CollectiveOperation as Scan, SubgroupOperation as Op};

use super::{Context, Subgroup};
use crate::exec::alu::round_f16;
use crate::exec::error::FaultKind;
use crate::exec::instr::{Collective, Gather, GatherOp};
use crate::exec::layout::Elem;
use crate::exec::regs::{MAX_LANES, Slot, lanes};

pub(super) fn ballot(sg: &mut Subgroup, dst: &[Slot; 4], predicate: Option<Slot>) {
    let mask = sg.mask & predicate.map_or(sg.mask, |p| sg.regs.truth(p));
    for (i, &slot) in dst.iter().enumerate() {
        sg.regs.fill(slot, u64::from((mask >> (32 * i)) as u32));
    }
}

/// Warns of an operation that only a part of the subgroup takes part in.
pub(super) fn warn_divergent(sg: &Subgroup, cx: &mut Context<'_>, pc: u32) {
    if cx.sanitizer.is_some() && sg.mask != sg.full && sg.mask != 0 {
        let (active, lanes) = (sg.mask.count_ones(), sg.full.count_ones());
        cx.warn(FaultKind::DivergentSubgroup { active, lanes }, pc, sg.ix, sg.mask.trailing_zeros() as usize);
    }
}

/// Warns of values that are asked of lanes that have none.
pub(super) fn warn_absent(sg: &Subgroup, cx: &mut Context<'_>, gather: &Gather, pc: u32) {
    if cx.sanitizer.is_none() || sg.mask == 0 {
        return;
    }
    let from = sources(sg, gather);
    let absent = |&lane: &usize| from[lane] >= MAX_LANES as u32 || sg.mask >> from[lane] & 1 == 0;
    if let Some(lane) = lanes(sg.mask).find(absent) {
        let exists = from[lane] < sg.full.count_ones();
        cx.warn(FaultKind::AbsentLane { lane: from[lane], exists }, pc, sg.ix, lane);
    }
}

/// The lane that each active lane gets a value of.
fn sources(sg: &Subgroup, gather: &Gather) -> [u32; MAX_LANES] {
    let first = sg.mask.trailing_zeros();
    let mut from = [0u32; MAX_LANES];
    for lane in lanes(sg.mask) {
        let index = gather.index.map_or(0, |slot| sg.regs.n(slot)[lane]);
        let own = lane as u32;
        from[lane] = match gather.op {
            GatherOp::BroadcastFirst => first,
            GatherOp::Shuffle | GatherOp::Broadcast => index,
            GatherOp::Down => own.saturating_add(index),
            GatherOp::Up => own.wrapping_sub(index),
            GatherOp::Xor => own ^ index,
            GatherOp::QuadBroadcast => (own & !3) + (index & 3),
            GatherOp::QuadSwap(bits) => own ^ bits,
        };
    }
    from
}

pub(super) fn gather(sg: &mut Subgroup, gather: &Gather) {
    if sg.mask == 0 {
        return;
    }
    let from = sources(sg, gather);
    for &(dst, src) in &gather.pairs {
        let mut values = [0u64; MAX_LANES];
        for lane in lanes(sg.mask) {
            let source = from[lane] as usize;
            // A lane that doesn't exist or isn't active has no value to give: any will do, and this
            // one makes mistakes repeatable.
            let active = source < MAX_LANES && sg.mask >> source & 1 == 1;
            values[lane] = if active { sg.regs.bits(src, source) } else { 0 };
        }
        lanes(sg.mask).for_each(|lane| sg.regs.set_bits(dst, lane, values[lane]));
    }
}

/// One step of a reduction.
fn combine(op: Op, elem: Elem, a: u64, b: u64) -> u64 {
    let (fa, fb) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
    let float = |v: f32| u64::from(if elem == Elem::F16 { round_f16(v) } else { v }.to_bits());
    let double = |f: fn(f64, f64) -> f64| f(f64::from_bits(a), f64::from_bits(b)).to_bits();
    // What a register holds of an integer of the type.
    let int = |v: u64| match elem {
        Elem::I16 => u64::from(i32::from(v as i16) as u32),
        Elem::U16 => u64::from(v as u16),
        Elem::I64 | Elem::U64 => v,
        _ => u64::from(v as u32),
    };
    let signed = |v: u64| if elem == Elem::I64 { v as i64 } else { i64::from(v as u32 as i32) };
    match (op, elem) {
        (Op::Add, Elem::F64) => double(|a, b| a + b),
        (Op::Mul, Elem::F64) => double(|a, b| a * b),
        (Op::Min, Elem::F64) => double(f64::min),
        (Op::Max, Elem::F64) => double(f64::max),
        (Op::Add, Elem::F32 | Elem::F16) => float(fa + fb),
        (Op::Mul, Elem::F32 | Elem::F16) => float(fa * fb),
        (Op::Min, Elem::F32 | Elem::F16) => float(fa.min(fb)),
        (Op::Max, Elem::F32 | Elem::F16) => float(fa.max(fb)),
        (Op::Add, _) => int(a.wrapping_add(b)),
        (Op::Mul, _) => int(a.wrapping_mul(b)),
        (Op::Min, _) if elem.is_signed() => int(signed(a).min(signed(b)) as u64),
        (Op::Max, _) if elem.is_signed() => int(signed(a).max(signed(b)) as u64),
        (Op::Min, _) => a.min(b),
        (Op::Max, _) => a.max(b),
        (Op::And | Op::All, _) => a & b,
        (Op::Or | Op::Any, _) => a | b,
        (Op::Xor, _) => a ^ b,
    }
}

/// What an exclusive scan starts with.
fn identity(op: Op, elem: Elem) -> u64 {
    match (op, elem) {
        (Op::Mul, Elem::F64) => 1f64.to_bits(),
        (Op::Mul, Elem::F32 | Elem::F16) => u64::from(1f32.to_bits()),
        (Op::Mul, _) => 1,
        _ => 0,
    }
}

pub(super) fn collective(sg: &mut Subgroup, collective: &Collective) {
    let (op, elem) = (collective.op, collective.elem);
    for &(dst, src) in &collective.pairs {
        let mut acc = None;
        for lane in lanes(sg.mask) {
            let value = sg.regs.bits(src, lane);
            let before = acc;
            let after = before.map_or(value, |acc| combine(op, elem, acc, value));
            acc = Some(after);
            match collective.scan {
                Scan::Reduce => {}
                Scan::InclusiveScan => sg.regs.set_bits(dst, lane, after),
                Scan::ExclusiveScan => sg.regs.set_bits(dst, lane, before.unwrap_or(identity(op, elem))),
            }
        }
        if let (Scan::Reduce, Some(acc)) = (collective.scan, acc) {
            lanes(sg.mask).for_each(|lane| sg.regs.set_bits(dst, lane, acc));
        }
    }
}
