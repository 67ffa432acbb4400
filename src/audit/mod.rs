//! Memory-access auditor: what each access of a kernel moves, and why.
//!
//! ```text
//! WGSL ──► lower ──► naga IR ──► front::wgsl ──┐
//!                                              ├──► sites ──► count ──► classify ──► rules ──► Report
//! Metal ──► metal ──► LLVM IR ──► front::msl  ─┘
//! ```
//!
//! Each entry point is walked once, all lanes of a workgroup together, with integers held in the
//! lane algebra. Every access becomes a [`Site`] with the number of 32, 64 and 128-byte blocks
//! that a request of a subgroup touches, and a verdict. Rules turn sites into [`Finding`]s.
//!
//! What is not known is a symbol, and the answer says what it assumed of it. Indices are taken not to
//! overflow 32 bits, parameters that are divided by not to be 0, and buffers to begin at a multiple of
//! 256 bytes.

#![cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "what only the audit of Metal text uses"))]

mod advice;
mod analyse;
mod baseline;
mod classify;
mod count;
mod error;
mod files;
mod finding;
mod front;
mod lanes;
mod merge;
#[cfg_attr(target_arch = "wasm32", path = "no_metal.rs")]
mod metal;
pub mod render;
mod report;
mod rules;
mod settings;
mod site;
mod stride;
mod suppress;
mod target;
mod trace;
mod variable;

pub use crate::memory::{AccessKind, BankModel, Space};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use analyse::not_analysed;
pub use analyse::{audit_composed, audit_lowered, audit_wgsl};
pub use baseline::Baseline;
pub use classify::{Confidence, Pattern};
pub use error::AuditError;
pub use files::{Folders, Includes, Request, System, audit_text, audit_text_in, run, trace_file};
pub use finding::{Finding, Label, Severity};
#[cfg(not(target_arch = "wasm32"))]
pub use metal::audit_ir;
pub use metal::audit_metal;
pub use report::{Kernel, KernelBytes, Report, Site, Traced};
pub use rules::{Rule, all as rules, find as rule};
pub use settings::Settings;
pub use target::Target;
pub use trace::{OutOfBounds, TraceError, trace_wgsl};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use variable::variables;
