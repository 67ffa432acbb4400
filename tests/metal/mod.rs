//! Metal Shading Language without a Mac: what the check accepts, what runs compute, whose text runs.

mod candle;
mod check;
mod fixtures;
mod naga;
mod registry;
mod run;

use wgpu_marlin::metal::{Clang, Diagnostic};

/// Clang, or `None` with a line that says what is skipped. With `MARLIN_CLANG=require` its absence fails.
pub(crate) fn clang(test: &str) -> Option<Clang> {
    match Clang::find() {
        Ok(clang) => Some(clang),
        Err(reason) if Clang::required() => panic!("MARLIN_CLANG=require, but: {reason}"),
        Err(reason) => {
            eprintln!("skipped {test}: {reason}");
            None
        }
    }
}

/// Diagnostics as a person sees them.
fn shown(list: &[Diagnostic]) -> String {
    list.iter().map(|d| format!("{d}\n")).collect()
}
