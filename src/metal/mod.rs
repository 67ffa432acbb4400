//! Metal Shading Language without a Mac: check, run and trace through clang.
//!
//! MSL is C++14 with address spaces, so clang reads it with a stand-in for `<metal_stdlib>` (`shim/`). Text
//! goes through the preprocessor and a rewriting that keeps its lines (`rewrite.rs`), and then to
//!
//! - [`check`]: types, address spaces, limits, what Metal forbids;
//! - [`llvm_ir`]: one function per kernel for the auditor, with the conventions of [`ir`];
//! - [`Program`]: the same IR, instrumented (`instrument.rs`), compiled and run as coroutines (`run/`), with races,
//!   divergent barriers and accesses out of bounds reported at their lines, and each access's traffic counted.
//!
//! ```no_run
//! use wgpu_marlin::metal::{Bound, Clang, Program, RunOptions, Source};
//!
//! let clang = Clang::find()?;
//! let source = Source::read("kernel.metal")?;
//! let program = Program::build(&clang, &source).map_err(|list| list[0].to_string())?;
//! let (x, mut y) = ([1f32; 64], [0f32; 64]);
//! let mut buffers =
//!     [Bound::read(0, bytemuck::cast_slice(&x)), Bound::write(1, bytemuck::cast_slice_mut(&mut y))];
//! let options = RunOptions { sanitize: true, trace: true, ..RunOptions::default() };
//! let run = program.run("my_kernel", [1, 1, 1], [64, 1, 1], &mut buffers, &mut [], &options)?;
//! assert!(run.faults.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it is not: that a text passes here does not prove that Apple's compiler takes it; sampling textures only
//! type-checks; arithmetic is IEEE's, not Apple's fast-math, so results agree within a tolerance, not in bits.

mod access;
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod admit;
mod cache;
mod check;
mod clang;
mod compile;
mod constant;
mod diagnostic;
mod include;
mod instrument;
pub mod ir;
mod lint;
mod location;
mod private;
mod process;
mod rewrite;
mod run;
mod salvage;
mod scope;
mod signature;
mod source;
mod specialize;
mod template;
mod token;

pub use check::{Checked, check};
pub use clang::{Clang, ClangError, MIN_CLANG};
pub use diagnostic::{Diagnostic, Severity, Step};
pub use instrument::{Op, Site};
pub use ir::{Ir, llvm_ir, llvm_ir_of, symbol};
pub use location::{Locations, Place, dbg_id};
pub use rewrite::{MAX_THREADGROUP_BYTES, ThreadgroupVariable};
pub use run::{
    Bound, Data, Fault, FaultKind, Memory, Program, Run, RunError, RunOptions, SiteTraffic, Tenths, Texture,
};
pub use salvage::Refused;
pub use signature::{Binding, Kernel, Param, Space};
pub use source::Source;
