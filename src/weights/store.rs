//! Where a file's bytes come from: memory, a map, or the file itself, range by range.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Bytes of known length.
#[derive(Debug)]
pub(super) enum Store {
    /// All of them in memory.
    Bytes(Arc<[u8]>),
    /// A file mapped into memory.
    #[cfg(not(target_arch = "wasm32"))]
    Map(memmap2::Mmap),
    /// A file of which only what is asked for is read.
    File { file: Mutex<File>, len: u64 },
}

impl Store {
    /// Opens a file for reading range by range.
    pub(super) fn open(path: &Path) -> io::Result<Store> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "a folder, not a file"));
        }
        Ok(Store::File { file: Mutex::new(file), len: metadata.len() })
    }

    /// Maps a file.
    ///
    /// # Safety
    /// While the map lives, nobody may change or shorten the file.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) unsafe fn map(path: &Path) -> io::Result<Store> {
        let file = File::open(path)?;
        // SAFETY: the caller promises that the file stays as it is.
        Ok(Store::Map(unsafe { memmap2::Mmap::map(&file)? }))
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        match self {
            Store::Bytes(bytes) => bytes.len() as u64,
            #[cfg(not(target_arch = "wasm32"))]
            Store::Map(map) => map.len() as u64,
            Store::File { len, .. } => *len,
        }
    }

    /// The bytes of a range, borrowed where they are in memory.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let outside = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before");
        if range.start > range.end || range.end > self.len() {
            return Err(outside());
        }
        let in_memory = |bytes| {
            let (start, end) = (range.start as usize, range.end as usize);
            <[u8]>::get(bytes, start..end).map(Cow::Borrowed).ok_or_else(outside)
        };
        match self {
            Store::Bytes(bytes) => in_memory(bytes),
            #[cfg(not(target_arch = "wasm32"))]
            Store::Map(map) => in_memory(map),
            Store::File { file, .. } => {
                let length = usize::try_from(range.end - range.start).map_err(|_| outside())?;
                let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                file.seek(SeekFrom::Start(range.start))?;
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
                (&mut *file).take(length as u64).read_to_end(&mut bytes)?;
                if bytes.len() == length { Ok(Cow::Owned(bytes)) } else { Err(outside()) }
            }
        }
    }
}
