//! GGUF's blocks to the formats of [`quant`](crate::quant): codes into order, factors apart, no number changed.
//!
//! | block | bytes | becomes |
//! |---|---|---|
//! | Q4_0 | f16 `d`, 16 bytes of codes: low nibbles are weights 0 to 15, high ones 16 to 31 | `Int4Sym` g32 |
//! | Q4_1 | f16 `d`, f16 `m`, codes as Q4_0 | `Int4Affine` g32 |
//! | Q8_0 | f16 `d`, 32 signed bytes | `Int8` |
//! | Q4_K | f16 `d`, f16 `m`, 12 bytes of 6-bit factors, 4 × 32 bytes: low nibbles are a group, high ones the next | `Q4K` |
//! | Q6_K | 128 bytes of low nibbles, 64 of high pairs, 16 signed bytes, f16 `d` | `Q6K` |
//! | MXFP4 | E8M0 byte, codes as Q4_0 | `Mxfp4` |
//! | NVFP4 | 4 E4M3 bytes without sign, 4 × 8 bytes: low nibbles are weights 0 to 7 of 16, high ones 8 to 15 | `Nvfp4` |

use half::f16;

use super::dtype::Ggml;
use super::tensor::words_of;
use super::{Tensor, WeightsError};
use crate::quant::{Format, GroupSize, QuantizedMatrix, Scales, Shape, WeightSpec, k_quant};

/// The matrix of a tensor of blocks. Whole blocks: the tensor's length was checked with the header.
pub(super) fn to_matrix(
    tensor: &Tensor<'_>,
    block: Ggml,
    shape: Shape,
) -> Result<QuantizedMatrix, WeightsError> {
    let error = WeightsError::quant(tensor.name);
    let spec = |format, group| WeightSpec::new(shape, format, group).map_err(&error);
    let blocks = || tensor.bytes.chunks_exact(block.block_bytes());
    let half = |bytes: &[u8], at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let build = |spec, words, scales: Scales<'_>| {
        QuantizedMatrix::from_parts(spec, words, scales, &[], 1.0).map_err(&error)
    };
    match block {
        Ggml::Q4_0 => {
            let scales: Vec<f16> = blocks().map(|b| half(b, 0)).collect();
            let words = blocks().flat_map(|b| split_halves(&b[2..])).collect();
            build(spec(Format::Int4Sym, GroupSize::G32)?, words, Scales::F16(&scales))
        }
        Ggml::Q4_1 => {
            let pairs: Vec<u32> = blocks().flat_map(|b| words_of(&b[..4])).collect();
            let words = blocks().flat_map(|b| split_halves(&b[4..])).collect();
            build(spec(Format::Int4Affine, GroupSize::G32)?, words, Scales::Words(&pairs))
        }
        Ggml::Q8_0 => {
            let scales: Vec<f16> = blocks().map(|b| half(b, 0)).collect();
            let words = blocks().flat_map(|b| words_of(&b[2..])).collect();
            build(spec(Format::Int8, GroupSize::G32)?, words, Scales::F16(&scales))
        }
        Ggml::MXFP4 => {
            let scales: Vec<u8> = blocks().map(|b| b[0]).collect();
            let words = blocks().flat_map(|b| split_halves(&b[1..]).map(positive_zeros)).collect();
            build(spec(Format::Mxfp4, GroupSize::G32)?, words, Scales::Bytes(&scales))
        }
        Ggml::NVFP4 => {
            // The sign is not looked at, and 0x7F stands for 0.
            let scale = |byte: u8| if byte & 0x7F == 0x7F { 0 } else { byte & 0x7F };
            let scales: Vec<u8> = blocks().flat_map(|b| b[..4].iter().map(|&b| scale(b))).collect();
            let words = blocks()
                .flat_map(|b| {
                    b[4..].chunks_exact(8).flat_map(|b| [nibbles(b, 0), nibbles(b, 4)].map(positive_zeros))
                })
                .collect();
            build(spec(Format::Nvfp4, GroupSize::G16)?, words, Scales::Bytes(&scales))
        }
        Ggml::Q4_K => {
            let spec = spec(Format::Q4K, GroupSize::G32)?;
            let units: Vec<u32> = blocks()
                .flat_map(|b| {
                    let (scales, mins) = six_bit_factors(&b[4..16]);
                    k_quant::q4k_unit(half(b, 0), half(b, 2), scales, mins)
                })
                .collect();
            let words = blocks()
                .flat_map(|b| b[16..].chunks_exact(32))
                .flat_map(|chunk| {
                    [0, 4].map(|shift| std::array::from_fn(|i| nibbles(&chunk[8 * i..], shift)))
                })
                .flat_map(|group: [u32; 4]| group)
                .collect();
            build(spec, words, Scales::Words(&units))
        }
        Ggml::Q6_K => {
            let spec = spec(Format::Q6K, GroupSize::G16)?;
            let units: Vec<u32> = blocks()
                .flat_map(|b| k_quant::q6k_unit(half(b, 208), std::array::from_fn(|i| b[192 + i] as i8)))
                .collect();
            let words = blocks().flat_map(q6k_words).collect();
            build(spec, words, Scales::Words(&units))
        }
        _ => Err(WeightsError::unsupported(
            tensor.name,
            tensor.dtype,
            "of GGUF's block types Q4_0, Q4_1, Q8_0, Q4_K, Q6_K, MXFP4 and NVFP4 are read",
        )),
    }
}

/// The low (`shift` 0) or high (4) nibbles of eight bytes in a word.
fn nibbles(bytes: &[u8], shift: u32) -> u32 {
    (0..8).fold(0, |word, i| word | u32::from(bytes[i] >> shift & 15) << (4 * i))
}

/// Eight E2M1 codes with 0 for -0: GGUF decodes by a table of integers, in which code 8 is 0.
fn positive_zeros(word: u32) -> u32 {
    let is_minus_zero = |i: u32| word >> (4 * i) & 15 == 8;
    (0..8).filter(|&i| is_minus_zero(i)).fold(word, |word, i| word & !(15 << (4 * i)))
}

/// 16 bytes whose low nibbles come first, then the high ones.
fn split_halves(bytes: &[u8]) -> [u32; 4] {
    [nibbles(bytes, 0), nibbles(&bytes[8..], 0), nibbles(bytes, 4), nibbles(&bytes[8..], 4)]
}

/// The scales and mins of Q4_K's twelve bytes: four of each as they are, the high pairs of the other four above them.
fn six_bit_factors(s: &[u8]) -> ([u8; 8], [u8; 8]) {
    let scales = std::array::from_fn(|j| match j {
        0..4 => s[j] & 63,
        _ => (s[j + 4] & 15) | (s[j - 4] >> 6) << 4,
    });
    let mins = std::array::from_fn(|j| match j {
        0..4 => s[j + 4] & 63,
        _ => (s[j + 4] >> 4) | (s[j] >> 6) << 4,
    });
    (scales, mins)
}

/// The codes of a Q6_K block in order. In each half of 128 weights, weight `32q + l` has its low nibble in byte
/// `32·(q mod 2) + l`, low for `q` below 2, and its high pair in bits `2q..` of byte `l`.
fn q6k_words(block: &[u8]) -> Vec<u32> {
    let mut words = Vec::with_capacity(48);
    for half in 0..2 {
        let (low, high) = (&block[64 * half..][..64], &block[128 + 32 * half..][..32]);
        for pair in 0..2 {
            let codes: [u8; 64] = std::array::from_fn(|i| {
                let (q, l) = (2 * pair + i / 32, i % 32);
                let nibble = low[32 * (q % 2) + l] >> (4 * (q / 2)) & 15;
                nibble | (high[l] >> (2 * q) & 3) << 4
            });
            words.extend(k_quant::q6k_run(&codes));
        }
    }
    words
}
