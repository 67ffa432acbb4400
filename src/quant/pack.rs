//! Nibbles, bytes and halves in little-endian words.

use super::QuantError;

/// Packs codes eight to a word, the first in bits 0..4. A last word that is not full ends in zeros.
///
/// # Errors
/// [`QuantError::Nibble`] for a code above 15.
pub fn pack_nibbles(codes: &[u8]) -> Result<Vec<u32>, QuantError> {
    if let Some(index) = codes.iter().position(|&code| code > 15) {
        return Err(QuantError::Nibble { what: "code", index, value: codes[index] });
    }
    Ok(codes.chunks(8).map(pack_word).collect())
}

/// The first `count` nibbles of `words`.
///
/// # Errors
/// [`QuantError::Length`] if `words` holds fewer.
pub fn unpack_nibbles(words: &[u32], count: usize) -> Result<Vec<u8>, QuantError> {
    if words.len() < count.div_ceil(8) {
        return Err(QuantError::Length {
            what: "words of nibbles",
            expected: count.div_ceil(8),
            got: words.len(),
        });
    }
    Ok((0..count).map(|i| nibble(words, i)).collect())
}

/// Up to eight codes below 16 in one word.
pub(super) fn pack_word(codes: &[u8]) -> u32 {
    codes.iter().rev().fold(0, |word, &code| word << 4 | u32::from(code))
}

/// Nibble `index` of the array.
pub(super) fn nibble(words: &[u32], index: usize) -> u8 {
    (words[index / 8] >> (4 * (index % 8)) & 15) as u8
}

/// Field `index` of `bits` (8 or 16) bits.
pub(super) fn field(words: &[u32], index: usize, bits: usize) -> u16 {
    let per_word = 32 / bits;
    let shifted = words[index / per_word] >> (bits * (index % per_word));
    (shifted & ((1_u32 << bits) - 1)) as u16
}

/// Field `index` of `bits` (4, 8, 16 or 32) bits.
pub(super) fn bit_field(words: &[u32], index: usize, bits: usize) -> u32 {
    let per_word = 32 / bits;
    words[index / per_word] >> (bits * (index % per_word)) & (u32::MAX >> (32 - bits))
}

/// Packs fields of `bits` (4, 8 or 16) bits, padded with zeros to a multiple of four words.
pub(super) fn pack_fields(fields: impl ExactSizeIterator<Item = u16>, bits: usize) -> Vec<u32> {
    let per_word = 32 / bits;
    let mut words = vec![0_u32; padded(fields.len().div_ceil(per_word))];
    for (i, field) in fields.enumerate() {
        words[i / per_word] |= u32::from(field) << (bits * (i % per_word));
    }
    words
}

/// `words` rounded up to 16 bytes.
pub(super) const fn padded(words: usize) -> usize {
    words.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_nibble_is_lowest() {
        assert_eq!(pack_nibbles(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), Ok(vec![0x8765_4321, 9]));
        assert_eq!(pack_nibbles(&[0, 16]), Err(QuantError::Nibble { what: "code", index: 1, value: 16 }));
        assert!(matches!(unpack_nibbles(&[0], 9), Err(QuantError::Length { expected: 2, got: 1, .. })));
    }

    #[test]
    fn fields_are_little_endian_and_padded() {
        let halves = pack_fields([0x1122_u16, 0x3344, 0x5566].into_iter(), 16);
        assert_eq!(halves, [0x3344_1122, 0x5566, 0, 0]);
        let bytes = pack_fields([0x11_u16, 0x22, 0x33, 0x44, 0x55].into_iter(), 8);
        assert_eq!(bytes, [0x4433_2211, 0x55, 0, 0]);
        assert_eq!((field(&halves, 2, 16), field(&bytes, 3, 8)), (0x5566, 0x44));
    }

    proptest! {
        #[test]
        fn nibbles_round_trip(codes in proptest::collection::vec(0..16_u8, 0..100)) {
            let words = pack_nibbles(&codes).unwrap();
            prop_assert_eq!(words.len(), codes.len().div_ceil(8));
            prop_assert_eq!(unpack_nibbles(&words, codes.len()).unwrap(), codes);
        }

        #[test]
        fn fields_round_trip(fields in proptest::collection::vec(any::<u16>(), 1..100), wide in any::<bool>()) {
            let bits = if wide { 16 } else { 8 };
            let fields: Vec<u16> = fields.iter().map(|f| f & ((1_u32 << bits) - 1) as u16).collect();
            let words = pack_fields(fields.iter().copied(), bits);
            prop_assert_eq!(words.len() % 4, 0);
            let got: Vec<u16> = (0..fields.len()).map(|i| field(&words, i, bits)).collect();
            prop_assert_eq!(got, fields);
        }
    }
}
