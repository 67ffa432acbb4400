//! What can be wrong with a file of weights.

use std::io;
use std::path::PathBuf;

use crate::quant::QuantError;

/// Why weights could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not well-formed.
    #[error("{path}: not a valid {format} file: {reason}", path = path.display())]
    Malformed {
        /// The file; empty for bytes in memory.
        path: PathBuf,
        /// What it was read as.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no tensor of that name.
    #[error("no tensor named {name:?}{}", suggest(near, *tensors))]
    MissingTensor {
        /// The name asked for.
        name: String,
        /// Up to five matrices with the most similar names.
        near: Vec<String>,
        /// How many tensors there are.
        tensors: usize,
    },
    /// A tensor whose type or layout no format here holds exactly.
    #[error("tensor {name:?} ({dtype}): {reason}")]
    Unsupported {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
        /// Why, and what would do.
        reason: String,
    },
    /// The tensors of one weight don't fit together.
    #[error("tensor {name:?}: {reason}")]
    Inconsistent {
        /// The tensor.
        name: String,
        /// What doesn't fit.
        reason: String,
    },
    /// A tensor's numbers can't be held.
    #[error("tensor {name:?}: {source}")]
    Quant {
        /// The tensor.
        name: String,
        /// What is wrong.
        source: QuantError,
    },
}

impl WeightsError {
    pub(super) fn unsupported(
        name: &str,
        dtype: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> WeightsError {
        WeightsError::Unsupported { name: name.into(), dtype: dtype.to_string(), reason: reason.into() }
    }

    pub(super) fn inconsistent(name: &str, reason: impl Into<String>) -> WeightsError {
        WeightsError::Inconsistent { name: name.into(), reason: reason.into() }
    }

    pub(super) fn quant(name: &str) -> impl Fn(QuantError) -> WeightsError {
        move |source| WeightsError::Quant { name: name.into(), source }
    }

    /// That `name` is not among `names`; matrices with similar names are told.
    pub(super) fn missing<'a>(name: &str, names: impl Iterator<Item = (&'a str, usize)>) -> WeightsError {
        let mut tensors = 0;
        let mut near: Vec<(usize, &str)> = Vec::new();
        for (other, rank) in names {
            tensors += 1;
            // Names in files are short; an absurd one is not worth comparing.
            if rank >= 2 && other.len() < 256 && name.len() < 256 {
                near.push((edit_distance(other, name), other));
            }
        }
        near.sort();
        let near = near.into_iter().take(5).map(|(_, name)| name.to_string()).collect();
        WeightsError::MissingTensor { name: name.into(), near, tensors }
    }
}

fn suggest(near: &[String], tensors: usize) -> String {
    if near.is_empty() {
        return format!(" among {tensors}, and no matrix");
    }
    let names: Vec<String> = near.iter().map(|name| format!("{name:?}")).collect();
    format!(" among {tensors}; similar: {}", names.join(", "))
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_by_hand() {
        for (a, b, distance) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)]
        {
            assert_eq!(edit_distance(a, b), distance);
            assert_eq!(edit_distance(b, a), distance);
        }
    }
}
