//! The CPU executor: runs naga IR one subgroup at a time, traces every address, finds memory bugs.

mod traffic;

pub use traffic::{BLOCK_SIZES, Traffic};
