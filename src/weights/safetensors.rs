//! Safetensors files, one or many: an 8-byte length, a JSON header, the tensors' bytes.
//!
//! The header is read here, not by the `safetensors` crate, because that refuses a whole file for one tensor of a type it
//! doesn't know: here such a tensor is listed and refused when it is asked for. The checks are the same: offsets are within the
//! file, in one piece, without holes or overlaps, and fit type and shape.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::store::Store;
use super::{Dtype, Tensor, WeightsError};

/// The largest header that is read: what the format's own library allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A tensor's entry in a header.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// A header's values: tensors, and `__metadata__`, which may be anything.
#[derive(Deserialize)]
struct RawHeader(#[serde(deserialize_with = "no_duplicates")] BTreeMap<String, serde_json::Value>);

/// What `model.safetensors.index.json` says.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    shard: usize,
    start: u64,
    end: u64,
}

/// A safetensors file, or all files of an index: headers read and checked, tensors where they are.
#[derive(Debug)]
pub struct Safetensors {
    shards: Vec<(PathBuf, Store)>,
    infos: BTreeMap<String, Info>,
    metadata: HashMap<String, String>,
}

/// How shards are opened.
type Opener = fn(&Path) -> std::io::Result<Store>;

impl Safetensors {
    /// Opens a `.safetensors` file, an `.index.json` with the files that it names beside it, or a folder that holds
    /// `model.safetensors` or `model.safetensors.index.json`. Headers are read now, a tensor's bytes when it is asked for.
    ///
    /// # Errors
    /// A file can't be read or is not well-formed; the index and the files disagree.
    pub fn open(path: impl AsRef<Path>) -> Result<Safetensors, WeightsError> {
        Safetensors::open_with(path.as_ref(), Store::open)
    }

    /// Opens the same as memory maps: tensors borrow their bytes from them.
    ///
    /// # Safety
    /// As long as the value lives, nobody may change or shorten the files.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[cfg(not(target_arch = "wasm32"))]
    pub unsafe fn map(path: impl AsRef<Path>) -> Result<Safetensors, WeightsError> {
        fn map(path: &Path) -> std::io::Result<Store> {
            // SAFETY: the caller of `Safetensors::map`, the only user, promises that the files stay as they are.
            unsafe { Store::map(path) }
        }
        Safetensors::open_with(path.as_ref(), map)
    }

    /// One file that is in memory already.
    ///
    /// # Errors
    /// It is not a well-formed safetensors file.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Safetensors, WeightsError> {
        let mut files = Safetensors { shards: vec![], infos: BTreeMap::new(), metadata: HashMap::new() };
        files.add(PathBuf::new(), Store::Bytes(bytes.into()), None)?;
        Ok(files)
    }

    fn open_with(path: &Path, open: Opener) -> Result<Safetensors, WeightsError> {
        let mut files = Safetensors { shards: vec![], infos: BTreeMap::new(), metadata: HashMap::new() };
        let path = if path.is_dir() {
            let index = path.join("model.safetensors.index.json");
            if index.is_file() { index } else { path.join("model.safetensors") }
        } else {
            path.to_path_buf()
        };
        let io_error = |path: &Path| {
            let path = path.to_path_buf();
            move |source| WeightsError::Io { path, source }
        };
        if path.extension().is_none_or(|extension| extension != "json") {
            let store = open(&path).map_err(io_error(&path))?;
            files.add(path, store, None)?;
            return Ok(files);
        }
        let malformed = |reason: String| WeightsError::Malformed {
            path: path.clone(),
            format: "safetensors index",
            reason,
        };
        let text = std::fs::read(&path).map_err(io_error(&path))?;
        let index: Index = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        for name in names {
            // A file beside the index, and nothing else.
            let plain = Path::new(name).components().collect::<Vec<_>>();
            if !matches!(plain[..], [std::path::Component::Normal(_)]) {
                return Err(malformed(format!("it names the file {name:?}, which is not beside it")));
            }
            let shard = folder.join(name);
            let store = open(&shard).map_err(io_error(&shard))?;
            files.add(shard, store, Some((name, &index)))?;
        }
        if let Some((name, file)) = index.weight_map.iter().find(|(name, _)| !files.infos.contains_key(*name))
        {
            return Err(malformed(format!(
                "it says that tensor {name:?} is in {file:?}, which doesn't have it"
            )));
        }
        Ok(files)
    }

    /// Adds a file's tensors; of a file of an index those that the index says are there.
    fn add(
        &mut self,
        path: PathBuf,
        store: Store,
        index: Option<(&String, &Index)>,
    ) -> Result<(), WeightsError> {
        let malformed =
            |reason: String| WeightsError::Malformed { path: path.clone(), format: "safetensors", reason };
        let io_error = |source| WeightsError::Io { path: path.clone(), source };
        let file_bytes = store.len();
        if file_bytes < 8 {
            return Err(malformed(format!("{file_bytes} bytes are too short for a header")));
        }
        let length = store.read(0..8).map_err(io_error)?;
        let header_bytes = u64::from_le_bytes(length[..].try_into().expect("eight bytes"));
        if header_bytes > (file_bytes - 8).min(MAX_HEADER_BYTES) {
            let guess = match &length[..] {
                b"version " => ": it is a Git LFS pointer, fetch the file itself",
                [b'P', b'K', 3, 4, ..] => ": it is a zip file, perhaps a PyTorch checkpoint",
                [b'<', ..] => ": it is a web page",
                [b'G', b'G', b'U', b'F', ..] => ": it is a GGUF file",
                _ => "",
            };
            return Err(malformed(format!(
                "a header of {header_bytes} bytes in a file of {file_bytes}{guess}"
            )));
        }
        let data_start = 8 + header_bytes;
        let header = store.read(8..data_start).map_err(io_error)?;
        let RawHeader(header) =
            serde_json::from_slice(&header).map_err(|error| malformed(format!("header: {error}")))?;

        let shard = self.shards.len();
        let mut ranges: Vec<(u64, u64, String)> = Vec::new();
        for (name, value) in header {
            if name == "__metadata__" {
                // Strings by the format; what else there is does no harm.
                if let serde_json::Value::Object(entries) = value {
                    let text =
                        |v: serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
                    self.metadata.extend(entries.into_iter().map(|(k, v)| (k, text(v))));
                }
                continue;
            }
            let entry: Entry = serde_json::from_value(value)
                .map_err(|error| malformed(format!("tensor {name:?}: {error}")))?;
            let info = place(&name, entry, shard, data_start, file_bytes).map_err(malformed)?;
            ranges.push((info.start, info.end, name.clone()));
            let wanted = index.is_none_or(|(file, index)| index.weight_map.get(&name) == Some(file));
            if wanted && self.infos.insert(name.clone(), info).is_some() {
                return Err(malformed(format!("tensor {name:?} is in another file too")));
            }
        }
        ranges.sort();
        let mut at = data_start;
        for (start, end, name) in &ranges {
            if *start != at {
                let what = if *start < at { "overlaps the one before" } else { "leaves a hole before it" };
                return Err(malformed(format!("tensor {name:?} {what}")));
            }
            at = *end;
        }
        if at != file_bytes {
            return Err(malformed(format!("the header describes {at} bytes, the file has {file_bytes}")));
        }
        drop(length);
        self.shards.push((path, store));
        Ok(())
    }

    /// Names, types and shapes of all tensors, by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, &Dtype, &[usize])> {
        self.infos.iter().map(|(name, info)| (name.as_str(), &info.dtype, info.shape.as_slice()))
    }

    /// What `__metadata__` of the files says.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// The file, or the first of the files; empty for bytes in memory.
    pub fn path(&self) -> &Path {
        &self.shards[0].0
    }

    /// Type and shape of a tensor.
    pub(super) fn info(&self, name: &str) -> Option<(&Dtype, &[usize])> {
        self.infos.get(name).map(|info| (&info.dtype, info.shape.as_slice()))
    }

    /// A tensor with its bytes. Of a type that this crate doesn't know, they are the bytes of the file.
    ///
    /// # Errors
    /// [`WeightsError::MissingTensor`]; reading fails.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, WeightsError> {
        let Some((name, info)) = self.infos.get_key_value(name) else {
            let names = self.infos.iter().map(|(name, info)| (name.as_str(), info.shape.len()));
            return Err(WeightsError::missing(name, names));
        };
        let (path, store) = &self.shards[info.shard];
        let bytes = store.read(info.start..info.end);
        let bytes = bytes.map_err(|source| WeightsError::Io { path: path.clone(), source })?;
        Ok(Tensor { name, dtype: &info.dtype, shape: &info.shape, bytes })
    }
}

/// A tensor's entry, checked against the file.
fn place(name: &str, entry: Entry, shard: usize, data_start: u64, file_bytes: u64) -> Result<Info, String> {
    let (start, end) = entry.data_offsets;
    let absolute = |offset: u64| offset.checked_add(data_start).filter(|&at| at <= file_bytes);
    let (Some(start), Some(end)) = (absolute(start), absolute(end)) else {
        return Err(format!(
            "tensor {name:?} lies at {start}..{end} of {} bytes of data: the file is cut short, or its header is wrong",
            file_bytes - data_start
        ));
    };
    if start > end {
        return Err(format!("tensor {name:?} ends before it begins"));
    }
    let dtype = Dtype::of_safetensors(&entry.dtype);
    let elements = entry.shape.iter().try_fold(1_u64, |n, &extent| n.checked_mul(extent));
    let shape = entry.shape.iter().map(|&extent| usize::try_from(extent)).collect::<Result<Vec<_>, _>>();
    let (Some(elements), Ok(shape)) = (elements, shape) else {
        return Err(format!("tensor {name:?} has more elements than can be counted"));
    };
    if let Some((_, size)) = dtype.block()
        && elements.checked_mul(size as u64) != Some(end - start)
    {
        return Err(format!(
            "tensor {name:?} of shape {:?} and type {dtype} has {} bytes",
            entry.shape,
            end - start
        ));
    }
    Ok(Info { dtype, shape, shard, start, end })
}

/// A JSON object in which no key is there twice: which of the two counts would be anyone's guess.
fn no_duplicates<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, serde_json::Value>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = BTreeMap<String, serde_json::Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of tensors")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, serde_json::Value>()? {
                if map.contains_key(&key) {
                    return Err(serde::de::Error::custom(format!("{key:?} is there twice")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(Visitor)
}
