//! What C++ allows and Metal forbids, found by tokens.

use super::diagnostic::{Diagnostic, Severity, Step};
use super::scope::{self, Shape, callable};
use super::signature::Kernel;
use super::token::{Kind, Tokens};
use std::collections::{BTreeMap, BTreeSet};

/// Words that stand for something that Metal does not have, and what it is.
const FORBIDDEN: [(&str, &str); 16] = [
    ("double", "`double`: Metal has no 64-bit floats"),
    ("new", "`new`: Metal has no allocation"),
    ("delete", "`delete`: Metal has no allocation"),
    ("throw", "exceptions: Metal has none"),
    ("try", "exceptions: Metal has none"),
    ("catch", "exceptions: Metal has none"),
    ("virtual", "`virtual`: Metal has no virtual functions"),
    ("dynamic_cast", "`dynamic_cast`: Metal has no run-time types"),
    ("typeid", "`typeid`: Metal has no run-time types"),
    ("goto", "`goto`: Metal has none"),
    ("thread_local", "`thread_local`: Metal has none"),
    ("asm", "inline assembly: Metal has none"),
    ("__asm__", "inline assembly: Metal has none"),
    ("co_await", "coroutines: Metal has none"),
    ("co_yield", "coroutines: Metal has none"),
    ("co_return", "coroutines: Metal has none"),
];

/// Looks for forbidden words, recursion, and static variables in functions.
pub(super) fn lint(preprocessed: &str, kernels: &[Kernel]) -> Vec<Diagnostic> {
    let tokens = Tokens::scan(preprocessed);
    let mut found = Vec::new();
    for i in 0..tokens.list.len() {
        if tokens.list[i].kind != Kind::Identifier {
            continue;
        }
        // `= delete;` is no `delete`.
        let deleted_function = i > 0 && tokens.is(i, "delete") && tokens.is(i - 1, "=");
        if let Some((_, why)) = FORBIDDEN.iter().find(|(word, _)| tokens.is(i, word) && !deleted_function) {
            found.push(at(&tokens, i, *why));
        }
    }
    found.extend(recursion(&tokens));
    found.extend(same_names(kernels));
    found
}

fn at(tokens: &Tokens, i: usize, message: impl Into<String>) -> Diagnostic {
    let token = tokens.list[i];
    let line_start = tokens.text[..token.start].rfind('\n').map_or(0, |n| n + 1);
    let mut d = Diagnostic::error(Step::Lint, message).at(&tokens.files[token.file as usize], token.line);
    d.column = (token.start - line_start) as u32 + 1;
    d
}

/// Functions of a name that is used once, which call themselves directly or by way of others. Overloads and
/// templates may call another of their name, so names that are declared twice are left alone.
fn recursion(tokens: &Tokens) -> Vec<Diagnostic> {
    let mut bodies: BTreeMap<&str, Vec<(usize, usize, usize)>> = BTreeMap::new();
    for d in scope::declarations(tokens) {
        let Shape::Function { body } = d.shape else { continue };
        let is_template = tokens.is(d.start, "template");
        if let Some(c) = callable(tokens, &d).filter(|_| !is_template && d.scope.is_empty()) {
            bodies.entry(tokens.str(c.identifier)).or_default().push((c.identifier, body, d.end));
        }
    }
    bodies.retain(|_, list| list.len() == 1);
    let calls: BTreeMap<&str, BTreeSet<&str>> = bodies
        .iter()
        .map(|(name, list)| {
            let (_, body, end) = list[0];
            let called = (body..end).filter(|&i| {
                let member = i > 0 && matches!(tokens.str(i - 1), "." | ">" | "::");
                tokens.is_identifier(i) && tokens.is(i + 1, "(") && !member
            });
            (*name, called.map(|i| tokens.str(i)).filter(|n| bodies.contains_key(n)).collect())
        })
        .collect();
    let mut found = Vec::new();
    for (name, list) in &bodies {
        let (mut reached, mut open) = (BTreeSet::new(), vec![*name]);
        while let Some(next) = open.pop() {
            for called in &calls[next] {
                if reached.insert(*called) {
                    open.push(called);
                }
            }
        }
        if reached.contains(name) {
            found.push(at(
                tokens,
                list[0].0,
                format!("recursion: `{name}` calls itself; Metal has no call stack for it"),
            ));
        }
    }
    found
}

/// Two kernels that a host can't tell apart.
fn same_names(kernels: &[Kernel]) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let twice = kernels.iter().filter(|k| !seen.insert(&k.name));
    twice
        .map(|k| {
            let mut d = Diagnostic::error(Step::Lint, format!("there are two kernels `{}`", k.name))
                .at(&k.file, k.line);
            d.severity = Severity::Warning;
            d
        })
        .collect()
}
