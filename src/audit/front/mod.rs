//! From a program to its accesses: one folder per language, each walking an entry point once with all lanes of a
//! workgroup together.

pub(super) mod msl;
mod walk;
pub(super) mod wgsl;
