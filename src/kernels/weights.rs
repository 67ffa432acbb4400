//! What all rooms with quantized weights share: the names that specialise shaders, and the operands.

use std::sync::Arc;

use super::spec::{Elem, Operand};
use crate::gpu::BufferSpec;
use crate::lower::Defines;
use crate::quant::{Format, QuantizedMatrix, ScaleEncoding, WeightSpec};

/// What `common/weights.wgsl` and `common/weights.metal` are specialised by.
pub(super) fn defines(spec: &WeightSpec) -> Defines {
    let format = spec.format();
    let scale = match format.scale_encoding() {
        ScaleEncoding::F16 => 0,
        ScaleEncoding::E8M0 => 1,
        ScaleEncoding::E4M3 => 2,
        ScaleEncoding::F16Pair => 3,
        ScaleEncoding::Bf16Pair => 4,
        ScaleEncoding::F32Pair => 5,
        ScaleEncoding::Q4K => 6,
        ScaleEncoding::Q6K => 7,
        ScaleEncoding::None => 8,
    };
    let group = spec.group().get();
    // E2M1 codes are numbers: their zero point is not looked at.
    let fixed_zero = if format.is_e2m1() { 8 } else { format.fixed_zero_point() };
    Defines::new()
        .with("BITS", format.code_encoding().bits())
        .with("E2M1", i32::from(format.is_e2m1()))
        .with("BF16", i32::from(format == Format::Bf16))
        .with("ZERO_POINTS", i32::from(format.has_zero_points()))
        .with("ZERO_BITS", format.zero_point_bits())
        .with("FIXED_ZERO", fixed_zero)
        .with("OFFSETS", i32::from(format.has_bias()))
        .with("SCALE", scale)
        .with("GROUP", group)
        .with("GROUP_SHIFT", group.trailing_zeros())
}

/// The operands of a matrix, by the names that shaders bind: `words` and, where the format has them, `scales` and
/// `zero_points`.
pub fn operands(matrix: &QuantizedMatrix) -> Vec<(&'static str, &[u8])> {
    let mut operands = vec![("words", bytemuck::cast_slice(matrix.words()))];
    if !matrix.format().is_plain() {
        operands.push(("scales", bytemuck::cast_slice(matrix.scales())));
    }
    if matrix.format().has_zero_points() {
        operands.push(("zero_points", bytemuck::cast_slice(matrix.zero_points())));
    }
    operands
}

/// The sizes of [`operands`], padded as [`QuantizedMatrix`] pads them.
pub(super) fn buffers(spec: &WeightSpec) -> Vec<BufferSpec> {
    let padded = |name, bytes: usize| BufferSpec::new(name, bytes.next_multiple_of(16) as u64, 1);
    let mut buffers = vec![padded("words", spec.weight_bytes())];
    if !spec.format().is_plain() {
        buffers.push(padded("scales", spec.scale_bytes()));
    }
    if spec.format().has_zero_points() {
        buffers.push(padded("zero_points", spec.zero_point_bytes()));
    }
    buffers
}

/// The same as a problem's inputs.
pub(super) fn inputs(matrix: &QuantizedMatrix) -> Vec<Operand> {
    operands(matrix).into_iter().map(|(name, bytes)| Operand { name, bytes: bytes.into() }).collect()
}

/// The random matrix of a case. The tensor scale is a parameter, so it does not depend on the seed.
pub(super) fn random(spec: &WeightSpec, seed: u64) -> Arc<QuantizedMatrix> {
    let matrix = QuantizedMatrix::random(spec.shape(), spec.format(), spec.group(), seed);
    Arc::new(matrix.expect("a WeightSpec has been checked"))
}

/// The tensor scale of [`random`] matrices.
pub(super) fn random_tensor_scale(format: Format) -> f32 {
    if format == Format::Nvfp4 { QuantizedMatrix::RANDOM_TENSOR_SCALE } else { 1.0 }
}

/// What rounding scaled codes and biases apart adds to the error of a row's product with `x`, beyond what its terms allow.
///
/// A code of 4 bits times an f16, bf16 or Q4_K's scale is exact in f32: adding the bias rounds once, by the weight's own size.
/// Under an f32 scale the product is rounded too, by its size, which the bias may cancel.
pub(super) fn bias_error(matrix: &QuantizedMatrix, row: usize, x: &[f32]) -> f64 {
    if matrix.format() != Format::Int4AffineF32 {
        return 0.0;
    }
    let size = |(col, x): (usize, &f32)| matrix.magnitude(row, col) * f64::from(x.abs());
    Elem::F32.epsilon() * x.iter().enumerate().map(size).sum::<f64>()
}
