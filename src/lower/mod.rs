//! WGSL files to a validated naga module, and from there to target text.
//!
//! This is the only caller of naga's front and back ends. One [`Lowered`] value feeds the pipeline, the
//! printed text, the CPU executor and the auditor, so that what is shown is what runs.

mod compose;
mod expr;
mod oil;
mod reflect;
mod source;
mod targets;

pub use crate::memory::Location;
pub use compose::{ComposeError, Composed, Defines, Files, compose, compose_foreign};
pub use reflect::{Access, Binding, Resource};
pub use source::{Embedded, MslText, Shader, Source, msl_text};
pub use targets::{Checks, Msl, TargetError};

pub use naga::ShaderStage;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// Why WGSL could not be lowered.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// The preprocessor refused the text.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// naga's WGSL front end refused the text.
    #[error("{}:{}:{}: {message}", at.file, at.line, at.column)]
    Parse {
        /// First place that naga names.
        at: Location,
        /// naga's message and notes.
        message: String,
    },
    /// naga's validator refused the module.
    #[error("{}:{}:{}: {message}", at.file, at.line, at.column)]
    Invalid {
        /// First place that naga names, or the file's start.
        at: Location,
        /// naga's message with its causes.
        message: String,
    },
    /// The module has no such compute entry point.
    #[error("{file} has no compute entry point `{wanted}`; it has {present}")]
    NoEntryPoint {
        /// The composed file.
        file: String,
        /// What was asked for.
        wanted: String,
        /// The compute entry points that exist.
        present: String,
    },
}

/// A composed, parsed and validated WGSL source.
#[derive(Debug)]
pub struct Lowered {
    /// The text that naga read, with the origin of each line.
    pub composed: Composed,
    /// naga's module.
    pub module: naga::Module,
    /// naga's analysis of it.
    pub info: ModuleInfo,
}

/// What modules of this crate may use; a device's own limits are checked when a pipeline is made.
fn capabilities() -> Capabilities {
    Capabilities::all()
}

impl Lowered {
    /// Parses and validates composed WGSL.
    pub fn new(composed: Composed) -> Result<Self, LowerError> {
        let mut options = naga::front::wgsl::Options::new();
        options.capabilities = capabilities();
        let parsed = naga::front::wgsl::Frontend::new_with_options(options).parse(&composed.text);
        let module = parsed.map_err(|e| LowerError::Parse {
            at: composed.locate(first_byte(e.labels().map(|(s, _)| s).next(), &composed.text)),
            message: once(e.message()).chain(e.notes()).collect::<Vec<_>>().join("; "),
        })?;
        let info = Validator::new(ValidationFlags::all(), capabilities())
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|e| LowerError::Invalid {
                at: composed.locate(first_byte(e.spans().map(|(s, _)| *s).next(), &composed.text)),
                message: causes(e.as_inner()),
            })?;
        Ok(Self { composed, module, info })
    }

    /// Name, ready for errors: the composed file.
    pub fn name(&self) -> &str {
        self.composed.name()
    }

    /// The index of a compute entry point.
    pub fn entry_index(&self, entry: &str) -> Result<usize, LowerError> {
        let compute = |ep: &&naga::EntryPoint| ep.stage == naga::ShaderStage::Compute;
        self.module.entry_points.iter().position(|ep| compute(&ep) && ep.name == entry).ok_or_else(|| {
            let present: Vec<_> =
                self.module.entry_points.iter().filter(compute).map(|ep| format!("`{}`", ep.name)).collect();
            LowerError::NoEntryPoint {
                file: self.name().to_string(),
                wanted: entry.to_string(),
                present: if present.is_empty() { "none".into() } else { present.join(", ") },
            }
        })
    }

    /// The workgroup size of a compute entry point.
    pub fn workgroup_size(&self, entry: &str) -> Result<[u32; 3], LowerError> {
        Ok(self.module.entry_points[self.entry_index(entry)?].workgroup_size)
    }
}

use std::iter::once;

fn first_byte(span: Option<naga::Span>, text: &str) -> u32 {
    span.filter(|s| s.is_defined()).map_or(0, |s| s.location(text).offset)
}

/// An error's message followed by those of its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        message.push_str(": ");
        message.push_str(&e.to_string());
        next = e.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(text: &str) -> Result<Lowered, LowerError> {
        Lowered::new(Composed::verbatim("t.wgsl", text))
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let e = lower("const A = 1;\nfn f() { let x: u32 = 1.5; }").unwrap_err();
        assert!(e.to_string().starts_with("t.wgsl:2:"), "{e}");
        let e = lower("var<workgroup> a: array<u32>;\n@compute @workgroup_size(1) fn main() { a[0] = 1u; }");
        assert!(e.unwrap_err().to_string().starts_with("t.wgsl:"));
    }

    #[test]
    fn a_missing_entry_point_lists_those_there_are() {
        let l = lower("@compute @workgroup_size(8, 4) fn go() {}").unwrap();
        assert_eq!(l.workgroup_size("go").unwrap(), [8, 4, 1]);
        assert!(l.entry_index("main").unwrap_err().to_string().contains("it has `go`"));
    }
}
