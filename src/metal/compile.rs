//! The steps from text to what clang makes of it.

use super::clang::{Clang, Output, folder_of};
use super::diagnostic::{Diagnostic, Severity, Step, parse};
use super::include::{folder_of_missing, missing};
use super::rewrite::{Dialect, Entries, Mode, Rewritten, rewrite};
use super::signature::Kernel;
use super::source::Source;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// Most folders that are found for the includes of one text.
const MOST_FOLDERS: usize = 16;

/// Runs the preprocessor: user macros, includes, `<metal_stdlib>`'s macros. A header that no folder has is looked for
/// round the file that asks for it.
pub(super) fn preprocess(clang: &Clang, source: &Source) -> Result<String, Vec<Diagnostic>> {
    let mut found: Vec<PathBuf> = Vec::new();
    loop {
        let errors = match preprocess_with(clang, source, &found) {
            Ok(text) => return Ok(text),
            Err(errors) => errors,
        };
        let folder = errors.iter().find_map(|d| folder_of_missing(&d.file, missing(&d.message)?));
        match folder {
            Some(folder) if found.len() < MOST_FOLDERS && !found.contains(&folder) => found.push(folder),
            _ => return Err(errors),
        }
    }
}

fn preprocess_with(clang: &Clang, source: &Source, found: &[PathBuf]) -> Result<String, Vec<Diagnostic>> {
    let mut args: Vec<OsString> = [
        "-E",
        "-x",
        "c++",
        "-std=c++17",
        "-nostdinc",
        "-fdeclspec",
        "-fno-caret-diagnostics",
        "-fno-color-diagnostics",
    ]
    .map(OsString::from)
    .into();
    args.extend(["-include".into(), clang.cache().shim_dir().join("prelude.h").into()]);
    args.extend(["-isystem".into(), clang.cache().include_dir().into()]);
    for dir in folder_of(&source.name).iter().chain(&source.include_dirs).chain(found) {
        args.extend(["-I".into(), dir.into()]);
    }
    args.extend(source.clang_args.iter().map(Into::into));
    args.extend(source.defines.iter().map(|(name, value)| format!("-D{name}={value}").into()));
    args.push("-".into());
    let name = source.name.replace('\\', "/").replace('"', "'");
    let input = format!("# 1 \"{name}\"\n{}\n", source.text);
    let output = run(clang, args, &input)?;
    succeeded(clang, &output, Step::Preprocess, &[])?;
    String::from_utf8(output.stdout)
        .map(|text| without_macros_in_pragmas(&text))
        .map_err(|_| vec![Diagnostic::error(Step::Preprocess, "the text is not UTF-8")])
}

/// How far a loop is unrolled may be an expression with macros in it, which the preprocessor leaves as they are. For
/// what a kernel does it means nothing: such a loop asks for unrolling only.
fn without_macros_in_pragmas(text: &str) -> String {
    let count = |line: &str| {
        let pragma = line.trim_start().strip_prefix("#pragma")?.trim_start();
        let argument =
            pragma.strip_prefix("unroll").or_else(|| pragma.strip_prefix("clang loop unroll_count"))?;
        let inner = argument.trim().trim_start_matches('(').trim_end_matches(')').trim();
        let plain = inner.is_empty() || inner.bytes().all(|b| b.is_ascii_digit());
        (!plain && inner.contains(|c: char| c.is_ascii_alphanumeric())).then_some(())
    };
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match count(line) {
            Some(()) => out.push_str("#pragma unroll\n"),
            None => out.push_str(line),
        }
    }
    out
}

/// Rewrites preprocessed text to what clang compiles.
pub(super) fn rewritten(preprocessed: &str, source: &Source, entries: Entries) -> Rewritten {
    rewrite(preprocessed, source, Mode { dialect: Dialect::Cxx, entries, without: &HashSet::new() })
}

/// [`rewritten`]; faults of the rewriting are errors.
pub(super) fn to_cxx(
    preprocessed: &str,
    source: &Source,
    entries: Entries,
) -> Result<Rewritten, Vec<Diagnostic>> {
    let rewritten = rewritten(preprocessed, source, entries);
    if rewritten.faults.is_empty() {
        Ok(rewritten)
    } else {
        Err(rewritten.faults.iter().map(Diagnostic::from_fault).collect())
    }
}

/// Runs clang on `input`; not being able to is a message too.
pub(super) fn run(clang: &Clang, args: Vec<OsString>, input: &str) -> Result<Output, Vec<Diagnostic>> {
    clang
        .run(args, input.as_bytes())
        .map_err(|e| vec![Diagnostic::error(Step::Driver, format!("could not run {}: {e}", clang.version()))])
}

/// The errors of a failed run.
pub(super) fn succeeded(
    clang: &Clang,
    output: &Output,
    step: Step,
    kernels: &[Kernel],
) -> Result<(), Vec<Diagnostic>> {
    if output.success {
        return Ok(());
    }
    let mut list = parse(&output.stderr, step, &clang.cache().shim_dir().to_string_lossy(), kernels);
    list.retain(|d| d.severity == Severity::Error);
    if list.is_empty() {
        let tail: Vec<_> = output.stderr.lines().take(5).collect();
        list.push(Diagnostic::error(Step::Driver, format!("the compiler failed: {}", tail.join(" / "))));
    }
    Err(list)
}
