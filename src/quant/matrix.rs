//! A quantized matrix and its plain decoding.

use half::f16;
use rayon::prelude::*;

use super::pack::{bit_field, nibble, pack_fields, padded};
use super::{CodeEncoding, Format, GroupSize, QuantError, ScaleEncoding, Shape, WeightSpec, k_quant};

/// A weight matrix as kernels read it: codes, scales and zero points in separate arrays. See the [module](super) for bits.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMatrix {
    spec: WeightSpec,
    words: Vec<u32>,
    scales: Vec<u32>,
    zero_points: Vec<u32>,
    tensor_scale: f32,
}

/// Group scales as they come from elsewhere, row after row.
#[derive(Debug, Clone, Copy)]
pub enum Scales<'a> {
    /// For [`ScaleEncoding::F16`], one per group.
    F16(&'a [f16]),
    /// For [`ScaleEncoding::E8M0`] and [`ScaleEncoding::E4M3`], one per group.
    Bytes(&'a [u8]),
    /// For all others: words as the [module](super) describes them; none for plain formats.
    Words(&'a [u32]),
}

impl QuantizedMatrix {
    /// A matrix that was quantized elsewhere.
    ///
    /// `words` are the packed codes without padding. `zero_points` are empty for formats without them;
    /// `tensor_scale` is 1 for formats without one.
    ///
    /// # Errors
    /// Parts whose length or encoding does not fit `spec`, zero points beyond the format's bits, scales that are not
    /// finite.
    pub fn from_parts(
        spec: WeightSpec,
        mut words: Vec<u32>,
        scales: Scales<'_>,
        zero_points: &[u8],
        tensor_scale: f32,
    ) -> Result<Self, QuantError> {
        let (format, groups) = (spec.format(), spec.group_count());
        check_length("words", spec.word_count(), words.len())?;
        check_length("zero points", if format.has_zero_points() { groups } else { 0 }, zero_points.len())?;
        let most = ((1_u32 << format.zero_point_bits()) - 1) as u8;
        if let Some(index) = zero_points.iter().position(|&zero| zero > most) {
            return Err(QuantError::ZeroPoint { format, index, value: zero_points[index], most });
        }
        let encoding = format.scale_encoding();
        let scales = match (scales, encoding) {
            (Scales::F16(halves), ScaleEncoding::F16) => {
                check_length("scales", groups, halves.len())?;
                pack_fields(halves.iter().map(|half| half.to_bits()), 16)
            }
            (Scales::Bytes(bytes), ScaleEncoding::E8M0 | ScaleEncoding::E4M3) => {
                check_length("scales", groups, bytes.len())?;
                pack_fields(bytes.iter().map(|&byte| u16::from(byte)), 8)
            }
            (Scales::Words(words), _) if encoding.field_bits().is_none() => {
                check_length("scale words", spec.scale_words(), words.len())?;
                let mut words = words.to_vec();
                words.resize(padded(words.len()), 0);
                words
            }
            (Scales::F16(_), _) => return Err(QuantError::ScaleEncoding { format, got: "f16" }),
            (Scales::Bytes(_), _) => return Err(QuantError::ScaleEncoding { format, got: "bytes" }),
            (Scales::Words(_), _) => return Err(QuantError::ScaleEncoding { format, got: "words" }),
        };
        if !format.is_plain() {
            for index in 0..groups {
                let (scale, bias) = encoding.decode(&scales, index);
                if let Some(value) = [scale, bias].into_iter().find(|value| !value.is_finite()) {
                    return Err(QuantError::NonFiniteScale { index, value });
                }
            }
        }
        if !tensor_scale.is_finite() {
            return Err(QuantError::NonFiniteScale { index: groups, value: tensor_scale });
        }
        words.resize(padded(words.len()), 0);
        let zero_points = pack_zero_points(format, zero_points.iter().copied());
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
        QuantizedMatrix { spec, words, scales, zero_points, tensor_scale }
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

    /// The packed codes, padded to 16 bytes.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The packed scales (and biases), padded to 16 bytes; empty for plain formats.
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

    /// The code of weight (`row`, `col`): the bits that are stored for it, [`CodeEncoding::bits`] of them.
    ///
    /// # Panics
    /// If `row` or `col` is out of the shape, like a slice's index.
    pub fn code(&self, row: usize, col: usize) -> u32 {
        self.assert_inside(row, col);
        let index = row * self.shape().k() + col;
        match self.format().code_encoding() {
            CodeEncoding::U6 => k_quant::q6k_code(&self.words, index),
            encoding => bit_field(&self.words, index, encoding.bits()),
        }
    }

    /// The scale of group `group_ix` of `row`, without the tensor scale; 1 in plain formats. Exact.
    ///
    /// # Panics
    /// If `row` or `group_ix` is out of the shape.
    pub fn scale(&self, row: usize, group_ix: usize) -> f32 {
        self.factors(row, group_ix).0
    }

    /// What is added to the scaled codes of group `group_ix` of `row`, 0 where the format has no biases. Exact.
    ///
    /// # Panics
    /// If `row` or `group_ix` is out of the shape.
    pub fn bias(&self, row: usize, group_ix: usize) -> f32 {
        self.factors(row, group_ix).1
    }

    fn factors(&self, row: usize, group_ix: usize) -> (f32, f32) {
        self.assert_inside(row, group_ix * self.group().get());
        self.format().scale_encoding().decode(&self.scales, row * self.spec.groups_per_row() + group_ix)
    }

    /// The zero point of group `group_ix` of `row`: stored, or [`Format::fixed_zero_point`].
    ///
    /// # Panics
    /// If `row` or `group_ix` is out of the shape.
    pub fn zero_point(&self, row: usize, group_ix: usize) -> u8 {
        self.assert_inside(row, group_ix * self.group().get());
        let index = row * self.spec.groups_per_row() + group_ix;
        match self.format().zero_point_bits() {
            0 => self.format().fixed_zero_point(),
            4 => nibble(&self.zero_points, index),
            bits => {
                let per_word = 32 / bits;
                let shifted = self.zero_points[index / per_word] >> (bits * (index % per_word));
                (shifted & ((1 << bits) - 1)) as u8
            }
        }
    }

    /// Weight (`row`, `col`) in f64: the oracle of the kernels. Exact, but for a bias that lies more than 53 bits away from
    /// what it is added to.
    ///
    /// # Panics
    /// If `row` or `col` is out of the shape, like a slice's index.
    pub fn value(&self, row: usize, col: usize) -> f64 {
        let group_ix = col / self.group().get();
        let (scale, bias) = self.factors(row, group_ix);
        let unscaled = self.format().code_value(self.code(row, col), self.zero_point(row, group_ix));
        // Adding a bias of 0 where there is none would turn -0 into 0.
        let scaled = f64::from(unscaled) * f64::from(scale);
        let weight = if self.format().has_bias() { scaled + f64::from(bias) } else { scaled };
        weight * f64::from(self.tensor_scale)
    }

    /// The sum of the magnitudes of what [`value`](Self::value) adds: the scaled code and the bias. Rounding errors of a
    /// kernel that adds them one by one are in proportion to it.
    ///
    /// # Panics
    /// If `row` or `col` is out of the shape.
    pub fn magnitude(&self, row: usize, col: usize) -> f64 {
        let bias = f64::from(self.bias(row, col / self.group().get())) * f64::from(self.tensor_scale);
        (self.value(row, col) - bias).abs() + bias.abs()
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
        let (format, group) = (self.format(), self.group().get());
        let four_bits = format.code_encoding().bits() == 4;
        for (group_ix, values) in values.chunks_exact_mut(group).enumerate() {
            let (scale, bias) = self.factors(row, group_ix);
            let zero_point = self.zero_point(row, group_ix);
            let weight = |code: u32| {
                let scaled = f64::from(format.code_value(code, zero_point)) * f64::from(scale);
                let weight = if format.has_bias() { scaled + f64::from(bias) } else { scaled };
                (weight * f64::from(self.tensor_scale)) as f32
            };
            if four_bits {
                let table: [f32; 16] = std::array::from_fn(|code| weight(code as u32));
                let first = row * self.spec.words_per_row() + group_ix * group / 8;
                for (word, values) in self.words[first..].iter().zip(values.chunks_exact_mut(8)) {
                    for (i, value) in values.iter_mut().enumerate() {
                        *value = table[(word >> (4 * i) & 15) as usize];
                    }
                }
            } else if format == Format::F32 {
                // As it is: arithmetic would quieten a signaling NaN.
                for (i, value) in values.iter_mut().enumerate() {
                    *value = f32::from_bits(self.code(row, group_ix * group + i));
                }
            } else {
                for (i, value) in values.iter_mut().enumerate() {
                    *value = weight(self.code(row, group_ix * group + i));
                }
            }
        }
    }

    /// The matrix of some rows, in the order given, for example of one expert or of every other row.
    ///
    /// # Errors
    /// No rows, or too many.
    ///
    /// # Panics
    /// If a row is out of the shape, like a slice's index.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self, QuantError> {
        let shape = Shape::new(rows.len(), self.shape().k())?;
        let spec = WeightSpec::new(shape, self.format(), self.group())?;
        let row_words = self.spec.words_per_row();
        let mut words = Vec::with_capacity(padded(spec.word_count()));
        for &row in rows {
            self.assert_inside(row, 0);
            words.extend_from_slice(&self.words[row * row_words..][..row_words]);
        }
        words.resize(padded(words.len()), 0);
        let per_row = self.spec.groups_per_row();
        let scales = match self.format().scale_encoding().field_bits() {
            Some(bits) => {
                let groups: Vec<usize> =
                    rows.iter().flat_map(|row| row * per_row..(row + 1) * per_row).collect();
                pack_fields(groups.iter().map(|&i| bit_field(&self.scales, i, bits) as u16), bits)
            }
            None => {
                let (unit_words, unit_groups) = self.format().scale_encoding().unit();
                let row_words = per_row / unit_groups * unit_words;
                let mut scales: Vec<u32> = rows
                    .iter()
                    .flat_map(|row| &self.scales[row * row_words..][..row_words])
                    .copied()
                    .collect();
                scales.resize(padded(scales.len()), 0);
                scales
            }
        };
        let zeros: Vec<u8> =
            rows.iter().flat_map(|&row| (0..per_row).map(move |g| self.zero_point(row, g))).collect();
        let zero_points = pack_zero_points(self.format(), zeros.into_iter());
        Ok(Self::from_packed(spec, words, scales, zero_points, self.tensor_scale))
    }

    /// The same codes and scales under another factor of the whole tensor.
    ///
    /// # Errors
    /// A factor that is not finite.
    pub fn with_tensor_scale(mut self, tensor_scale: f32) -> Result<Self, QuantError> {
        if !tensor_scale.is_finite() {
            return Err(QuantError::NonFiniteScale { index: self.spec.group_count(), value: tensor_scale });
        }
        self.tensor_scale = tensor_scale;
        Ok(self)
    }

    fn assert_inside(&self, row: usize, col: usize) {
        let shape = self.shape();
        assert!(row < shape.n() && col < shape.k(), "({row}, {col}) is outside of a {shape} matrix");
    }
}

/// Zero points in the format's bits: as many as fit in a word, none across two.
pub(super) fn pack_zero_points(format: Format, zeros: impl ExactSizeIterator<Item = u8>) -> Vec<u32> {
    let bits = format.zero_point_bits();
    if bits == 0 {
        return Vec::new();
    }
    let per_word = 32 / bits;
    let mut words = vec![0; padded(zeros.len().div_ceil(per_word))];
    for (i, zero) in zeros.enumerate() {
        words[i / per_word] |= u32::from(zero) << (bits * (i % per_word));
    }
    words
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

    /// Every (code, scale bits) pair of the formats whose scale is a field: the decoding against the formula in f64.
    #[test]
    fn all_codes_under_all_scales() {
        for format in Format::ALL.into_iter().filter(|f| f.code_encoding().bits() == 4) {
            let encoding = format.scale_encoding();
            let Some(bits) = encoding.field_bits() else { continue };
            let group = format.group_sizes()[0].get();
            let decode = |code: u16| encoding.decode(&[u32::from(code)], 0).0;
            let codes: Vec<u16> = (0..=u16::MAX >> (16 - bits)).filter(|&b| decode(b).is_finite()).collect();
            let halves: Vec<f16> = codes.iter().map(|&bits| f16::from_bits(bits)).collect();
            let bytes: Vec<u8> = codes.iter().map(|&byte| byte as u8).collect();
            let scales = if bits == 16 { Scales::F16(&halves) } else { Scales::Bytes(&bytes) };
            let rows = codes.len();
            let words = [0x7654_3210, 0xFEDC_BA98].repeat(rows * group / 16);
            let most = 1 << format.zero_point_bits();
            let zeros: Vec<u8> =
                if most > 1 { (0..rows).map(|i| (i * 7 % most) as u8).collect() } else { vec![] };
            let tensor_scale = if format == Format::Nvfp4 { 0.3 } else { 1.0 };
            let spec = spec(rows, group, format, group);
            let matrix = QuantizedMatrix::from_parts(spec, words, scales, &zeros, tensor_scale).unwrap();
            let all = matrix.dequantize();
            for row in 0..rows {
                for col in 0..group {
                    let code = col % 16;
                    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][code % 8];
                    let unscaled = match format {
                        Format::Int4Sym => code as f64 - 8.0,
                        Format::Int4Asym | Format::Int4Asym5 => code as f64 - f64::from(zeros[row]),
                        _ if code < 8 => magnitude,
                        _ => -magnitude,
                    };
                    let expected = unscaled * f64::from(decode(codes[row])) * f64::from(tensor_scale);
                    assert_eq!(matrix.value(row, col), expected, "{format} row {row} code {code}");
                    assert_eq!(all[row * group + col], expected as f32);
                }
            }
        }
    }

    /// The other formats by golden bits: each group's factors and some codes written out.
    #[test]
    fn golden_words() {
        let pair = u32::from(f16::from_f32(0.5).to_bits()) | u32::from(f16::from_f32(-3.25).to_bits()) << 16;
        let build = |format, k, words, scales: &[u32]| {
            let group = Format::group_sizes(format)[0].get();
            let spec = spec(1, k, format, group);
            QuantizedMatrix::from_parts(spec, words, Scales::Words(scales), &[], 1.0).unwrap()
        };
        let affine = build(Format::Int4Affine, 16, vec![0x0000_00F1, 0x8000_0000], &[pair]);
        assert_eq!(affine.dequantize()[..3], [-2.75, 4.25, -3.25]);
        assert_eq!((affine.value(0, 15), affine.bias(0, 0)), (0.75, -3.25));
        let bf16 = build(Format::Int4AffineBf16, 16, vec![0x21, 0], &[0xC050_3F00]);
        assert_eq!(bf16.dequantize()[..2], [-2.75, -2.25]);
        let f32s = [0.1_f32.to_bits(), (-0.7_f32).to_bits()];
        let f32s = build(Format::Int4AffineF32, 16, vec![3, 0], &f32s);
        assert_eq!(f32s.value(0, 0), 3.0 * f64::from(0.1_f32) + f64::from(-0.7_f32));

        // Group 2 of the second block: d 2, scale 0x2A, m 0.5, min 0x35; code 9 for its fourth weight.
        let unit = [
            u32::from(f16::from_f32(2.0).to_bits()) | u32::from(f16::from_f32(0.5).to_bits()) << 16,
            0xA00,
            0x500,
            0xE00,
        ];
        let mut words = vec![0; 64];
        words[32 + 8] = 9 << 12;
        let q4k = build(Format::Q4K, 512, words, &[[0; 4], unit].concat());
        assert_eq!(q4k.value(0, 256 + 64 + 3), 9.0 * 2.0 * 42.0 - 0.5 * 53.0);
        assert_eq!(q4k.value(0, 256 + 64 + 4), -0.5 * 53.0);
        assert_eq!(q4k.value(0, 256), 0.0);

        // The last weight of a block: code 0x2B = 32 + 11, byte -3, d 0.25.
        let mut words = vec![0; 48];
        (words[43], words[47]) = (0xB000_0000, 0x8000_0000);
        let q6k = build(Format::Q6K, 256, words, &[0, 0, 0, 0xFD00_0000, 0x3400]);
        assert_eq!((q6k.code(0, 255), q6k.value(0, 255)), (0x2B, 11.0 * -3.0 * 0.25));
        assert_eq!(q6k.value(0, 254), -32.0 * -3.0 * 0.25);

        let spec8 = spec(1, 32, Format::Int8, 32);
        let words = vec![0x0001_FF80, 0x7F00_0000, 0, 0, 0, 0, 0, 0];
        let int8 =
            QuantizedMatrix::from_parts(spec8, words, Scales::F16(&[f16::from_f32(0.5)]), &[], 1.0).unwrap();
        assert_eq!(int8.dequantize()[..8], [-64.0, -0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 63.5]);

        let f16s = build(Format::F16, 16, vec![0xC000_3C00, 0x0001_7BFF, 0, 0, 0, 0, 0, 0], &[]);
        assert_eq!(f16s.dequantize()[..4], [1.0, -2.0, 65504.0, 2_f32.powi(-24)]);
        let bf16s = build(Format::Bf16, 16, vec![0xC000_3F80, 0x0001_7F7F, 0, 0, 0, 0, 0, 0], &[]);
        assert_eq!(
            bf16s.dequantize()[..4],
            [1.0, -2.0, f32::from_bits(0x7F7F_0000), f32::from_bits(1 << 16)]
        );
        let bits = [0x3F80_0001, 0x8000_0000, 0xFFA0_0001, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let f32s = build(Format::F32, 16, bits.to_vec(), &[]);
        assert_eq!(f32s.dequantize().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits);
    }

    /// What files take for the same weights, and what is taken here: at most 2 % more.
    #[test]
    fn bytes_per_weight() {
        let of = |format: Format, group: usize| {
            let spec = spec(64, 4096, format, group);
            spec.total_bytes() as f64 / spec.shape().elements() as f64
        };
        for (format, group, file) in [
            (Format::Int4Sym, 32, 18.0 / 32.0),
            (Format::Int4Affine, 32, 20.0 / 32.0),
            (Format::Int4Affine, 64, 0.5 + 4.0 / 64.0),
            (Format::Int4AffineBf16, 64, 0.5 + 4.0 / 64.0),
            (Format::Int4AffineF32, 64, 0.5 + 8.0 / 64.0),
            (Format::Int4Asym, 128, 0.5 + 2.5 / 128.0),
            (Format::Int4Asym5, 128, 0.5 + 2.5 / 128.0),
            (Format::Int4Asym5, 32, 0.5 + 2.5 / 32.0),
            (Format::Q4K, 32, 144.0 / 256.0),
            (Format::Q6K, 16, 210.0 / 256.0),
            (Format::Int8, 32, 34.0 / 32.0),
            (Format::Mxfp4, 32, 17.0 / 32.0),
            (Format::Nvfp4, 16, 36.0 / 64.0),
            (Format::F16, 16, 2.0),
            (Format::Bf16, 16, 2.0),
            (Format::F32, 16, 4.0),
        ] {
            let ours = of(format, group);
            assert!((file..=file * 1.02).contains(&ours), "{format} g{group}: {ours} for {file}");
        }
    }

    #[test]
    fn rows_selected_are_the_same_rows() {
        for format in Format::ALL {
            let group = format.group_sizes()[0];
            let k = format.block().unwrap_or(3 * group.get());
            let matrix = QuantizedMatrix::random(Shape::new(7, k).unwrap(), format, group, 11).unwrap();
            let rows = [5, 0, 6, 3, 3];
            let some = matrix.select_rows(&rows).unwrap();
            let (all, some) = (matrix.dequantize(), some.dequantize());
            for (i, row) in rows.into_iter().enumerate() {
                assert_eq!(some[i * k..][..k], all[row * k..][..k], "{format} row {row}");
            }
        }
    }

    #[test]
    fn from_parts_names_what_is_wrong() {
        let fp4 = spec(2, 32, Format::Fp4, 32);
        let ones = [f16::ONE; 2];
        let build = |spec, words, scales, zeros: &[u8], tensor| {
            QuantizedMatrix::from_parts(spec, vec![0; words], scales, zeros, tensor).unwrap_err()
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
            QuantError::ZeroPoint { format: Format::Int4Asym, index: 1, value: 16, most: 15 }
        );
        let words = Scales::Words(&[0x3C00_3C00, 0x7C00_3C00]);
        assert!(matches!(
            build(spec(2, 32, Format::Int4Affine, 32), 8, words, &[], 1.0),
            QuantError::NonFiniteScale { index: 1, .. }
        ));
        assert_eq!(
            build(fp4, 8, words, &[], 1.0),
            QuantError::ScaleEncoding { format: Format::Fp4, got: "words" }
        );
        let block = WeightSpec::new(Shape::new(1, 320).unwrap(), Format::Q4K, GroupSize::G32);
        assert_eq!(block, Err(QuantError::RaggedBlock { k: 320, block: 256, format: Format::Q4K }));
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
