//! Composing shader text from files: the one preprocessor, for the crate's own WGSL and for other people's.
//!
//! | directive | meaning |
//! |---|---|
//! | `#include "path"` | the file's text, once per composition |
//! | `#define NAME VALUE`, `#undef NAME` | from here on |
//! | `#if EXPR`, `#ifdef NAME`, `#ifndef NAME`, `#elif EXPR`, `#else`, `#endif` | conditional text |
//! | `#for I in A..B` … `#endfor` | the text once per integer, with `I` defined: unrolling in the source |
//! | `{{EXPR}}` | the value of an expression over the defined names |
//!
//! Every line of the result knows the file, line and columns it came from.

use super::oil;
use crate::memory::Location;
use std::collections::{BTreeMap, BTreeSet};

use super::expr;

/// Names and values that specialise a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Defines(BTreeMap<String, String>);

impl Defines {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more name, or a new value for an old one.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a name, or gives an old one a new value.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_string(), value.to_string());
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names with values, in alphabetic order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// Where included files come from.
pub trait Files {
    /// The text of `path` as written in `#include "path"` of the file `from`.
    fn read(&self, path: &str, from: &str) -> Option<String>;
}

/// A mistake in the text that is composed, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ComposeError {
    /// File as named by the caller or an `#include`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Composed text with the origin of each of its lines.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The text, ready for a WGSL front end.
    pub text: String,
    /// Name and text of each file.
    sources: Vec<(String, String)>,
    lines: Vec<Line>,
    line_starts: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Line {
    file_ix: u32,
    line: u32,
    /// Pairs (column here, column there), from 0, where text after a substitution goes on.
    shifts: Vec<(u32, u32)>,
}

impl Composed {
    /// Text that needs no composing, as one file.
    pub fn verbatim(name: &str, text: &str) -> Self {
        let mut out = Output::default();
        let file_ix = out.file(name, text);
        for (i, line) in text.lines().enumerate() {
            out.push(line, file_ix, i as u32 + 1, Vec::new());
        }
        out.finish()
    }

    /// The source place of a byte of [`text`](Self::text); the last line's for bytes beyond it.
    pub fn locate(&self, byte: u32) -> Location {
        let ix = self.line_starts.partition_point(|&s| s <= byte).saturating_sub(1);
        let Some(line) = self.lines.get(ix) else {
            return Location { file: self.name().to_string(), line: 1, column: 1 };
        };
        let here = byte.saturating_sub(self.line_starts[ix]);
        let there = match line.shifts.iter().rev().find(|(at, _)| *at <= here) {
            Some((at, origin)) => origin + (here - at),
            None => here,
        };
        Location { file: self.sources[line.file_ix as usize].0.clone(), line: line.line, column: there + 1 }
    }

    /// The file that was asked for.
    pub fn name(&self) -> &str {
        self.sources.first().map_or("", |s| s.0.as_str())
    }

    /// Names and texts of the files that took part, the first being the one that was asked for.
    pub fn sources(&self) -> &[(String, String)] {
        &self.sources
    }
}

/// Longest composed text in bytes: `#for` in `#for` must not eat all memory.
const MAX_BYTES: usize = 16 << 20;
/// Deepest chain of `#include`s and nested `#for`s.
const MAX_DEPTH: usize = 32;

/// Composes the file `name` with the text `text`.
pub fn compose(
    name: &str,
    text: &str,
    defines: &Defines,
    files: &dyn Files,
) -> Result<Composed, ComposeError> {
    compose_in(name, text, defines, files, false)
}

/// Composes WGSL that other projects' preprocessors read. Beyond what [`compose`] knows,
///
/// - defined names are replaced wherever they stand as words, as in C;
/// - names that are not defined are 0 in `#if`;
/// - naga_oil's `#import` is the text of the module that it names, once: of a file `name.wgsl`, or one that says
///   `#define_import_path` of it; aliases and qualifiers are taken off;
/// - naga_oil's `#{NAME}` is the name's value, and `#else ifdef NAME` is read as it does;
/// - a directive that ends in a backslash goes on in the next line;
/// - a comment that is nothing but a defined name stands for the name's text if that has several lines;
/// - a name in `defines` keeps its value whatever the text says: it is the host's;
/// - `subgroups` is left out of `enable`: naga has subgroups without it.
pub fn compose_foreign(
    name: &str,
    text: &str,
    defines: &Defines,
    files: &dyn Files,
) -> Result<Composed, ComposeError> {
    compose_in(name, text, defines, files, true)
}

fn compose_in(
    name: &str,
    text: &str,
    defines: &Defines,
    files: &dyn Files,
    foreign: bool,
) -> Result<Composed, ComposeError> {
    let mut c = Composer {
        defines: defines.clone(),
        given: if foreign { defines.clone() } else { Defines::new() },
        files,
        out: Output::default(),
        included: BTreeSet::new(),
        foreign,
    };
    c.included.insert(name.to_string());
    let lines: Vec<(u32, &str)> = text.lines().enumerate().map(|(i, l)| (i as u32 + 1, l)).collect();
    c.out.file(name, text);
    c.block(name, &lines, 0)?;
    Ok(c.out.finish())
}

#[derive(Default)]
struct Output {
    text: String,
    sources: Vec<(String, String)>,
    lines: Vec<Line>,
    line_starts: Vec<u32>,
}

impl Output {
    /// The number of a file; its text is kept when it is first named.
    fn file(&mut self, name: &str, text: &str) -> u32 {
        let ix = self.sources.iter().position(|f| f.0 == name).unwrap_or_else(|| {
            self.sources.push((name.to_string(), text.to_string()));
            self.sources.len() - 1
        });
        ix as u32
    }

    /// Adds a line; one that a value with line breaks was put into, as the lines that it has become.
    fn push(&mut self, text: &str, file_ix: u32, line: u32, mut shifts: Vec<(u32, u32)>) {
        let mut text = text;
        while let Some((first, rest)) = text.split_once('\n') {
            let cut = first.len() as u32 + 1;
            let at = shifts.partition_point(|s| s.0 < cut);
            let later = shifts.split_off(at);
            let origin = later.first().map_or(0, |s| s.1);
            self.push_line(first, file_ix, line, shifts);
            shifts = std::iter::once((0, origin)).chain(later.iter().map(|s| (s.0 - cut, s.1))).collect();
            text = rest;
        }
        self.push_line(text, file_ix, line, shifts);
    }

    fn push_line(&mut self, text: &str, file_ix: u32, line: u32, shifts: Vec<(u32, u32)>) {
        self.line_starts.push(self.text.len() as u32);
        self.lines.push(Line { file_ix, line, shifts });
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn finish(self) -> Composed {
        Composed { text: self.text, sources: self.sources, lines: self.lines, line_starts: self.line_starts }
    }
}

struct Composer<'a> {
    defines: Defines,
    /// Names that the text can't redefine.
    given: Defines,
    files: &'a dyn Files,
    out: Output,
    included: BTreeSet<String>,
    /// Reads the C-like dialect of other projects.
    foreign: bool,
}

/// One open `#if`: whether its present branch is taken, and whether any branch was.
struct Branch {
    active: bool,
    taken: bool,
    seen_else: bool,
    line: u32,
}

impl Composer<'_> {
    fn block(&mut self, file: &str, lines: &[(u32, &str)], depth: usize) -> Result<(), ComposeError> {
        let at = |line: u32, message: String| ComposeError { file: file.to_string(), line, message };
        if depth > MAX_DEPTH {
            let line = lines.first().map_or(1, |l| l.0);
            return Err(at(line, format!("`#include` and `#for` nested deeper than {MAX_DEPTH}")));
        }
        let file_ix = self.out.file(file, "");
        let mut branches: Vec<Branch> = Vec::new();
        let mut i = 0;
        while i < lines.len() {
            let (line, text) = lines[i];
            i += 1;
            let active = branches.iter().all(|b| b.active);
            let directive = text.trim_start().strip_prefix('#');
            // naga_oil's `#{NAME}` may begin a line.
            let Some(directive) = directive.filter(|d| !self.foreign || !d.starts_with('{')) else {
                if active {
                    let (expanded, shifts) = self.substitute(text).map_err(|m| at(line, m))?;
                    let (expanded, shifts) = self.replace_words(expanded, shifts).map_err(|m| at(line, m))?;
                    self.out.push(&expanded, file_ix, line, shifts);
                    if self.out.text.len() > MAX_BYTES {
                        return Err(at(line, format!("composed text exceeds {MAX_BYTES} bytes")));
                    }
                }
                continue;
            };
            let directive = directive.trim_start();
            let end = directive.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(directive.len());
            let (word, argument) = directive.split_at(end);
            let mut argument = strip_comment(argument).trim().to_string();
            while self.foreign && argument.ends_with('\\') {
                argument.pop();
                let Some((_, more)) = lines.get(i) else { break };
                i += 1;
                argument.push_str(strip_comment(more).trim());
            }
            let argument = argument.as_str();
            match word {
                "if" | "ifdef" | "ifndef" => {
                    let holds = active
                        && match word {
                            "if" => self.holds(argument).map_err(|m| at(line, m))?,
                            _ => (self.defines.get(argument).is_some()) == (word == "ifdef"),
                        };
                    branches.push(Branch { active: holds, taken: holds, seen_else: false, line });
                }
                "elif" | "else" => {
                    // naga_oil has `#else ifdef NAME`, `#else ifndef NAME` and `#else if EXPR`.
                    let (how, argument) = match argument.split_once(char::is_whitespace) {
                        Some((how @ ("ifdef" | "ifndef" | "if"), rest)) if self.foreign && word == "else" => {
                            (how, rest.trim())
                        }
                        _ => (word, argument),
                    };
                    let Some((last, outer)) = branches.split_last_mut() else {
                        return Err(at(line, format!("`#{word}` without `#if`")));
                    };
                    if last.seen_else {
                        return Err(at(line, format!("`#{word}` after `#else`")));
                    }
                    last.seen_else = how == "else";
                    let open = !last.taken && outer.iter().all(|b| b.active);
                    last.active = open
                        && match how {
                            "else" => true,
                            "ifdef" | "ifndef" => self.defines.get(argument).is_some() == (how == "ifdef"),
                            _ => self.holds(argument).map_err(|m| at(line, m))?,
                        };
                    last.taken |= last.active;
                }
                "endif" => {
                    if branches.pop().is_none() {
                        return Err(at(line, "`#endif` without `#if`".into()));
                    }
                }
                "for" => {
                    let body_start = i;
                    let mut open = 1;
                    while open > 0 {
                        let Some((_, text)) = lines.get(i) else {
                            return Err(at(line, "`#for` without `#endfor`".into()));
                        };
                        let t = text.trim_start();
                        open += i32::from(t.starts_with("#for "));
                        open -= i32::from(t.starts_with("#endfor"));
                        i += 1;
                    }
                    if active {
                        let body = &lines[body_start..i - 1];
                        let (name, range) = self.for_range(argument).map_err(|m| at(line, m))?;
                        let outer = self.defines.get(&name).map(str::to_string);
                        for value in range {
                            self.defines.set(&name, value);
                            self.block(file, body, depth + 1)?;
                        }
                        match outer {
                            Some(value) => self.defines.set(&name, value),
                            None => drop(self.defines.0.remove(&name)),
                        }
                    }
                }
                "endfor" => return Err(at(line, "`#endfor` without `#for`".into())),
                _ if !active => {}
                "define" if self.foreign && argument.starts_with("_import_path") => {}
                "import" if self.foreign => {
                    let mut argument = argument.to_string();
                    while oil::is_open(&argument) {
                        let Some((_, more)) = lines.get(i) else { break };
                        i += 1;
                        argument.push_str(strip_comment(more).trim());
                    }
                    for import in oil::imports(&argument).map_err(|m| at(line, m))? {
                        self.import(&import, file, line, depth)?;
                    }
                }
                "include" => {
                    let path = argument.trim_matches(|c| matches!(c, '"' | '<' | '>')).to_string();
                    if path.is_empty() || path.len() == argument.len() {
                        return Err(at(line, "`#include` needs a path in quotes".into()));
                    }
                    if self.included.insert(path.clone()) {
                        let Some(text) = self.files.read(&path, file) else {
                            return Err(at(line, format!("no file `{path}` to include")));
                        };
                        self.out.file(&path, &text);
                        let lines: Vec<_> =
                            text.lines().enumerate().map(|(i, l)| (i as u32 + 1, l)).collect();
                        self.block(&path, &lines, depth + 1)?;
                    }
                }
                "define" => {
                    let end = argument.find(char::is_whitespace).unwrap_or(argument.len());
                    let (name, value) = argument.split_at(end);
                    if name.is_empty() {
                        return Err(at(line, "`#define` needs a name".into()));
                    }
                    let (value, _) = self.substitute(value.trim()).map_err(|m| at(line, m))?;
                    if self.given.get(name).is_none() {
                        self.defines.set(name, value);
                    }
                }
                "undef" if self.given.get(argument).is_some() => {}
                "undef" => drop(self.defines.0.remove(argument)),
                "error" => return Err(at(line, argument.to_string())),
                _ => return Err(at(line, format!("unknown directive `#{word}`"))),
            }
        }
        match branches.last() {
            Some(open) => Err(at(open.line, "`#if` without `#endif`".into())),
            None => Ok(()),
        }
    }

    /// Puts an imported module in, once.
    fn import(
        &mut self,
        import: &oil::Import,
        file: &str,
        line: u32,
        depth: usize,
    ) -> Result<(), ComposeError> {
        let item = import.item();
        let modules = [Some(import.path.as_str()), item.map(|(module, _)| module)];
        for module in modules.into_iter().flatten() {
            if self.included.contains(module) {
                if let (Some((m, name)), Some(alias)) = (item, &import.alias)
                    && m == module
                {
                    self.defines.set(alias, name);
                }
                return Ok(());
            }
            for name in oil::Import::file_names(module) {
                let Some(text) = self.files.read(&name, file) else { continue };
                self.included.insert(module.to_string());
                if !self.included.insert(name.clone()) && name != module {
                    return Ok(());
                }
                if let (Some((m, item)), Some(alias)) = (item, &import.alias)
                    && m == module
                {
                    self.defines.set(alias, item);
                }
                self.out.file(&name, &text);
                let lines: Vec<_> = text.lines().enumerate().map(|(i, l)| (i as u32 + 1, l)).collect();
                return self.block(&name, &lines, depth + 1);
            }
        }
        let message = match item {
            None => format!("no file `{}` to import", oil::Import::file_names(&import.path).join("` or `")),
            Some(_) => format!(
                "`#import {0}`: no file near this one says `#define_import_path {0}` (or the path without its last \
                 name), nor is there a file of that name",
                import.path
            ),
        };
        Err(ComposeError { file: file.to_string(), line, message })
    }

    /// `I in A..B` → the name and the integers.
    fn for_range(&self, argument: &str) -> Result<(String, std::ops::Range<i64>), String> {
        let usage = || format!("`#for` needs the form `#for NAME in FROM..TO`, not `#for {argument}`");
        let (name, range) = argument.split_once(" in ").ok_or_else(usage)?;
        let (from, to) = range.split_once("..").ok_or_else(usage)?;
        let int = |text: &str| -> Result<i64, String> {
            let value = expr::eval(text, &self.defines)?;
            value.parse().map_err(|_| format!("`{}` is `{value}`, which is no integer", text.trim()))
        };
        let range = int(from)?..int(to)?;
        if range.end.saturating_sub(range.start) > 4096 {
            return Err(format!("`#for` over {}..{} is longer than 4096", range.start, range.end));
        }
        Ok((name.trim().to_string(), range))
    }

    /// The value of an `#if`.
    fn holds(&self, argument: &str) -> Result<bool, String> {
        if !self.foreign {
            return expr::is_true(argument, &self.defines);
        }
        let mut text = String::new();
        let mut words = Words::new(argument);
        while let Some((word, is_name)) = words.next() {
            if word == "defined" {
                let mut name = words.next_name();
                let given = name.take().is_some_and(|n| self.defines.get(n).is_some());
                text.push_str(if given { " (1) " } else { " (0) " });
            } else if is_name {
                let value = self.word(word, 0)?.unwrap_or_else(|| "0".into());
                text.push_str(if value.is_empty() { "1" } else { &value });
            } else {
                text.push_str(word);
            }
        }
        expr::is_true(&text, &self.defines)
    }

    /// The text that a defined name stands for, with the names in it replaced too.
    fn word(&self, name: &str, depth: usize) -> Result<Option<String>, String> {
        let Some(value) = self.defines.get(name) else { return Ok(None) };
        if depth > MAX_DEPTH {
            return Err(format!("`{name}` is defined in terms of itself"));
        }
        let mut out = String::new();
        let mut words = Words::new(value);
        while let Some((word, is_name)) = words.next() {
            match if is_name && word != name { self.word(word, depth + 1)? } else { None } {
                Some(inner) => out.push_str(&inner),
                None => out.push_str(word),
            }
            if out.len() > MAX_BYTES {
                return Err(format!("`{name}` expands to more than {MAX_BYTES} bytes"));
            }
        }
        Ok(Some(out))
    }

    /// Replaces defined names, in the C-like dialect; comments are left as they are.
    fn replace_words(
        &self,
        text: String,
        shifts: Vec<(u32, u32)>,
    ) -> Result<(String, Vec<(u32, u32)>), String> {
        if !self.foreign {
            return Ok((text, shifts));
        }
        let code = strip_comment(&text);
        if let Some(kept) = without_subgroups(code) {
            return Ok((kept, Vec::new()));
        }
        // A place for text of several lines, held open by a comment.
        let held = text[code.len()..].trim_start_matches('/').trim();
        if let Some(value) = self.defines.get(held).filter(|v| code.trim().is_empty() && v.contains('\n')) {
            return Ok((value.to_string(), Vec::new()));
        }
        // Columns move relative to `text`; where that itself was substituted, its own map goes on.
        let origin = |at: usize| match shifts.iter().rev().find(|(here, _)| *here as usize <= at) {
            Some((here, there)) => there + (at as u32 - here),
            None => at as u32,
        };
        let mut out = String::new();
        let mut moved = shifts.clone();
        let mut changed = false;
        let mut words = Words::new(code);
        while let Some((word, is_name)) = words.next() {
            let start = words.at - word.len();
            // A module's name before an item of it goes: the item is here.
            if is_name && code[words.at..].starts_with("::") {
                if !changed {
                    moved.retain(|(here, _)| (*here as usize) <= start);
                }
                changed = true;
                words.at += 2;
                moved.push((out.len() as u32, origin(words.at)));
                continue;
            }
            // `@workgroup_size` is no name.
            let attribute = code[..start].ends_with('@');
            match if is_name && !attribute { self.word(word, 0)? } else { None } {
                Some(value) => {
                    if !changed {
                        moved.retain(|(here, _)| (*here as usize) <= start);
                    }
                    changed = true;
                    moved.push((out.len() as u32, origin(start)));
                    out.push_str(&value);
                    moved.push((out.len() as u32, origin(words.at)));
                }
                None => out.push_str(word),
            }
            if out.len() > MAX_BYTES {
                return Err(format!("the line expands to more than {MAX_BYTES} bytes"));
            }
        }
        out.push_str(&text[code.len()..]);
        Ok((out, if changed { moved } else { shifts }))
    }

    /// Replaces each `{{EXPR}}`; also says where columns moved.
    fn substitute(&self, text: &str) -> Result<(String, Vec<(u32, u32)>), String> {
        let mut out = String::new();
        let mut shifts = Vec::new();
        let mut done = 0;
        loop {
            let braces = text[done..].find("{{").map(|p| p + done);
            let oil = text[done..].find("#{").map(|p| p + done).filter(|_| self.foreign);
            if let Some(start) = oil.filter(|o| braces.is_none_or(|b| *o < b))
                && let Some(end) = text[start..].find('}').map(|p| p + start)
            {
                let name = text[start + 2..end].trim();
                let value = self
                    .defines
                    .get(name)
                    .ok_or_else(|| format!("`#{{{name}}}` has no value: give `-D {name}=VALUE`"))?;
                out.push_str(&text[done..start]);
                shifts.push((out.len() as u32, start as u32));
                out.push_str(value);
                done = end + 1;
                shifts.push((out.len() as u32, done as u32));
                continue;
            }
            let Some(start) = braces else { break };
            let Some(end) = text[start..].find("}}").map(|p| p + start) else { break };
            out.push_str(&text[done..start]);
            shifts.push((out.len() as u32, start as u32));
            out.push_str(&expr::eval(&text[start + 2..end], &self.defines)?);
            done = end + 2;
            shifts.push((out.len() as u32, done as u32));
        }
        out.push_str(&text[done..]);
        Ok((out, shifts))
    }
}

/// Splits text into names and what is between them.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Words { text, at: 0 }
    }

    /// The next piece and whether it is a name. Numbers with their suffixes are none.
    fn next(&mut self) -> Option<(&'a str, bool)> {
        let rest = &self.text[self.at..];
        let first = rest.chars().next()?;
        let part = |c: char| c == '_' || c.is_alphanumeric();
        let length = if part(first) {
            rest.find(|c| !part(c)).unwrap_or(rest.len())
        } else {
            rest.find(part).unwrap_or(rest.len())
        };
        self.at += length;
        Some((&rest[..length], part(first) && !first.is_ascii_digit()))
    }

    /// The next name, with parentheses and spaces round it skipped.
    fn next_name(&mut self) -> Option<&'a str> {
        loop {
            let (word, is_name) = self.next()?;
            if is_name {
                let rest = &self.text[self.at..];
                let spaces = rest.len() - rest.trim_start().len();
                let opened = self.text[..self.at - word.len()].trim_end().ends_with('(');
                if opened && rest[spaces..].starts_with(')') {
                    self.at += spaces + 1;
                }
                return Some(word);
            }
        }
    }
}

/// An `enable` directive without `subgroups`, if it has that.
fn without_subgroups(code: &str) -> Option<String> {
    let list = code.trim().strip_prefix("enable ")?.strip_suffix(';')?;
    let kept: Vec<&str> = list.split(',').map(str::trim).filter(|e| *e != "subgroups").collect();
    if kept.len() == list.split(',').count() {
        return None;
    }
    Some(if kept.is_empty() { String::new() } else { format!("enable {};", kept.join(", ")) })
}

fn strip_comment(text: &str) -> &str {
    text.split_once("//").map_or(text, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Map(&'static [(&'static str, &'static str)]);
    impl Files for Map {
        fn read(&self, path: &str, _from: &str) -> Option<String> {
            self.0.iter().find(|(p, _)| *p == path).map(|(_, t)| t.to_string())
        }
    }

    fn text(source: &str, defines: &Defines) -> Result<String, ComposeError> {
        compose("main", source, defines, &Map(&[("a.wgsl", "const A = 1;\n")])).map(|c| c.text)
    }

    #[test]
    fn conditions_choose_one_branch() {
        let source = "#if N == 1\none\n#elif N == 2\ntwo\n#else\nmany\n#endif";
        for (n, want) in [(1, "one\n"), (2, "two\n"), (3, "many\n")] {
            assert_eq!(text(source, &Defines::new().with("N", n)).unwrap(), want);
        }
        assert_eq!(text("#ifdef X\n#if 1 / 0\n#endif\nx\n#else\ny\n#endif", &Defines::new()).unwrap(), "y\n");
    }

    #[test]
    fn for_unrolls_and_restores_the_name() {
        let got = text("#for I in 0..N\nlet a{{I}} = {{I * 4}};\n#endfor", &Defines::new().with("N", 2));
        assert_eq!(got.unwrap(), "let a0 = 0;\nlet a1 = 4;\n");
        assert!(text("#for I in 0..2\n#endfor\n{{I + 1}}", &Defines::new()).is_err());
    }

    #[test]
    fn the_c_like_dialect_replaces_words_and_keeps_columns() {
        let files = Map(&[("shared.wgsl", "const S = WG;\n")]);
        let source = "#import shared\n#define WG (2 * N)\n#if defined(N) && !defined(M) && X == 0\nenable subgroups;\n\
                      let a = WG + WGS; // WG\n#endif";
        let c = compose_foreign("m.wgsl", source, &Defines::new().with("N", 8), &files).unwrap();
        assert_eq!(c.text, "const S = WG;\n\nlet a = (2 * 8) + WGS; // WG\n");
        let at = c.text.find("WGS").unwrap() as u32;
        assert_eq!(c.locate(at), Location { file: "m.wgsl".into(), line: 5, column: 14 });
        let circular = compose_foreign("m", "#define A B\n#define B A\nA", &Defines::new(), &files);
        assert!(circular.is_err());
    }

    #[test]
    fn the_host_has_the_last_word_and_values_may_have_lines() {
        let given = Defines::new().with("T", "f16").with("body", "a = 1;\nb = 2;\nc = 3;");
        let source = "#define T f32\n#undef T\n#if defined(M) \\\n  || defined(T)\nenable f16, subgroups;\n{{ body }} T\n// body\nend\n#endif";
        let c = compose_foreign("m.wgsl", source, &given, &Map(&[])).unwrap();
        assert_eq!(c.text, "enable f16;\na = 1;\nb = 2;\nc = 3; f16\na = 1;\nb = 2;\nc = 3;\nend\n");
        let line = |needle: &str| c.locate(c.text.find(needle).unwrap() as u32).line;
        assert_eq!([line("enable"), line("a ="), line("c ="), line("end")], [5, 6, 6, 8]);
    }

    #[test]
    fn includes_come_once() {
        assert_eq!(
            text("#include \"a.wgsl\"\n#include \"a.wgsl\"\nb", &Defines::new()).unwrap(),
            "const A = 1;\nb\n"
        );
    }

    #[test]
    fn places_lead_back_to_the_source() {
        let c = compose(
            "m.wgsl",
            "#include \"a.wgsl\"\nx\n#for I in 0..2\nlet v{{I}} = w;\n#endfor",
            &Defines::new(),
            &Map(&[("a.wgsl", "const A = 1;\n")]),
        )
        .unwrap();
        let at = |needle: &str| c.locate(c.text.find(needle).unwrap() as u32);
        assert_eq!(at("const"), Location { file: "a.wgsl".into(), line: 1, column: 1 });
        assert_eq!(at("x\n"), Location { file: "m.wgsl".into(), line: 2, column: 1 });
        // `w` stands at column 14 of `let v{{I}} = w;`, in both copies.
        assert_eq!(at("= w"), Location { file: "m.wgsl".into(), line: 4, column: 12 });
        assert_eq!(c.locate(u32::MAX).line, 4);
    }

    #[test]
    fn mistakes_carry_file_and_line() {
        for (source, line, part) in [
            ("a\n#if 1", 2, "without `#endif`"),
            ("#endif", 1, "without `#if`"),
            ("#else", 1, "without `#if`"),
            ("#for I in 0..2", 1, "without `#endfor`"),
            ("#for I = 2\n#endfor", 1, "form"),
            ("#for I in 0..9999999\n#endfor", 1, "longer than"),
            ("#include \"b\"", 1, "no file `b`"),
            ("#include b", 1, "in quotes"),
            ("\n{{1/0}}", 2, "64-bit"),
            ("#pragma x", 1, "unknown directive"),
        ] {
            let e = text(source, &Defines::new()).unwrap_err();
            assert_eq!(e.line, line, "{e}");
            assert!(e.message.contains(part), "{e}");
        }
    }
}
