//! Where words and groups lie: layouts as types.

use super::WeightSpec;

/// The order of a matrix's words and groups. A kernel takes a matrix of the layout that it was written for, so a
/// wrong layout is a compile error; [`QuantizedMatrix::to_layout`](super::QuantizedMatrix::to_layout) is the
/// one-time re-layout.
///
/// Both functions are bijections: onto `0..word_count` and onto `0..group_count`.
pub trait Layout: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Name in reports.
    const NAME: &'static str;

    /// Where word `word` (of `words_per_row`) of `row` lies.
    fn word_index(spec: &WeightSpec, row: usize, word: usize) -> usize;

    /// Where the scale and zero point of group `group_ix` (of `groups_per_row`) of `row` lie.
    fn group_index(spec: &WeightSpec, row: usize, group_ix: usize) -> usize;
}

/// Words `[n, k/8]` and groups `[n, k/group]`, row after row: what checkpoints hold and [`quantize`](super::quantize)
/// makes. Lanes that walk along K read consecutive words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowMajor;

/// Words `[k/8, n]` and groups `[k/group, n]`: lanes that own one row each read consecutive words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KMajor;

impl Layout for RowMajor {
    const NAME: &'static str = "row-major";

    fn word_index(spec: &WeightSpec, row: usize, word: usize) -> usize {
        row * spec.words_per_row() + word
    }

    fn group_index(spec: &WeightSpec, row: usize, group_ix: usize) -> usize {
        row * spec.groups_per_row() + group_ix
    }
}

impl Layout for KMajor {
    const NAME: &'static str = "k-major";

    fn word_index(spec: &WeightSpec, row: usize, word: usize) -> usize {
        word * spec.shape().n() + row
    }

    fn group_index(spec: &WeightSpec, row: usize, group_ix: usize) -> usize {
        group_ix * spec.shape().n() + row
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::RowMajor {}
    impl Sealed for super::KMajor {}
}
