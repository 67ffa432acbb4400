//! From a program to its accesses: one folder per language, each walking an entry point once with all lanes of a
//! workgroup together.

#[cfg(not(target_arch = "wasm32"))]
pub(super) mod msl;
mod walk;
pub(super) mod wgsl;
