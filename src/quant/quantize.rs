//! From f32 weights to codes, scales, zero points and biases.

use half::{bf16, f16};
use rayon::prelude::*;

use super::matrix::pack_zero_points;
use super::pack::{pack_fields, pack_word, padded};
use super::{
    E4M3_MAX, Format, GroupSize, QuantError, QuantizedMatrix, ScaleEncoding, Shape, WeightSpec, e4m3_encode,
    e8m0_encode_floor, fp4_encode, k_quant,
};

/// The largest E2M1 number.
const FP4_MAX: f32 = 6.0;

/// Exponent of the largest E2M1 number: 6 = 1.5·2².
const FP4_MAX_EXPONENT: u8 = 2;

/// Quantizes `weights`, row-major `[n, k]`, each to the code nearest under its group's scale.
///
/// The scale of a group whose largest magnitude is `a`:
/// - [`Format::Fp4`]: `a/6`; [`Format::Int4Sym`]: `a/7`; [`Format::Int8`]: `a/127`, so that nothing saturates;
/// - [`Format::Int4Asym`], [`Format::Int4Asym5`]: `(max − min)/15` of the range widened to hold 0, which the zero point
///   then hits exactly;
/// - [`Format::Int4Affine`] and its kin: `(max − min)/15`, the bias `min`;
/// - [`Format::Mxfp4`]: `2^(⌊log2 a⌋ − 2)` as OCP MX v1.0 says: magnitudes above 6 scales saturate;
/// - [`Format::Nvfp4`]: the tensor scale is the largest magnitude of the tensor over `6·448`, the group scale `a/6`
///   over the tensor scale, in E4M3;
/// - [`Format::Q4K`], [`Format::Q6K`]: the affine and the symmetric scale (`a/31`), rounded up to a multiple of the block's
///   f16 that lets the largest factor be 63 and 127. A plain rounding, not the search that GGUF's own tools make.
///
/// f16 scales are rounded to nearest, and raised to the smallest normal number if they are below it. Plain formats take
/// the nearest number.
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
    if format.is_plain() {
        return plain(weights, spec);
    }

    let mut words = vec![0_u32; padded(spec.word_count())];
    // Blocks, or groups where the format has none: in both cases a whole number of words.
    let block = format.block().unwrap_or(group.get());
    let block_words = block * format.code_encoding().bits() / 32;
    let blocks: Vec<BlockBits> = words
        .par_chunks_exact_mut(block_words)
        .zip(weights.par_chunks_exact(block))
        .enumerate()
        .map(|(index, (words, weights))| {
            let fitted = match format {
                Format::Q4K => q4k_block(weights, words),
                Format::Q6K => q6k_block(weights, words),
                _ => plain_group(format, tensor_scale, weights, words),
            };
            fitted.map_err(|Unscalable { scale, first }| {
                let group_ix = index * block / group.get() + first;
                let weights = &weights[first * group.get()..][..group.get()];
                QuantError::ScaleOverflow {
                    row: group_ix / spec.groups_per_row(),
                    group_ix: group_ix % spec.groups_per_row(),
                    scale,
                    max_abs: max_abs(weights),
                }
            })
        })
        .collect::<Result<_, QuantError>>()?;

    let scales = match format.scale_encoding().field_bits() {
        Some(bits) => pack_fields(blocks.iter().map(|block| block.scale_words[0] as u16), bits),
        None => {
            let unit = format.scale_encoding().unit().0;
            let mut words: Vec<u32> =
                blocks.iter().flat_map(|block| block.scale_words[..unit].iter().copied()).collect();
            words.resize(padded(words.len()), 0);
            words
        }
    };
    let zero_points = pack_zero_points(format, blocks.iter().map(|block| block.zero_point));
    Ok(QuantizedMatrix::from_packed(spec, words, scales, zero_points, tensor_scale))
}

/// What a group or block stores beside its codes.
#[derive(Default)]
struct BlockBits {
    /// A scale's bits in the low end of the first, or the words of [`ScaleEncoding::unit`].
    scale_words: [u32; 5],
    zero_point: u8,
}

/// A scale that f16 can't hold, of the group `first` within its block.
struct Unscalable {
    scale: f32,
    first: usize,
}

/// Rounds to a plain format.
fn plain(weights: &[f32], spec: WeightSpec) -> Result<QuantizedMatrix, QuantError> {
    let format = spec.format();
    let mut words: Vec<u32> = match format {
        Format::F32 => weights.iter().map(|w| w.to_bits()).collect(),
        _ => {
            let bits = |w: f32| match format {
                Format::F16 => f16::from_f32(w).to_bits(),
                _ => bf16::from_f32(w).to_bits(),
            };
            weights.chunks_exact(2).map(|w| u32::from(bits(w[0])) | u32::from(bits(w[1])) << 16).collect()
        }
    };
    words.resize(padded(words.len()), 0);
    let matrix = QuantizedMatrix::from_packed(spec, words, Vec::new(), Vec::new(), 1.0);
    let k = spec.shape().k();
    match (0..weights.len()).find(|&i| !matrix.value(i / k, i % k).is_finite()) {
        Some(i) => {
            let (row, col) = (i / k, i % k);
            Err(QuantError::WeightOverflow { row, col, value: weights[i], format })
        }
        None => Ok(matrix),
    }
}

/// One group of the formats that have no blocks.
fn plain_group(
    format: Format,
    tensor_scale: f32,
    weights: &[f32],
    words: &mut [u32],
) -> Result<BlockBits, Unscalable> {
    let bits = fit_group(format, tensor_scale, weights).map_err(|scale| Unscalable { scale, first: 0 })?;
    let (scale, bias) = format.scale_encoding().decode(&bits.scale_words, 0);
    let scale = f64::from(scale) * f64::from(tensor_scale);
    if format == Format::Int8 {
        for (word, weights) in words.iter_mut().zip(weights.chunks_exact(4)) {
            *word = u32::from_le_bytes(std::array::from_fn(|i| {
                let scaled = if scale == 0.0 { 0.0 } else { f64::from(weights[i]) / scale };
                scaled.round_ties_even().clamp(-127.0, 127.0) as i8 as u8
            }));
        }
        return Ok(bits);
    }
    for (word, weights) in words.iter_mut().zip(weights.chunks_exact(8)) {
        let codes: [u8; 8] = std::array::from_fn(|i| {
            let weight = f64::from(weights[i]) - f64::from(bias);
            encode(format, weight, scale, bits.zero_point)
        });
        *word = pack_word(&codes);
    }
    Ok(bits)
}

/// Scale, zero point and bias of one group, or the scale that f16 can't hold.
fn fit_group(format: Format, tensor_scale: f32, weights: &[f32]) -> Result<BlockBits, f32> {
    let largest = max_abs(weights);
    let pair = |low: u16, high: u16| [u32::from(low) | u32::from(high) << 16, 0, 0, 0, 0];
    let one = |bits| pair(bits, 0);
    let (scale_words, zero_point) = match format {
        Format::Fp4 => (one(f16_scale(largest / FP4_MAX)?), 0),
        Format::Int4Sym => (one(f16_scale(largest / 7.0)?), 8),
        Format::Int8 => (one(f16_scale(largest / 127.0)?), 0),
        Format::Int4Asym | Format::Int4Asym5 => {
            let low = min(weights).min(0.0);
            let bits = f16_scale(step(low, max(weights).max(0.0)))?;
            let scale = f16::from_bits(bits).to_f32();
            let zero_point =
                if scale == 0.0 { 0.0 } else { (-low / scale).round_ties_even().clamp(0.0, 15.0) };
            (one(bits), zero_point as u8)
        }
        Format::Int4Affine => {
            let low = min(weights);
            let scale = f16_scale(step(low, max(weights)))?;
            let bias = f16::from_f32(low);
            // Subnormal biases may be flushed by a device: zero, then, for all.
            let bias = if bias.is_normal() { bias } else { f16::ZERO };
            if low.abs() > f16::MAX.to_f32() {
                return Err(low);
            }
            (pair(scale, bias.to_bits()), 0)
        }
        Format::Int4AffineBf16 => {
            let low = min(weights);
            let scale = bf16::from_f32(step(low, max(weights)));
            let bias = bf16::from_f32(low);
            if !scale.is_finite() || !bias.is_finite() {
                return Err(low);
            }
            (pair(scale.to_bits(), bias.to_bits()), 0)
        }
        Format::Int4AffineF32 => {
            let low = min(weights);
            ([step(low, max(weights)).to_bits(), low.to_bits(), 0, 0, 0], 0)
        }
        Format::Mxfp4 => {
            let code = e8m0_encode_floor(largest).saturating_sub(FP4_MAX_EXPONENT).max(1);
            (one(u16::from(code)), 0)
        }
        Format::Nvfp4 => (one(u16::from(e4m3_encode(largest / FP4_MAX / tensor_scale))), 0),
        Format::Q4K | Format::Q6K | Format::F16 | Format::Bf16 | Format::F32 => {
            unreachable!("formats with blocks or without scales have functions of their own")
        }
    };
    Ok(BlockBits { scale_words, zero_point })
}

/// A block of [`Format::Q4K`]: eight affine groups whose scales and mins are multiples of one f16 each.
fn q4k_block(weights: &[f32], words: &mut [u32]) -> Result<BlockBits, Unscalable> {
    // The min is subtracted and can't be negative: a group that lies above 0 starts at 0.
    let mins: Vec<f32> = weights.chunks(32).map(|w| (-min(w)).max(0.0)).collect();
    let steps: Vec<f32> = weights.chunks(32).zip(&mins).map(|(w, m)| step(-m, max(w))).collect();
    let d =
        f16_scale(max(&steps) / 63.0).map_err(|scale| Unscalable { scale, first: index_of_max(&steps) })?;
    let m = f16_scale(max(&mins) / 63.0).map_err(|scale| Unscalable { scale, first: index_of_max(&mins) })?;
    let factor = |value: f32, unit: u16| {
        let unit = f16::from_bits(unit).to_f32();
        if unit == 0.0 { 0 } else { (value / unit).ceil().clamp(0.0, 63.0) as u8 }
    };
    let unit = k_quant::q4k_unit(
        f16::from_bits(d),
        f16::from_bits(m),
        std::array::from_fn(|j| factor(steps[j], d)),
        std::array::from_fn(|j| factor(mins[j], m)),
    );
    for (j, (words, weights)) in words.chunks_mut(4).zip(weights.chunks(32)).enumerate() {
        let (scale, bias) = ScaleEncoding::Q4K.decode(&unit, j);
        for (word, weights) in words.iter_mut().zip(weights.chunks(8)) {
            let codes: [u8; 8] = std::array::from_fn(|i| {
                let weight = f64::from(weights[i]) - f64::from(bias);
                encode(Format::Q4K, weight, f64::from(scale), 0)
            });
            *word = pack_word(&codes);
        }
    }
    Ok(BlockBits { scale_words: [unit[0], unit[1], unit[2], unit[3], 0], zero_point: 0 })
}

/// A block of [`Format::Q6K`]: sixteen symmetric groups whose scales are multiples of one f16.
fn q6k_block(weights: &[f32], words: &mut [u32]) -> Result<BlockBits, Unscalable> {
    let steps: Vec<f32> = weights.chunks(16).map(|w| max_abs(w) / 31.0).collect();
    let d =
        f16_scale(max(&steps) / 127.0).map_err(|scale| Unscalable { scale, first: index_of_max(&steps) })?;
    let d = f16::from_bits(d);
    let factor =
        |step: f32| if d == f16::ZERO { 0 } else { (step / d.to_f32()).ceil().clamp(0.0, 127.0) as i8 };
    let scale_words = k_quant::q6k_unit(d, std::array::from_fn(|j| factor(steps[j])));
    for (run, (words, weights)) in words.chunks_mut(12).zip(weights.chunks(64)).enumerate() {
        let codes: [u8; 64] = std::array::from_fn(|i| {
            let (scale, _) = ScaleEncoding::Q6K.decode(&scale_words, run * 4 + i / 16);
            let scaled = if scale == 0.0 { 0.0 } else { f64::from(weights[i]) / f64::from(scale) };
            (scaled.round_ties_even() + 32.0).clamp(0.0, 63.0) as u8
        });
        words.copy_from_slice(&k_quant::q6k_run(&codes));
    }
    Ok(BlockBits { scale_words, zero_point: 0 })
}

/// The code of four bits nearest to `weight` under `scale`.
fn encode(format: Format, weight: f64, scale: f64, zero_point: u8) -> u8 {
    let scaled = if scale == 0.0 { 0.0 } else { weight / scale };
    if format.is_e2m1() {
        fp4_encode(scaled)
    } else {
        (scaled.round_ties_even() + f64::from(zero_point)).clamp(0.0, 15.0) as u8
    }
}

/// A fifteenth of the way from `low` to `high`. Halved first: the difference of two finite f32 may overflow.
fn step(low: f32, high: f32) -> f32 {
    (high / 2.0 - low / 2.0) / 7.5
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

fn min(weights: &[f32]) -> f32 {
    weights.iter().copied().fold(f32::INFINITY, f32::min)
}

fn max(weights: &[f32]) -> f32 {
    weights.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn index_of_max(values: &[f32]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
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
            let shape = shape(n, groups * format.block().unwrap_or(group.get()));
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
                let error = (f64::from(weight) - matrix.value(row, col)).abs();
                if format.is_plain() {
                    let u = if format == Format::F16 { 2_f64.powi(-11) } else { 2_f64.powi(-8) };
                    prop_assert!(error <= f64::from(weight.abs()) * u + 2_f64.powi(-25), "{weight} {error}");
                    continue;
                }
                let codes = 1_u32 << format.code_encoding().bits();
                let bias = f64::from(matrix.bias(row, group_ix));
                // -128 is left to files.
                let nearest = (0..codes).filter(|&code| format != Format::Int8 || code != 128)
                    .map(|code| f64::from(format.code_value(code, zero_point)) * scale + bias)
                    .map(|value| (f64::from(weight) - value).abs())
                    .fold(f64::INFINITY, f64::min);
                let slack = f64::from(weight.abs()) * 1e-15;
                prop_assert!(error <= nearest * (1.0 + 1e-12) + slack, "({row}, {col}) {weight}: {error} > {nearest}");
                prop_assert_eq!(decoded[index], matrix.value(row, col) as f32);
                prop_assert!(scale == 0.0 || scale >= f64::from(f32::MIN_POSITIVE), "scale {}", scale);
                prop_assert!(bias == 0.0 || bias.abs() >= f64::from(f32::MIN_POSITIVE), "bias {}", bias);
            }
        }

        /// The scale fits the group: the worst error is a known fraction of the group's largest magnitude.
        #[test]
        fn errors_are_bounded((format, group, shape, weights) in case()) {
            let matrix = quantize(&weights, shape, format, group).unwrap();
            let decoded = matrix.dequantize();
            let tensor_max = max_abs(&weights);
            let block = format.block().unwrap_or(group.get());
            for (weights, decoded) in weights.chunks(block).zip(decoded.chunks(block)) {
                // Half the widest gap between codes, in units of the largest magnitude, plus the scale's rounding.
                let (share, floor) = match format {
                    Format::Fp4 => (1.0 / 6.0 + 1e-3, 2_f32.powi(-14)),
                    Format::Int4Sym => (0.5 / 7.0 + 1e-3, 2_f32.powi(-14)),
                    // The range may be twice the largest magnitude; the zero point's rounding adds half a step.
                    Format::Int4Asym | Format::Int4Asym5 => (2.0 / 15.0 + 2e-3, 2_f32.powi(-14)),
                    // Half a step of a range of twice the largest, and the bias's rounding, by 2^-8 in bf16.
                    Format::Int4Affine => (1.0 / 15.0 + 2e-3, 2_f32.powi(-14)),
                    Format::Int4AffineBf16 => (1.0 / 15.0 + 4e-2, 0.0),
                    Format::Int4AffineF32 => (1.0 / 15.0 + 1e-6, 0.0),
                    // The factors are rounded up, by 1/63 of the block's largest.
                    Format::Q4K => (1.0 / 15.0 + 2.0 / 63.0, 2_f32.powi(-9)),
                    Format::Q6K => (0.5 / 31.0 + 1.0 / 127.0, 2_f32.powi(-9)),
                    Format::Int8 => (0.5 / 127.0 + 1e-3, 2_f32.powi(-14)),
                    Format::F16 => (2_f32.powi(-11), 2_f32.powi(-25)),
                    Format::Bf16 => (2_f32.powi(-8), 0.0),
                    Format::F32 => (0.0, 0.0),
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
            // The scales of K-quants are products: which weights they can hold exactly depends on the block.
            prop_assume!(format.block().is_none());
            let shape = shape(3, 2 * group.get());
            let codes = QuantizedMatrix::random(shape, format, group, seed).unwrap();
            // Values under a power of two, with the extreme codes in every group: the scale is known.
            let (first, second, zero_point) = match format {
                Format::Int4Sym => (15, 1, 8),
                Format::Int4Asym | Format::Int4Asym5 | Format::Int4Affine => (15, 0, 5),
                Format::Int4AffineBf16 | Format::Int4AffineF32 => (15, 0, 5),
                Format::Int8 => (0x7F, 0x81, 0),
                Format::F16 | Format::Bf16 | Format::F32 => (0x3F80, 0x3F80, 0),
                _ => (7, 15, 0),
            };
            let weights: Vec<f32> = (0..shape.elements())
                .map(|i| {
                    let (row, col) = (i / shape.k(), i % shape.k());
                    let code = match col % group.get() {
                        0 => first,
                        1 => second,
                        _ => codes.code(row, col),
                    };
                    let code = match format {
                        Format::Int4Sym => code.max(1),
                        Format::Int8 if code == 0x80 => 0x81,
                        _ => code,
                    };
                    format.code_value(code, zero_point) * 0.25
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
