//! From a program to its accesses: one folder per language, each walking an entry point once with all lanes of a
//! workgroup together.

pub(super) mod msl;
pub(super) mod wgsl;
