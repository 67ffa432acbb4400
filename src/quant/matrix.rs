//! A quantized matrix and its plain decoding.

use std::marker::PhantomData;

use half::f16;
use rayon::prelude::*;

use super::pack::{field, nibble, pack_fields, padded};
use super::{Format, GroupSize, KMajor, Layout, QuantError, RowMajor, ScaleEncoding, Shape, WeightSpec};

/// A weight matrix in four bits: nibbles, scales and zero points in separate arrays. See the [module](super) for bits.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMatrix<L: Layout = RowMajor> {
    spec: WeightSpec,
    words: Vec<u32>,
    scales: Vec<u32>,
    zero_points: Vec<u32>,
    tensor_scale: f32,
    layout: PhantomData<L>,
}

/// Group scales as they come from elsewhere, one per group in the order of the layout.
#[derive(Debug, Clone, Copy)]
pub enum Scales<'a> {
    /// For [`ScaleEncoding::F16`].
    F16(&'a [f16]),
    /// For [`ScaleEncoding::E8M0`] and [`ScaleEncoding::E4M3`].
    Bytes(&'a [u8]),
}

impl<L: Layout> QuantizedMatrix<L> {
    /// A matrix that was quantized elsewhere, its parts in the order of layout `L`.
    ///
    /// `words` are the packed nibbles without padding. `zero_points` are empty for formats without them;
    /// `tensor_scale` is 1 for formats without one.
    ///
    /// # Errors
    /// Parts whose length or encoding does not fit `spec`, zero points above 15, scales that are not finite.
    pub fn from_parts(
        spec: WeightSpec,
        mut words: Vec<u32>,
        scales: Scales<'_>,
        zero_points: &[u8],
        tensor_scale: f32,
    ) -> Result<Self, QuantError> {
        let groups = spec.group_count();
        check_length("words", spec.word_count(), words.len())?;
        check_length(
            "zero points",
            if spec.format().has_zero_points() { groups } else { 0 },
            zero_points.len(),
        )?;
        if let Some(index) = zero_points.iter().position(|&zero| zero > 15) {
            return Err(QuantError::Nibble { what: "zero point", index, value: zero_points[index] });
        }
        let encoding = spec.format().scale_encoding();
        let scales = match scales {
            Scales::F16(halves) if encoding == ScaleEncoding::F16 => {
                check_length("scales", groups, halves.len())?;
                pack_fields(halves.iter().map(|half| half.to_bits()), 16)
            }
            Scales::Bytes(bytes) if encoding != ScaleEncoding::F16 => {
                check_length("scales", groups, bytes.len())?;
                pack_fields(bytes.iter().map(|&byte| u16::from(byte)), 8)
            }
            Scales::F16(_) => return Err(QuantError::ScaleEncoding { format: spec.format(), got: "f16" }),
            Scales::Bytes(_) => {
                return Err(QuantError::ScaleEncoding { format: spec.format(), got: "bytes" });
            }
        };
        for index in 0..groups {
            let value = encoding.decode(field(&scales, index, encoding.bits()));
            if !value.is_finite() {
                return Err(QuantError::NonFiniteScale { index, value });
            }
        }
        if !tensor_scale.is_finite() {
            return Err(QuantError::NonFiniteScale { index: groups, value: tensor_scale });
        }
        words.resize(padded(words.len()), 0);
        let zero_points = pack_fields(zero_points.iter().map(|&zero| u16::from(zero)), 4);
        Ok(Self::from_packed(spec, words, scales, zero_points, tensor_scale))
    }

    /// Parts that are already packed, padded and valid.
    pub(super) fn from_packed(
        spec: WeightSpec,
        words: Vec<u32>,
        scales: Vec<u32>,
        zero_points: Vec<u32>,
        tensor_scale: f32,
    ) -> Self {
        debug_assert_eq!(words.len(), padded(spec.word_count()));
        debug_assert_eq!(scales.len(), padded(spec.scale_bytes().div_ceil(4)));
        debug_assert_eq!(zero_points.len(), padded(spec.zero_point_bytes().div_ceil(4)));
        QuantizedMatrix { spec, words, scales, zero_points, tensor_scale, layout: PhantomData }
    }

    /// Shape, format and group size.
    pub fn spec(&self) -> WeightSpec {
        self.spec
    }

    /// Rows and columns.
    pub fn shape(&self) -> Shape {
        self.spec.shape()
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.spec.format()
    }

    /// The group size.
    pub fn group(&self) -> GroupSize {
        self.spec.group()
    }

    /// The packed nibbles, padded to 16 bytes.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The packed scales, padded to 16 bytes.
    pub fn scales(&self) -> &[u32] {
        &self.scales
    }

    /// The packed zero points, padded to 16 bytes; empty unless the format has them.
    pub fn zero_points(&self) -> &[u32] {
        &self.zero_points
    }

    /// The factor of the whole tensor; 1 unless the format has one.
    pub fn tensor_scale(&self) -> f32 {
        self.tensor_scale
    }

    /// The code of weight (`row`, `col`).
    ///
    /// # Panics
    /// If `row` or `col` is out of the shape, like a slice's index.
    pub fn code(&self, row: usize, col: usize) -> u8 {
        self.assert_inside(row, col);
        nibble(&self.words, L::word_index(&self.spec, row, col / 8) * 8 + col % 8)
    }

    /// The scale of group `group_ix` of `row`, without the tensor scale. Exact.
    ///
    /// # Panics
    /// If `row` or `group_ix` is out of the shape.
    pub fn scale(&self, row: usize, group_ix: usize) -> f32 {
        self.assert_inside(row, group_ix * self.group().get());
        let encoding = self.format().scale_encoding();
        encoding.decode(field(&self.scales, L::group_index(&self.spec, row, group_ix), encoding.bits()))
    }

    /// The zero point of group `group_ix` of `row`: 8 in [`Format::Int4Sym`], 0 in the E2M1 formats.
    ///
    /// # Panics
    /// If `row` or `group_ix` is out of the shape.
    pub fn zero_point(&self, row: usize, group_ix: usize) -> u8 {
        self.assert_inside(row, group_ix * self.group().get());
        match self.format() {
            Format::Int4Asym => nibble(&self.zero_points, L::group_index(&self.spec, row, group_ix)),
            Format::Int4Sym => 8,
            Format::Fp4 | Format::Mxfp4 | Format::Nvfp4 => 0,
        }
    }

    /// Weight (`row`, `col`) decoded exactly: the oracle of the kernels.
    ///
    /// # Panics
    /// If `row` or `col` is out of the shape, like a slice's index.
    pub fn value(&self, row: usize, col: usize) -> f64 {
        let group_ix = col / self.group().get();
        let unscaled = self.format().code_value(self.code(row, col), self.zero_point(row, group_ix));
        f64::from(unscaled) * f64::from(self.scale(row, group_ix)) * f64::from(self.tensor_scale)
    }

    /// All weights, row-major `[n, k]`: [`value`](Self::value) rounded once to f32. On all of rayon's threads.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut values = vec![0.0_f32; self.shape().elements()];
        values
            .par_chunks_exact_mut(self.shape().k())
            .enumerate()
            .for_each(|(row, values)| self.dequantize_row(row, values));
        values
    }

    /// [`dequantize`](Self::dequantize) on the calling thread alone, for where waiting for other threads is not
    /// allowed: inside a lock or a [`OnceLock`](std::sync::OnceLock) that rayon's threads ask for.
    pub fn dequantize_serial(&self) -> Vec<f32> {
        let mut values = vec![0.0_f32; self.shape().elements()];
        let rows = values.chunks_exact_mut(self.shape().k()).enumerate();
        rows.for_each(|(row, values)| self.dequantize_row(row, values));
        values
    }

    fn dequantize_row(&self, row: usize, values: &mut [f32]) {
        let group = self.group().get();
        for (group_ix, values) in values.chunks_exact_mut(group).enumerate() {
            let scale = f64::from(self.scale(row, group_ix)) * f64::from(self.tensor_scale);
            let zero_point = self.zero_point(row, group_ix);
            let table: [f32; 16] = std::array::from_fn(|code| {
                (f64::from(self.format().code_value(code as u8, zero_point)) * scale) as f32
            });
            for (word_ix, values) in values.chunks_exact_mut(8).enumerate() {
                let word = self.words[L::word_index(&self.spec, row, group_ix * group / 8 + word_ix)];
                for (i, value) in values.iter_mut().enumerate() {
                    *value = table[(word >> (4 * i) & 15) as usize];
                }
            }
        }
    }

    fn assert_inside(&self, row: usize, col: usize) {
        let shape = self.shape();
        assert!(row < shape.n() && col < shape.k(), "({row}, {col}) is outside of a {shape} matrix");
    }

    /// The same matrix in another layout.
    pub fn to_layout<M: Layout>(&self) -> QuantizedMatrix<M> {
        let spec = self.spec;
        let mut words = vec![0_u32; self.words.len()];
        for row in 0..spec.shape().n() {
            for word in 0..spec.words_per_row() {
                words[M::word_index(&spec, row, word)] = self.words[L::word_index(&spec, row, word)];
            }
        }
        // Where each group of the new order lies in the old one.
        let mut from = vec![0_usize; spec.group_count()];
        for row in 0..spec.shape().n() {
            for group_ix in 0..spec.groups_per_row() {
                from[M::group_index(&spec, row, group_ix)] = L::group_index(&spec, row, group_ix);
            }
        }
        let bits = spec.format().scale_encoding().bits();
        let scales = pack_fields(from.iter().map(|&i| field(&self.scales, i, bits)), bits);
        let zero_points = if spec.format().has_zero_points() {
            pack_fields(from.iter().map(|&i| u16::from(nibble(&self.zero_points, i))), 4)
        } else {
            Vec::new()
        };
        QuantizedMatrix::from_packed(spec, words, scales, zero_points, self.tensor_scale)
    }
}

impl QuantizedMatrix<RowMajor> {
    /// The same matrix with words and groups transposed.
    pub fn to_k_major(&self) -> QuantizedMatrix<KMajor> {
        self.to_layout()
    }
}

fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), QuantError> {
    if expected == got { Ok(()) } else { Err(QuantError::Length { what, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(n: usize, k: usize, format: Format, group: usize) -> WeightSpec {
        WeightSpec::new(Shape::new(n, k).unwrap(), format, GroupSize::try_from(group).unwrap()).unwrap()
    }

    /// Every (code, scale bits) pair of every format: the matrix's decoding against the formula in f64.
    #[test]
    fn all_codes_under_all_scales() {
        for format in Format::ALL {
            let group = format.group_sizes()[0].get();
            let halves: Vec<u16> = (0..=u16::MAX).filter(|&b| f16::from_bits(b).is_finite()).collect();
            let bytes: Vec<u8> =
                (0..=u8::MAX).filter(|&b| format.scale_encoding().decode(b.into()).is_finite()).collect();
            let encoding = format.scale_encoding();
            let rows = if encoding == ScaleEncoding::F16 { halves.len() } else { bytes.len() };
            let spec = spec(rows, group, format, group);
            let words = [0x7654_3210, 0xFEDC_BA98].repeat(rows * group / 16);
            let halves: Vec<f16> = halves.into_iter().map(f16::from_bits).collect();
            let scales =
                if encoding == ScaleEncoding::F16 { Scales::F16(&halves) } else { Scales::Bytes(&bytes) };
            let zeros: Vec<u8> = if format.has_zero_points() {
                (0..rows).map(|i| (i * 7 % 16) as u8).collect()
            } else {
                vec![]
            };
            let tensor_scale = if format == Format::Nvfp4 { 0.3 } else { 1.0 };
            let matrix =
                QuantizedMatrix::<RowMajor>::from_parts(spec, words, scales, &zeros, tensor_scale).unwrap();
            let all = matrix.dequantize();
            for row in 0..rows {
                let scale = match encoding {
                    ScaleEncoding::F16 => halves[row].to_f64(),
                    _ => f64::from(encoding.decode(bytes[row].into())),
                };
                for col in 0..group {
                    let code = col % 16;
                    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][code % 8];
                    let unscaled = match format {
                        Format::Int4Sym => code as f64 - 8.0,
                        Format::Int4Asym => code as f64 - f64::from(zeros[row]),
                        _ if code < 8 => magnitude,
                        _ => -magnitude,
                    };
                    let expected = unscaled * scale * f64::from(tensor_scale);
                    assert_eq!(matrix.value(row, col), expected, "{format} row {row} code {code}");
                    assert_eq!(all[row * group + col], expected as f32);
                }
            }
        }
    }

    #[test]
    fn k_major_is_the_same_matrix() {
        for format in Format::ALL {
            let matrix = QuantizedMatrix::random(
                Shape::new(3, 96 + 64 * usize::from(format != Format::Nvfp4)).unwrap(),
                format,
                format.group_sizes()[0],
                7,
            )
            .unwrap();
            let transposed = matrix.to_k_major();
            assert_eq!(transposed.words()[1], matrix.words()[matrix.spec().words_per_row()]);
            assert_ne!(transposed.words(), matrix.words());
            assert_eq!(transposed.dequantize(), matrix.dequantize());
            assert_eq!(transposed.to_layout::<RowMajor>(), matrix);
        }
    }

    #[test]
    fn from_parts_names_what_is_wrong() {
        let fp4 = spec(2, 32, Format::Fp4, 32);
        let ones = [f16::ONE; 2];
        let build = |spec, words, scales, zeros: &[u8], tensor| {
            QuantizedMatrix::<RowMajor>::from_parts(spec, vec![0; words], scales, zeros, tensor).unwrap_err()
        };
        assert_eq!(
            build(fp4, 7, Scales::F16(&ones), &[], 1.0),
            QuantError::Length { what: "words", expected: 8, got: 7 }
        );
        assert_eq!(
            build(fp4, 8, Scales::F16(&ones[..1]), &[], 1.0),
            QuantError::Length { what: "scales", expected: 2, got: 1 }
        );
        assert_eq!(
            build(fp4, 8, Scales::F16(&ones), &[0, 0], 1.0),
            QuantError::Length { what: "zero points", expected: 0, got: 2 }
        );
        assert_eq!(
            build(fp4, 8, Scales::Bytes(&[0, 0]), &[], 1.0),
            QuantError::ScaleEncoding { format: Format::Fp4, got: "bytes" }
        );
        let asym = spec(2, 32, Format::Int4Asym, 32);
        assert_eq!(
            build(asym, 8, Scales::F16(&ones), &[3, 16], 1.0),
            QuantError::Nibble { what: "zero point", index: 1, value: 16 }
        );
        let mx = spec(2, 32, Format::Mxfp4, 32);
        assert!(matches!(
            build(mx, 8, Scales::Bytes(&[3, 255]), &[], 1.0),
            QuantError::NonFiniteScale { index: 1, .. }
        ));
        assert!(matches!(
            build(mx, 8, Scales::Bytes(&[3, 3]), &[], f32::INFINITY),
            QuantError::NonFiniteScale { index: 2, .. }
        ));
    }

    #[test]
    fn arrays_are_padded_to_16_bytes() {
        let matrix =
            QuantizedMatrix::random(Shape::new(3, 48).unwrap(), Format::Int4Asym, GroupSize::G16, 1).unwrap();
        assert_eq!(matrix.words().len(), 20, "18 words");
        assert_eq!(matrix.scales().len(), 8, "9 halves");
        assert_eq!(matrix.zero_points().len(), 4, "9 nibbles");
        assert_eq!(matrix.words()[18..], [0, 0]);
        assert_eq!(matrix.spec().total_bytes(), 72 + 18 + 5);
    }
}
