//! From f32 weights to codes, scales and zero points.

use half::f16;
use rayon::prelude::*;

use super::pack::{pack_fields, pack_word, padded};
use super::{
    E4M3_MAX, Format, GroupSize, QuantError, QuantizedMatrix, ScaleEncoding, Shape, WeightSpec, e4m3_encode,
    e8m0_encode_floor, fp4_encode,
};

/// The largest E2M1 number.
const FP4_MAX: f32 = 6.0;

/// Exponent of the largest E2M1 number: 6 = 1.5·2².
const FP4_MAX_EXPONENT: u8 = 2;

/// Quantizes `weights`, row-major `[n, k]`, each to the code nearest under its group's scale.
///
/// The scale of a group whose largest magnitude is `a`:
/// - [`Format::Fp4`]: `a/6`; [`Format::Int4Sym`]: `a/7`, so that nothing saturates;
/// - [`Format::Int4Asym`]: `(max − min)/15` of the range widened to hold 0, which the zero point then hits exactly;
/// - [`Format::Mxfp4`]: `2^(⌊log2 a⌋ − 2)` as OCP MX v1.0 says: magnitudes above 6 scales saturate;
/// - [`Format::Nvfp4`]: the tensor scale is the largest magnitude of the tensor over `6·448`, the group scale `a/6`
///   over the tensor scale, in E4M3.
///
/// f16 scales are rounded to nearest, and raised to the smallest normal number if they are below it.
///
/// # Errors
/// A group size that the format does not have, K not a multiple of it, a wrong length, a weight that is NaN or
/// infinite (the first is named), or a scale beyond f16.
pub fn quantize(
    weights: &[f32],
    shape: Shape,
    format: Format,
    group: GroupSize,
) -> Result<QuantizedMatrix, QuantError> {
    let spec = WeightSpec::new(shape, format, group)?;
    if weights.len() != shape.elements() {
        return Err(QuantError::Length { what: "weights", expected: shape.elements(), got: weights.len() });
    }
    if let Some(index) = weights.par_iter().position_first(|weight| !weight.is_finite()) {
        let (row, col) = (index / shape.k(), index % shape.k());
        return Err(QuantError::NonFinite { row, col, value: weights[index] });
    }
    let tensor_scale = match format {
        Format::Nvfp4 => nvfp4_tensor_scale(weights.par_iter().map(|w| w.abs()).reduce(|| 0.0, f32::max)),
        _ => 1.0,
    };

    let mut words = vec![0_u32; padded(spec.word_count())];
    let groups: Vec<GroupBits> = words
        .par_chunks_exact_mut(group.get() / 8)
        .zip(weights.par_chunks_exact(group.get()))
        .enumerate()
        .map(|(index, (words, weights))| {
            let bits =
                fit_group(format, tensor_scale, weights).map_err(|scale| QuantError::ScaleOverflow {
                    row: index / spec.groups_per_row(),
                    group_ix: index % spec.groups_per_row(),
                    scale,
                    max_abs: max_abs(weights),
                })?;
            let scale = f64::from(format.scale_encoding().decode(bits.scale)) * f64::from(tensor_scale);
            for (word, weights) in words.iter_mut().zip(weights.chunks_exact(8)) {
                let codes: [u8; 8] =
                    std::array::from_fn(|i| encode(format, weights[i], scale, bits.zero_point));
                *word = pack_word(&codes);
            }
            Ok(bits)
        })
        .collect::<Result<_, QuantError>>()?;

    let scales = pack_fields(groups.iter().map(|group| group.scale), format.scale_encoding().bits());
    let zero_points = if format.has_zero_points() {
        pack_fields(groups.iter().map(|group| u16::from(group.zero_point)), 4)
    } else {
        Vec::new()
    };
    Ok(QuantizedMatrix::from_packed(spec, words, scales, zero_points, tensor_scale))
}

/// What a group stores beside its codes.
struct GroupBits {
    scale: u16,
    zero_point: u8,
}

/// Scale and zero point of one group, or the scale that f16 can't hold.
fn fit_group(format: Format, tensor_scale: f32, weights: &[f32]) -> Result<GroupBits, f32> {
    let largest = max_abs(weights);
    let (scale, zero_point) = match format {
        Format::Fp4 => (f16_scale(largest / FP4_MAX)?, 0),
        Format::Int4Sym => (f16_scale(largest / 7.0)?, 8),
        Format::Int4Asym => {
            let low = weights.iter().fold(0.0, |low: f32, &weight| low.min(weight));
            let high = weights.iter().fold(0.0, |high: f32, &weight| high.max(weight));
            // Halved first: the difference of two finite f32 may overflow.
            let bits = f16_scale((high / 2.0 - low / 2.0) / 7.5)?;
            let scale = ScaleEncoding::F16.decode(bits);
            let zero_point =
                if scale == 0.0 { 0.0 } else { (-low / scale).round_ties_even().clamp(0.0, 15.0) };
            (bits, zero_point as u8)
        }
        Format::Mxfp4 => {
            let code = e8m0_encode_floor(largest).saturating_sub(FP4_MAX_EXPONENT).max(1);
            (u16::from(code), 0)
        }
        Format::Nvfp4 => (u16::from(e4m3_encode(largest / FP4_MAX / tensor_scale)), 0),
    };
    Ok(GroupBits { scale, zero_point })
}

/// The code nearest to `weight` under `scale`.
fn encode(format: Format, weight: f32, scale: f64, zero_point: u8) -> u8 {
    let scaled = if scale == 0.0 { 0.0 } else { f64::from(weight) / scale };
    match format {
        Format::Fp4 | Format::Mxfp4 | Format::Nvfp4 => fp4_encode(scaled),
        Format::Int4Sym | Format::Int4Asym => {
            (scaled.round_ties_even() + f64::from(zero_point)).clamp(0.0, 15.0) as u8
        }
    }
}

/// Bits of the f16 nearest to `scale`, kept out of the subnormals; `Err(scale)` beyond the largest f16.
fn f16_scale(scale: f32) -> Result<u16, f32> {
    if scale == 0.0 {
        return Ok(0);
    }
    let rounded = f16::from_f32(scale).max(f16::MIN_POSITIVE);
    if rounded.is_finite() { Ok(rounded.to_bits()) } else { Err(scale) }
}

/// The factor that brings the largest group scale to the largest E4M3 number; 1 for a tensor of zeros.
fn nvfp4_tensor_scale(largest: f32) -> f32 {
    if largest == 0.0 { 1.0 } else { (largest / (FP4_MAX * E4M3_MAX)).max(f32::MIN_POSITIVE) }
}

fn max_abs(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |largest, weight| largest.max(weight.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{ErrorStats, e4m3_decode, e8m0_decode};
    use proptest::prelude::*;

    fn shape(n: usize, k: usize) -> Shape {
        Shape::new(n, k).unwrap()
    }

    /// Any format with any of its group sizes.
    fn formats() -> impl Strategy<Value = (Format, GroupSize)> {
        let all: Vec<_> = Format::ALL
            .into_iter()
            .flat_map(|format| format.group_sizes().iter().map(move |&group| (format, group)))
            .collect();
        proptest::sample::select(all)
    }

    /// A matrix of a few rows and groups, magnitudes from `2^-20` to `2^12` and some zeros.
    fn case() -> impl Strategy<Value = (Format, GroupSize, Shape, Vec<f32>)> {
        (formats(), 1..4_usize, 1..4_usize).prop_flat_map(|((format, group), n, groups)| {
            let shape = shape(n, groups * group.get());
            let weight = prop_oneof![
                1 => Just(0.0_f32),
                9 => (-1.0_f32..1.0, -20_i32..12).prop_map(|(m, e)| m * 2_f32.powi(e)),
            ];
            let weights = proptest::collection::vec(weight, shape.elements());
            (Just(format), Just(group), Just(shape), weights)
        })
    }

    proptest! {
        /// No other code of the same group would be nearer, and the scale is neither subnormal nor NaN.
        #[test]
        fn every_code_is_the_nearest((format, group, shape, weights) in case()) {
            let matrix = quantize(&weights, shape, format, group).unwrap();
            let decoded = matrix.dequantize();
            for (index, &weight) in weights.iter().enumerate() {
                let (row, col) = (index / shape.k(), index % shape.k());
                let group_ix = col / group.get();
                let scale = f64::from(matrix.scale(row, group_ix)) * f64::from(matrix.tensor_scale());
                let zero_point = matrix.zero_point(row, group_ix);
                let nearest = (0..16)
                    .map(|code| f64::from(format.code_value(code, zero_point)) * scale)
                    .map(|value| (f64::from(weight) - value).abs())
                    .fold(f64::INFINITY, f64::min);
                let error = (f64::from(weight) - matrix.value(row, col)).abs();
                prop_assert!(error <= nearest * (1.0 + 1e-12), "({row}, {col}) {weight}: {error} > {nearest}");
                prop_assert_eq!(decoded[index], matrix.value(row, col) as f32);
                prop_assert!(scale == 0.0 || scale >= f64::from(f32::MIN_POSITIVE), "scale {}", scale);
            }
        }

        /// The scale fits the group: the worst error is a known fraction of the group's largest magnitude.
        #[test]
        fn errors_are_bounded((format, group, shape, weights) in case()) {
            let matrix = quantize(&weights, shape, format, group).unwrap();
            let decoded = matrix.dequantize();
            let tensor_max = max_abs(&weights);
            for (weights, decoded) in weights.chunks(group.get()).zip(decoded.chunks(group.get())) {
                // Half the widest gap between codes, in units of the largest magnitude, plus the scale's rounding.
                let (share, floor) = match format {
                    Format::Fp4 => (1.0 / 6.0 + 1e-3, 2_f32.powi(-14)),
                    Format::Int4Sym => (0.5 / 7.0 + 1e-3, 2_f32.powi(-14)),
                    // The range may be twice the largest magnitude; the zero point's rounding adds half a step.
                    Format::Int4Asym => (2.0 / 15.0 + 2e-3, 2_f32.powi(-14)),
                    // 7.99 scales saturate at 6; the gap below is 1.
                    Format::Mxfp4 => (2.0 / 8.0, 0.0),
                    // E4M3 rounds by 1/16 of itself, or by half of its smallest step.
                    Format::Nvfp4 => (1.0 / 6.0 + 1.0 / 16.0, tensor_max / 448.0 / 512.0),
                };
                let bound = max_abs(weights) * share + floor;
                for (weight, decoded) in weights.iter().zip(decoded) {
                    prop_assert!((weight - decoded).abs() <= bound, "{format}: {weight} became {decoded}");
                }
            }
        }

        /// Weights that a format can hold come back exactly.
        #[test]
        fn representable_weights_round_trip((format, group) in formats(), seed in any::<u64>()) {
            let shape = shape(3, 2 * group.get());
            let codes = QuantizedMatrix::random(shape, format, group, seed).unwrap();
            // Integer and E2M1 values under a power of two, with the largest code in every group: the scale is known.
            let weights: Vec<f32> = (0..shape.elements())
                .map(|i| {
                    let (row, col) = (i / shape.k(), i % shape.k());
                    let code = if col % group.get() == 0 { if format.is_float() { 7 } else { 15 } }
                        else if col % group.get() == 1 { if format == Format::Int4Asym { 0 } else { 15 } }
                        else { codes.code(row, col) };
                    format.code_value(code.max(u8::from(format == Format::Int4Sym)), 5) * 0.25
                })
                .collect();
            let matrix = quantize(&weights, shape, format, group).unwrap();
            for (decoded, weight) in matrix.dequantize().into_iter().zip(weights) {
                // NVFP4's tensor scale, a division by 2688, is rounded once: one unit in the last place.
                let slack = if format == Format::Nvfp4 { weight.abs() * f32::EPSILON } else { 0.0 };
                prop_assert!((decoded - weight).abs() <= slack, "{format}: {weight} became {decoded}");
            }
        }
    }

    #[test]
    fn bad_input_is_named() {
        let ok = vec![0.5; 64];
        let run =
            |weights: &[f32], k, format, group| quantize(weights, shape(2, k), format, group).unwrap_err();
        assert_eq!(
            run(&ok, 32, Format::Mxfp4, GroupSize::G16),
            QuantError::GroupSize { format: Format::Mxfp4, group: GroupSize::G16 }
        );
        assert_eq!(
            run(&ok, 48, Format::Fp4, GroupSize::G32),
            QuantError::Ragged { k: 48, group: GroupSize::G32 }
        );
        assert_eq!(
            run(&ok[1..], 32, Format::Fp4, GroupSize::G32),
            QuantError::Length { what: "weights", expected: 64, got: 63 }
        );
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut weights = ok.clone();
            weights[33] = bad;
            weights[40] = bad;
            let error = run(&weights, 32, Format::Nvfp4, GroupSize::G16);
            assert!(matches!(error, QuantError::NonFinite { row: 1, col: 1, .. }), "{error}");
            assert!(error.to_string().contains("(1, 1)"), "{error}");
        }
        let mut weights = ok.clone();
        weights[50] = -6.0 * 66_000.0;
        for format in [Format::Fp4, Format::Int4Sym, Format::Int4Asym] {
            let mut weights = weights.clone();
            weights[50] *= 4.0;
            let error = run(&weights, 32, format, GroupSize::G16);
            assert!(matches!(error, QuantError::ScaleOverflow { row: 1, group_ix: 1, .. }), "{error}");
        }
        assert!(matches!(Shape::new(0, 4), Err(QuantError::ZeroSize { n: 0, k: 4 })));
        assert!(matches!(Shape::new(1 << 16, 1 << 16), Err(QuantError::TooLarge { .. })));
        assert!(matches!(Shape::new(usize::MAX, 2), Err(QuantError::TooLarge { .. })));
        assert_eq!(GroupSize::try_from(48), Err(QuantError::UnknownGroupSize(48)));
        assert_eq!("q4_k".parse::<Format>(), Err(QuantError::UnknownFormat("q4_k".into())));
    }

    #[test]
    fn extremes_stay_finite() {
        for format in [Format::Mxfp4, Format::Nvfp4] {
            let group = format.group_sizes()[0];
            for largest in [f32::MAX, f32::MIN_POSITIVE, 1e-45, 0.0] {
                let weights: Vec<f32> = (0..64).map(|i| largest * ((i % 3) as f32 * 0.5)).collect();
                let matrix = quantize(&weights, shape(1, 64), format, group).unwrap();
                for (weight, decoded) in weights.iter().zip(matrix.dequantize()) {
                    let bound = largest * 0.3 + f32::MIN_POSITIVE * 8.0;
                    assert!(
                        (weight - decoded).abs() <= bound,
                        "{format} {largest:e}: {weight:e} → {decoded:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn mxfp4_scale_is_the_ocp_exponent() {
        for (largest, exponent) in [(6.0, 0), (4.0, 0), (7.9, 0), (8.0, 1), (3.99, -1), (1.0, -2)] {
            let weights: Vec<f32> = (0..32).map(|i| if i == 5 { -largest } else { 0.0 }).collect();
            let matrix = quantize(&weights, shape(1, 32), Format::Mxfp4, GroupSize::G32).unwrap();
            assert_eq!(matrix.scale(0, 0), e8m0_decode((127 + exponent) as u8), "largest {largest}");
        }
    }

    #[test]
    fn nvfp4_scales_use_the_whole_range() {
        let weights: Vec<f32> = (0..32).map(|i| if i < 16 { 0.9 } else { 0.001 }).collect();
        let matrix = quantize(&weights, shape(1, 32), Format::Nvfp4, GroupSize::G16).unwrap();
        assert_eq!(matrix.scale(0, 0), e4m3_decode(0x7E));
        assert_eq!(matrix.scale(0, 1), 0.5, "0.001/0.9 of 448");
        assert!(ErrorStats::between(&weights, &matrix.dequantize()).relative < 1e-3);
    }
}
