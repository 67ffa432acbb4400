//! Preprocessed Metal text to C++ that clang takes, line for line.
//!
//! Attributes go, kernels become ordinary functions called by one generated entry each, threadgroup
//! variables ask the runtime for their storage, function constants become constants, and of functions that
//! differ only by address space one stays. The text keeps its lines, so that clang's messages and debug
//! locations are the user's.

use super::constant::Integers;
use super::scope::{self, Callable, Declaration, Shape, callable};
use super::signature::{self, Attribute, Binding, Kernel, RawParam};
use super::source::Source;
use super::specialize::Specialized;
use super::template;
use super::token::{Kind, Tokens};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::Range;

/// What the result is compiled as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// C++ on a CPU, with one address space.
    Cxx,
    /// C++ for OpenCL, with the address spaces kept.
    AddressSpaces,
}

/// Which kernels get an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entries<'a> {
    /// Every kernel; explicit instantiations stay in the text.
    All,
    /// One kernel; explicit instantiations are dropped, so that only what it needs is compiled.
    One(&'a str),
}

/// How text is rewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode<'a> {
    pub(super) dialect: Dialect,
    pub(super) entries: Entries<'a>,
    /// Declarations to leave out, by their first token.
    pub(super) without: &'a HashSet<usize>,
}

impl Mode<'_> {
    /// Function constants without a value stay unknown where all kernels are read, and are 0 where one is run.
    pub(super) fn keeps_unknown(&self) -> bool {
        self.dialect == Dialect::Cxx && matches!(self.entries, Entries::All)
    }
}

/// A threadgroup variable of the text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ThreadgroupVariable {
    /// Its number in `marlin_threadgroup_variable`.
    pub id: u32,
    /// Its name in the text.
    pub name: String,
    /// File that declares it.
    pub file: String,
    /// Line that declares it, from 1.
    pub line: u32,
}

/// A fault found while rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The kernel that it costs, if only that.
    pub(super) kernel: Option<String>,
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) message: String,
}

/// The C++ text and what was learned on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewritten {
    pub(super) text: String,
    /// Kernels that a host can ask for; kernel number n is `marlin_kernel_n` in the text.
    pub(super) kernels: Vec<Kernel>,
    pub(super) variables: Vec<ThreadgroupVariable>,
    pub(super) faults: Vec<Fault>,
}

/// The most threadgroup memory that a threadgroup has on Apple GPUs, in bytes.
pub const MAX_THREADGROUP_BYTES: u64 = 32768;

/// The file name under which the generated entries are compiled.
pub(super) const ENTRY_FILE: &str = "marlin:entry";

/// Rewrites `preprocessed`, the output of `clang -E` for `source`.
pub(super) fn rewrite(preprocessed: &str, source: &Source, mode: Mode) -> Rewritten {
    let tokens = Tokens::scan(preprocessed);
    let declarations = scope::declarations(&tokens);
    rewrite_tokens(&tokens, &declarations, source, mode)
}

/// The same where the text was read before.
pub(super) fn rewrite_tokens(
    tokens: &Tokens,
    declarations: &[Declaration],
    source: &Source,
    mode: Mode,
) -> Rewritten {
    let mut rewriter = Rewriter {
        tokens,
        source,
        mode,
        integers: Integers::of(tokens, declarations),
        edits: Vec::new(),
        templates: HashMap::new(),
        seen: HashMap::new(),
        classes: classes(tokens),
        generic: templates(tokens, declarations),
        specialized: Specialized::default(),
        out: Rewritten::default(),
    };
    for d in declarations {
        if mode.without.contains(&d.start) {
            rewriter.blank(d.start, d.end);
        } else {
            rewriter.declaration(d);
        }
    }
    rewriter.tokens_everywhere();
    rewriter.finish()
}

pub(super) struct Rewriter<'a> {
    pub(super) tokens: &'a Tokens<'a>,
    pub(super) source: &'a Source,
    pub(super) mode: Mode<'a>,
    pub(super) integers: Integers,
    /// Byte ranges and what replaces them.
    pub(super) edits: Vec<(Range<usize>, String)>,
    /// Kernel templates by name, for instantiations that don't repeat the attributes.
    templates: HashMap<String, Template>,
    /// Declarations without their address spaces, and the text of the one that stays.
    seen: HashMap<String, String>,
    /// Names of classes, by which constructors are known.
    classes: HashSet<&'a str>,
    /// Tokens that begin and end each template.
    generic: Vec<Range<usize>>,
    /// Function constants.
    pub(super) specialized: Specialized,
    pub(super) out: Rewritten,
}

/// A kernel template.
struct Template {
    params: Vec<RawParam>,
    /// Names of its parameters, with what follows `=`.
    names: Vec<(String, String)>,
    /// The argument of `[[max_total_threads_per_threadgroup(...)]]`.
    most_threads: Option<String>,
}

impl Rewriter<'_> {
    fn declaration(&mut self, d: &Declaration) {
        let t = self.tokens;
        let attributes = self.header_attributes(d);
        let is_kernel = (d.start..d.header_end).any(|i| t.is(i, "kernel"));
        if let Some(index) = attributes.iter().find(|a| a.name == "function_constant" && !is_kernel)
            && d.shape == Shape::Other
            && callable(t, d).is_none_or(|c| c.open == d.header_end)
        {
            self.function_constant(d, &index.argument);
            return;
        }
        if !is_kernel && d.shape == Shape::Other && self.derived_constant(d) {
            return;
        }
        if is_kernel && let Some(c) = callable(t, d) {
            self.kernel(d, c, &attributes);
        }
        if self.mode.dialect == Dialect::Cxx && self.differs_only_by_space(d) {
            self.blank(d.start, d.end);
            return;
        }
        if let Shape::Function { body } = d.shape {
            self.constants_of_body(d, body);
            self.threadgroup_variables(body, d.end);
        }
    }

    /// Attributes in the header, outside its parentheses.
    fn header_attributes(&self, d: &Declaration) -> Vec<Attribute> {
        let t = self.tokens;
        let (mut all, mut i) = (Vec::new(), d.start);
        while i < d.header_end {
            if t.opens_attribute(i) {
                let (list, after) = signature::attributes(t, i, d.header_end);
                all.extend(list);
                i = after;
            } else if t.is(i, "(") {
                i = t.after_bracket(i, d.header_end);
            } else {
                i += 1;
            }
        }
        all
    }

    fn kernel(&mut self, d: &Declaration, c: Callable, attributes: &[Attribute]) {
        let t = self.tokens;
        let is_template = t.is(d.start, "template") && t.is(d.start + 1, "<");
        let is_instantiation = (d.start..c.name_start).any(|i| t.is(i, "template")) && !is_template;
        let identifier = t.str(c.identifier).to_owned();
        let own =
            if c.open < d.header_end { signature::parameters(t, c.open, d.header_end) } else { Vec::new() };
        let most_threads = attributes.iter().find(|a| a.name == "max_total_threads_per_threadgroup");
        let most_threads = most_threads.map(|a| a.argument.clone());
        if is_template {
            let names = template::parameters(t, d.start + 1, d.header_end);
            self.templates.insert(identifier, Template { params: own, names, most_threads });
            return;
        }
        if d.shape == Shape::Other && !is_instantiation {
            return; // A prototype.
        }
        if is_instantiation && matches!(self.mode.entries, Entries::One(_)) {
            self.blank(d.start, d.end);
        }
        let integers = match self.templates.get(&identifier) {
            Some(of) => self.integers.with(&of.names, &template::arguments(t, c.identifier + 1, c.open)),
            None => self.integers.clone(),
        };
        let most_threads =
            most_threads.or_else(|| self.templates.get(&identifier).and_then(|t| t.most_threads.clone()));
        let max_threads =
            most_threads.and_then(|text| integers.value_of(&text)).and_then(|n| u32::try_from(n).ok());
        let mut raw = self.instantiated_params(&identifier, own);
        for a in raw.iter_mut().flat_map(|p| &mut p.attributes) {
            if matches!(a.name.as_str(), "buffer" | "texture" | "threadgroup" | "sampler")
                && let Some(value) = integers.value_of(&a.argument)
            {
                a.argument = value.to_string();
            }
        }
        let location = t.list[c.identifier];
        let (file, line) = (t.files[location.file as usize].clone(), location.line);
        let host_name = attributes.iter().find(|a| a.name == "host_name").map(|a| a.argument.clone());
        let mut next_variable = self.out.variables.len() as u32;
        match signature::bind(&raw, &mut next_variable) {
            Ok(params) => {
                for p in &params {
                    if let Binding::ThreadgroupVariable { id } = p.binding {
                        self.out.variables.push(ThreadgroupVariable {
                            id,
                            name: p.name.clone(),
                            file: file.clone(),
                            line,
                        });
                    }
                }
                let function = scope::nested(&d.scope, &t.join(c.name_start..c.open));
                let name = host_name.unwrap_or(identifier);
                self.out.kernels.push(Kernel { name, function, params, max_threads, file, line });
            }
            Err(message) => {
                let message = format!("kernel `{identifier}`: {message}");
                let kernel = Some(host_name.unwrap_or(identifier));
                self.out.faults.push(Fault { kernel, file, line, message });
            }
        }
    }

    /// The parameters of an instantiation: its own, with attributes from the template where it has none.
    fn instantiated_params(&self, identifier: &str, own: Vec<RawParam>) -> Vec<RawParam> {
        let Some(template) = self.templates.get(identifier) else { return own };
        if own.is_empty() {
            return template.params.clone();
        }
        let mut params = own;
        for (p, of_template) in params.iter_mut().zip(&template.params) {
            for a in &of_template.attributes {
                if !p.attributes.iter().any(|own| own.name == a.name) {
                    p.attributes.push(a.clone());
                }
            }
            if p.name.is_empty() {
                p.name.clone_from(&of_template.name);
            }
        }
        params
    }

    /// Whether an earlier declaration of the same scope is the same but for its address spaces.
    fn differs_only_by_space(&mut self, d: &Declaration) -> bool {
        let t = self.tokens;
        let specialization = d.shape == Shape::Class && (d.start..d.header_end).any(|i| t.is(i, "<"));
        let function = matches!(d.shape, Shape::Function { .. })
            || (d.shape == Shape::Other && (d.start..d.header_end).any(|i| t.is(i, "(")));
        let instantiation = t.is(d.start, "template") && !t.is(d.start + 1, "<");
        if !(specialization || function) || instantiation {
            return false;
        }
        let kind = if matches!(d.shape, Shape::Function { .. }) { "body" } else { "no body" };
        let key = format!("{}|{kind}|{}", d.scope, key_without_spaces(t, d, &self.classes));
        let text = t.join(d.start..d.header_end);
        match self.seen.get(&key) {
            Some(first) => *first != text,
            None => {
                self.seen.insert(key, text);
                false
            }
        }
    }

    /// `threadgroup T name[n];` in a body becomes a reference to storage of the runtime.
    fn threadgroup_variables(&mut self, body: usize, end: usize) {
        let t = self.tokens;
        // Variables in each open block, for the sum that must fit.
        let mut blocks: Vec<Vec<String>> = Vec::new();
        let mut i = body;
        while i < end {
            match t.str(i) {
                "{" => blocks.push(Vec::new()),
                "}" => {
                    blocks.pop();
                }
                "threadgroup" if matches!(t.str(i - 1), ";" | "{" | "}" | ":") || t.opens_statement(i) => {
                    let stop = t.statement_end(i, end);
                    let pointer = (i..stop)
                        .take_while(|&k| !t.is(k, "=") && !t.is(k, "["))
                        .any(|k| t.is(k, "*") || t.is(k, "&") || t.is(k, "("));
                    if !pointer && t.is(stop, ";") {
                        self.threadgroup_variable(i, stop, &mut blocks);
                    }
                    i = stop;
                    continue;
                }
                _ => {}
            }
            i += 1;
        }
    }

    fn threadgroup_variable(&mut self, start: usize, stop: usize, blocks: &mut [Vec<String>]) {
        let t = self.tokens;
        let statement_start = t.statement_start(start);
        let mut specifiers: Vec<usize> = Vec::new();
        let mut declarators: Vec<Range<usize>> = Vec::new();
        // Up to the name: the last identifier before `[`, `,` or the end, outside angle brackets.
        let (mut i, mut from) = (start + 1, None);
        while i < stop {
            match t.str(i) {
                "<" => i = t.after_angle(i, stop),
                "[" | "(" | "{" => i = t.after_bracket(i, stop),
                "," => {
                    declarators.extend(from.take().map(|f| f..i));
                    i += 1;
                }
                _ => {
                    let is_name = t.is_identifier(i)
                        && (i + 1 == stop || matches!(t.str(i + 1), "[" | "," | "=" | "{"));
                    if is_name && from.is_none() {
                        from = Some(i);
                        if specifiers.is_empty() {
                            specifiers = (statement_start..i).filter(|&k| k != start).collect();
                        }
                    }
                    i += 1;
                }
            }
        }
        declarators.extend(from.map(|f| f..stop));
        let ignored = |k: &usize| !matches!(t.str(*k), "static" | "volatile" | "const");
        let ty = t.join(specifiers.into_iter().filter(ignored));
        let mut text = String::new();
        for d in declarators {
            let id = self.out.variables.len() as u32;
            let (name, at) = (t.str(d.start).to_owned(), t.list[d.start]);
            // An initializer has no meaning for memory that all threads share: none of them is first.
            let bounds = t.join(d.start + 1..after_bounds(t, d.start + 1, d.end));
            let _ = write!(text, "auto &{name} = ::marlin::threadgroup_variable<{ty} {bounds}, {id}u>(); ");
            let file = t.files[at.file as usize].clone();
            self.out.variables.push(ThreadgroupVariable { id, name: name.clone(), file, line: at.line });
            if let Some(block) = blocks.last_mut() {
                block.push(name);
            }
        }
        let sum: Vec<_> = blocks.iter().flatten().map(|n| format!("sizeof({n})")).collect();
        let _ = write!(text, "static_assert({} <= {MAX_THREADGROUP_BYTES}, \"{TOO_MUCH}\")", sum.join(" + "));
        self.edits.push((t.list[statement_start].start..t.list[stop].start, text));
    }

    /// What can stand anywhere: attributes, literal suffixes, qualifiers of member functions.
    fn tokens_everywhere(&mut self) {
        let t = self.tokens;
        let has_bfloat = self.mode.dialect == Dialect::Cxx && (0..t.list.len()).any(|i| t.is(i, "bfloat"));
        let own_assignments: HashSet<&str> = (0..t.list.len().saturating_sub(2))
            .filter(|&i| t.is(i, "operator") && t.is(i + 2, "="))
            .map(|i| t.str(i + 1))
            .collect();
        let mut i = 0;
        while i < t.list.len() {
            let token = t.list[i];
            if token.kind == Kind::Punctuation
                && own_assignments.contains(t.str(i))
                && t.list.get(i + 1).is_some_and(|next| next.start == token.end && t.is(i + 1, "="))
                && self.mode.dialect == Dialect::Cxx
                && self.generic.iter().any(|r| r.contains(&i))
            {
                self.component_assignment(i);
            }
            if t.opens_attribute(i) {
                let after = t.after_bracket(i, t.list.len());
                self.blank(i, after);
                i = after;
                continue;
            }
            let word = t.str(i);
            match token.kind {
                Kind::Number => {
                    let lower = word.to_ascii_lowercase();
                    if let Some(number) = lower.strip_suffix("bf").filter(|n| !n.starts_with("0x")) {
                        self.edits.push((token.start..token.end, format!("bfloat({number}f)")));
                    } else if word.ends_with('H') {
                        self.edits.push((token.end - 1..token.end, "h".to_owned()));
                    } else if is_plain_float(&lower) && self.generic.iter().any(|r| r.contains(&i)) {
                        // Clang reads it as a float, but forgets that when it instantiates a template.
                        self.edits.push((token.end..token.end, "f".to_owned()));
                    }
                }
                Kind::Identifier if word == "constant" && self.mode.dialect == Dialect::Cxx => {
                    // A member function that is `const` already, or a constructor, which can't be.
                    let is_const = i > 1 && t.is(i - 1, "const") && t.is(i - 2, ")");
                    let of_constructor = i > 1
                        && t.is(i - 1, ")")
                        && t.before_parenthesis(i - 1).is_some_and(|n| is_constructor(t, n, &self.classes));
                    if is_const || of_constructor {
                        self.blank(i, i + 1);
                    }
                }
                // Clang has no conversion between bfloat and half; both may hide behind a template's `T`.
                Kind::Identifier if word == "static_cast" && has_bfloat => {
                    self.edits.push((token.start..token.end, "::marlin::cast".to_owned()));
                }
                Kind::Identifier if word == "is_function_constant_defined" && t.is(i + 1, "(") => {
                    let after = t.after_bracket(i + 1, t.list.len());
                    let defined = self.is_defined(t.str(i + 2));
                    self.edits.push((token.start..t.list[after - 1].end, defined));
                    i = after;
                    continue;
                }
                _ => {}
            }
            i += 1;
        }
    }

    /// `v.x += e` in a template, from the operator at token `i`: becomes `v.x = value_of(v.x) + (e)` where the program has
    /// an operator `+=` of its own, with which clang forgets that `v.x` has a setter.
    fn component_assignment(&mut self, i: usize) {
        let t = self.tokens;
        let operator = t.str(i);
        let component = |n: usize| t.is_identifier(n) && matches!(t.str(n), "x" | "y" | "z" | "w");
        let opens = |n: usize| matches!(t.str(n), ";" | "{" | "}" | ")" | "," | ":" | "else");
        if i < 4 || !component(i - 1) || !t.is(i - 2, ".") || !t.is_identifier(i - 3) || !opens(i - 4) {
            return;
        }
        let mut stop = i + 2;
        while stop < t.list.len() && !matches!(t.str(stop), ";" | "," | ")" | "}") {
            let bracket = matches!(t.str(stop), "(" | "[" | "{");
            stop = if bracket { t.after_bracket(stop, t.list.len()) } else { stop + 1 };
        }
        if stop >= t.list.len() {
            return;
        }
        let (target, equals) = (t.join(i - 3..i), i + 1);
        let text = format!("= ::marlin::value_of({target}) {operator} (");
        self.edits.push((t.list[i].start..t.list[equals].end, text));
        let end = t.list[stop].start;
        self.edits.push((end..end, ")".to_owned()));
    }

    /// Replaces tokens `start..end` by blanks.
    pub(super) fn blank(&mut self, start: usize, end: usize) {
        if start >= end {
            return;
        }
        let range = self.tokens.list[start].start..self.tokens.list[end - 1].end;
        let blanks =
            self.tokens.text[range.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        self.edits.push((range, blanks));
    }

    fn finish(mut self) -> Rewritten {
        let cxx = self.mode.dialect == Dialect::Cxx;
        let mut text = swizzles(self.tokens);
        text.push_str("#include \"shim.h\"\n");
        if cxx {
            // Convergent: a helper may hold a barrier, so that calls of it are neither doubled nor joined.
            text.push_str(
                "#pragma clang attribute push(__attribute__((internal_linkage, always_inline, convergent)), \
                 apply_to = function)\n",
            );
        }
        // Inside a blanked range other edits are void; what is inserted at its start is not inside.
        self.edits.sort_by_key(|(r, _)| (r.start, !r.is_empty(), std::cmp::Reverse(r.end)));
        let mut at = 0;
        for (range, replacement) in &self.edits {
            if range.start < at {
                continue;
            }
            text.push_str(&self.tokens.text[at..range.start]);
            text.push_str(replacement);
            at = range.end;
            if replacement.len() != range.len() || replacement.contains('\n') {
                self.keep_place(at, &mut text);
            }
        }
        text.push_str(&self.tokens.text[at..]);
        if cxx {
            text.push_str("\n#pragma clang attribute pop\n");
            for (n, kernel) in self.out.kernels.iter().enumerate() {
                let wanted = match self.mode.entries {
                    Entries::All => true,
                    Entries::One(name) => name == kernel.name,
                };
                if wanted {
                    let _ = write!(text, "# {} \"{ENTRY_FILE}\"\n{}", 2 * n + 1, entry(n, kernel));
                }
            }
        }
        self.out.text = text;
        self.out
    }

    /// After something of another length, says where the rest of the line at byte `at` stands: lines and columns of
    /// messages and of debug locations are the user's.
    fn keep_place(&self, at: usize, text: &mut String) {
        let t = self.tokens;
        let next = t.list.partition_point(|token| token.start < at);
        let Some(next) = t.list.get(next).filter(|next| !t.text[at..next.start].contains('\n')) else {
            return;
        };
        let line_start = t.text[..at].rfind('\n').map_or(0, |n| n + 1);
        let _ = write!(text, "\n# {} \"{}\"\n", next.line, t.files[next.file as usize]);
        text.extend(std::iter::repeat_n(' ', at - line_start));
    }
}

pub(super) const TOO_MUCH: &str = "threadgroup memory exceeds 32768 bytes";

/// The two functions through which kernel number `n` is called. Both are on lines `2n + 1` and `2n + 2` of
/// [`ENTRY_FILE`].
fn entry(n: usize, kernel: &Kernel) -> String {
    let (mut names, mut passed, mut slots, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (i, p) in kernel.params.iter().enumerate() {
        let unique = !p.name.is_empty() && kernel.params.iter().filter(|q| q.name == p.name).count() == 1;
        let name = if unique { p.name.clone() } else { format!("marlin_{i}") };
        let wrapper = if p.by_reference { "reference" } else { "pointer" };
        passed.push(match &p.binding {
            Binding::Buffer { .. } => {
                slots.push(format!("b[{}]", slots.len()));
                names.push(format!("void *{name}"));
                format!("::marlin::{wrapper}{{{name}}}")
            }
            Binding::Threadgroup { index } => {
                format!("::marlin::{wrapper}{{marlin_threadgroup_argument({index}u)}}")
            }
            Binding::ThreadgroupVariable { id } => {
                sizes.push(format!("sizeof({})", p.ty.replace('&', "")));
                format!("::marlin::threadgroup_reference<{id}u>()")
            }
            Binding::Texture { index } => format!("::marlin::texture{{marlin_texture_argument({index}u)}}"),
            Binding::Sampler => "::marlin::defaulted()".to_owned(),
            Binding::BuiltIn(name) => format!("::marlin::{name}()"),
        });
    }
    let assertion = if sizes.is_empty() {
        String::new()
    } else {
        format!("static_assert({} <= {MAX_THREADGROUP_BYTES}, \"{TOO_MUCH}\"); ", sizes.join(" + "))
    };
    format!(
        "{assertion}extern \"C\" __attribute__((noinline)) void marlin_kernel_{n}({}) {{ ::{}({}); }}\n\
         extern \"C\" void marlin_entry_{n}(void *const *b) {{ marlin_kernel_{n}({}); }}\n",
        names.join(", "),
        kernel.function,
        passed.join(", "),
        slots.join(", "),
    )
}

/// The token after the `[n]` that follow a declarator's name.
fn after_bounds(t: &Tokens, mut i: usize, end: usize) -> usize {
    while i < end && t.is(i, "[") && !t.opens_attribute(i) {
        i = t.after_bracket(i, end);
    }
    i
}

/// A header's tokens with address spaces out and `constant` read as `const`, each `const` once per parameter.
fn key_without_spaces(t: &Tokens, d: &Declaration, classes: &HashSet<&str>) -> String {
    let constructor = callable(t, d).is_some_and(|c| is_constructor(t, c.identifier, classes));
    let open = callable(t, d).map(|c| c.open).filter(|&o| o < d.header_end);
    let mut words: Vec<String> = Vec::new();
    let stop = open.unwrap_or(d.header_end);
    words.extend(
        (d.start..stop).filter(|&i| !is_space(t.str(i)) && !t.is(i, "const")).map(|i| t.str(i).into()),
    );
    if let Some(open) = open {
        for p in signature::parameters(t, open, d.header_end) {
            let is_const = p.words.iter().any(|w| w == "const" || w == "constant");
            words.push(if is_const { "( const".into() } else { "(".into() });
            let own = |w: &&String| !is_space(w) && *w != "const" && **w != p.name;
            words.extend(p.words.iter().filter(own).cloned());
        }
        // Qualifiers and constructor initializers; `const` tells overloads apart.
        let after = t.after_bracket(open, d.header_end);
        words.push(")".into());
        let qualifiers = || (after..d.header_end).take_while(|&i| !t.is(i, ":"));
        words.extend(
            qualifiers().filter(|&i| !is_space(t.str(i)) && !t.is(i, "const")).map(|i| t.str(i).into()),
        );
        if !constructor && qualifiers().any(|i| t.is(i, "const") || t.is(i, "constant")) {
            words.push("const".into());
        }
    }
    words.join(" ")
}

fn is_space(word: &str) -> bool {
    matches!(word, "device" | "constant" | "threadgroup" | "thread")
}

/// What follows `struct` and `class`.
fn classes<'a>(t: &Tokens<'a>) -> HashSet<&'a str> {
    let all = 1..t.list.len();
    all.filter(|&i| t.is_identifier(i) && matches!(t.str(i - 1), "struct" | "class"))
        .map(|i| t.str(i))
        .collect()
}

/// The outermost templates, in order.
fn templates(t: &Tokens, declarations: &[Declaration]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for d in declarations.iter().filter(|d| t.is(d.start, "template") && t.is(d.start + 1, "<")) {
        if found.last().is_none_or(|last| d.start >= last.end) {
            found.push(d.start..d.end);
        }
    }
    found
}

/// Whether the function whose name is token `i` is a constructor: named as a class, without a type before it.
fn is_constructor(t: &Tokens, i: usize, classes: &HashSet<&str>) -> bool {
    let before = if i == 0 { "" } else { t.str(i - 1) };
    let own = matches!(before, "constexpr" | "inline" | "explicit" | ";" | "}" | "{" | ">" | ":" | "]" | ")");
    own && classes.contains(t.str(i))
}

/// A literal with a point or an exponent and no suffix.
fn is_plain_float(lower: &str) -> bool {
    let hexadecimal = lower.starts_with("0x");
    let fractional = if hexadecimal { lower.contains('p') } else { lower.contains(['.', 'e']) };
    fractional && lower.ends_with(|c: char| c.is_ascii_digit() || c == '.')
}

/// Declares the swizzles that the text names, and only those: all of them would cost more time than the text.
fn swizzles(t: &Tokens) -> String {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for i in 1..t.list.len() {
        let word = t.str(i);
        let of = |set: &str| word.chars().all(|c| set.contains(c));
        if t.is(i - 1, ".") && (2..=4).contains(&word.len()) && (of("xyzw") || of("rgba")) {
            named.insert(word);
        }
    }
    let mut text = String::new();
    if (0..t.list.len()).any(|i| t.is(i, "thread_scope_system") && t.is(i + 1, "=")) {
        text.push_str("#define MARLIN_OWN_SCOPE_SYSTEM\n");
    }
    for size in 2..=4 {
        let _ = write!(text, "#define MARLIN_SWIZZLES_{size}");
        for name in &named {
            let ix: Vec<_> = name.chars().filter_map(|c| "xyzw".find(c).or("rgba".find(c))).collect();
            if ix.iter().all(|&i| i < size) {
                let ix: Vec<_> = ix.iter().map(usize::to_string).collect();
                let _ = write!(text, " MARLIN_SWIZZLE_{}({name}, {})", ix.len(), ix.join(", "));
            }
        }
        text.push('\n');
    }
    text
}

impl Tokens<'_> {
    /// Whether token `ix` follows only `static`, `const`, `alignas(...)` or attributes of its statement.
    fn opens_statement(&self, ix: usize) -> bool {
        let start = self.statement_start(ix);
        let mut i = start;
        while i < ix {
            match self.str(i) {
                "static" | "const" | "volatile" => i += 1,
                "alignas" => i = self.after_bracket(i + 1, ix),
                _ => return false,
            }
        }
        true
    }

    /// The token before the `(` that the `)` at token `close` closes.
    fn before_parenthesis(&self, close: usize) -> Option<usize> {
        let mut depth = 0usize;
        for i in (0..=close).rev() {
            match self.str(i) {
                ")" => depth += 1,
                "(" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return i.checked_sub(1);
            }
        }
        None
    }

    /// The first token of the statement that token `ix` is in.
    fn statement_start(&self, ix: usize) -> usize {
        let mut i = ix;
        while i > 0 && !matches!(self.str(i - 1), ";" | "{" | "}" | ":") {
            i -= 1;
        }
        i
    }

    /// The `;` that ends the statement at `ix`.
    fn statement_end(&self, ix: usize, end: usize) -> usize {
        let mut i = ix;
        while i < end {
            match self.str(i) {
                ";" | "}" | ")" => return i,
                "(" | "[" | "{" => i = self.after_bracket(i, end),
                _ => i += 1,
            }
        }
        end.saturating_sub(1)
    }
}
