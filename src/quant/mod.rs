//! 4-bit weight formats: quantize, pack, unpack, layouts.
//!
//! A weight matrix `W` has `n` rows (outputs) and `k` columns (inputs). Every run of `group` weights along K
//! shares one scale, and in [`Format::Int4Asym`] one zero point. With code `q` in `0..16`:
//!
//! | format | weight | group sizes | scale | per tensor |
//! |---|---|---|---|---|
//! | [`Format::Fp4`] | `e2m1(q)·s` | 16, 32, 64, 128 | f16 | – |
//! | [`Format::Int4Sym`] | `(q − 8)·s` | 16, 32, 64, 128 | f16 | – |
//! | [`Format::Int4Asym`] | `(q − z)·s` | 16, 32, 64, 128 | f16 and a 4-bit zero point `z` | – |
//! | [`Format::Mxfp4`] | `e2m1(q)·s` | 32 | E8M0 byte | – |
//! | [`Format::Nvfp4`] | `e2m1(q)·s·t` | 16 | E4M3 byte | one f32 `t` |
//!
//! E2M1 codes 0..7 are 0, 0.5, 1, 1.5, 2, 3, 4, 6; bit 3 is the sign. MXFP4 follows the OCP Microscaling
//! Formats (MX) Specification v1.0, E4M3 the OCP 8-bit Floating Point Specification (OFP8) v1.0.
//!
//! # Bits in memory
//!
//! Four separate arrays of little-endian `u32` words, each padded with zeros to a multiple of 16 bytes, so that
//! a kernel may read any of them as `array<vec4<u32>>`:
//!
//! - **words**: weight `i` of a word is bits `4i..4i+4`, along K. In [`RowMajor`], weight `(row, col)` is in word
//!   `row·k/8 + col/8`, bits `4·(col mod 8)..`. Groups are at least 16 long, so a row is a multiple of 8 bytes.
//! - **scales**: group `(row, g)`, where `g = col / group`, has index `i = row·(k/group) + g`. An f16 scale is bits
//!   `16·(i mod 2)..` of word `i/2`, a byte scale is bits `8·(i mod 4)..` of word `i/4`. Rows are not padded.
//! - **zero points** ([`Format::Int4Asym`] only, else empty): the nibble of group `i` is bits `4·(i mod 8)..` of word
//!   `i/8`: half a byte per group in place of two for an f16 bias, and one shift and mask to read.
//! - **tensor scale**: one f32, 1 where the format has none. It is passed as a kernel parameter.
//!
//! [`KMajor`] transposes words and scales: see there.
//!
//! [`quantize`] writes only scales that are zero or normal numbers of their encoding (f16) or of f32 (E8M0), because
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
mod layout;
mod matrix;
mod pack;
mod quantize;
mod random;
mod stats;
pub mod weights;

pub use codec::{
    E4M3_MAX, E8M0_NAN, FP4_VALUES, e4m3_decode, e4m3_encode, e8m0_decode, e8m0_encode_floor, fp4_decode,
    fp4_encode,
};
pub use error::QuantError;
pub use format::{Format, GroupSize, ScaleEncoding, Shape, WeightSpec};
pub use layout::{KMajor, Layout, RowMajor};
pub use matrix::{QuantizedMatrix, Scales};
pub use pack::{pack_nibbles, unpack_nibbles};
pub use quantize::quantize;
pub use stats::ErrorStats;
