//! GGUF files, versions 2 and 3: a header of typed keys and tensor descriptions, then the tensors' bytes.
//!
//! Little-endian: `"GGUF"`, u32 version, u64 number of tensors, u64 number of keys; per key a string, a u32 type and
//! a value; per tensor a string, a u32 rank, that many u64 extents (the fastest first), a u32 type, a u64 offset from where
//! the data starts: the end of the header, rounded up to `general.alignment` (32 where it isn't given). A string is a u64
//! length and as many bytes.
//!
//! Nothing is trusted: each length is compared with what is left of the file before it is used, tensors lie within the file
//! and apart from each other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::store::Store;
use super::{Dtype, Tensor, WeightsError};

/// How deep arrays of arrays may go; files of today have arrays of strings and numbers alone.
const MAX_DEPTH: usize = 4;
/// The most extents of a tensor that files have.
const MAX_RANK: u32 = 8;
/// The largest header that is read: the largest tokenizers of today take a quarter of it.
const MAX_HEADER_BYTES: u64 = 1 << 26;
/// How much of a file is read at first to find its header's end.
const FIRST_READ_BYTES: u64 = 1 << 20;

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the types")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// A number that is not negative, of whatever integer type.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            Value::I8(v) => v.try_into().ok(),
            Value::I16(v) => v.try_into().ok(),
            Value::I32(v) => v.try_into().ok(),
            Value::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// An integer of whatever type.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Value::I8(v) => Some(v.into()),
            Value::I16(v) => Some(v.into()),
            Value::I32(v) => Some(v.into()),
            Value::I64(v) => Some(v),
            _ => self.as_u64()?.try_into().ok(),
        }
    }

    /// A float of either type.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(v) = *self { Some(v) } else { None }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(v) = self { Some(v) } else { None }
    }

    /// An array.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Value::Array(v) = self { Some(v) } else { None }
    }

    /// An array of strings.
    pub fn as_strings(&self) -> Option<Vec<&str>> {
        self.as_array()?.iter().map(Value::as_str).collect()
    }
}

/// What the header says about a tensor.
#[derive(Debug, Clone)]
struct Info {
    name: String,
    dtype: Dtype,
    /// The slowest first.
    shape: Vec<usize>,
    /// From the file's start.
    start: u64,
    bytes: u64,
}

/// A GGUF file: its header read and checked, its tensors where they are.
///
/// ```no_run
/// let file = wgpu_marlin::weights::Gguf::open("model.gguf")?;
/// let layers = file.get("llama.block_count").and_then(|value| value.as_u64());
/// let matrix = file.tensor("blk.0.attn_q.weight")?.to_matrix()?;
/// # Ok::<(), wgpu_marlin::weights::WeightsError>(())
/// ```
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    store: Store,
    version: u32,
    keys: Vec<(String, Value)>,
    infos: Vec<Info>,
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Opens a file: its header is read now, a tensor's bytes when the tensor is asked for.
    ///
    /// # Errors
    /// The file can't be read, or is not a well-formed GGUF file.
    pub fn open(path: impl AsRef<Path>) -> Result<Gguf, WeightsError> {
        let path = path.as_ref();
        let store = Store::open(path).map_err(|source| WeightsError::Io { path: path.into(), source })?;
        Gguf::read(path, store)
    }

    /// Opens a file as a memory map: tensors borrow their bytes from it.
    ///
    /// # Safety
    /// As long as the value lives, nobody may change or shorten the file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(not(target_arch = "wasm32"))]
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Gguf, WeightsError> {
        let path = path.as_ref();
        // SAFETY: the caller promises that the file stays as it is.
        let store = unsafe { Store::map(path) };
        Gguf::read(path, store.map_err(|source| WeightsError::Io { path: path.into(), source })?)
    }

    /// A file that is in memory already.
    ///
    /// # Errors
    /// It is not a well-formed GGUF file.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Gguf, WeightsError> {
        Gguf::read(Path::new(""), Store::Bytes(bytes.into()))
    }

    fn read(path: &Path, store: Store) -> Result<Gguf, WeightsError> {
        let file_bytes = store.len();
        // Headers are a few MB and their length is not told: read more until it fits.
        let mut wanted = FIRST_READ_BYTES;
        let header = loop {
            let available = wanted.min(file_bytes);
            let bytes =
                store.read(0..available).map_err(|source| WeightsError::Io { path: path.into(), source })?;
            match Header::parse(&bytes, file_bytes) {
                Err(Fault::Incomplete(_)) if available < file_bytes => wanted = wanted.saturating_mul(4),
                Err(Fault::Incomplete(reason) | Fault::Malformed(reason)) => {
                    return Err(WeightsError::Malformed { path: path.into(), format: "GGUF", reason });
                }
                Ok(header) => break header,
            }
        };
        let Header { version, keys, infos } = header;
        let by_name = infos.iter().enumerate().map(|(i, info)| (info.name.clone(), i)).collect();
        Ok(Gguf { path: path.into(), store, version, keys, infos, by_name })
    }

    /// 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All keys with their values, in the file's order: what the model is, and its tokenizer.
    pub fn keys(&self) -> &[(String, Value)] {
        &self.keys
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Names, types and shapes (the slowest extent first) of all tensors, in the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &Dtype, &[usize])> {
        self.infos.iter().map(|info| (info.name.as_str(), &info.dtype, info.shape.as_slice()))
    }

    /// A tensor with its bytes.
    ///
    /// # Errors
    /// [`WeightsError::MissingTensor`]; reading fails.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, WeightsError> {
        let Some(&index) = self.by_name.get(name) else {
            let names = self.infos.iter().map(|info| (info.name.as_str(), info.shape.len()));
            return Err(WeightsError::missing(name, names));
        };
        let info = &self.infos[index];
        if let Dtype::Unknown(_) = info.dtype {
            let reason = "this crate does not know the type, so its bytes can't be told";
            return Err(WeightsError::unsupported(name, &info.dtype, reason));
        }
        let bytes = self.store.read(info.start..info.start + info.bytes);
        let bytes = bytes.map_err(|source| WeightsError::Io { path: self.path.clone(), source })?;
        Ok(Tensor { name: &info.name, dtype: &info.dtype, shape: &info.shape, bytes })
    }
}

/// Why a header could not be read.
enum Fault {
    /// The bytes end before the header does.
    Incomplete(String),
    Malformed(String),
}

struct Header {
    version: u32,
    keys: Vec<(String, Value)>,
    infos: Vec<Info>,
}

impl Header {
    /// The header at the start of `bytes`, of a file of `file_bytes`.
    fn parse(bytes: &[u8], file_bytes: u64) -> Result<Header, Fault> {
        let mut cursor = Cursor { bytes, at: 0, file_bytes };
        let magic = cursor.take(4, "the magic number")?;
        if magic != b"GGUF" {
            return Err(Fault::Malformed(format!("it begins with {magic:02x?}, not with \"GGUF\"")));
        }
        let version = cursor.u32("the version")?;
        match version {
            2 | 3 => {}
            1 => {
                return Err(Fault::Malformed(
                    "version 1: convert it with llama.cpp, versions 2 and 3 are read".into(),
                ));
            }
            _ if version.swap_bytes() <= 3 => {
                return Err(Fault::Malformed("it is big-endian: only little-endian files are read".into()));
            }
            _ => return Err(Fault::Malformed(format!("version {version}: versions 2 and 3 are read"))),
        }
        // The least that a tensor's description and a key take.
        let n_tensors = cursor.count(8 + 4 + 4 + 8, "tensors")?;
        let n_keys = cursor.count(8 + 4 + 1, "keys")?;
        let mut keys: Vec<(String, Value)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..n_keys {
            let name = cursor.string("a key")?;
            let kind = cursor.u32(&name)?;
            let value = cursor.value(kind, &name, 0)?;
            if !seen.insert(name.clone()) {
                return Err(Fault::Malformed(format!("the key {name:?} is there twice")));
            }
            keys.push((name, value));
        }
        let alignment = match keys.iter().find(|(name, _)| name == "general.alignment") {
            None => 32,
            Some((_, value)) => match value.as_u64() {
                Some(alignment) if alignment.is_power_of_two() && (8..=1 << 30).contains(&alignment) => {
                    alignment
                }
                _ => return Err(Fault::Malformed(format!("general.alignment is {value:?}"))),
            },
        };
        let mut infos = Vec::new();
        for _ in 0..n_tensors {
            infos.push(cursor.tensor_info(alignment)?);
        }
        let data_start = (cursor.at as u64).next_multiple_of(alignment);
        place(&mut infos, data_start, file_bytes)?;
        Ok(Header { version, keys, infos })
    }
}

/// Turns offsets into positions in the file, and checks that tensors lie within it and apart.
fn place(infos: &mut [Info], data_start: u64, file_bytes: u64) -> Result<(), Fault> {
    let mut names = std::collections::HashSet::new();
    let mut ranges: Vec<(u64, u64, &str)> = Vec::new();
    for info in infos.iter_mut() {
        if !names.insert(info.name.clone()) {
            return Err(Fault::Malformed(format!("the tensor {:?} is there twice", info.name)));
        }
        let end = info.start.checked_add(data_start).and_then(|start| {
            info.start = start;
            start.checked_add(info.bytes)
        });
        if end.is_none_or(|end| end > file_bytes) {
            return Err(Fault::Malformed(format!(
                "tensor {:?} ends beyond the file's {file_bytes} bytes: it is cut short, or its header is wrong",
                info.name
            )));
        }
    }
    ranges
        .extend(infos.iter().filter(|i| i.bytes > 0).map(|i| (i.start, i.start + i.bytes, i.name.as_str())));
    ranges.sort();
    for pair in ranges.windows(2) {
        if pair[1].0 < pair[0].1 {
            return Err(Fault::Malformed(format!("tensors {:?} and {:?} overlap", pair[0].2, pair[1].2)));
        }
    }
    Ok(())
}

/// A place in the header's bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    file_bytes: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: u64, what: &str) -> Result<&'a [u8], Fault> {
        let left = self.file_bytes - self.at as u64;
        if length > left {
            return Err(Fault::Malformed(format!(
                "{what} takes {length} bytes at byte {}, where {left} are left",
                self.at
            )));
        }
        if self.at as u64 + length > MAX_HEADER_BYTES {
            return Err(Fault::Malformed(format!(
                "its header is larger than {MAX_HEADER_BYTES} bytes, at {what}"
            )));
        }
        let rest = &self.bytes[self.at..];
        let Some(taken) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return Err(Fault::Incomplete(format!("it ends within {what}")));
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let bytes = self.take(N as u64, what)?;
        Ok(bytes.try_into().expect("take gives the length asked for"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of things that take at least `least` bytes each.
    fn count(&mut self, least: u64, what: &str) -> Result<u64, Fault> {
        let count = self.u64(what)?;
        let left = self.file_bytes - self.at as u64;
        if count > left / least {
            return Err(Fault::Malformed(format!("{count} {what} in the {left} bytes that are left")));
        }
        Ok(count)
    }

    fn string(&mut self, what: &str) -> Result<String, Fault> {
        let length = self.u64(what)?;
        let bytes = self.take(length, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            // Token texts of some files are bytes that are no UTF-8 by themselves.
            Err(_) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Value, Fault> {
        Ok(match kind {
            0 => Value::U8(self.array::<1>(key)?[0]),
            1 => Value::I8(self.array::<1>(key)?[0] as i8),
            2 => Value::U16(u16::from_le_bytes(self.array(key)?)),
            3 => Value::I16(i16::from_le_bytes(self.array(key)?)),
            4 => Value::U32(self.u32(key)?),
            5 => Value::I32(i32::from_le_bytes(self.array(key)?)),
            6 => Value::F32(f32::from_le_bytes(self.array(key)?)),
            7 => Value::Bool(self.array::<1>(key)?[0] != 0),
            8 => Value::String(self.string(key)?),
            9 if depth == MAX_DEPTH => {
                return Err(Fault::Malformed(format!(
                    "{key:?}: arrays within arrays, more than {MAX_DEPTH} deep"
                )));
            }
            9 => {
                let kind = self.u32(key)?;
                let least = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    9 => 12,
                    _ => 8,
                };
                let n = self.count(least, &format!("values of {key:?}"))?;
                let mut values = Vec::new();
                for _ in 0..n {
                    values.push(self.value(kind, key, depth + 1)?);
                }
                Value::Array(values)
            }
            10 => Value::U64(self.u64(key)?),
            11 => Value::I64(i64::from_le_bytes(self.array(key)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(key)?)),
            _ => return Err(Fault::Malformed(format!("{key:?} has a value of unknown type {kind}"))),
        })
    }

    fn tensor_info(&mut self, alignment: u64) -> Result<Info, Fault> {
        let name = self.string("a tensor's name")?;
        let rank = self.u32(&name)?;
        if rank > MAX_RANK {
            return Err(Fault::Malformed(format!("tensor {name:?} has {rank} extents")));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            let extent = self.u64(&name)?;
            let extent = usize::try_from(extent).ok().filter(|&extent| extent <= isize::MAX as usize);
            shape.push(
                extent.ok_or_else(|| Fault::Malformed(format!("tensor {name:?} has an absurd extent")))?,
            );
        }
        shape.reverse();
        let dtype = Dtype::of_gguf(self.u32(&name)?);
        let start = self.u64(&name)?;
        if !start.is_multiple_of(alignment) {
            return Err(Fault::Malformed(format!("tensor {name:?} is not aligned to {alignment} bytes")));
        }
        let elements = shape.iter().try_fold(1_u64, |n, &extent| n.checked_mul(extent as u64));
        let Some(elements) = elements else {
            return Err(Fault::Malformed(format!("tensor {name:?} has more elements than can be counted")));
        };
        // Of an unknown type nobody knows the bytes: it is listed, and refused when asked for.
        let (weights, bytes) = dtype.block().unwrap_or((1, 0));
        let k = shape.last().copied().unwrap_or(1);
        if !k.is_multiple_of(weights) {
            return Err(Fault::Malformed(format!(
                "tensor {name:?}: rows of {k} are no whole blocks of {dtype}, of {weights}"
            )));
        }
        let bytes = (elements / weights as u64).checked_mul(bytes as u64);
        let bytes = bytes.ok_or_else(|| Fault::Malformed(format!("tensor {name:?} has an absurd size")))?;
        Ok(Info { name, dtype, shape, start, bytes })
    }
}
