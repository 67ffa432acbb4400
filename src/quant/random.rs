//! Seeded random matrices in packed form, for benchmarks and edge corpora.

use rayon::prelude::*;

use super::matrix::pack_zero_points;
use super::pack::padded;
use super::{CodeEncoding, Format, GroupSize, QuantError, QuantizedMatrix, ScaleEncoding, Shape, WeightSpec};

impl QuantizedMatrix {
    /// The tensor scale of random NVFP4 matrices.
    pub const RANDOM_TENSOR_SCALE: f32 = 0.0173;

    /// A matrix of random codes under random scales: the same for the same arguments on every machine.
    ///
    /// Nothing is quantized on the way, so 256 M weights take well under a second. Codes are uniform over all that there
    /// are (plain weights over either sign and four exponents), scales differ from group to group between 2^-9 and 2^-6, all normal, none NaN: weights of the size that layers
    /// of a few thousand inputs have.
    ///
    /// # Errors
    /// A group size that the format does not have, or K not a multiple of it.
    pub fn random(shape: Shape, format: Format, group: GroupSize, seed: u64) -> Result<Self, QuantError> {
        let spec = WeightSpec::new(shape, format, group)?;
        let format = spec.format();
        let words = random_words(seed, 32 * spec.word_count(), |word, _| match format.code_encoding() {
            // Either sign, 2^-9 to 2^-5.
            CodeEncoding::F16 => (word & 0x8FFF_8FFF) + 0x1800_1800,
            CodeEncoding::Bf16 => (word & 0x81FF_81FF) + 0x3B00_3B00,
            CodeEncoding::F32 => (word & 0x81FF_FFFF) + 0x3B00_0000,
            _ => word,
        });
        let scale_seed = seed ^ 0x5CA1E;
        let scales =
            random_words(scale_seed, 8 * spec.scale_bytes(), |word, i| match format.scale_encoding() {
                // Exponent 2^-8 or 2^-7, any mantissa.
                ScaleEncoding::F16 => (word & 0x07FF_07FF) + 0x1C00_1C00,
                // 2^-9 to 2^-6.
                ScaleEncoding::E8M0 => (word & 0x0303_0303) + 0x7676_7676,
                // 0.25 to 0.9375, under a tensor scale of about 2^-6.
                ScaleEncoding::E4M3 => (word & 0x0F0F_0F0F) + 0x2828_2828,
                // Scales of 2^-8 or 2^-7, biases of -2^-6 or -2^-5, so that weights have either sign.
                ScaleEncoding::F16Pair => (word & 0x07FF_07FF) + 0xA400_1C00,
                ScaleEncoding::Bf16Pair => (word & 0x00FF_00FF) + 0xBC80_3B80,
                ScaleEncoding::F32Pair if i % 2 == 0 => (word & 0x00FF_FFFF) + 0x3B80_0000,
                ScaleEncoding::F32Pair => (word & 0x00FF_FFFF) + 0xBC80_0000,
                // d of 2^-13 or 2^-12, m of 2^-10 or 2^-9, any factors.
                ScaleEncoding::Q4K if i % 4 == 0 => (word & 0x07FF_07FF) + 0x1400_0800,
                // Any factors under d of 2^-14 or 2^-13.
                ScaleEncoding::Q6K if i % 5 == 4 => (word & 0x0000_07FF) + 0x0000_0400,
                ScaleEncoding::Q4K | ScaleEncoding::Q6K | ScaleEncoding::None => word,
            });
        let zero_points = match format.zero_point_bits() {
            0 => Vec::new(),
            4 => random_words(seed ^ 0x2E05, 4 * spec.group_count(), |word, _| word),
            bits => {
                let zeros =
                    random_words(seed ^ 0x2E05, 32 * spec.group_count(), |word, _| word >> (32 - bits));
                pack_zero_points(format, zeros[..spec.group_count()].iter().map(|&zero| zero as u8))
            }
        };
        let tensor_scale = if format == Format::Nvfp4 { Self::RANDOM_TENSOR_SCALE } else { 1.0 };
        Ok(QuantizedMatrix::from_packed(spec, words, scales, zero_points, tensor_scale))
    }
}

/// Random words, each mapped with its index, zero beyond `bits` up to a multiple of 16 bytes.
fn random_words(seed: u64, bits: usize, map: impl Fn(u32, usize) -> u32 + Sync) -> Vec<u32> {
    let mut words = vec![0_u32; padded(bits.div_ceil(32))];
    let used = bits.div_ceil(32);
    words[..used].par_chunks_mut(1 << 14).enumerate().for_each(|(chunk, words)| {
        for (pair_ix, pair) in words.chunks_mut(2).enumerate() {
            let random = split_mix(seed, (chunk << 13 | pair_ix) as u64);
            let index = chunk << 14 | pair_ix << 1;
            pair[0] = map(random as u32, index);
            if let Some(second) = pair.get_mut(1) {
                *second = map((random >> 32) as u32, index + 1);
            }
        }
    });
    if !bits.is_multiple_of(32) {
        words[used - 1] &= (1 << (bits % 32)) - 1;
    }
    words
}

/// Number `index` of the SplitMix64 sequence of `seed` (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
fn split_mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_plausible_and_not_uniform() {
        for format in Format::ALL {
            for &group in format.group_sizes() {
                let k = format.block().unwrap_or(3 * group.get());
                let shape = Shape::new(33, k).unwrap();
                let matrix = QuantizedMatrix::random(shape, format, group, 1).unwrap();
                assert_eq!(matrix, QuantizedMatrix::random(shape, format, group, 1).unwrap());
                assert_ne!(matrix, QuantizedMatrix::random(shape, format, group, 2).unwrap());
                let weights = matrix.dequantize();
                let mean_square = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
                assert!((1e-5..1.0).contains(&mean_square), "{format}: {mean_square}");
                let negative = weights.iter().filter(|w| w.is_sign_negative()).count();
                assert!(
                    (weights.len() / 10..weights.len() * 9 / 10).contains(&negative),
                    "{format}: {negative}"
                );
                let mut weights = weights;
                weights.sort_by(f32::total_cmp);
                weights.dedup();
                assert!(weights.len() >= 20, "{format}: {}", weights.len());
                if !format.is_plain() {
                    let mut scales: Vec<f32> = (0..33)
                        .flat_map(|row| (0..k / group.get()).map(move |g| (row, g)))
                        .map(|(row, g)| matrix.scale(row, g))
                        .collect();
                    scales.sort_by(f32::total_cmp);
                    scales.dedup();
                    assert!(scales.len() >= 4, "{format}: {scales:?}");
                }
                let bits = format.code_encoding().bits();
                if bits <= 8 {
                    let mut seen = vec![0_usize; 1 << bits];
                    for row in 0..33 {
                        for col in 0..k {
                            seen[matrix.code(row, col) as usize] += 1;
                        }
                    }
                    let most = 3 * (shape.elements() >> bits) + 20;
                    assert!(seen.iter().all(|&n| n < most), "{format}: {seen:?}");
                }
            }
        }
    }

    #[test]
    fn split_mix_matches_its_published_sequence() {
        // First numbers of SplitMix64 from seed 1234567.
        let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423];
        assert_eq!(std::array::from_fn(|i| split_mix(1234567, i as u64)), expected);
    }

    #[test]
    fn padding_is_zero() {
        let words = random_words(3, 37 * 8 + 4, |_, _| u32::MAX);
        assert_eq!(words.len(), 12);
        assert_eq!(words[8..], [u32::MAX, 0xFFF, 0, 0]);
    }
}
