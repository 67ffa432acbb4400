//! Messages about Metal text, at the user's lines.

use super::rewrite::{ENTRY_FILE, Fault, MAX_THREADGROUP_BYTES, TOO_MUCH};
use super::signature::Kernel;
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something beside the point that explains another message.
    Note,
    /// Worth knowing.
    Warning,
    /// The text is refused.
    Error,
}

/// Which step said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The preprocessor.
    Preprocess,
    /// The C++ compiler.
    Types,
    /// The compiler once more with address spaces.
    AddressSpaces,
    /// Our own list of what Metal forbids and C++ allows.
    Lint,
    /// Apple's own Metal compiler.
    Apple,
    /// The driver itself, for example a compiler that could not be started.
    Driver,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which step said it.
    pub step: Step,
    /// The user's file; empty if the message is about no place.
    pub file: String,
    /// Line from 1; 0 if the message is about no place.
    pub line: u32,
    /// Column from 1; 0 if not known.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// Places and reasons that belong to it, in the compiler's order.
    pub notes: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:", self.file, self.line)?;
            if self.column > 0 {
                write!(f, "{}:", self.column)?;
            }
            f.write_str(" ")?;
        }
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.message)?;
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}

impl Diagnostic {
    pub(super) fn error(step: Step, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            step,
            file: String::new(),
            line: 0,
            column: 0,
            message: message.into(),
            notes: Vec::new(),
        }
    }

    pub(super) fn at(mut self, file: &str, line: u32) -> Self {
        self.file = file.to_owned();
        self.line = line;
        self
    }

    pub(super) fn from_fault(fault: &Fault) -> Self {
        Self::error(Step::Types, &fault.message).at(&fault.file, fault.line)
    }
}

/// Reads clang's messages. What it says about the shim or the generated entries is moved to the place in the
/// user's text that led there.
pub(super) fn parse(stderr: &str, step: Step, shim: &str, kernels: &[Kernel]) -> Vec<Diagnostic> {
    let mut list: Vec<Diagnostic> = Vec::new();
    for line in stderr.lines() {
        let Some(d) = parse_line(line, step) else { continue };
        match (d.severity, list.last_mut()) {
            (Severity::Note, Some(last)) => last.notes.push(d),
            (Severity::Note, None) => {}
            _ => list.push(d),
        }
    }
    for d in &mut list {
        settle(d, shim, kernels);
    }
    list
}

/// Moves a message out of the shim and drops its notes about the shim.
fn settle(d: &mut Diagnostic, shim: &str, kernels: &[Kernel]) {
    let is_ours = |file: &str| file.starts_with(shim) || file == ENTRY_FILE || file.starts_with('<');
    if is_ours(&d.file) {
        let user = d.notes.iter().find(|n| !is_ours(&n.file));
        let entry = std::iter::once(&*d).chain(&d.notes).find(|n| n.file == ENTRY_FILE);
        // Entries stand two lines each in the order of the kernels.
        let kernel = entry.and_then(|n| kernels.get((n.line.max(1) as usize - 1) / 2));
        (d.file, d.line, d.column) = match (user, kernel) {
            (Some(n), _) => (n.file.clone(), n.line, n.column),
            (None, Some(k)) => (k.file.clone(), k.line, 0),
            (None, None) => (String::new(), 0, 0),
        };
    }
    d.notes.retain(|n| !is_ours(&n.file));
    let place = (d.file.clone(), d.line, d.column);
    d.notes.retain(|n| (n.file.clone(), n.line, n.column) != place);
    // Clang's words for our assertion are about our assertion.
    for m in std::iter::once(&mut d.message).chain(d.notes.iter_mut().map(|n| &mut n.message)) {
        *m = m.replace("_Float16", "half").replace("__bf16", "bfloat");
        if m.contains(TOO_MUCH) {
            *m = format!(
                "a threadgroup has {MAX_THREADGROUP_BYTES} bytes of threadgroup memory; this kernel declares more"
            );
        } else if let Some(n) =
            m.strip_prefix("expression evaluates to '").and_then(|r| r.split(" <=").next())
            && m.ends_with(&format!("<= {MAX_THREADGROUP_BYTES}'"))
        {
            *m = format!("it declares {n} bytes");
        }
    }
}

/// `file:line:column: error: message`
fn parse_line(line: &str, step: Step) -> Option<Diagnostic> {
    let kinds = [
        (": fatal error: ", Severity::Error),
        (": error: ", Severity::Error),
        (": warning: ", Severity::Warning),
        (": note: ", Severity::Note),
    ];
    let (at, marker, severity) =
        kinds.iter().filter_map(|(m, s)| line.find(m).map(|at| (at, *m, *s))).min_by_key(|(at, ..)| *at)?;
    let message = line[at + marker.len()..].to_owned();
    let mut d = Diagnostic { severity, ..Diagnostic::error(step, message) };
    let mut parts = line[..at].rsplitn(3, ':');
    let (last, middle, first) = (parts.next()?, parts.next(), parts.next());
    match (first, middle.and_then(|m| m.parse().ok()), last.parse::<u32>().ok()) {
        (Some(file), Some(line), Some(column)) => {
            (d.file, d.line, d.column) = (file.to_owned(), line, column)
        }
        _ => d.file = line[..at].to_owned(),
    }
    if d.line == 0 {
        // `clang++: error: ...` is about no place.
        d.file = String::new();
    }
    Some(d)
}
