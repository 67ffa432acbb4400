//! Cooperative matrices: values of a whole subgroup, kept row-major.

use naga::BinaryOperator;

use super::memory::{self, address};
use super::{Context, Memory, Subgroup};
use crate::exec::alu::round_f16;
use crate::exec::error::{Fault, FaultKind};
use crate::exec::instr::{MatrixAccess, MatrixOp};
use crate::exec::regs::MATRIX_ELEMENTS;

fn rounded(half: bool, x: f32) -> f32 {
    if half { round_f16(x) } else { x }
}

pub(super) fn operate(sg: &mut Subgroup, op: &MatrixOp) {
    let m = &mut sg.regs.matrix;
    match *op {
        MatrixOp::MultiplyAdd { dst, a, b, c, rows, columns, inner, half } => {
            let (a, b, c) = (m[a.index()], m[b.index()], m[c.index()]);
            let out = &mut m[dst.index()];
            let (rows, columns, inner) = (rows as usize, columns as usize, inner as usize);
            for r in 0..rows {
                for n in 0..columns {
                    // Products and sums in f32, as the hardware does; rounded once where the result is f16.
                    let mut sum = c[r * columns + n];
                    for k in 0..inner {
                        sum += a[r * inner + k] * b[k * columns + n];
                    }
                    out[r * columns + n] = rounded(half, sum);
                }
            }
        }
        MatrixOp::Binary { dst, a, b, op, half } => {
            let (a, b) = (m[a.index()], m[b.index()]);
            m[dst.index()] = std::array::from_fn(|i| {
                rounded(
                    half,
                    match op {
                        BinaryOperator::Add => a[i] + b[i],
                        BinaryOperator::Subtract => a[i] - b[i],
                        BinaryOperator::Divide => a[i] / b[i],
                        _ => a[i] * b[i],
                    },
                )
            });
        }
        MatrixOp::Scale { dst, a, scalar, half } => {
            let lane = sg.mask.trailing_zeros() as usize;
            if sg.mask == 0 {
                return;
            }
            let factor = f32::from_bits(sg.regs.bits(scalar, lane) as u32);
            let m = &mut sg.regs.matrix;
            m[dst.index()] = m[a.index()].map(|x| rounded(half, x * factor));
        }
        MatrixOp::Negate { dst, a } => m[dst.index()] = m[a.index()].map(|x| -x),
    }
}

/// Loads or stores a matrix at the address of the first active lane: the operation is the subgroup's, and its
/// operands must be the same in every lane.
pub(super) fn access(
    sg: &mut Subgroup,
    cx: &mut Context<'_>,
    a: &MatrixAccess,
    pc: u32,
) -> Result<(), Box<Fault>> {
    if sg.mask == 0 {
        return Ok(());
    }
    address(sg, cx, &a.access, pc)?;
    let lane = sg.mask.trailing_zeros() as usize;
    let base = cx.offsets[lane];
    let stride = sg.regs.n(a.stride)[lane];
    let size = a.elem.size_bytes();
    let (lines, length) = if a.row_major { (a.rows, a.columns) } else { (a.columns, a.rows) };
    let line = |i: u32| u64::from(base) + u64::from(i) * u64::from(stride) * u64::from(a.stride_unit_bytes);
    let program = cx.env.program;
    let site = &program.sites[a.access.site as usize];
    if cx.tracing
        && let Some(recorder) = &mut cx.recorder
    {
        let active = u64::from(sg.mask.count_ones());
        recorder.record_with(a.access.site, |traffic| {
            let mut starts: Vec<u64> = (0..lines).map(line).collect();
            let before = traffic.active_lanes;
            traffic.add_request(&mut starts, u64::from(length * size));
            traffic.active_lanes = before + active;
        });
    }
    let end = cx.env.sizes[a.access.global as usize];
    if cx.sanitizer.is_some() {
        let last = line(lines - 1) + u64::from(length * size);
        if last > end {
            let name = program.globals[a.access.global as usize].name.clone();
            let index = (last / u64::from(size)) as i64 - 1;
            let kind = FaultKind::OutOfBounds { name, index, length: end / u64::from(size) };
            return Err(cx.fault(kind, pc, sg.ix, lane));
        }
        // One lane stands for the subgroup: lines are touched once each, by whichever lane.
        let (mask, offset) = (sg.mask, cx.offsets[lane]);
        sg.mask = 1 << lane;
        for i in 0..lines {
            cx.offsets[lane] = line(i) as u32;
            let checked = memory::check(sg, cx, a.access.global, site.kind, pc, &[(0, length * size)]);
            if checked.is_err() {
                sg.mask = mask;
                return checked;
            }
        }
        (sg.mask, cx.offsets[lane]) = (mask, offset);
    }
    debug_assert!(matches!(
        cx.env.memories[a.access.global as usize],
        Memory::Words(_) | Memory::Workgroup { .. }
    ));
    let mut matrix = if a.store { sg.regs.matrix[a.matrix.index()] } else { [0.0; MATRIX_ELEMENTS] };
    for i in 0..lines {
        for j in 0..length {
            let (row, column) = if a.row_major { (i, j) } else { (j, i) };
            let element = &mut matrix[(row * a.columns + column) as usize];
            let at = line(i) + u64::from(j * size);
            if at + u64::from(size) > end {
                continue;
            }
            memory::element(cx, a.access.global, at as u32, size, a.store, element);
        }
    }
    if !a.store {
        sg.regs.matrix[a.matrix.index()] = matrix;
    }
    Ok(())
}
