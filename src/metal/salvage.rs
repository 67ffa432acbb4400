//! Text of which a part is refused: the other kernels are read all the same.
//!
//! Each error is traced to the declaration that it stands in; of a template, to what instantiates it. These are left
//! out and the text is compiled again, until nothing is wrong or no kernel is left. A kernel that is lost on the way is
//! named with the first error that cost it.

use super::clang::Clang;
use super::compile::{run, succeeded};
use super::diagnostic::{Diagnostic, Step};
use super::rewrite::{Dialect, ENTRY_FILE, Entries, Mode, Rewritten, rewrite_tokens};
use super::scope::{self, Declaration, callable};
use super::source::Source;
use super::token::Tokens;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A kernel that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The name that a host asks for.
    pub name: String,
    /// File that declares it.
    pub file: String,
    /// Line that declares it, from 1.
    pub line: u32,
    /// Why.
    pub reason: String,
}

/// Rounds of leaving out and compiling again.
const MOST_ROUNDS: usize = 12;

/// What is left of a text, and what is not.
pub(super) struct Salvaged {
    pub(super) rewritten: Rewritten,
    pub(super) refused: Vec<Refused>,
}

/// Leaves out of `preprocessed` what `first`, the errors of the whole, and those that follow stand in. The errors come
/// back if they stand in no declaration, or if no kernel is left.
pub(super) fn salvage(
    clang: &Clang,
    source: &Source,
    preprocessed: &str,
    whole: &Rewritten,
    first: Vec<Diagnostic>,
    prepare: impl Fn(&str) -> String,
) -> Result<Salvaged, Vec<Diagnostic>> {
    let tokens = Tokens::scan(preprocessed);
    let declarations = scope::declarations(&tokens);
    let places = Places::new(&tokens, &declarations);
    let mut without: HashSet<usize> = HashSet::new();
    // Why each declaration is left out.
    let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
    let (mut errors, mut kernels) = (first.clone(), whole.kernels.clone());
    for _ in 0..MOST_ROUNDS {
        let before = without.len();
        for d in &errors {
            let Some(broken) = places.broken(d, &kernels) else { return Err(first) };
            // An error that follows from another has the other's reason.
            let reason = places.cause(broken, &reasons).unwrap_or_else(|| reason_of(d, preprocessed));
            if without.insert(declarations[broken].start) {
                reasons.insert(broken, reason);
            }
        }
        if without.len() == before {
            return Err(first);
        }
        let mode = Mode { dialect: Dialect::Cxx, entries: Entries::All, without: &without };
        let rewritten = rewrite_tokens(&tokens, &declarations, source, mode);
        kernels.clone_from(&rewritten.kernels);
        if !rewritten.faults.is_empty() {
            errors = rewritten.faults.iter().map(Diagnostic::from_fault).collect();
            continue;
        }
        if kernels.is_empty() {
            return Err(first);
        }
        let mut args = clang.language_flags();
        args.extend(["-fsyntax-only".into(), "-".into()]);
        let output = run(clang, args, &prepare(&rewritten.text))?;
        match succeeded(clang, &output, Step::Types, &kernels) {
            Ok(()) => {
                let faults = whole.faults.iter().filter_map(|f| {
                    let (name, file) = (f.kernel.clone()?, f.file.clone());
                    Some(Refused { name, file, line: f.line, reason: f.message.clone() })
                });
                let mut refused: Vec<Refused> = faults.collect();
                refused.extend(places.lost(&whole.kernels, &kernels, &reasons));
                return Ok(Salvaged { rewritten, refused });
            }
            Err(next) => errors = next,
        }
    }
    Err(first)
}

/// The message without the place, which the kernel has; of Apple's own headers by name.
fn reason_of(d: &Diagnostic, preprocessed: &str) -> String {
    let tensors = ["mpp", "tensor", "cooperative_tensor", "matmul2d"].iter().any(|w| d.message.contains(w));
    if tensors && preprocessed.contains("MetalPerformancePrimitives/") {
        return "it needs MetalPerformancePrimitives (Apple's tensor operations), which come with Apple's compiler only"
            .into();
    }
    format!("{}:{}:{}: error: {}", d.file, d.line, d.column, d.message)
}

/// Where declarations stand.
struct Places<'a> {
    tokens: &'a Tokens<'a>,
    declarations: &'a [Declaration],
    /// By file, lines from and to of each declaration that holds no others.
    by_file: HashMap<&'a str, Vec<(u32, u32, usize)>>,
}

impl<'a> Places<'a> {
    fn new(tokens: &'a Tokens<'a>, declarations: &'a [Declaration]) -> Self {
        let mut by_file: HashMap<&str, Vec<(u32, u32, usize)>> = HashMap::new();
        for (ix, d) in declarations.iter().enumerate() {
            let (Some(from), Some(to)) = (tokens.list.get(d.start), tokens.list.get(d.end.saturating_sub(1)))
            else {
                continue;
            };
            let file = tokens.files[from.file as usize].as_str();
            by_file.entry(file).or_default().push((from.line, to.line, ix));
        }
        Self { tokens, declarations, by_file }
    }

    /// The smallest declaration at a line.
    fn at(&self, file: &str, line: u32) -> Option<usize> {
        let all = self.by_file.get(file)?.iter();
        all.filter(|(from, to, _)| (*from..=*to).contains(&line))
            .min_by_key(|(from, to, _)| to - from)
            .map(|r| r.2)
    }

    /// The declaration to leave out because of an error: what instantiates a template outermost, or where it stands.
    fn broken(&self, d: &Diagnostic, kernels: &[super::signature::Kernel]) -> Option<usize> {
        let asked = d.notes.iter().rev().find(|n| n.message.contains("requested here"));
        if let Some(note) = asked {
            if note.file == ENTRY_FILE {
                let kernel = kernels.get((note.line.max(1) as usize - 1) / 2)?;
                return self.at(&kernel.file, kernel.line);
            }
            if let Some(ix) = self.at(&note.file, note.line) {
                return Some(ix);
            }
        }
        self.at(&d.file, d.line)
    }

    /// The reason of a declaration that is left out and that this one names.
    fn cause(&self, ix: usize, reasons: &BTreeMap<usize, String>) -> Option<String> {
        let d = &self.declarations[ix];
        let words: HashSet<&str> =
            (d.start..d.end).filter(|&i| self.tokens.is_identifier(i)).map(|i| self.tokens.str(i)).collect();
        reasons.iter().filter(|(other, _)| **other != ix).find_map(|(other, reason)| {
            let name = self.name_of(*other)?;
            words.contains(name).then(|| reason.clone())
        })
    }

    /// What a declaration declares.
    fn name_of(&self, ix: usize) -> Option<&'a str> {
        let d = &self.declarations[ix];
        if let Some(c) = callable(self.tokens, d) {
            return Some(self.tokens.str(c.identifier));
        }
        // A class, a variable, an alias: the last name before what is not a name.
        let first = scope::after_template_headers(self.tokens, d.start, d.header_end);
        let stop = (first..d.header_end).find(|&i| matches!(self.tokens.str(i), "=" | "{" | ":" | ";"));
        let stop = stop.unwrap_or(d.header_end);
        (first..stop).rev().find(|&i| self.tokens.is_identifier(i)).map(|i| self.tokens.str(i))
    }

    /// The kernels that are there no more.
    fn lost(
        &self,
        all: &[super::signature::Kernel],
        left: &[super::signature::Kernel],
        reasons: &BTreeMap<usize, String>,
    ) -> Vec<Refused> {
        let stays: HashSet<(&str, u32)> = left.iter().map(|k| (k.name.as_str(), k.line)).collect();
        let lost = all.iter().filter(|k| !stays.contains(&(k.name.as_str(), k.line)));
        lost.map(|k| {
            let own = self.at(&k.file, k.line);
            let reason = own.and_then(|ix| reasons.get(&ix).cloned().or_else(|| self.cause(ix, reasons)));
            let reason = reason.unwrap_or_else(|| "what it uses was refused".into());
            Refused { name: k.name.clone(), file: k.file.clone(), line: k.line, reason }
        })
        .collect()
    }
}
