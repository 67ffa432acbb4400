//! Function constants: a host gives them their values when it makes a pipeline.
//!
//! Where one kernel is run they are constants with the values given, 0 if there is none. Where all kernels are read,
//! those without a value stay unknown: `fancy` becomes a declaration of the variable `marlin_constant.fancy` of another
//! module, whether it is defined that of `marlin_constant_defined.fancy`. Constants that are computed from such ones
//! would be computed at run time, before any kernel; instead each function that names one computes it itself.

use super::rewrite::{Dialect, Fault, Rewriter};
use super::scope::Declaration;
use super::signature;
use super::token::Tokens;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

/// What is known of function constants while text is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Specialized {
    /// Indices by name.
    indices: HashMap<String, u32>,
    /// Names of those that stay unknown.
    unknown: BTreeSet<String>,
    /// Constants computed from them: name, and the declaration that a function makes of it.
    derived: Vec<(String, String)>,
}

impl Rewriter<'_> {
    /// `constant T name [[function_constant(n)]];` becomes `constexpr constant T name = value;`, or a declaration only.
    pub(super) fn function_constant(&mut self, d: &Declaration, index: &str) {
        let t = self.tokens;
        let mut name = d.header_end - 1;
        let mut i = d.start;
        while i < d.header_end {
            if t.opens_attribute(i) {
                i = t.after_bracket(i, d.header_end);
            } else {
                if t.is_identifier(i) {
                    name = i;
                }
                i += 1;
            }
        }
        let value = self.integers.value_of(index).and_then(|n| u32::try_from(n).ok());
        let Some(index) = value else {
            let at = t.list[d.start];
            let file = t.files[at.file as usize].clone();
            let message = format!("[[function_constant({index})]] is not a number");
            self.out.faults.push(Fault { kernel: None, file, line: at.line, message });
            return;
        };
        let text = t.str(name).to_owned();
        self.specialized.indices.insert(text.clone(), index);
        let value = self.source.function_constants.get(&index);
        if value.is_none() && self.mode.keeps_unknown() {
            let ty = type_of(t, d.start, name);
            let declared = format!(
                "extern const {ty} {text} __asm__(\"marlin_constant.{text}\"); \
                 extern const bool marlin_defined_{text} __asm__(\"marlin_constant_defined.{text}\")"
            );
            self.edits.push((t.list[d.start].start..t.list[d.header_end].start, declared));
            self.specialized.unknown.insert(text);
            return;
        }
        if !(d.start..d.header_end).any(|i| t.is(i, "constexpr")) {
            let start = t.list[d.start].start;
            self.edits.push((start..start, "constexpr ".to_owned()));
        }
        let end = t.list[name].end;
        self.edits.push((end..end, format!(" = {}", value.map_or("{}", String::as_str))));
    }

    /// What `is_function_constant_defined(name)` is.
    pub(super) fn is_defined(&self, name: &str) -> String {
        if self.specialized.unknown.contains(name) {
            return format!("marlin_defined_{name}");
        }
        let index = self.specialized.indices.get(name);
        let defined = index.is_some_and(|n| self.source.function_constants.contains_key(n));
        format!("({defined})")
    }

    /// Takes `constant T name = ...;` away if unknown function constants decide its value; says whether it did.
    pub(super) fn derived_constant(&mut self, d: &Declaration) -> bool {
        let t = self.tokens;
        if self.mode.dialect != Dialect::Cxx || self.specialized.unknown.is_empty() {
            return false;
        }
        let Some(equals) = (d.start..d.header_end).find(|&i| t.is(i, "=")) else { return false };
        let is_constant = (d.start..equals).any(|i| matches!(t.str(i), "constant" | "constexpr" | "const"));
        let name = equals - 1;
        if !is_constant || name <= d.start || !t.is_identifier(name) || t.is(d.start, "template") {
            return false;
        }
        let of_unknown = |i: usize| {
            let word = t.str(i);
            t.is_identifier(i)
                && (self.specialized.unknown.contains(word)
                    || self.specialized.derived.iter().any(|(name, _)| name == word))
        };
        if !(equals + 1..d.header_end).any(of_unknown) {
            return false;
        }
        let (text, ty) = (t.str(name).to_owned(), type_of(t, d.start, name));
        let mut init = String::new();
        let mut i = equals + 1;
        while i < d.header_end {
            if t.is(i, "is_function_constant_defined") && t.is(i + 1, "(") {
                init.push_str(&self.is_defined(t.str(i + 2)));
                i = t.after_bracket(i + 1, d.header_end);
            } else {
                init.push_str(t.str(i));
                i += 1;
            }
            // `&&` is two tokens side by side.
            if t.list[i - 1].end != t.list[i].start {
                init.push(' ');
            }
        }
        // Whatever names it outside a function still finds a declaration.
        let declared = if ty == "auto" { String::new() } else { format!("extern const {ty} {text}") };
        self.edits.push((t.list[d.start].start..t.list[d.header_end].start, declared));
        self.specialized.derived.push((text.clone(), format!("const {ty} {text} = {init}; ")));
        true
    }

    /// Computes in a function what it names of the constants that unknown ones decide.
    pub(super) fn constants_of_body(&mut self, d: &Declaration, body: usize) {
        let t = self.tokens;
        if self.specialized.derived.is_empty() {
            return;
        }
        let named: BTreeSet<&str> =
            (body..d.end).filter(|&i| t.is_identifier(i) && !is_member(t, i)).map(|i| t.str(i)).collect();
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for (name, text) in self.specialized.derived.iter().rev() {
            let by_other = wanted.iter().any(|w| {
                let of = self.specialized.derived.iter().find(|(n, _)| n == w);
                of.is_some_and(|(_, text)| {
                    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name)
                })
            });
            let is_parameter = (d.start..d.header_end).any(|i| t.is(i, name));
            if (named.contains(name.as_str()) || by_other) && !is_parameter && !text.is_empty() {
                wanted.insert(name);
            }
        }
        if wanted.is_empty() {
            return;
        }
        let mut text = String::from(" ");
        for (_, declared) in
            self.specialized.derived.iter().filter(|(name, _)| wanted.contains(name.as_str()))
        {
            let _ = write!(text, "{declared}");
        }
        // A block of its own, so that the body may declare the same name.
        text.push('{');
        let (open, close) = (t.list[body].end, t.list[d.end - 1].start);
        self.edits.push((open..open, text));
        self.edits.push((close..close, "}".to_owned()));
    }
}

/// The type of a declaration whose name is token `name`, without storage, address space and attributes.
fn type_of(t: &Tokens, start: usize, name: usize) -> String {
    let mut words = Vec::new();
    let mut i = start;
    while i < name {
        if t.opens_attribute(i) {
            i = signature::attributes(t, i, name).1;
            continue;
        }
        if !matches!(
            t.str(i),
            "static" | "constexpr" | "constant" | "const" | "extern" | "inline" | "volatile"
        ) {
            words.push(i);
        }
        i += 1;
    }
    t.join(words.into_iter())
}

/// Whether token `i` follows `.`, `->` or `::`.
fn is_member(t: &Tokens, i: usize) -> bool {
    matches!(t.str(i - 1), "." | "::") || (t.is(i - 1, ">") && t.is(i - 2, "-"))
}
