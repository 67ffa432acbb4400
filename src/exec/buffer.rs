//! Memory that kernels read and write.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A buffer that kernels can be bound to: bytes, zero at first.
///
/// It is made of 32-bit atomics that kernels access with relaxed ordering, so that invocations on
/// several threads may touch the same words, as they may on a GPU, without undefined behaviour; a
/// kernel with a data race gets some interleaving of words. Bind it by shared reference, to as many
/// variables as needed.
pub struct Buffer {
    words: Vec<AtomicU32>,
    len_bytes: usize,
    /// Taken by 64-bit atomic operations, which two 32-bit words can't do alone.
    wide_atomics: Mutex<()>,
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("len_bytes", &self.len_bytes).finish()
    }
}

impl Buffer {
    /// A buffer of zeros.
    pub fn zeroed(len_bytes: usize) -> Self {
        let words = std::iter::repeat_with(AtomicU32::default).take(len_bytes.div_ceil(4)).collect();
        Self { words, len_bytes, wide_atomics: Mutex::new(()) }
    }

    /// A buffer with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            AtomicU32::new(u32::from_le_bytes(word))
        });
        Self { words: words.collect(), len_bytes: bytes.len(), wide_atomics: Mutex::new(()) }
    }

    /// A buffer with these values: `Buffer::from_slice(&[1.0f32, 2.0])`.
    pub fn from_slice<T: bytemuck::NoUninit>(values: &[T]) -> Self {
        Self::from_bytes(bytemuck::cast_slice(values))
    }

    /// Size in bytes.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The contents.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.load(Relaxed).to_le_bytes()).collect();
        bytes.truncate(self.len_bytes);
        bytes
    }

    /// The contents as values; bytes after the last whole value are left out.
    pub fn to_vec<T: bytemuck::AnyBitPattern>(&self) -> Vec<T> {
        self.to_bytes().chunks_exact(size_of::<T>().max(1)).map(bytemuck::pod_read_unaligned).collect()
    }

    /// Replaces the bytes from `offset` on; what would lie beyond the end is left out.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate().take(self.len_bytes.saturating_sub(offset)) {
            let at = offset + i;
            let shift = 8 * (at % 4);
            // A byte at a time: the caller may share the buffer with a running dispatch.
            let _ = self.words[at / 4]
                .fetch_update(Relaxed, Relaxed, |w| Some(w & !(0xff << shift) | u32::from(byte) << shift));
        }
    }

    pub(super) fn words(&self) -> &[AtomicU32] {
        &self.words
    }

    pub(super) fn wide_atomics(&self) -> &Mutex<()> {
        &self.wide_atomics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_writes_stay_inside() {
        let buffer = Buffer::from_bytes(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(buffer.len_bytes(), 6);
        buffer.write(3, &[40, 50, 60, 70, 80]);
        assert_eq!(buffer.to_bytes(), [1, 2, 3, 40, 50, 60]);
        assert_eq!(buffer.to_vec::<u16>(), [0x0201, 0x2803, 0x3c32]);
    }
}
