//! Formats, group sizes, shapes, and the three together.

use std::fmt;
use std::str::FromStr;

use super::QuantError;

/// A 4-bit weight format. See the [module](super) for formulas and bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// E2M1 codes with f16 group scales.
    Fp4,
    /// `(q − 8)·s` with f16 group scales.
    Int4Sym,
    /// `(q − z)·s` with f16 group scales and 4-bit zero points.
    Int4Asym,
    /// OCP MXFP4: E2M1 codes, groups of 32, E8M0 scales.
    Mxfp4,
    /// NVFP4: E2M1 codes, groups of 16, E4M3 scales, one f32 per tensor.
    Nvfp4,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 5] =
        [Format::Fp4, Format::Int4Sym, Format::Int4Asym, Format::Mxfp4, Format::Nvfp4];

    /// The name used on the command line, in cases and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Fp4 => "fp4",
            Format::Int4Sym => "int4",
            Format::Int4Asym => "int4-asym",
            Format::Mxfp4 => "mxfp4",
            Format::Nvfp4 => "nvfp4",
        }
    }

    /// The group sizes that the format allows.
    pub const fn group_sizes(self) -> &'static [GroupSize] {
        match self {
            Format::Fp4 | Format::Int4Sym | Format::Int4Asym => &GroupSize::ALL,
            Format::Mxfp4 => &[GroupSize::G32],
            Format::Nvfp4 => &[GroupSize::G16],
        }
    }

    /// How a group's scale is stored.
    pub const fn scale_encoding(self) -> ScaleEncoding {
        match self {
            Format::Fp4 | Format::Int4Sym | Format::Int4Asym => ScaleEncoding::F16,
            Format::Mxfp4 => ScaleEncoding::E8M0,
            Format::Nvfp4 => ScaleEncoding::E4M3,
        }
    }

    /// Whether each group has a stored zero point.
    pub const fn has_zero_points(self) -> bool {
        matches!(self, Format::Int4Asym)
    }

    /// Whether the codes are E2M1 numbers (else integers).
    pub const fn is_float(self) -> bool {
        matches!(self, Format::Fp4 | Format::Mxfp4 | Format::Nvfp4)
    }

    /// What a code stands for before scaling: an E2M1 number, or `code − zero_point`.
    ///
    /// Only [`Format::Int4Asym`] looks at `zero_point`. Only the low four bits of `code` count.
    pub fn code_value(self, code: u8, zero_point: u8) -> f32 {
        let code = code & 15;
        match self {
            Format::Fp4 | Format::Mxfp4 | Format::Nvfp4 => super::fp4_decode(code),
            Format::Int4Sym => f32::from(code) - 8.0,
            Format::Int4Asym => f32::from(code) - f32::from(zero_point),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = QuantError;

    fn from_str(name: &str) -> Result<Self, QuantError> {
        Format::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| QuantError::UnknownFormat(name.to_owned()))
    }
}

/// How a group scale is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleEncoding {
    /// IEEE half precision.
    F16,
    /// A power of two, `2^(byte − 127)`.
    E8M0,
    /// OCP FP8: sign, 4 exponent bits of bias 7, 3 mantissa bits, no infinities.
    E4M3,
}

impl ScaleEncoding {
    /// Bits of one scale.
    pub const fn bits(self) -> usize {
        match self {
            ScaleEncoding::F16 => 16,
            ScaleEncoding::E8M0 | ScaleEncoding::E4M3 => 8,
        }
    }

    /// The number that the low [`bits`](Self::bits) of `bits` stand for.
    pub fn decode(self, bits: u16) -> f32 {
        match self {
            ScaleEncoding::F16 => half::f16::from_bits(bits).to_f32(),
            ScaleEncoding::E8M0 => super::e8m0_decode(bits as u8),
            ScaleEncoding::E4M3 => super::e4m3_decode(bits as u8),
        }
    }
}

impl fmt::Display for ScaleEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ScaleEncoding::F16 => "f16",
            ScaleEncoding::E8M0 => "E8M0",
            ScaleEncoding::E4M3 => "E4M3",
        })
    }
}

/// How many weights along K share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum GroupSize {
    /// 16 weights.
    G16 = 16,
    /// 32 weights.
    G32 = 32,
    /// 64 weights.
    G64 = 64,
    /// 128 weights.
    G128 = 128,
}

impl GroupSize {
    /// Every group size, ascending.
    pub const ALL: [GroupSize; 4] = [GroupSize::G16, GroupSize::G32, GroupSize::G64, GroupSize::G128];

    /// The number of weights.
    pub const fn get(self) -> usize {
        self as usize
    }
}

impl TryFrom<usize> for GroupSize {
    type Error = QuantError;

    fn try_from(size: usize) -> Result<Self, QuantError> {
        GroupSize::ALL.into_iter().find(|group| group.get() == size).ok_or(QuantError::UnknownGroupSize(size))
    }
}

impl fmt::Display for GroupSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

/// Rows and columns of a weight matrix: both at least 1, the product below 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    n: u32,
    k: u32,
}

impl Shape {
    /// A matrix of `n` rows (outputs) and `k` columns (inputs).
    ///
    /// # Errors
    /// [`QuantError::ZeroSize`] and [`QuantError::TooLarge`].
    pub fn new(n: usize, k: usize) -> Result<Self, QuantError> {
        if n == 0 || k == 0 {
            return Err(QuantError::ZeroSize { n, k });
        }
        match n.checked_mul(k).map(u32::try_from) {
            Some(Ok(_)) => Ok(Shape { n: n as u32, k: k as u32 }),
            _ => Err(QuantError::TooLarge { n, k }),
        }
    }

    /// Rows.
    pub const fn n(self) -> usize {
        self.n as usize
    }

    /// Columns.
    pub const fn k(self) -> usize {
        self.k as usize
    }

    /// Rows times columns.
    pub const fn elements(self) -> usize {
        self.n() * self.k()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.n, self.k)
    }
}

/// A shape, a format and a group size that fit together: everything about a quantized matrix but its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightSpec {
    shape: Shape,
    format: Format,
    group: GroupSize,
}

impl WeightSpec {
    /// Checks that the format has the group size and that K is a multiple of it.
    ///
    /// # Errors
    /// [`QuantError::GroupSize`] and [`QuantError::Ragged`].
    pub fn new(shape: Shape, format: Format, group: GroupSize) -> Result<Self, QuantError> {
        if !format.group_sizes().contains(&group) {
            return Err(QuantError::GroupSize { format, group });
        }
        if !shape.k().is_multiple_of(group.get()) {
            return Err(QuantError::Ragged { k: shape.k(), group });
        }
        Ok(WeightSpec { shape, format, group })
    }

    /// Rows and columns.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The group size.
    pub const fn group(&self) -> GroupSize {
        self.group
    }

    /// `k / 8`: words of one row.
    pub const fn words_per_row(&self) -> usize {
        self.shape.k() / 8
    }

    /// `k / group`: groups of one row.
    pub const fn groups_per_row(&self) -> usize {
        self.shape.k() / self.group.get()
    }

    /// Words of the whole matrix, without padding.
    pub const fn word_count(&self) -> usize {
        self.shape.n() * self.words_per_row()
    }

    /// Groups of the whole matrix.
    pub const fn group_count(&self) -> usize {
        self.shape.n() * self.groups_per_row()
    }

    /// Bytes of the nibbles, without padding.
    pub const fn weight_bytes(&self) -> usize {
        self.shape.elements() / 2
    }

    /// Bytes of the scales, without padding.
    pub const fn scale_bytes(&self) -> usize {
        self.group_count() * self.format.scale_encoding().bits() / 8
    }

    /// Bytes of the zero points, without padding.
    pub const fn zero_point_bytes(&self) -> usize {
        if self.format.has_zero_points() { self.group_count().div_ceil(2) } else { 0 }
    }

    /// Bytes of nibbles, scales and zero points: what a kernel that reads the matrix once must move.
    pub const fn total_bytes(&self) -> usize {
        self.weight_bytes() + self.scale_bytes() + self.zero_point_bytes()
    }
}

impl fmt::Display for WeightSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} g{} {}", self.format, self.group, self.shape)
    }
}
