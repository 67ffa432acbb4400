//! Readers of weight files: safetensors with shards, GGUF; on top of them the layouts that quantizers write.
//!
//! ```text
//! .safetensors, .index.json ─► Safetensors ─┐              ┌─► Tensor: name, type, shape, bytes ─► f32, QuantizedMatrix
//!                                           ├─► Checkpoint ┤
//! .gguf ─► Gguf ────────────────────────────┘              └─► Weight: QuantizedMatrix of several tensors
//! ```
//!
//! No GPU is needed, and nothing is quantized again: a matrix that is read has the very values that the file says, and a
//! tensor that no [`Format`](crate::quant::Format) holds exactly is refused by name, type and reason while all others
//! load. Headers are checked against the file before anything in them is used. A file opened by `open` is read tensor by
//! tensor, so that a large one never lies in memory twice; `map` (unsafe, since others might change the file) borrows.

mod checkpoint;
mod dtype;
mod error;
mod ggml;
mod gguf;
mod layout;
mod safetensors;
mod store;
mod tensor;

pub use checkpoint::{Checkpoint, Entry};
pub use dtype::{Dtype, Ggml};
pub use error::WeightsError;
pub use gguf::{Gguf, Value};
pub use layout::{Hints, Layout, Weight};
pub use safetensors::Safetensors;
pub use tensor::Tensor;
