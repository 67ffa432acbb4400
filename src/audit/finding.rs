//! Findings as data; [`render`](super::render) turns them into text, JSON, SARIF and annotations.

use serde::Serialize;

use super::classify::Confidence;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Costs bandwidth or time.
    Warning,
    /// Must be mended.
    Error,
}

impl std::str::FromStr for Severity {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "info" => Ok(Severity::Info),
            "warning" => Ok(Severity::Warning),
            "error" => Ok(Severity::Error),
            _ => Err(format!("no severity `{s}`: choose info, warning or error")),
        }
    }
}

/// A place in a source file with something to say about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// Length in bytes, on that line.
    pub length: u32,
    /// What is there; may be empty.
    pub message: String,
    /// The place that the finding is about, as opposed to one that explains it.
    pub primary: bool,
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule's name; `marlin explain CODE` tells more.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// One line.
    pub message: String,
    /// Entry point.
    pub kernel: String,
    /// File of the entry point; labels can lie in files that it includes.
    pub kernel_file: String,
    /// Places; the first primary one is the finding's.
    pub labels: Vec<Label>,
    /// Figures, assumptions, what would help.
    pub notes: Vec<String>,
    /// Bytes that the access fetches and no lane uses, in an average workgroup, where that is known: findings of one
    /// severity are in this order.
    pub wasted_bytes: Option<f64>,
}

impl Finding {
    /// The place that it is about.
    pub fn place(&self) -> Option<&Label> {
        self.labels.iter().find(|l| l.primary).or(self.labels.first())
    }
}
