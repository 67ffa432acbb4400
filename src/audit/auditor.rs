//! Whole directories in one call.

use std::path::{Path, PathBuf};

use super::report::Report;
use super::run::{AuditError, Request, run};
use super::settings::Settings;
use super::{analyse, render};
use crate::lower::{Embedded, Shader, compose};

/// Audits the shaders below a directory, or the naive kernels of this crate.
#[derive(Clone, Debug)]
pub struct MemoryAuditor {
    dir: PathBuf,
    settings: Settings,
}

impl MemoryAuditor {
    /// For all `.wgsl` and `.metal` files below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        MemoryAuditor { dir: dir.into(), settings: Settings::default() }
    }

    /// With what is known of machine and dispatch.
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Audits every file.
    pub fn audit_all(&self) -> Result<Report, AuditError> {
        run(&Request { paths: vec![self.dir.clone()], settings: self.settings.clone(), ..Request::default() })
    }

    /// Audits the naive kernels of this crate, which are the priority: dequantization, attention, router and
    /// expert GEMM as they are commonly written.
    pub fn audit_priority_kernels(&self) -> Report {
        priority(&self.settings)
    }
}

/// The families whose naive kernels [`MemoryAuditor::audit_priority_kernels`] audits.
pub const PRIORITY_FAMILIES: [&str; 4] = ["dequant", "attention", "router", "expert_gemm"];

/// The naive variants of the families that the priority list names, at their smoke case.
pub(crate) fn priority(settings: &Settings) -> Report {
    use crate::kernels::spec::{CaseClass, Role};
    let mut report = Report::default();
    for family in crate::kernels::families() {
        if !PRIORITY_FAMILIES.contains(&family.name) {
            continue;
        }
        let Some(case) = family.cases.iter().find(|c| c.class == CaseClass::Smoke) else { continue };
        for (ix, variant) in family.variants.iter().enumerate() {
            if variant.role != Role::Naive {
                continue;
            }
            let label = format!("{}/{}", family.name, variant.name);
            match case.plan(ix, &crate::gpu::Caps::apple()) {
                Err(e) => report.merge(analyse::not_analysed(&label, Shader::ENTRY, e.to_string())),
                Ok(plan) => {
                    for d in plan.dispatches {
                        report.merge(audit_shader(&d.shader, settings));
                    }
                }
            }
        }
    }
    analyse::sort(&mut report.findings);
    report
}

/// Audits a shader of this crate with the names that specialise it.
pub fn audit_shader(shader: &Shader, settings: &Settings) -> Report {
    let source = shader.wgsl;
    match compose(source.path, source.text, &shader.defines, &Embedded) {
        Ok(composed) => {
            let mut report = analyse::audit_composed(composed, settings);
            report.sources.extend(sources_of(shader));
            report
        }
        Err(e) => analyse::not_analysed(source.path, Shader::ENTRY, e.to_string()),
    }
}

/// The texts that a shader of this crate may be composed of, by name.
pub(super) fn sources_of(shader: &Shader) -> impl Iterator<Item = (String, String)> {
    let all = std::iter::once(shader.wgsl).chain(Embedded::all().iter().copied());
    all.map(|s| (s.path.into(), s.text.into()))
}

/// Writes the report on the priority kernels to a file: findings, then every access.
pub fn generate_full_report(path: impl AsRef<Path>) -> Result<Report, AuditError> {
    let path = path.as_ref();
    let report = priority(&Settings::default());
    let text = format!("{}\n{}", render::text(&report), render::sites(&report));
    std::fs::write(path, text)
        .map_err(|source| AuditError::Read { path: path.display().to_string(), source })?;
    Ok(report)
}
