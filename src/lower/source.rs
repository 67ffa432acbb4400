//! Shader files, embedded in the library, and what specialises them.

use super::{ComposeError, Composed, Defines, Files, LowerError, Lowered, compose};

/// A shader file of this crate: its path below `wgsl/` or `msl/`, and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// Path below `wgsl/` or `msl/`, for example `gemv/naive.wgsl`.
    pub path: &'static str,
    /// The file's text.
    pub text: &'static str,
}

/// A [`Source`] from `wgsl/`.
#[macro_export]
#[doc(hidden)]
macro_rules! wgsl {
    ($path:expr) => {
        $crate::lower::Source {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/wgsl/", $path)),
        }
    };
}

/// A [`Source`] from `msl/`.
#[macro_export]
#[doc(hidden)]
macro_rules! msl {
    ($path:expr) => {
        $crate::lower::Source {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/msl/", $path)),
        }
    };
}

/// The files that the crate's own shaders include.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embedded;

/// Every file below `wgsl/common/` and `msl/common/`.
const COMMON: &[Source] = &[
    wgsl!("common/activations.wgsl"),
    wgsl!("common/attention.wgsl"),
    wgsl!("common/grid.wgsl"),
    wgsl!("common/product.wgsl"),
    wgsl!("common/product_tile.wgsl"),
    wgsl!("common/router.wgsl"),
    wgsl!("common/score_row.wgsl"),
    wgsl!("common/top_k.wgsl"),
    wgsl!("common/weights.wgsl"),
    msl!("common/attention.metal"),
    msl!("common/router.metal"),
    msl!("common/top_k.metal"),
    msl!("common/weights.metal"),
];

impl Embedded {
    /// All files that can be included.
    pub fn all() -> &'static [Source] {
        COMMON
    }
}

impl Files for Embedded {
    fn read(&self, path: &str, _from: &str) -> Option<String> {
        COMMON.iter().find(|s| s.path == path).map(|s| s.text.to_string())
    }
}

/// A source with the names that specialise it: what a pipeline is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// The WGSL file. Its entry point is `main`.
    pub wgsl: Source,
    /// The Metal twin, if there is one: the same bindings in the same order, the same workgroup size.
    pub msl: Option<Source>,
    /// Names with values for both.
    pub defines: Defines,
}

impl Shader {
    /// The entry point of every shader of this crate. In MSL, where `main` is reserved, it is `main_`.
    pub const ENTRY: &'static str = "main";
    /// The entry point of every Metal twin.
    pub const MSL_ENTRY: &'static str = "main_";

    /// A WGSL source without twin.
    pub fn new(wgsl: Source, defines: Defines) -> Self {
        Self { wgsl, msl: None, defines }
    }

    /// With a Metal twin.
    pub fn with_msl(mut self, msl: Source) -> Self {
        self.msl = Some(msl);
        self
    }

    /// Composes, parses and validates the WGSL.
    pub fn lower(&self) -> Result<Lowered, LowerError> {
        let composed = compose(self.wgsl.path, self.wgsl.text, &self.defines, &Embedded)?;
        Lowered::new(composed)
    }

    /// The twin's text, specialised; `None` where there is no twin.
    pub fn msl_text(&self) -> Option<Result<MslText, ComposeError>> {
        self.msl.map(|source| msl_text(source, &self.defines))
    }

    /// A short name for labels and errors: path and defines.
    pub fn label(&self) -> String {
        let defines: Vec<_> = self.defines.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{} [{}]", self.wgsl.path, defines.join(" "))
    }
}

/// A Metal twin ready for a compiler: one text, with the place that each of its lines came from.
pub type MslText = Composed;

/// Puts the defines before a Metal file, and its `#include "…"` files in their places. All other
/// directives are left to the Metal compiler.
pub fn msl_text(source: Source, defines: &Defines) -> Result<MslText, ComposeError> {
    let mut text = String::new();
    for (name, value) in defines.iter() {
        text.push_str(&format!("#define {name} {value}\n"));
    }
    text.push_str(&format!("#line 1 \"{}\"\n", source.path));
    for (i, line) in source.text.lines().enumerate() {
        let included = line.trim().strip_prefix("#include \"").and_then(|l| l.strip_suffix('"'));
        let Some(path) = included else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let Some(inner) = Embedded.read(path, source.path) else {
            return Err(ComposeError {
                file: source.path.to_string(),
                line: i as u32 + 1,
                message: format!("no file `{path}` to include"),
            });
        };
        text.push_str(&format!("#line 1 \"{path}\"\n{inner}\n#line {} \"{}\"\n", i + 2, source.path));
    }
    Ok(Composed::verbatim(source.path, &text))
}
