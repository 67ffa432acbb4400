//! Baselines: known findings, so that only new ones count.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::AuditError;
use super::render::fingerprint;
use super::report::Report;

/// Findings that are known, with how often each occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    schema: u32,
    findings: BTreeMap<String, usize>,
}

impl Baseline {
    /// All findings of a report.
    pub fn of(report: &Report) -> Self {
        let mut findings = BTreeMap::new();
        for f in &report.findings {
            *findings.entry(fingerprint(f, report)).or_default() += 1;
        }
        Baseline { schema: 1, findings }
    }

    /// Reads a baseline file.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| AuditError::Read { path: name.clone(), source })?;
        let fail = |message: String| AuditError::Baseline { path: name.clone(), message };
        let baseline: Baseline = serde_json::from_str(&text).map_err(|e| fail(e.to_string()))?;
        if baseline.schema != 1 {
            return Err(fail(format!("its schema is {}, not 1", baseline.schema)));
        }
        Ok(baseline)
    }

    /// As a file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).map_or_else(|_| String::new(), |s| s + "\n")
    }

    /// Takes out of the report what the baseline knows, as often as it knows it. Gives how many.
    pub fn remove_known(&self, report: &mut Report) -> usize {
        let mut left = self.findings.clone();
        let before = report.findings.len();
        let prints: Vec<String> = report.findings.iter().map(|f| fingerprint(f, report)).collect();
        let mut prints = prints.into_iter();
        report.findings.retain(|_| {
            let known = prints.next().and_then(|p| left.get_mut(&p).filter(|n| **n > 0).map(|n| *n -= 1));
            known.is_none()
        });
        before - report.findings.len()
    }
}
