//! Texture accesses.

use super::{Context, ExecError, Memory, Subgroup, wrong};
use crate::exec::error::{Fault, FaultKind};
use crate::exec::instr::{Global, ImageAccess, ImageQueryOp};
use crate::exec::regs::{Slot, lanes};
use crate::exec::texture::{ImageShape, Texture};
use crate::memory::AccessKind;

/// Whether a texture fits a variable.
pub(super) fn check(global: &Global, shape: ImageShape, texture: &Texture) -> Result<(), ExecError> {
    if let Some(format) = shape.format
        && format != texture.format()
    {
        return Err(wrong(global, format!("its format is {format:?}, not {:?}", texture.format())));
    }
    if shape.kind != texture.kind() {
        return Err(wrong(global, format!("its texels are {:?}, not {:?}", shape.kind, texture.kind())));
    }
    let [_, height, depth] = texture.size();
    if (shape.dimensions == 1 && height != 1) || (shape.dimensions < 3 && !shape.arrayed && depth != 1) {
        return Err(wrong(global, format!("a texture of size {:?} has too many dimensions", texture.size())));
    }
    Ok(())
}

/// Loads or stores texels. Out of bounds, a load gives zeros and a store does nothing.
pub(super) fn access(
    sg: &mut Subgroup,
    cx: &mut Context<'_>,
    a: &ImageAccess,
    pc: u32,
) -> Result<(), Box<Fault>> {
    let Memory::Texture(texture) = cx.env.memories[a.global as usize] else { return Ok(()) };
    let size = texture.size();
    let arrayed = cx.env.program.globals[a.global as usize].image.is_some_and(|i| i.arrayed);
    let mut inside = 0;
    for lane in lanes(sg.mask) {
        let mut at = [0u32; 3];
        for (at, &slot) in at.iter_mut().zip(&a.coordinate) {
            *at = sg.regs.n(slot)[lane];
        }
        if let (Some(layer), true) = (a.array_index, arrayed) {
            at[2] = sg.regs.n(layer)[lane];
        }
        let level = a.level.map_or(0, |slot| sg.regs.n(slot)[lane]);
        let beyond = (0..3).find(|&i| at[i] >= size[i]).map(|i| (at[i], size[i]));
        let beyond = beyond.or((level != 0).then_some((level, 1)));
        if let Some((index, length)) = beyond {
            if cx.sanitizer.is_some() {
                let name = cx.env.program.globals[a.global as usize].name.clone();
                let kind = FaultKind::OutOfBounds {
                    name,
                    index: i64::from(index as i32),
                    length: u64::from(length),
                };
                return Err(cx.fault(kind, pc, sg.ix, lane));
            }
            if !a.store {
                a.values.iter().for_each(|&slot| sg.regs.set_bits(slot, lane, 0));
            }
            continue;
        }
        inside |= 1 << lane;
        let ix = (at[2] as usize * size[1] as usize + at[1] as usize) * size[0] as usize + at[0] as usize;
        cx.offsets[lane] = (ix as u32).wrapping_mul(texture.texel_bytes());
        if let Some(mut sanitizer) = cx.sanitizer.take() {
            let kind = if a.store { AccessKind::Store } else { AccessKind::Load };
            let lane_ix = lane as u32;
            let met = sanitizer.access(cx.env.program, a.global, ix as u32, 1, kind, sg.ix, lane_ix, pc);
            cx.sanitizer = Some(sanitizer);
            met.map_err(|kind| cx.fault(kind, pc, sg.ix, lane))?;
        }
        if a.store {
            texture.set_texel(ix, a.values.map(|slot| sg.regs.n(slot)[lane]));
        } else {
            let texel = texture.texel(ix);
            for (&slot, value) in a.values.iter().zip(texel) {
                sg.regs.set_bits(slot, lane, u64::from(value));
            }
        }
    }
    if cx.tracing
        && let Some(recorder) = &mut cx.recorder
    {
        // As if texels lay row by row: real textures are tiled, which only their maker knows.
        let width = cx.env.options.subgroup_size as usize;
        recorder.record(a.site, &cx.offsets[..width], inside, u64::from(texture.texel_bytes()), false);
    }
    Ok(())
}

pub(super) fn size(sg: &mut Subgroup, cx: &Context<'_>, dst: &[Slot], global: u32, query: ImageQueryOp) {
    let Memory::Texture(texture) = cx.env.memories[global as usize] else { return };
    let values = match query {
        ImageQueryOp::Size => texture.size(),
        ImageQueryOp::Layers => [texture.size()[2]; 3],
        ImageQueryOp::Levels => [1; 3],
    };
    dst.iter().zip(values).for_each(|(&slot, value)| sg.regs.fill(slot, u64::from(value)));
}
