//! Is the text Metal? Types, address spaces, limits, and what Metal leaves out of C++.

use super::clang::Clang;
use super::compile::{preprocess, run, succeeded};
use super::diagnostic::{Diagnostic, Severity, Step, parse};
use super::lint::lint;
use super::rewrite::{Dialect, Entries, Mode, rewrite};
use super::signature::Kernel;
use super::source::Source;
use std::collections::HashSet;
use std::ffi::OsString;

/// Text that passed the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The kernels that a host can ask for.
    pub kernels: Vec<Kernel>,
    /// What is worth knowing though the text is accepted.
    pub warnings: Vec<Diagnostic>,
}

/// Checks `source`; the errors are at the user's lines, in their order.
///
/// The steps: the preprocessor; the lint of what C++ allows and Metal does not; the C++ compiler, with every
/// template instantiated that the text instantiates; once more as C++ for OpenCL, which has address spaces; and
/// Apple's own compiler where there is one. A fault of an early step is reported without the later ones.
/// That the text passes here does not prove that Apple's compiler takes it.
pub fn check(clang: &Clang, source: &Source) -> Result<Checked, Vec<Diagnostic>> {
    let preprocessed = preprocess(clang, source)?;
    let rewritten = rewrite(&preprocessed, source, all(Dialect::Cxx, &HashSet::new()));
    let mut errors: Vec<Diagnostic> = rewritten.faults.iter().map(Diagnostic::from_fault).collect();
    let mut warnings = Vec::new();
    for found in lint(&preprocessed, &rewritten.kernels) {
        if found.severity == Severity::Error { errors.push(found) } else { warnings.push(found) }
    }
    let mut args = clang.language_flags();
    args.extend(["-fsyntax-only".into(), "-".into()]);
    let output = run(clang, args, &rewritten.text)?;
    if let Err(list) = succeeded(clang, &output, Step::Types, &rewritten.kernels) {
        errors.extend(list);
    }
    if errors.is_empty() {
        errors.extend(address_spaces(clang, source, &preprocessed)?);
    }
    if errors.is_empty() && clang.has_xcrun_metal() {
        errors.extend(ask_apple(source)?);
    }
    if !errors.is_empty() {
        errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        errors.dedup();
        return Err(errors);
    }
    Ok(Checked { kernels: rewritten.kernels, warnings })
}

fn all(dialect: Dialect, without: &HashSet<usize>) -> Mode<'_> {
    Mode { dialect, entries: Entries::All, without }
}

/// Compiles once more with address spaces. Of what this compiler says only that counts which is about them: it
/// is stricter than Metal elsewhere.
fn address_spaces(
    clang: &Clang,
    source: &Source,
    preprocessed: &str,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let rewritten = rewrite(preprocessed, source, all(Dialect::AddressSpaces, &HashSet::new()));
    let mut args: Vec<OsString> = ADDRESS_SPACE_FLAGS.iter().map(Into::into).collect();
    args.extend(["-I".into(), clang.cache().shim_dir().into(), "-".into()]);
    let output = run(clang, args, &rewritten.text)?;
    let shim = clang.cache().shim_dir().to_string_lossy();
    let mut list = parse(&output.stderr, Step::AddressSpaces, &shim, &rewritten.kernels);
    list.retain(|d| d.severity == Severity::Error && d.line > 0 && is_about_address_spaces(d));
    for d in &mut list {
        d.message = in_metal_words(&d.message);
        for note in &mut d.notes {
            note.message = in_metal_words(&note.message);
        }
    }
    Ok(list)
}

const ADDRESS_SPACE_FLAGS: [&str; 13] = [
    "-x",
    "clcpp",
    "-cl-std=clc++2021",
    "-cl-no-stdinc",
    // Any target with all types of Metal; nothing is generated.
    "--target=x86_64-unknown-linux-gnu",
    "-DMARLIN_ADDRESS_SPACES",
    "-fdeclspec",
    "-nostdinc",
    "-fsyntax-only",
    "-Wno-everything",
    "-fno-caret-diagnostics",
    "-fno-color-diagnostics",
    "-ferror-limit=0",
];

fn is_about_address_spaces(d: &Diagnostic) -> bool {
    let says_so = |m: &str| m.contains("address space") && !m.contains("'this'") && !m.contains("temporary");
    // Two pointers of one conversion, into different memories.
    let two = d.message.contains("__global ") && d.message.contains("__local ");
    two || says_so(&d.message)
        || (d.message.contains("no matching function") && d.notes.iter().any(|n| says_so(&n.message)))
}

/// OpenCL's words for address spaces in Metal's.
fn in_metal_words(message: &str) -> String {
    let mut text =
        message.replace("*__private", "*").replace("__private ", "thread ").replace("__private", "thread");
    for (from, to) in [
        ("__global", "device"),
        ("__local", "threadgroup"),
        ("__generic ", ""),
        ("marlin_half", "half"),
        ("_Float16", "half"),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// Asks `xcrun metal`; its word is final.
fn ask_apple(source: &Source) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let mut command = std::process::Command::new("xcrun");
    command.args(["-sdk", "macosx", "metal", "-x", "metal", "-fsyntax-only", "-fno-caret-diagnostics", "-w"]);
    for dir in super::clang::folder_of(&source.name).iter().chain(&source.include_dirs) {
        command.arg("-I").arg(dir);
    }
    command.args(source.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
    command.arg("-");
    let input = format!("#line 1 \"{}\"\n{}\n", source.name, source.text);
    let output = super::process::pipe(command, input.as_bytes())
        .map_err(|e| vec![Diagnostic::error(Step::Driver, format!("could not run xcrun metal: {e}"))])?;
    let mut list = parse(&output.stderr, Step::Apple, "\0", &[]);
    list.retain(|d| d.severity == Severity::Error);
    if !output.success && list.is_empty() {
        list.push(Diagnostic::error(Step::Driver, format!("xcrun metal failed: {}", output.stderr.trim())));
    }
    Ok(list)
}
