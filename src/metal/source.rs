//! What is compiled: Metal text with the options that a host would give it.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Metal Shading Language text and how to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The name that diagnostics give the text, usually its path.
    pub name: String,
    /// The text itself.
    pub text: String,
    /// Folders for `#include "..."`. The folder of [`name`](Self::name) is always among them; a header that none of them
    /// has is looked for in the folders above and beside, up to the root of the project.
    pub include_dirs: Vec<PathBuf>,
    /// More arguments for clang's preprocessor.
    pub clang_args: Vec<String>,
    /// Preprocessor definitions, name and value.
    pub defines: Vec<(String, String)>,
    /// Values of function constants by `[[function_constant(index)]]`, as C++ literals (`true`, `32`, `0.5`).
    /// Those not given are undefined to `is_function_constant_defined`; they read as zero where a kernel is run, and
    /// are unknown where kernels are read ([`llvm_ir`](super::llvm_ir)).
    pub function_constants: BTreeMap<u32, String>,
}

impl Source {
    /// `text`, called `name` in diagnostics.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), ..Self::default() }
    }

    /// The file at `path`, called by that path.
    pub fn read(path: impl Into<PathBuf>) -> std::io::Result<Self> {
        let path = path.into();
        let text = std::fs::read_to_string(&path)?;
        Ok(Self::new(path.to_string_lossy(), text))
    }

    /// Gives function constant `index` the C++ literal `value`.
    #[must_use]
    pub fn with_function_constant(mut self, index: u32, value: impl Into<String>) -> Self {
        self.function_constants.insert(index, value.into());
        self
    }

    /// Defines the macro `name` as `value`.
    #[must_use]
    pub fn with_define(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.defines.push((name.into(), value.into()));
        self
    }
}
