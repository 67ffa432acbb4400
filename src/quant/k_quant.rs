//! The factors of GGUF's K-quants as they lie in memory here.
//!
//! A block of 256 weights of [`Format::Q4K`](super::Format::Q4K) has four words, so that one 16-byte load brings all of
//! them. GGUF packs its eight 6-bit scales and mins into 12 bytes in two different ways; here every group reads alike:
//!
//! | word | bits of group `j` | holds |
//! |---|---|---|
//! | 0 | 0..16, 16..32 of the block | f16 `d`, f16 `m` |
//! | 1 | `4j..4j+4` | low four bits of the scale |
//! | 2 | `4j..4j+4` | low four bits of the min |
//! | 3 | `4j..4j+2`, `4j+2..4j+4` | high two bits of the scale, of the min |
//!
//! A block of [`Format::Q6K`](super::Format::Q6K) has five words: sixteen signed bytes in order, then f16 `d` in the low
//! half of the fifth. Its codes lie in runs of 64 as twelve words: eight of low nibbles, four of high pairs, each in the
//! order of the weights.

/// The 6-bit scale and min of group `group` (0 to 7) of a block's four words.
pub(super) fn q4k_factors(unit: &[u32], group: usize) -> (u8, u8) {
    let high = unit[3] >> (4 * group);
    let scale = (unit[1] >> (4 * group) & 15) | (high & 3) << 4;
    let min = (unit[2] >> (4 * group) & 15) | (high >> 2 & 3) << 4;
    (scale as u8, min as u8)
}

/// The four words of a block of [`Format::Q4K`](super::Format::Q4K). Only the low six bits of scales and mins count.
pub(crate) fn q4k_unit(d: half::f16, m: half::f16, scales: [u8; 8], mins: [u8; 8]) -> [u32; 4] {
    let mut unit = [u32::from(d.to_bits()) | u32::from(m.to_bits()) << 16, 0, 0, 0];
    for j in 0..8 {
        let (scale, min) = (u32::from(scales[j]) & 63, u32::from(mins[j]) & 63);
        unit[1] |= (scale & 15) << (4 * j);
        unit[2] |= (min & 15) << (4 * j);
        unit[3] |= (scale >> 4 | min >> 4 << 2) << (4 * j);
    }
    unit
}

/// The five words of a block of [`Format::Q6K`](super::Format::Q6K).
pub(crate) fn q6k_unit(d: half::f16, scales: [i8; 16]) -> [u32; 5] {
    let mut unit = [0, 0, 0, 0, u32::from(d.to_bits())];
    for (j, scale) in scales.into_iter().enumerate() {
        unit[j / 4] |= u32::from(scale as u8) << (8 * (j % 4));
    }
    unit
}

/// The twelve words of 64 codes of six bits.
pub(crate) fn q6k_run(codes: &[u8; 64]) -> [u32; 12] {
    let mut run = [0; 12];
    for (i, &code) in codes.iter().enumerate() {
        run[i / 8] |= u32::from(code & 15) << (4 * (i % 8));
        run[8 + i / 16] |= u32::from(code >> 4 & 3) << (2 * (i % 16));
    }
    run
}

/// The code of weight `index` among runs of [`q6k_run`].
pub(super) fn q6k_code(words: &[u32], index: usize) -> u32 {
    let (run, i) = (index / 64 * 12, index % 64);
    let low = words[run + i / 8] >> (4 * (i % 8)) & 15;
    let high = words[run + 8 + i / 16] >> (2 * (i % 16)) & 3;
    low | high << 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    #[test]
    fn bits_by_hand() {
        let unit = q4k_unit(
            f16::from_bits(0x1234),
            f16::from_bits(0xABCD),
            [63, 0, 0x2A, 0, 0, 0, 0, 0x15],
            [0, 63, 0, 0, 0, 0, 0x35, 0],
        );
        assert_eq!(unit, [0xABCD_1234, 0x5000_0A0F, 0x0500_00F0, 0x1C00_02C3]);
        let unit = q6k_unit(f16::ONE, std::array::from_fn(|i| if i == 5 { -2 } else { 0 }));
        assert_eq!(unit, [0, 0xFE00, 0, 0, 0x3C00]);
        let mut codes = [0; 64];
        (codes[0], codes[17], codes[63]) = (0x3F, 0x21, 0x1A);
        assert_eq!(q6k_run(&codes), [0xF, 0, 0x10, 0, 0, 0, 0, 0xA000_0000, 3, 0x8, 0, 0x4000_0000]);
    }

    proptest! {
        #[test]
        fn factors_round_trip(scales: [u8; 8], mins: [u8; 8], codes in proptest::collection::vec(0..64_u8, 128)) {
            let unit = q4k_unit(f16::ONE, f16::ONE, scales, mins);
            for j in 0..8 {
                prop_assert_eq!(q4k_factors(&unit, j), (scales[j] & 63, mins[j] & 63));
            }
            let words: Vec<u32> = codes.chunks(64).flat_map(|c| q6k_run(c.try_into().unwrap())).collect();
            for (i, &code) in codes.iter().enumerate() {
                prop_assert_eq!(q6k_code(&words, i), u32::from(code));
            }
        }
    }
}
