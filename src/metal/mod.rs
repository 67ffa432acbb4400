//! Metal Shading Language without a Mac: check, run and trace through clang.
//!
//! MSL is C++14 with address spaces, so clang reads it with a stand-in for `<metal_stdlib>` (`shim/`). Text
//! goes through the preprocessor, a rewriting that keeps its lines (`rewrite.rs`), and then to
//!
//! - [`check`]: types, limits, what Metal forbids;
//! - [`llvm_ir`]: one function per kernel for the auditor, with the conventions of [`ir`].

mod cache;
mod check;
mod clang;
mod compile;
mod diagnostic;
mod instrument;
pub mod ir;
mod lint;
mod location;
mod rewrite;
mod run;
mod scope;
mod signature;
mod source;
mod token;

pub use check::{Checked, check};
pub use clang::{Clang, ClangError, MIN_CLANG};
pub use diagnostic::{Diagnostic, Severity, Step};
pub use instrument::{Op, Site};
pub use ir::{Ir, llvm_ir, llvm_ir_of};
pub use location::{Locations, Place, dbg_id};
pub use rewrite::{MAX_THREADGROUP_BYTES, ThreadgroupVariable};
pub use run::{
    Bound, Data, Fault, FaultKind, Memory, Program, Run, RunError, RunOptions, SiteTraffic, Tenths, Texture,
};
pub use signature::{Binding, Kernel, Param, Space};
pub use source::Source;
