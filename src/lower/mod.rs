//! WGSL files to a validated naga module, and from there to target text.
//!
//! This is the only caller of naga's front and back ends. One [`Lowered`] value feeds the pipeline, the
//! printed text, the CPU executor and the auditor, so that what is shown is what runs.

mod compose;
mod expr;
pub(crate) mod guard;
mod oil;
mod reflect;
mod source;
mod targets;

pub use crate::memory::Location;
pub use compose::{ComposeError, Composed, Defines, Files, compose, compose_foreign};
pub use reflect::{Access, Binding, Demands, Resource};
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
    /// More operators in a statement, or branches in a chain, than there is stack for.
    #[error("{at}: {message}")]
    TooDeep {
        /// Where the statement or the branch begins.
        at: Location,
        /// The limit and what to do.
        message: String,
    },
    /// naga panicked: a fault of naga's, reached by this text.
    #[error("{file}: naga can't read it: {message} (a fault of naga 30; it names no place)")]
    Panicked {
        /// The composed file.
        file: String,
        /// The panic's message.
        message: String,
    },
    /// The module has no such pipeline-overridable constant.
    #[error("{file} has no override `{wanted}`; it has {present}")]
    NoOverride {
        /// The composed file.
        file: String,
        /// What was asked for.
        wanted: String,
        /// The overrides that exist.
        present: String,
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
    /// Values of pipeline-overridable constants, as naga wants them keyed.
    constants: naga::back::PipelineConstants,
}

/// What modules of this crate may use; a device's own limits are checked when a pipeline is made.
fn capabilities() -> Capabilities {
    Capabilities::all()
}

impl Lowered {
    /// Parses and validates composed WGSL. `subgroups` in an `enable` directive is accepted: naga has subgroups
    /// without it.
    ///
    /// # Errors
    /// [`LowerError`] with the first place that naga names. A panic of naga is one of them.
    pub fn new(composed: Composed) -> Result<Self, LowerError> {
        guard::refuse_too_deep(&composed)?;
        let file = composed.name().to_string();
        guard::guarded(|| Self::parse(composed))
            .unwrap_or_else(|message| Err(LowerError::Panicked { file, message }))
    }

    fn parse(composed: Composed) -> Result<Self, LowerError> {
        let text = without_subgroups(&composed.text);
        let mut options = naga::front::wgsl::Options::new();
        options.capabilities = capabilities();
        let parsed = naga::front::wgsl::Frontend::new_with_options(options).parse(&text);
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
        Ok(Self { composed, module, info, constants: Default::default() })
    }

    /// Gives a pipeline-overridable constant a value for the texts that are made from here on.
    ///
    /// # Errors
    /// [`LowerError::NoOverride`] with the names that there are.
    pub fn set_override(&mut self, name: &str, value: f64) -> Result<(), LowerError> {
        let named = |(_, o): &(_, &naga::Override)| o.name.as_deref() == Some(name);
        let Some((_, found)) = self.module.overrides.iter().find(named) else {
            let present: Vec<String> = self
                .module
                .overrides
                .iter()
                .filter_map(|(_, o)| Some(format!("`{}`", o.name.as_ref()?)))
                .collect();
            return Err(LowerError::NoOverride {
                file: self.name().to_string(),
                wanted: name.to_string(),
                present: if present.is_empty() { "none".into() } else { present.join(", ") },
            });
        };
        let key = found.id.map_or_else(|| name.to_string(), |id| id.to_string());
        self.constants.insert(key, value);
        Ok(())
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

/// The text with `subgroups` blanked in its `enable` directives, at the same length: naga 30 has subgroups, but
/// refuses the extension's name.
fn without_subgroups(text: &str) -> std::borrow::Cow<'_, str> {
    let mut out = std::borrow::Cow::Borrowed(text);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split("//").next().unwrap_or(line);
        let lead = code.len() - code.trim_start().len();
        let list =
            code.trim_start().strip_prefix("enable").filter(|rest| rest.starts_with(char::is_whitespace));
        if let Some((list, _)) = list.and_then(|rest| rest.split_once(';')) {
            let kept: Vec<&str> = list.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
            if kept.contains(&"subgroups") {
                let kept: Vec<&str> = kept.into_iter().filter(|e| *e != "subgroups").collect();
                let directive =
                    if kept.is_empty() { String::new() } else { format!("enable {};", kept.join(", ")) };
                let range = at + lead..at + lead + "enable".len() + list.len() + 1;
                let length = range.len();
                // Never longer than it was: only names and separators were taken away.
                let blanked = format!("{directive:length$}");
                if blanked.len() == length {
                    out.to_mut().replace_range(range, &blanked);
                }
            }
        }
        at += line.len();
    }
    out
}

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
    fn subgroups_may_be_enabled() {
        for enable in ["enable subgroups;", "enable f16, subgroups ;", "  enable subgroups,f16;"] {
            let body = "@compute @workgroup_size(8) fn main() { _ = subgroupAdd(1u); }\nnonsense";
            let text = format!("// enable subgroups;\n{enable} // why\n{body}");
            assert_eq!(without_subgroups(&text).len(), text.len());
            let e = lower(&text).unwrap_err().to_string();
            assert!(e.starts_with("t.wgsl:4:1:"), "{e}");
            lower(text.trim_end_matches("nonsense")).expect("valid");
        }
    }

    #[test]
    fn a_missing_entry_point_lists_those_there_are() {
        let l = lower("@compute @workgroup_size(8, 4) fn go() {}").unwrap();
        assert_eq!(l.workgroup_size("go").unwrap(), [8, 4, 1]);
        assert!(l.entry_index("main").unwrap_err().to_string().contains("it has `go`"));
    }
}
