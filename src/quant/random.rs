//! Seeded random matrices in packed form, for benchmarks and edge corpora.

use rayon::prelude::*;

use super::pack::padded;
use super::{Format, GroupSize, QuantError, QuantizedMatrix, ScaleEncoding, Shape, WeightSpec};

impl QuantizedMatrix {
    /// The tensor scale of random NVFP4 matrices.
    pub const RANDOM_TENSOR_SCALE: f32 = 0.0173;

    /// A matrix of random codes under random scales: the same for the same arguments on every machine.
    ///
    /// Nothing is quantized on the way, so 256 M weights take well under a second. Codes are uniform over all 16,
    /// scales differ from group to group between 2^-9 and 2^-6, all normal, none NaN: weights of the size that layers
    /// of a few thousand inputs have.
    ///
    /// # Errors
    /// A group size that the format does not have, or K not a multiple of it.
    pub fn random(shape: Shape, format: Format, group: GroupSize, seed: u64) -> Result<Self, QuantError> {
        let spec = WeightSpec::new(shape, format, group)?;
        let words = random_words(seed, 4 * spec.shape().elements(), |word| word);
        let scales =
            random_words(seed ^ 0x5CA1E, 8 * spec.scale_bytes(), |word| match format.scale_encoding() {
                // Exponent 2^-8 or 2^-7, any mantissa.
                ScaleEncoding::F16 => (word & 0x07FF_07FF) + 0x1C00_1C00,
                // 2^-9 to 2^-6.
                ScaleEncoding::E8M0 => (word & 0x0303_0303) + 0x7676_7676,
                // 0.25 to 0.9375, under a tensor scale of about 2^-6.
                ScaleEncoding::E4M3 => (word & 0x0F0F_0F0F) + 0x2828_2828,
            });
        let zero_point_bits = if format.has_zero_points() { 4 * spec.group_count() } else { 0 };
        let zero_points = random_words(seed ^ 0x2E05, zero_point_bits, |word| word);
        let tensor_scale = if format == Format::Nvfp4 { Self::RANDOM_TENSOR_SCALE } else { 1.0 };
        Ok(QuantizedMatrix::from_packed(spec, words, scales, zero_points, tensor_scale))
    }
}

/// Random words, zero beyond `bits` up to a multiple of 16.
fn random_words(seed: u64, bits: usize, map: impl Fn(u32) -> u32 + Sync) -> Vec<u32> {
    let mut words = vec![0_u32; padded(bits.div_ceil(32))];
    let used = bits.div_ceil(32);
    words[..used].par_chunks_mut(1 << 14).enumerate().for_each(|(chunk, words)| {
        for (pair_ix, pair) in words.chunks_mut(2).enumerate() {
            let random = split_mix(seed, (chunk << 13 | pair_ix) as u64);
            pair[0] = map(random as u32);
            if let Some(second) = pair.get_mut(1) {
                *second = map((random >> 32) as u32);
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
                let shape = Shape::new(33, 3 * group.get()).unwrap();
                let matrix = QuantizedMatrix::random(shape, format, group, 1).unwrap();
                assert_eq!(matrix, QuantizedMatrix::random(shape, format, group, 1).unwrap());
                assert_ne!(matrix, QuantizedMatrix::random(shape, format, group, 2).unwrap());
                let mut scales: Vec<f32> = (0..33)
                    .flat_map(|row| (0..3).map(move |g| (row, g)))
                    .map(|(row, g)| matrix.scale(row, g) * matrix.tensor_scale())
                    .collect();
                assert!(
                    scales.iter().all(|&s| (1.0 / 512.0..1.0 / 32.0).contains(&s)),
                    "{format}: {scales:?}"
                );
                scales.sort_by(f32::total_cmp);
                scales.dedup();
                assert!(scales.len() >= 4, "{format}: {scales:?}");
                let mut seen = [0_usize; 16];
                for row in 0..33 {
                    for col in 0..shape.k() {
                        seen[usize::from(matrix.code(row, col))] += 1;
                    }
                }
                let expected = shape.elements() / 16;
                assert!(seen.iter().all(|&n| n > expected / 2 && n < expected * 2), "{seen:?}");
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
        let words = random_words(3, 37 * 8 + 4, |_| u32::MAX);
        assert_eq!(words.len(), 12);
        assert_eq!(words[8..], [u32::MAX, 0xFFF, 0, 0]);
    }
}
