//! One tensor of a file: its name, type, shape and bytes; and what can be made of them by itself.

use std::borrow::Cow;

use half::{bf16, f16};

use super::{Dtype, WeightsError, ggml};
use crate::quant::{
    self, Format, GroupSize, QuantizedMatrix, Scales, Shape, WeightSpec, e4m3_decode, e8m0_decode,
};

/// A tensor: bytes borrowed from the file where they lie in memory.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// Name in the file.
    pub name: &'a str,
    /// Type of the elements.
    pub dtype: &'a Dtype,
    /// Extents, the slowest first, K last.
    pub shape: &'a [usize],
    /// As many bytes as type and shape ask for.
    pub bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    /// Rows of the whole tensor (all extents but the last), and K.
    ///
    /// # Errors
    /// A tensor without extents; no elements or too many.
    pub fn matrix_shape(&self) -> Result<Shape, WeightsError> {
        let Some((&k, rows)) = self.shape.split_last() else {
            return Err(WeightsError::unsupported(self.name, self.dtype, "a scalar is no matrix"));
        };
        Shape::new(rows.iter().product(), k).map_err(WeightsError::quant(self.name))
    }

    /// The tensor as a matrix, value for value: a plain type or a block type that a [`Format`] holds exactly. Extents before the
    /// last two (experts) follow one another as rows.
    ///
    /// # Errors
    /// [`WeightsError::Unsupported`] for a vector, a type that no format holds, or a K that no kernel takes;
    /// [`WeightsError::Quant`] for scales that are not finite.
    pub fn to_matrix(&self) -> Result<QuantizedMatrix, WeightsError> {
        if self.shape.len() < 2 {
            let reason = format!("shape {:?}: a matrix [n, k] is needed", self.shape);
            return Err(WeightsError::unsupported(self.name, self.dtype, reason));
        }
        self.to_rows()
    }

    /// [`to_matrix`](Self::to_matrix) that takes a vector for a matrix of one row.
    fn to_rows(&self) -> Result<QuantizedMatrix, WeightsError> {
        let shape = self.matrix_shape()?;
        let format = match self.dtype {
            Dtype::F16 => Format::F16,
            Dtype::Bf16 => Format::Bf16,
            Dtype::F32 => Format::F32,
            Dtype::Ggml(block) => return ggml::to_matrix(self, *block, shape),
            _ => {
                return Err(WeightsError::unsupported(
                    self.name,
                    self.dtype,
                    "no weight format holds this type exactly",
                ));
            }
        };
        let error = WeightsError::quant(self.name);
        let spec = WeightSpec::new(shape, format, GroupSize::G16).map_err(&error)?;
        let words = words_of(&self.bytes);
        QuantizedMatrix::from_parts(spec, words, Scales::Words(&[]), &[], 1.0).map_err(error)
    }

    /// All elements as f32, exactly: floats of up to 32 bits, f8, integers of up to 16 bits, and the block types that
    /// [`to_matrix`](Self::to_matrix) takes. f64 only where each is an f32.
    ///
    /// # Errors
    /// [`WeightsError::Unsupported`] for other types, and f64 that f32 can't hold.
    pub fn to_f32(&self) -> Result<Vec<f32>, WeightsError> {
        let bytes: &[u8] = &self.bytes;
        let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        Ok(match self.dtype {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::F16 => halves().map(|h| f16::from_bits(h).to_f32()).collect(),
            Dtype::Bf16 => halves().map(|h| bf16::from_bits(h).to_f32()).collect(),
            Dtype::U16 => halves().map(f32::from).collect(),
            Dtype::I16 => halves().map(|h| f32::from(h as i16)).collect(),
            Dtype::U8 | Dtype::Bool => bytes.iter().map(|&b| f32::from(b)).collect(),
            Dtype::I8 => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
            Dtype::F8E4M3 => bytes.iter().map(|&b| e4m3_decode(b)).collect(),
            Dtype::F8E5M2 => bytes.iter().map(|&b| quant::e5m2_decode(b)).collect(),
            Dtype::F8E8M0 => bytes.iter().map(|&b| e8m0_decode(b)).collect(),
            Dtype::F64 => {
                let narrow = |b: &[u8]| {
                    let value = f64::from_le_bytes(b.try_into().expect("eight bytes"));
                    let narrowed = value as f32;
                    (f64::from(narrowed) == value || value.is_nan()).then_some(narrowed)
                };
                let values: Option<Vec<f32>> = bytes.chunks_exact(8).map(narrow).collect();
                let inexact = "an element is no f32: read the bytes";
                values.ok_or_else(|| WeightsError::unsupported(self.name, self.dtype, inexact))?
            }
            Dtype::Ggml(_) => self.to_rows()?.dequantize(),
            _ => {
                let reason = "f32 can't hold this type exactly: read the bytes";
                return Err(WeightsError::unsupported(self.name, self.dtype, reason));
            }
        })
    }
}

/// Little-endian words.
pub(super) fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
