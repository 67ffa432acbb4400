//! What can be wrong with the input of this module.

use super::{Format, GroupSize};

/// Why weights could not be quantized, packed or described.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A matrix without elements.
    #[error("a weight matrix needs at least one row and one column, got n = {n}, k = {k}")]
    ZeroSize {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
    /// More elements than a kernel's 32-bit element index can name.
    #[error("a weight matrix of n = {n}, k = {k} has more than 2^32 - 1 elements")]
    TooLarge {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
    /// A group size that no format has.
    #[error("group size {0} does not exist: choose 16, 32, 64 or 128")]
    UnknownGroupSize(usize),
    /// A group size that this format does not have.
    #[error("{format} has no group size {group}: choose {}", allowed(*format))]
    GroupSize {
        /// The format asked for.
        format: Format,
        /// The group size asked for.
        group: GroupSize,
    },
    /// Rows that do not end at the end of a group.
    #[error("k = {k} is not a multiple of the group size {group}")]
    Ragged {
        /// Columns.
        k: usize,
        /// Group size.
        group: GroupSize,
    },
    /// Rows that do not end at the end of a block.
    #[error("k = {k} is not a multiple of {block}, the block of {format}")]
    RaggedBlock {
        /// Columns.
        k: usize,
        /// Weights of a block.
        block: usize,
        /// The format.
        format: Format,
    },
    /// A slice whose length does not fit the shape.
    #[error("{what}: expected {expected} elements, got {got}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Length that the shape asks for.
        expected: usize,
        /// Length of the argument.
        got: usize,
    },
    /// NaN or an infinity among the weights.
    #[error("weight ({row}, {col}) is {value}: weights must be finite")]
    NonFinite {
        /// Row of the first such weight.
        row: usize,
        /// Column of the first such weight.
        col: usize,
        /// The weight.
        value: f32,
    },
    /// A group whose scale is beyond the largest f16.
    #[error(
        "row {row}, group {group_ix}: the scale {scale:e} is beyond the largest f16, 65504 \
         (largest weight of the group: {max_abs:e})"
    )]
    ScaleOverflow {
        /// Row of the group.
        row: usize,
        /// Index of the group in its row.
        group_ix: usize,
        /// The scale that would be needed.
        scale: f32,
        /// Largest magnitude in the group.
        max_abs: f32,
    },
    /// A given scale that is NaN or infinite.
    #[error("scale {index} is {value}: scales must be finite")]
    NonFiniteScale {
        /// Index among the scales; equal to their number for the tensor scale.
        index: usize,
        /// The decoded scale.
        value: f32,
    },
    /// Scales given in another encoding than the format's.
    #[error("{format} stores its scales as {}, not as {got}", format.scale_encoding())]
    ScaleEncoding {
        /// The format.
        format: Format,
        /// The encoding given.
        got: &'static str,
    },
    /// A weight beyond the largest number of the plain format that should hold it.
    #[error("weight ({row}, {col}) is {value:e}: {format} can't hold it")]
    WeightOverflow {
        /// Row of the first such weight.
        row: usize,
        /// Column of the first such weight.
        col: usize,
        /// The weight.
        value: f32,
        /// The format.
        format: Format,
    },
    /// A zero point that does not fit in the format's bits.
    #[error("zero point {index} is {value}: {format} holds at most {most}")]
    ZeroPoint {
        /// The format.
        format: Format,
        /// Index among the zero points.
        index: usize,
        /// The value.
        value: u8,
        /// The largest that fits.
        most: u8,
    },
    /// A code that does not fit in four bits.
    #[error("{what} {index} is {value}: four bits hold 0 to 15")]
    Nibble {
        /// Which argument.
        what: &'static str,
        /// Index in it.
        index: usize,
        /// The value.
        value: u8,
    },
    /// A name that is no format's.
    #[error("unknown weight format {0:?}: choose {names}", names = all_names())]
    UnknownFormat(String),
}

fn allowed(format: Format) -> String {
    let sizes: Vec<String> = format.group_sizes().iter().map(ToString::to_string).collect();
    sizes.join(", ")
}

fn all_names() -> String {
    Format::ALL.map(Format::name).join(", ")
}
