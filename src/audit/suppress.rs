//! Suppressions in the source, and which of them suppress nothing.

use naga::diagnostic_filter::{DiagnosticFilterNode, FilterableTriggeringRule, Severity as Level};
use naga::{Arena, Handle, Module};

use super::classify::Confidence;
use super::finding::{Finding, Label, Severity};
use crate::lower::Location;

/// What a suppression covers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// A whole file.
    Module,
    /// The lines of a function, inclusive.
    Lines(String, u32, u32),
}

#[derive(Clone, Debug)]
struct Suppression {
    rule: String,
    scope: Scope,
    at: Label,
    used: bool,
}

/// The suppressions of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suppressions(Vec<Suppression>);

impl Suppressions {
    /// `diagnostic(off, marlin.rule)` from the module and `// marlin: allow(rule)` from its text.
    pub(crate) fn of_module(module: &Module, text: &str, locate: &dyn Fn(u32) -> Location) -> Self {
        let mut out = Suppressions::of_comments(text, locate);
        let arena = &module.diagnostic_filters;
        let top = chain(arena, module.diagnostic_filter_leaf);
        for rule in &top {
            let at = find_directive(text, rule, 0, locate);
            out.0.push(Suppression { rule: rule.clone(), scope: Scope::Module, at, used: false });
        }
        let functions =
            module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
        for f in functions {
            for rule in chain(arena, f.diagnostic_filter_leaf) {
                if top.contains(&rule) {
                    continue;
                }
                // A function's extent is that of its expressions and statements.
                let mut bytes = (usize::MAX, 0usize);
                for (h, _) in f.expressions.iter() {
                    if let Some(r) = f.expressions.get_span(h).to_range() {
                        bytes = (bytes.0.min(r.start), bytes.1.max(r.end));
                    }
                }
                if bytes.0 > bytes.1 {
                    continue;
                }
                let (first, last) = (locate(bytes.0 as u32), locate(bytes.1 as u32));
                let before =
                    text.get(..bytes.0).and_then(|t| t.rfind(&format!("marlin.{rule}"))).unwrap_or(0);
                let at = find_directive(text, &rule, before, locate);
                let scope = Scope::Lines(first.file, first.line.min(at.line), last.line);
                out.0.push(Suppression { rule, scope, at, used: false });
            }
        }
        out
    }

    /// `// marlin: allow(rule) reason`: alone on a line it covers the next one too, after code only that code's line.
    pub(crate) fn of_comments(text: &str, locate: &dyn Fn(u32) -> Location) -> Self {
        let mut out = Vec::new();
        let mut from = 0;
        while let Some(at) = text[from..].find("// marlin: allow(").map(|p| p + from) {
            from = at + 1;
            let rest = &text[at + "// marlin: allow(".len()..];
            let Some(end) = rest.find(')').filter(|&e| !rest[..e].contains('\n')) else { continue };
            let line = text[..at].rfind('\n').map_or(0, |n| n + 1);
            let alone = text[line..at].trim().is_empty();
            for rule in rest[..end].split(',') {
                let place = locate(at as u32);
                out.push(Suppression {
                    rule: rule.trim().trim_start_matches("marlin.").to_string(),
                    scope: Scope::Lines(place.file.clone(), place.line, place.line + u32::from(alone)),
                    at: label(place, end + "// marlin: allow()".len()),
                    used: false,
                });
            }
        }
        Suppressions(out)
    }

    /// Removes suppressed findings and adds one for each suppression that had no use.
    pub(crate) fn apply(&mut self, findings: &mut Vec<Finding>) {
        findings.retain(|f| {
            let mut keep = true;
            for s in self.0.iter_mut().filter(|s| s.rule == f.code) {
                let covered = match &s.scope {
                    Scope::Module => true,
                    Scope::Lines(file, first, last) => f
                        .labels
                        .iter()
                        .filter(|l| l.primary)
                        .any(|l| l.file == *file && (*first..=*last).contains(&l.line)),
                };
                if covered {
                    s.used = true;
                    keep = false;
                }
            }
            keep
        });
        for s in self.0.iter().filter(|s| !s.used) {
            let known = super::rules::find(&s.rule).is_some();
            let names = || super::rules::all().iter().map(|r| r.name).collect::<Vec<_>>().join(", ");
            let (message, severity, help) = if known {
                let message = format!("nothing to suppress: no `{}` is found here", s.rule);
                (message, Severity::Info, "help: remove it".to_string())
            } else {
                // What it was meant to silence is not silenced, and what it was meant to say is lost.
                let message = format!("there is no rule `{}` to suppress", s.rule);
                (message, Severity::Error, format!("help: the rules are {}", names()))
            };
            findings.push(Finding {
                code: "unused-suppression",
                severity,
                confidence: Confidence::Exact,
                message,
                kernel: String::new(),
                kernel_file: String::new(),
                labels: vec![s.at.clone()],
                notes: vec![help],
                wasted_bytes: None,
            });
        }
    }
}

/// The rules of `marlin.*` switched off on the way up from `leaf`.
fn chain(arena: &Arena<DiagnosticFilterNode>, leaf: Option<Handle<DiagnosticFilterNode>>) -> Vec<String> {
    let mut rules = Vec::new();
    let mut at = leaf;
    while let Some(handle) = at {
        let node = &arena[handle];
        if let (FilterableTriggeringRule::User(name), Level::Off) =
            (&node.inner.triggering_rule, node.inner.new_severity)
            && &*name[0] == "marlin"
        {
            rules.push(name[1].to_string().replace('_', "-"));
        }
        at = node.parent;
    }
    rules
}

fn find_directive(text: &str, rule: &str, from: usize, locate: &dyn Fn(u32) -> Location) -> Label {
    let names = [format!("marlin.{rule}"), format!("marlin.{}", rule.replace('-', "_"))];
    let tail = text.get(from..).unwrap_or_default();
    let found = names.iter().filter_map(|n| tail.find(n.as_str()).map(|p| (p + from, n.len()))).min();
    let (at, length) = found.unwrap_or((0, 1));
    label(locate(at as u32), length)
}

fn label(place: Location, length: usize) -> Label {
    Label {
        file: place.file,
        line: place.line,
        column: place.column,
        length: length as u32,
        message: String::new(),
        primary: true,
    }
}
