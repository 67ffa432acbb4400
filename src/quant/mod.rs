//! Weight formats: quantize, pack, unpack.
//!
//! A weight matrix `W` has `n` rows (outputs) and `k` columns (inputs). Every run of `group` weights along K
//! shares one scale `s`, and where the format has them one zero point `z` or one bias `b`. With code `q`:
//!
//! | format | weight | code | group sizes | stored per group | else |
//! |---|---|---|---|---|---|
//! | [`Format::Fp4`] | `e2m1(q)·s` | 4 bits | 16, 32, 64, 128 | f16 | – |
//! | [`Format::Int4Sym`] | `(q − 8)·s` | 4 bits | 16, 32, 64, 128 | f16 | – |
//! | [`Format::Int4Asym`] | `(q − z)·s` | 4 bits | 16, 32, 64, 128 | f16 and a 4-bit zero point `z` | – |
//! | [`Format::Int4Asym5`] | `(q − z)·s` | 4 bits | 16, 32, 64, 128 | f16 and a 5-bit zero point `z` | – |
//! | [`Format::Int4Affine`] | `q·s + b` | 4 bits | 16, 32, 64, 128 | two f16 (or bf16, f32: two more formats) | – |
//! | [`Format::Q4K`] | `q·(d·s) − m·b` | 4 bits | 32 | two 6-bit factors `s`, `b` | f16 `d`, `m` per 256 |
//! | [`Format::Q6K`] | `(q − 32)·(d·s)` | 6 bits | 16 | signed byte `s` | f16 `d` per 256 |
//! | [`Format::Int8`] | `q·s` | signed byte | 32 | f16 | – |
//! | [`Format::Mxfp4`] | `e2m1(q)·s` | 4 bits | 32 | E8M0 byte | – |
//! | [`Format::Nvfp4`] | `e2m1(q)·s·t` | 4 bits | 16 | E4M3 byte | one f32 `t` per tensor |
//! | [`Format::F16`], [`Format::Bf16`], [`Format::F32`] | `q` | 16, 32 bits | – | – | – |
//!
//! E2M1 codes 0..7 are 0, 0.5, 1, 1.5, 2, 3, 4, 6; bit 3 is the sign. MXFP4 follows the OCP Microscaling
//! Formats (MX) Specification v1.0, E4M3 the OCP 8-bit Floating Point Specification (OFP8) v1.0. Q4_0, Q4_1, Q8_0, Q4_K and
//! Q6_K of GGUF files are `Int4Sym`, `Int4Affine`, `Int8`, `Q4K` and `Q6K`, bit for bit in value: see the `weights` module.
//!
//! # Bits in memory
//!
//! Separate arrays of little-endian `u32` words, each padded with zeros to a multiple of 16 bytes, so that
//! a kernel may read any of them as `array<vec4<u32>>`:
//!
//! - **words**: the codes, row after row, in order along K, the first in the lowest bits: eight codes of four bits in a word,
//!   four bytes, two halves, one f32. Codes of six bits come in runs of 64: eight words of low nibbles, four words of high
//!   pairs. A row is a multiple of 8 bytes.
//! - **scales**: group `(row, g)`, where `g = col / group`, has index `i = row·(k/group) + g`. An f16 scale is bits
//!   `16·(i mod 2)..` of word `i/2`, a byte scale is bits `8·(i mod 4)..` of word `i/4`; a pair of f16 or bf16 is word `i`,
//!   the scale in its low half, the bias in its high half; a pair of f32 is words `2i` and `2i + 1`. Rows are not padded.
//!   `Q4K` has four words per block of eight groups: f16 `d` and `m`; the low nibbles of the eight `s`; of the eight `b`;
//!   the high pairs, of `s` in bits `4j..4j+2` and of `b` in bits `4j+2..4j+4`. `Q6K` has five words per block of sixteen
//!   groups: sixteen bytes, then f16 `d`.
//! - **zero points** ([`Format::Int4Asym`] and [`Format::Int4Asym5`] only, else empty): group `i` has bits `4·(i mod 8)..` of
//!   word `i/8`, or bits `5·(i mod 6)..` of word `i/6`.
//! - **tensor scale**: one f32, 1 where the format has none. It is passed as a kernel parameter.
//!
//! # Bytes per weight
//!
//! | format | file | here |
//! |---|---|---|
//! | Q4_0, symmetric GPTQ g128 | 0.5625, 0.5156 | the same |
//! | Q4_1, MLX affine g64 | 0.625, 0.5625 | the same |
//! | AWQ, GPTQ g128 | 0.5195 | the same; with a zero point of 16: 0.5208 |
//! | Q4_K | 0.5625 | the same |
//! | Q6_K | 0.8203 | 0.8281 |
//! | Q8_0 | 1.0625 | the same |
//! | MXFP4, NVFP4 | 0.5313, 0.5625 | the same |
//!
//! [`quantize`] writes only scales and biases that are zero or normal numbers of their encoding (f16) or of f32, because
//! WGSL allows a device to flush subnormals to zero.
//!
//! # Example
//!
//! ```
//! use wgpu_marlin::quant::{ErrorStats, Format, GroupSize, Shape, quantize};
//!
//! let shape = Shape::new(2, 64)?;
//! let weights: Vec<f32> = (0..128).map(|i| (i as f32 * 0.37).sin()).collect();
//! let matrix = quantize(&weights, shape, Format::Fp4, GroupSize::G32)?;
//! let stats = ErrorStats::between(&weights, &matrix.dequantize());
//! assert!(stats.relative < 0.15);
//! # Ok::<(), wgpu_marlin::quant::QuantError>(())
//! ```

mod codec;
mod error;
mod format;
#[cfg_attr(not(feature = "weights"), allow(dead_code, reason = "readers build blocks"))]
pub(crate) mod k_quant;
mod matrix;
mod pack;
mod quantize;
mod random;
mod stats;

pub use codec::{
    E4M3_MAX, E8M0_NAN, FP4_VALUES, e4m3_decode, e4m3_encode, e5m2_decode, e8m0_decode, e8m0_encode_floor,
    fp4_decode, fp4_encode,
};
pub use error::QuantError;
pub use format::{CodeEncoding, Format, GroupSize, ScaleEncoding, Shape, WeightSpec};
pub use matrix::{QuantizedMatrix, Scales};
pub use pack::{pack_nibbles, unpack_nibbles};
pub use quantize::quantize;
pub use stats::ErrorStats;
