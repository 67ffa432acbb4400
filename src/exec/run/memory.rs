//! Loads, stores and atomic operations.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::{Context, Memory, Subgroup};
use crate::exec::alu::{f16_bits, f16_value};
use crate::exec::buffer::Buffer;
use crate::exec::error::{Fault, FaultKind};
use crate::exec::instr::{Access, AtomicAccess, AtomicOp, Indexed, Term, TermCount};
use crate::exec::layout::Elem;
use crate::exec::regs::{CHUNK, MAX_LANES, Mask, Regs, lanes};
use crate::memory::AccessKind;
use crate::memory::Space;

/// The words of a global, and whether only this thread has them.
fn words<'a>(cx: &'a Context<'_>, global: u32) -> (&'a [AtomicU32], bool) {
    match &cx.env.memories[global as usize] {
        Memory::Words(buffer) => (buffer.words(), false),
        Memory::Workgroup { first_word } => {
            let n = (cx.env.sizes[global as usize].next_multiple_of(16) / 4) as usize;
            (&cx.workgroup_memory[*first_word..][..n], true)
        }
        Memory::Texture(_) => (&[], false),
    }
}

fn wide_lock<'a>(cx: &Context<'a>, global: u32) -> Option<&'a Buffer> {
    match cx.env.memories[global as usize] {
        Memory::Words(buffer) => Some(buffer),
        _ => None,
    }
}

/// Adds the terms' contributions to each lane's offset. Indices are clamped, so that what the offset
/// addresses is inside of the variable; with the sanitizer on, an active lane's index beyond the end is a fault.
fn add_terms(
    sg: &Subgroup,
    cx: &Context<'_>,
    terms: &[Term],
    name: &dyn Fn() -> String,
    pc: u32,
    offsets: &mut [u32],
) -> Result<(), Box<Fault>> {
    for term in terms {
        let count = match term.count {
            TermCount::Fixed(n) => n,
            TermCount::Runtime { global } => cx.env.lengths[global as usize],
        };
        let index = sg.regs.n(term.index);
        if cx.sanitizer.is_some()
            && let Some(lane) = lanes(sg.mask).find(|&l| index[l] >= count)
        {
            let value = if term.signed { i64::from(index[lane] as i32) } else { i64::from(index[lane]) };
            let kind = FaultKind::OutOfBounds { name: name(), index: value, length: u64::from(count) };
            return Err(cx.fault(kind, pc, sg.ix, lane));
        }
        let last = count.saturating_sub(1);
        for (offset, &i) in offsets.iter_mut().zip(index) {
            *offset = offset.wrapping_add(i.min(last).wrapping_mul(term.stride));
        }
    }
    Ok(())
}

/// Computes the byte offset of each lane into `cx.offsets`.
pub(super) fn address(
    sg: &Subgroup,
    cx: &mut Context<'_>,
    access: &Access,
    pc: u32,
) -> Result<(), Box<Fault>> {
    let n = sg.regs.chunks * CHUNK;
    let mut offsets = [0u32; MAX_LANES];
    offsets[..n].fill(access.offset);
    let program = cx.env.program;
    let name = || program.globals[access.global as usize].name.clone();
    add_terms(sg, cx, &access.terms, &name, pc, &mut offsets[..n])?;
    cx.offsets[..n].copy_from_slice(&offsets[..n]);
    Ok(())
}

/// What the trace and the sanitizer see of an access.
fn observe(sg: &Subgroup, cx: &mut Context<'_>, access: &Access, pc: u32) -> Result<(), Box<Fault>> {
    let program = cx.env.program;
    let site = &program.sites[access.site as usize];
    if cx.tracing
        && let Some(recorder) = &mut cx.recorder
    {
        let banked = program.globals[access.global as usize].space == Space::Workgroup;
        let width = cx.env.options.subgroup_size as usize;
        let bytes = u64::from(site.bytes_per_lane);
        recorder.record(access.site, &cx.offsets[..width], sg.mask, bytes, banked);
    }
    if cx.sanitizer.is_some() {
        let whole = [(0, site.bytes_per_lane)];
        let parts: Vec<(u32, u32)> = access.parts.iter().map(|p| (p.1, p.2.size_bytes())).collect();
        check(sg, cx, access.global, site.kind, pc, if parts.is_empty() { &whole } else { &parts })?;
    }
    Ok(())
}

/// Gives the sanitizer the bytes that each active lane touches: offset and size of each part.
pub(super) fn check(
    sg: &Subgroup,
    cx: &mut Context<'_>,
    global: u32,
    kind: AccessKind,
    pc: u32,
    parts: &[(u32, u32)],
) -> Result<(), Box<Fault>> {
    let Some(mut sanitizer) = cx.sanitizer.take() else { return Ok(()) };
    let mut found = None;
    'lanes: for lane in lanes(sg.mask) {
        for &(offset, size) in parts {
            let at = cx.offsets[lane].wrapping_add(offset);
            if let Err(kind) =
                sanitizer.access(cx.env.program, global, at, size, kind, sg.ix, lane as u32, pc)
            {
                found = Some((kind, lane));
                break 'lanes;
            }
        }
    }
    cx.sanitizer = Some(sanitizer);
    match found {
        Some((kind, lane)) => Err(cx.fault(kind, pc, sg.ix, lane)),
        None => Ok(()),
    }
}

/// Word at a byte offset, 0 beyond the end.
#[inline(always)]
fn word(words: &[AtomicU32], offset: u32) -> u32 {
    words.get((offset >> 2) as usize).map_or(0, |w| w.load(Relaxed))
}

/// Half a word at a byte offset.
#[inline(always)]
fn half(words: &[AtomicU32], offset: u32) -> u16 {
    (word(words, offset) >> (8 * (offset & 2))) as u16
}

#[inline(always)]
fn for_lanes(mask: Mask, full: Mask, mut f: impl FnMut(usize)) {
    if mask == full {
        (0..full.count_ones() as usize).for_each(f);
    } else {
        lanes(mask).for_each(&mut f);
    }
}

pub(super) fn load(
    sg: &mut Subgroup,
    cx: &mut Context<'_>,
    access: &Access,
    pc: u32,
) -> Result<(), Box<Fault>> {
    if sg.mask == 0 {
        return Ok(());
    }
    address(sg, cx, access, pc)?;
    if cx.tracing || cx.sanitizer.is_some() {
        observe(sg, cx, access, pc)?;
    }
    let (words, _) = words(cx, access.global);
    for &(slot, part, elem) in &access.parts {
        load_part(&mut sg.regs, slot, elem, words, &cx.offsets, part, sg.mask, sg.full);
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "the state of one inner loop")]
#[inline(always)]
fn load_part(
    regs: &mut Regs,
    slot: crate::exec::regs::Slot,
    elem: Elem,
    words: &[AtomicU32],
    offsets: &[u32; MAX_LANES],
    part: u32,
    mask: Mask,
    full: Mask,
) {
    let at = |l: usize| offsets[l & (MAX_LANES - 1)].wrapping_add(part);
    match elem {
        Elem::I32 | Elem::U32 | Elem::F32 => {
            let dst = regs.n_mut(slot);
            for_lanes(mask, full, |l| dst[l] = word(words, at(l)));
        }
        Elem::F16 => {
            let dst = regs.n_mut(slot);
            for_lanes(mask, full, |l| dst[l] = f16_value(half(words, at(l))).to_bits());
        }
        Elem::U16 => {
            let dst = regs.n_mut(slot);
            for_lanes(mask, full, |l| dst[l] = u32::from(half(words, at(l))));
        }
        Elem::I16 => {
            let dst = regs.n_mut(slot);
            for_lanes(mask, full, |l| dst[l] = i32::from(half(words, at(l)) as i16) as u32);
        }
        Elem::Bool => {
            let dst = regs.n_mut(slot);
            for_lanes(mask, full, |l| {
                dst[l] = u32::from(word(words, at(l)) >> (8 * (at(l) & 3)) & 0xff != 0)
            });
        }
        Elem::I64 | Elem::U64 | Elem::F64 => {
            let dst = regs.w_mut(slot);
            let wide = |o: u32| u64::from(word(words, o)) | u64::from(word(words, o.wrapping_add(4))) << 32;
            for_lanes(mask, full, |l| dst[l] = wide(at(l)));
        }
        Elem::Matrix { .. } => {}
    }
}

/// Replaces `bits` (8 or 16 of them) at a byte offset, leaving the rest of the word to whoever writes it.
fn store_narrow(words: &[AtomicU32], exclusive: bool, offset: u32, bits: u32, value: u32) {
    let Some(word) = words.get((offset >> 2) as usize) else { return };
    let shift = 8 * (offset & 3);
    let mask = ((1u32 << bits) - 1) << shift;
    let merge = |old: u32| old & !mask | value << shift & mask;
    if exclusive {
        word.store(merge(word.load(Relaxed)), Relaxed);
    } else {
        let _ = word.fetch_update(Relaxed, Relaxed, |old| Some(merge(old)));
    }
}

pub(super) fn store(
    sg: &mut Subgroup,
    cx: &mut Context<'_>,
    access: &Access,
    pc: u32,
) -> Result<(), Box<Fault>> {
    if sg.mask == 0 {
        return Ok(());
    }
    address(sg, cx, access, pc)?;
    if cx.tracing || cx.sanitizer.is_some() {
        observe(sg, cx, access, pc)?;
    }
    let (words, exclusive) = words(cx, access.global);
    for &(slot, part, elem) in &access.parts {
        let at = |l: usize| cx.offsets[l].wrapping_add(part);
        let set = |offset: u32, value: u32| {
            if let Some(word) = words.get((offset >> 2) as usize) {
                word.store(value, Relaxed);
            }
        };
        match elem {
            Elem::I32 | Elem::U32 | Elem::F32 => {
                let src = sg.regs.n(slot);
                for_lanes(sg.mask, sg.full, |l| set(at(l), src[l]));
            }
            Elem::F16 => {
                let src = sg.regs.n(slot);
                for_lanes(sg.mask, sg.full, |l| {
                    store_narrow(words, exclusive, at(l), 16, u32::from(f16_bits(f32::from_bits(src[l]))));
                });
            }
            Elem::I16 | Elem::U16 => {
                let src = sg.regs.n(slot);
                for_lanes(sg.mask, sg.full, |l| store_narrow(words, exclusive, at(l), 16, src[l]));
            }
            Elem::Bool => {
                let src = sg.regs.n(slot);
                for_lanes(sg.mask, sg.full, |l| store_narrow(words, exclusive, at(l), 8, src[l]));
            }
            Elem::I64 | Elem::U64 | Elem::F64 => {
                let src = sg.regs.w(slot);
                for_lanes(sg.mask, sg.full, |l| {
                    set(at(l), src[l] as u32);
                    set(at(l).wrapping_add(4), (src[l] >> 32) as u32);
                });
            }
            Elem::Matrix { .. } => {}
        }
    }
    Ok(())
}

/// A dynamically indexed load from or store to registers.
pub(super) fn indexed(
    sg: &mut Subgroup,
    cx: &mut Context<'_>,
    access: &Indexed,
    pc: u32,
    store: bool,
) -> Result<(), Box<Fault>> {
    if sg.mask == 0 {
        return Ok(());
    }
    let n = sg.regs.chunks * CHUNK;
    let mut offsets = [0u32; MAX_LANES];
    offsets[..n].fill(access.first);
    add_terms(sg, cx, &access.terms, &|| access.name.to_string(), pc, &mut offsets[..n])?;
    let table = &cx.env.program.tables[access.table as usize].slots;
    let first = offsets[sg.mask.trailing_zeros() as usize];
    let uniform = lanes(sg.mask).all(|l| offsets[l] == first);
    for (j, &value) in access.values.iter().enumerate() {
        let slot_at = |offset: u32| table.get(offset as usize + j).copied();
        if uniform {
            let Some(slot) = slot_at(first) else { continue };
            match (store, sg.mask == sg.full) {
                (false, _) => sg.regs.copy(value, slot),
                (true, true) => sg.regs.copy(slot, value),
                (true, false) => sg.regs.copy_masked(slot, value, sg.mask),
            }
            continue;
        }
        for lane in lanes(sg.mask) {
            let Some(slot) = slot_at(offsets[lane]) else { continue };
            let (dst, src) = if store { (slot, value) } else { (value, slot) };
            let bits = sg.regs.bits(src, lane);
            sg.regs.set_bits(dst, lane, bits);
        }
    }
    Ok(())
}

/// The new value of an atomic read-modify-write; `None` where the exchange does not happen.
fn modify(op: AtomicOp, elem: Elem, old: u64, value: u64, compare: u64) -> Option<u64> {
    let signed = |bits: u64| if elem == Elem::I32 { i64::from(bits as u32 as i32) } else { bits as i64 };
    let float = |bits: u64| f32::from_bits(bits as u32);
    Some(match op {
        AtomicOp::Add if elem == Elem::F32 => u64::from((float(old) + float(value)).to_bits()),
        AtomicOp::Subtract if elem == Elem::F32 => u64::from((float(old) - float(value)).to_bits()),
        AtomicOp::Add => old.wrapping_add(value),
        AtomicOp::Subtract => old.wrapping_sub(value),
        AtomicOp::And => old & value,
        AtomicOp::Xor => old ^ value,
        AtomicOp::Or => old | value,
        AtomicOp::Min if elem.is_signed() => signed(old).min(signed(value)) as u64,
        AtomicOp::Max if elem.is_signed() => signed(old).max(signed(value)) as u64,
        AtomicOp::Min if elem == Elem::F32 => u64::from(float(old).min(float(value)).to_bits()),
        AtomicOp::Max if elem == Elem::F32 => u64::from(float(old).max(float(value)).to_bits()),
        AtomicOp::Min => old.min(value),
        AtomicOp::Max => old.max(value),
        AtomicOp::Exchange => value,
        AtomicOp::CompareExchange => return (old == compare).then_some(value),
    })
}

pub(super) fn atomic(
    sg: &mut Subgroup,
    cx: &mut Context<'_>,
    a: &AtomicAccess,
    pc: u32,
) -> Result<(), Box<Fault>> {
    if sg.mask == 0 {
        return Ok(());
    }
    address(sg, cx, &a.access, pc)?;
    if cx.tracing || cx.sanitizer.is_some() {
        observe(sg, cx, &a.access, pc)?;
    }
    let (words, _) = words(cx, a.access.global);
    let wide = a.elem.size_bytes() == 8;
    let buffer = wide_lock(cx, a.access.global);
    for lane in lanes(sg.mask) {
        let offset = cx.offsets[lane];
        let value = sg.regs.bits(a.value, lane);
        let compare = a.compare.map_or(0, |c| sg.regs.bits(c, lane));
        let change = |old: u64| modify(a.op, a.elem, old, value, compare);
        let (old, exchanged) = if wide {
            // A poisoned lock only means that another thread panicked; the words are still words.
            let _guard = buffer.map(|b| b.wide_atomics().lock().unwrap_or_else(|e| e.into_inner()));
            let old = u64::from(word(words, offset)) | u64::from(word(words, offset.wrapping_add(4))) << 32;
            let new = change(old);
            if let Some(new) = new
                && let Some([low, high]) = words.get((offset >> 2) as usize..(offset >> 2) as usize + 2)
            {
                low.store(new as u32, Relaxed);
                high.store((new >> 32) as u32, Relaxed);
            }
            (old, new.is_some())
        } else {
            match words.get((offset >> 2) as usize) {
                Some(word) => {
                    let changed = word
                        .fetch_update(Relaxed, Relaxed, |old| change(u64::from(old)).map(|new| new as u32));
                    match changed {
                        Ok(old) => (u64::from(old), true),
                        Err(old) => (u64::from(old), false),
                    }
                }
                None => (0, false),
            }
        };
        if let Some(slot) = a.old {
            sg.regs.set_bits(slot, lane, old);
        }
        if let Some(slot) = a.exchanged {
            sg.regs.set_bits(slot, lane, u64::from(exchanged));
        }
    }
    Ok(())
}

/// Loads or stores one `f16` or `f32` of a matrix.
pub(super) fn element(cx: &Context<'_>, global: u32, offset: u32, size: u32, store: bool, value: &mut f32) {
    let (words, exclusive) = words(cx, global);
    match (size, store) {
        (2, false) => *value = f16_value(half(words, offset)),
        (2, true) => store_narrow(words, exclusive, offset, 16, u32::from(f16_bits(*value))),
        (_, false) => *value = f32::from_bits(word(words, offset)),
        (_, true) => {
            if let Some(word) = words.get((offset >> 2) as usize) {
                word.store(value.to_bits(), Relaxed);
            }
        }
    }
}
