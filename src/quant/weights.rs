//! One weight matrix out of a safetensors file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};

use super::{QuantError, Shape};

/// The largest header that is read: what the format's own library allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A matrix read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightMatrix {
    /// Rows and columns, `[n, k]` as in the file.
    pub shape: Shape,
    /// Element type in the file: `F32`, `F16` or `BF16`.
    pub dtype: String,
    /// The elements, row-major, widened to f32 (exactly).
    pub values: Vec<f32>,
}

/// Why no matrix could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a well-formed safetensors file.
    #[error("{}: not a valid safetensors file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has no tensor of that name.
    #[error("{}: no tensor named {name:?}{}", path.display(), suggest(near, *tensors))]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// Up to five matrices with the most similar names.
        near: Vec<String>,
        /// How many tensors the file has.
        tensors: usize,
    },
    /// The tensor is not a matrix.
    #[error("{}: tensor {name:?} has shape {shape:?}: a matrix [n, k] is needed", path.display())]
    Rank {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The tensor's elements are not f32, f16 or bf16.
    #[error("{}: tensor {name:?} holds {dtype}: F32, F16 or BF16 is needed", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
    },
    /// The tensor is empty or too large.
    #[error("{}: tensor {name:?}: {source}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with its shape.
        source: QuantError,
    },
}

fn suggest(near: &[String], tensors: usize) -> String {
    if near.is_empty() {
        return format!(" among its {tensors} tensors, and no matrix at all");
    }
    let names: Vec<String> = near.iter().map(|name| format!("{name:?}")).collect();
    format!(" among its {tensors} tensors; similar: {}", names.join(", "))
}

/// Reads tensor `name` of the safetensors file at `path`.
///
/// Only the header and that tensor are read: peak memory is the returned values and a buffer of 1 MiB.
///
/// # Errors
/// See [`WeightsError`]. A header that promises more than the file holds is refused before anything is allocated for it.
pub fn read_matrix(path: &Path, name: &str) -> Result<WeightMatrix, WeightsError> {
    let io_error = |source| WeightsError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let (data_start, metadata) = read_header(path, &mut file)?;

    let Some(info) = metadata.info(name) else {
        let (near, tensors) = (near_names(&metadata, name), metadata.tensors().len());
        return Err(WeightsError::MissingTensor {
            path: path.to_owned(),
            name: name.to_owned(),
            near,
            tensors,
        });
    };
    let &[n, k] = info.shape.as_slice() else {
        return Err(WeightsError::Rank {
            path: path.to_owned(),
            name: name.to_owned(),
            shape: info.shape.clone(),
        });
    };
    let shape = Shape::new(n, k).map_err(|source| WeightsError::Shape {
        path: path.to_owned(),
        name: name.to_owned(),
        source,
    })?;
    let dtype = info.dtype.to_string();
    let widen: fn(&[u8]) -> f32 = match info.dtype {
        Dtype::F32 => |bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        Dtype::F16 => |bytes| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        Dtype::BF16 => |bytes| bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => return Err(WeightsError::Dtype { path: path.to_owned(), name: name.to_owned(), dtype }),
    };

    let element_bytes = info.dtype.bitsize() / 8;
    file.seek(SeekFrom::Start(data_start + info.data_offsets.0 as u64)).map_err(io_error)?;
    let mut values = Vec::with_capacity(shape.elements());
    let mut buffer = vec![0_u8; (1 << 20).min(shape.elements() * element_bytes)];
    while values.len() < shape.elements() {
        let wanted = buffer.len().min((shape.elements() - values.len()) * element_bytes);
        file.read_exact(&mut buffer[..wanted]).map_err(io_error)?;
        values.extend(buffer[..wanted].chunks_exact(element_bytes).map(widen));
    }
    Ok(WeightMatrix { shape, dtype, values })
}

/// Where the tensors' bytes start, and the parsed header, checked against the length of the file.
fn read_header(path: &Path, file: &mut File) -> Result<(u64, Metadata), WeightsError> {
    let io_error = |source| WeightsError::Io { path: path.to_owned(), source };
    let malformed = |reason: String| WeightsError::Malformed { path: path.to_owned(), reason };

    let file_bytes = file.metadata().map_err(io_error)?.len();
    if file_bytes < 8 {
        return Err(malformed(format!("{file_bytes} bytes are too short for a header")));
    }
    let mut length = [0_u8; 8];
    file.read_exact(&mut length).map_err(io_error)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > (file_bytes - 8).min(MAX_HEADER_BYTES) {
        return Err(malformed(format!("a header of {header_bytes} bytes in a file of {file_bytes}")));
    }
    let mut header = vec![0_u8; header_bytes as usize];
    file.read_exact(&mut header).map_err(io_error)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| malformed(format!("header: {error}")))?;

    let data_start = 8 + header_bytes;
    let promised = data_start + metadata.data_len() as u64;
    if promised != file_bytes {
        return Err(malformed(format!("the header describes {promised} bytes, the file has {file_bytes}")));
    }
    Ok((data_start, metadata))
}

/// Up to five matrices of the file, the most similar names first.
fn near_names(metadata: &Metadata, wanted: &str) -> Vec<String> {
    let mut names: Vec<(usize, String)> = metadata
        .tensors()
        .into_iter()
        .filter(|(_, info)| info.shape.len() == 2)
        .map(|(name, _)| (edit_distance(&name, wanted), name))
        .collect();
    names.sort();
    names.into_iter().take(5).map(|(_, name)| name).collect()
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
    use safetensors::tensor::TensorView;
    use std::io::Write;

    /// A file with `m32`, `m16`, `mb16` of shape [2, 3], a vector `bias` and a matrix `ids` of I32.
    fn sample() -> tempfile::NamedTempFile {
        let values = [1.0_f32, -2.5, 0.0, 3.0, 65504.0, 0.099975586];
        let m32: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let m16: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        let mb16: Vec<u8> = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let tensors = [
            ("m32", view(Dtype::F32, &[2, 3], &m32)),
            ("m16", view(Dtype::F16, &[2, 3], &m16)),
            ("mb16", view(Dtype::BF16, &[2, 3], &mb16)),
            ("bias", view(Dtype::F32, &[6], &m32)),
            ("ids", view(Dtype::I32, &[2, 3], &m32)),
            ("none", view(Dtype::F32, &[0, 3], &[])),
        ];
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&safetensors::serialize(tensors, None).unwrap()).unwrap();
        file
    }

    fn raw(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn reads_each_float_type() {
        let file = sample();
        let m32 = read_matrix(file.path(), "m32").unwrap();
        assert_eq!((m32.shape.n(), m32.shape.k(), m32.dtype.as_str()), (2, 3, "F32"));
        assert_eq!(m32.values, [1.0, -2.5, 0.0, 3.0, 65504.0, 0.099975586]);
        assert_eq!(read_matrix(file.path(), "m16").unwrap().values, m32.values);
        assert_eq!(
            read_matrix(file.path(), "mb16").unwrap().values,
            [1.0, -2.5, 0.0, 3.0, 65536.0, 0.100097656]
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let file = sample();
        let error = read_matrix(file.path(), "m61").unwrap_err();
        assert!(
            matches!(&error, WeightsError::MissingTensor { near, tensors: 6, .. } if near[0] == "m16"),
            "{error}"
        );
        assert!(error.to_string().contains("similar: \"m16\""), "{error}");
        assert!(matches!(
            read_matrix(file.path(), "bias"),
            Err(WeightsError::Rank { shape, .. }) if shape == [6]
        ));
        assert!(
            matches!(read_matrix(file.path(), "ids"), Err(WeightsError::Dtype { dtype, .. }) if dtype == "I32")
        );
        assert!(matches!(
            read_matrix(file.path(), "none"),
            Err(WeightsError::Shape { source: QuantError::ZeroSize { n: 0, k: 3 }, .. })
        ));
        assert!(matches!(
            read_matrix(Path::new("no/such/file.safetensors"), "m32"),
            Err(WeightsError::Io { .. })
        ));
    }

    #[test]
    fn malformed_files_are_one_error() {
        let whole = std::fs::read(sample().path()).unwrap();
        let longer = [whole.as_slice(), &[0]].concat();
        let huge_header = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        let not_json = [&4_u64.to_le_bytes()[..], b"nope"].concat();
        let lying = br#"{"m":{"dtype":"F32","shape":[1000000000,4000000000],"data_offsets":[0,8]}}"#;
        let lying = [&(lying.len() as u64).to_le_bytes()[..], lying, &[0; 8]].concat();
        let cut = &whole[..whole.len() - 1];
        for bytes in [&[][..], b"short", cut, &longer, &huge_header, &not_json, &lying] {
            let file = raw(bytes);
            let error = read_matrix(file.path(), "m32").unwrap_err();
            assert!(matches!(error, WeightsError::Malformed { .. }), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        for length in 0..whole.len() - 1 {
            assert!(read_matrix(raw(&whole[..length]).path(), "m32").is_err(), "cut to {length} bytes");
        }
    }

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
