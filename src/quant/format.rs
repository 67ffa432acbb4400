//! Formats, their encodings, group sizes, shapes, and all of them together.

use std::fmt;
use std::str::FromStr;

use super::QuantError;
use super::pack::field;

/// A weight format. See the [module](super) for formulas and bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// E2M1 codes with f16 group scales.
    Fp4,
    /// `(q − 8)·s` with f16 group scales.
    Int4Sym,
    /// `(q − z)·s` with f16 group scales and 4-bit zero points.
    Int4Asym,
    /// `(q − z)·s` with f16 group scales and 5-bit zero points: GPTQ files know a zero point of 16.
    Int4Asym5,
    /// `q·s + b` with f16 group scales and biases.
    Int4Affine,
    /// `q·s + b` with bf16 group scales and biases.
    Int4AffineBf16,
    /// `q·s + b` with f32 group scales and biases.
    Int4AffineF32,
    /// GGUF's Q4_K: `q·(d·s) − m·b` with 6-bit `s` and `b` per group of 32, f16 `d` and `m` per 256.
    Q4K,
    /// GGUF's Q6_K: 6-bit codes, `(q − 32)·(d·s)` with a signed byte `s` per group of 16, f16 `d` per 256.
    Q6K,
    /// Signed bytes, groups of 32 with f16 scales.
    Int8,
    /// OCP MXFP4: E2M1 codes, groups of 32, E8M0 scales.
    Mxfp4,
    /// NVFP4: E2M1 codes, groups of 16, E4M3 scales, one f32 per tensor.
    Nvfp4,
    /// Plain f16.
    F16,
    /// Plain bf16.
    Bf16,
    /// Plain f32.
    F32,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 15] = [
        Format::Fp4,
        Format::Int4Sym,
        Format::Int4Asym,
        Format::Int4Asym5,
        Format::Int4Affine,
        Format::Int4AffineBf16,
        Format::Int4AffineF32,
        Format::Q4K,
        Format::Q6K,
        Format::Int8,
        Format::Mxfp4,
        Format::Nvfp4,
        Format::F16,
        Format::Bf16,
        Format::F32,
    ];

    /// The name used on the command line, in cases and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Fp4 => "fp4",
            Format::Int4Sym => "int4",
            Format::Int4Asym => "int4-asym",
            Format::Int4Asym5 => "int4-asym5",
            Format::Int4Affine => "int4-affine",
            Format::Int4AffineBf16 => "int4-affine-bf16",
            Format::Int4AffineF32 => "int4-affine-f32",
            Format::Q4K => "q4k",
            Format::Q6K => "q6k",
            Format::Int8 => "int8",
            Format::Mxfp4 => "mxfp4",
            Format::Nvfp4 => "nvfp4",
            Format::F16 => "f16",
            Format::Bf16 => "bf16",
            Format::F32 => "f32",
        }
    }

    /// The group sizes that the format allows. Plain formats have no scales; their rows are whole runs of 16.
    pub const fn group_sizes(self) -> &'static [GroupSize] {
        match self {
            Format::Fp4 | Format::Int4Sym | Format::Int4Asym | Format::Int4Asym5 => &GroupSize::ALL,
            Format::Int4Affine | Format::Int4AffineBf16 | Format::Int4AffineF32 => &GroupSize::ALL,
            Format::Mxfp4 | Format::Int8 | Format::Q4K => &[GroupSize::G32],
            Format::Nvfp4 | Format::Q6K => &[GroupSize::G16],
            Format::F16 | Format::Bf16 | Format::F32 => &[GroupSize::G16],
        }
    }

    /// How many weights along K share what is stored per block; `None` where a block is a group.
    pub const fn block(self) -> Option<usize> {
        match self {
            Format::Q4K | Format::Q6K => Some(256),
            _ => None,
        }
    }

    /// How a code is stored.
    pub const fn code_encoding(self) -> CodeEncoding {
        match self {
            Format::Fp4 | Format::Mxfp4 | Format::Nvfp4 => CodeEncoding::E2M1,
            Format::Int4Sym | Format::Int4Asym | Format::Int4Asym5 | Format::Q4K => CodeEncoding::U4,
            Format::Int4Affine | Format::Int4AffineBf16 | Format::Int4AffineF32 => CodeEncoding::U4,
            Format::Q6K => CodeEncoding::U6,
            Format::Int8 => CodeEncoding::I8,
            Format::F16 => CodeEncoding::F16,
            Format::Bf16 => CodeEncoding::Bf16,
            Format::F32 => CodeEncoding::F32,
        }
    }

    /// How a group's scale is stored, and its bias where it has one.
    pub const fn scale_encoding(self) -> ScaleEncoding {
        match self {
            Format::Fp4 | Format::Int4Sym | Format::Int4Asym | Format::Int4Asym5 | Format::Int8 => {
                ScaleEncoding::F16
            }
            Format::Int4Affine => ScaleEncoding::F16Pair,
            Format::Int4AffineBf16 => ScaleEncoding::Bf16Pair,
            Format::Int4AffineF32 => ScaleEncoding::F32Pair,
            Format::Q4K => ScaleEncoding::Q4K,
            Format::Q6K => ScaleEncoding::Q6K,
            Format::Mxfp4 => ScaleEncoding::E8M0,
            Format::Nvfp4 => ScaleEncoding::E4M3,
            Format::F16 | Format::Bf16 | Format::F32 => ScaleEncoding::None,
        }
    }

    /// Whether each group has a stored zero point.
    pub const fn has_zero_points(self) -> bool {
        self.zero_point_bits() != 0
    }

    /// Bits of a stored zero point; 0 where none is stored.
    pub const fn zero_point_bits(self) -> usize {
        match self {
            Format::Int4Asym => 4,
            Format::Int4Asym5 => 5,
            _ => 0,
        }
    }

    /// Whether each group has a bias that is added after scaling.
    pub const fn has_bias(self) -> bool {
        matches!(
            self.scale_encoding(),
            ScaleEncoding::F16Pair | ScaleEncoding::Bf16Pair | ScaleEncoding::F32Pair | ScaleEncoding::Q4K
        )
    }

    /// Whether the codes are E2M1 numbers.
    pub const fn is_e2m1(self) -> bool {
        matches!(self.code_encoding(), CodeEncoding::E2M1)
    }

    /// Whether the weights are stored as they are, without scales.
    pub const fn is_plain(self) -> bool {
        matches!(self.scale_encoding(), ScaleEncoding::None)
    }

    /// The zero point of formats that store none: 8 for `Int4Sym`, 32 for `Q6K`, else 0.
    pub const fn fixed_zero_point(self) -> u8 {
        match self {
            Format::Int4Sym => 8,
            Format::Q6K => 32,
            _ => 0,
        }
    }

    /// What a code stands for before scaling: the number that it encodes, less the zero point where codes are
    /// unsigned integers. Exact.
    ///
    /// Only the low [`CodeEncoding::bits`] of `code` count; `zero_point` counts where codes are unsigned integers.
    pub fn code_value(self, code: u32, zero_point: u8) -> f32 {
        self.code_encoding().decode(code) - f32::from(zero_point)
    }
}

/// How a code is stored, and what it stands for before scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeEncoding {
    /// Four bits: sign, 2 exponent bits, 1 mantissa bit.
    E2M1,
    /// Four bits, unsigned.
    U4,
    /// Six bits, unsigned.
    U6,
    /// A byte in two's complement.
    I8,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// IEEE single precision.
    F32,
}

impl CodeEncoding {
    /// Bits of one code.
    pub const fn bits(self) -> usize {
        match self {
            CodeEncoding::E2M1 | CodeEncoding::U4 => 4,
            CodeEncoding::U6 => 6,
            CodeEncoding::I8 => 8,
            CodeEncoding::F16 | CodeEncoding::Bf16 => 16,
            CodeEncoding::F32 => 32,
        }
    }

    /// The number that the low [`bits`](Self::bits) of `code` stand for. Exact.
    pub fn decode(self, code: u32) -> f32 {
        match self {
            CodeEncoding::E2M1 => super::fp4_decode(code as u8),
            CodeEncoding::U4 => (code & 15) as f32,
            CodeEncoding::U6 => (code & 63) as f32,
            CodeEncoding::I8 => f32::from(code as u8 as i8),
            CodeEncoding::F16 => half::f16::from_bits(code as u16).to_f32(),
            CodeEncoding::Bf16 => half::bf16::from_bits(code as u16).to_f32(),
            CodeEncoding::F32 => f32::from_bits(code),
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

/// How a group's scale is stored, and its bias where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleEncoding {
    /// IEEE half precision.
    F16,
    /// A power of two, `2^(byte − 127)`.
    E8M0,
    /// OCP FP8: sign, 4 exponent bits of bias 7, 3 mantissa bits, no infinities.
    E4M3,
    /// One word per group: an f16 scale in the low half, an f16 bias in the high half.
    F16Pair,
    /// The same with bf16.
    Bf16Pair,
    /// Two words per group: an f32 scale, an f32 bias.
    F32Pair,
    /// Four words per eight groups, see the [module](super).
    Q4K,
    /// Five words per sixteen groups, see the [module](super).
    Q6K,
    /// Nothing is stored: the codes are the weights.
    None,
}

impl ScaleEncoding {
    /// Words and the number of groups that they serve: the least unit that is stored.
    pub(super) const fn unit(self) -> (usize, usize) {
        match self {
            ScaleEncoding::F16 => (1, 2),
            ScaleEncoding::E8M0 | ScaleEncoding::E4M3 => (1, 4),
            ScaleEncoding::F16Pair | ScaleEncoding::Bf16Pair => (1, 1),
            ScaleEncoding::F32Pair => (2, 1),
            ScaleEncoding::Q4K => (4, 8),
            ScaleEncoding::Q6K => (5, 16),
            ScaleEncoding::None => (0, 1),
        }
    }

    /// The width of a scale that is a field of its own: 16 or 8 bits; `None` for the others.
    pub const fn field_bits(self) -> Option<usize> {
        match self {
            ScaleEncoding::F16 => Some(16),
            ScaleEncoding::E8M0 | ScaleEncoding::E4M3 => Some(8),
            _ => None,
        }
    }

    /// The name used in messages.
    pub const fn name(self) -> &'static str {
        match self {
            ScaleEncoding::F16 => "f16",
            ScaleEncoding::E8M0 => "E8M0",
            ScaleEncoding::E4M3 => "E4M3",
            ScaleEncoding::F16Pair => "f16 pairs",
            ScaleEncoding::Bf16Pair => "bf16 pairs",
            ScaleEncoding::F32Pair => "f32 pairs",
            ScaleEncoding::Q4K => "6-bit factors under f16",
            ScaleEncoding::Q6K => "signed bytes under f16",
            ScaleEncoding::None => "nothing",
        }
    }

    /// Scale and bias of group `index` among the packed `words`. Exact.
    pub(super) fn decode(self, words: &[u32], index: usize) -> (f32, f32) {
        let half = |bits: u32| half::f16::from_bits(bits as u16).to_f32();
        match self {
            ScaleEncoding::F16 => (half(field(words, index, 16).into()), 0.0),
            ScaleEncoding::E8M0 => (super::e8m0_decode(field(words, index, 8) as u8), 0.0),
            ScaleEncoding::E4M3 => (super::e4m3_decode(field(words, index, 8) as u8), 0.0),
            ScaleEncoding::F16Pair => (half(words[index]), half(words[index] >> 16)),
            ScaleEncoding::Bf16Pair => {
                (f32::from_bits(words[index] << 16), f32::from_bits(words[index] & 0xFFFF_0000))
            }
            ScaleEncoding::F32Pair => {
                (f32::from_bits(words[2 * index]), f32::from_bits(words[2 * index + 1]))
            }
            ScaleEncoding::Q4K => {
                let unit = &words[index / 8 * 4..][..4];
                let (scale, min) = super::k_quant::q4k_factors(unit, index % 8);
                (half(unit[0]) * f32::from(scale), -(half(unit[0] >> 16) * f32::from(min)))
            }
            ScaleEncoding::Q6K => {
                let unit = &words[index / 16 * 5..][..5];
                let factor = field(unit, index % 16, 8) as u8 as i8;
                (half(unit[4]) * f32::from(factor), 0.0)
            }
            ScaleEncoding::None => (1.0, 0.0),
        }
    }
}

impl fmt::Display for ScaleEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
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
        if let Some(block) = format.block()
            && !shape.k().is_multiple_of(block)
        {
            return Err(QuantError::RaggedBlock { k: shape.k(), block, format });
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

    /// Words of the codes of one row.
    pub const fn words_per_row(&self) -> usize {
        self.shape.k() * self.format.code_encoding().bits() / 32
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

    /// Runs of eight weights of the whole matrix.
    pub const fn run_count(&self) -> usize {
        self.shape.elements() / 8
    }

    /// Bytes of the codes, without padding.
    pub const fn weight_bytes(&self) -> usize {
        self.word_count() * 4
    }

    /// Bytes of the scales (and biases), without padding.
    pub const fn scale_bytes(&self) -> usize {
        match self.format.scale_encoding().field_bits() {
            Some(bits) => self.group_count() * bits / 8,
            None => self.scale_words() * 4,
        }
    }

    /// Words of the scales, without padding.
    pub(super) const fn scale_words(&self) -> usize {
        let (words, groups) = self.format.scale_encoding().unit();
        self.group_count().div_ceil(groups) * words
    }

    /// Bytes of the zero points, without padding.
    pub const fn zero_point_bytes(&self) -> usize {
        match self.format.zero_point_bits() {
            0 => 0,
            4 => self.group_count().div_ceil(2),
            bits => self.group_count().div_ceil(32 / bits) * 4,
        }
    }

    /// Bytes of codes, scales and zero points: what a kernel that reads the matrix once must move.
    pub const fn total_bytes(&self) -> usize {
        self.weight_bytes() + self.scale_bytes() + self.zero_point_bytes()
    }
}

impl fmt::Display for WeightSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} g{} {}", self.format, self.group, self.shape)
    }
}
