//! Is the text Metal? Types, address spaces, limits, and what Metal leaves out of C++.

use super::clang::Clang;
use super::compile::{run, succeeded, to_cxx};
use super::diagnostic::{Diagnostic, Step};
use super::rewrite::Entries;
use super::signature::Kernel;
use super::source::Source;

/// Text that passed the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The kernels that a host can ask for.
    pub kernels: Vec<Kernel>,
    /// What is worth knowing though the text is accepted.
    pub warnings: Vec<Diagnostic>,
}

/// Checks `source`; the errors are at the user's lines.
pub fn check(clang: &Clang, source: &Source) -> Result<Checked, Vec<Diagnostic>> {
    let rewritten = to_cxx(clang, source, Entries::All)?;
    let mut args = clang.language_flags();
    args.extend(["-fsyntax-only".into(), "-".into()]);
    let output = run(clang, args, &rewritten.text)?;
    succeeded(clang, &output, Step::Types, &rewritten.kernels)?;
    Ok(Checked { kernels: rewritten.kernels, warnings: Vec::new() })
}
