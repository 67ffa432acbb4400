//! The crate's own kernels under the auditor: audited with the parameters of a case, and beside that traced.
//!
//! The auditor itself knows no kernel of this crate; what is known of a dispatch is handed to it here.

use std::path::{Path, PathBuf};

use super::{Cpu, MetalCpu, MetalText, RunError};
use crate::audit::{
    AuditError, Report, Request, Settings, audit_composed, audit_ir, audit_lowered, not_analysed, render,
    run, variables,
};
use crate::exec::TraceMode;
use crate::gpu::{Caps, Dispatch};
use crate::kernels::spec::{Case, Refusal};
use crate::lower::{Embedded, LowerError, Resource, Shader, Source, compose};
use crate::metal::{self, Clang};

/// Why a case was not traced.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The variant does not run this case on the executor.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The executor refused a shader or found a fault in it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A shader that can't be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// A Metal twin that clang refuses.
    #[error("{kernel}: {message}")]
    Clang {
        /// The shader.
        kernel: String,
        /// What clang said.
        message: String,
    },
}

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
            match case.plan(ix, &Caps::apple()) {
                Err(e) => report.merge(not_analysed(&label, Shader::ENTRY, e.to_string())),
                Ok(plan) => {
                    for d in plan.dispatches {
                        report.merge(audit_shader(&d.shader, settings));
                    }
                }
            }
        }
    }
    report.finish()
}

/// Audits a shader of this crate with the names that specialise it.
pub fn audit_shader(shader: &Shader, settings: &Settings) -> Report {
    let source = shader.wgsl;
    match compose(source.path, source.text, &shader.defines, &Embedded) {
        Ok(composed) => audit_composed(composed, settings),
        Err(e) => not_analysed(source.path, Shader::ENTRY, e.to_string()),
    }
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

/// The seed of the inputs that [`trace_case`] generates.
const SEED: u64 = 1;

/// Audits the kernels that a variant of this crate runs for a case, with the case's parameters and grid known,
/// and traces them on the executor with generated inputs. One report over all dispatches.
pub fn trace_case(case: &Case, variant_ix: usize, settings: &Settings) -> Result<Report, CaseError> {
    let cpu = Cpu { trace: TraceMode::All, ..Cpu::with_subgroup_size(settings.subgroup_size) };
    let plan = case.plan(variant_ix, &cpu.caps)?;
    let (_, trace) = cpu.run(&case.problem(variant_ix, SEED), &plan)?;
    let mut report = Report::default();
    for (ix, dispatch) in plan.dispatches.iter().enumerate() {
        let mut one = audit_dispatch(dispatch, settings);
        let mine = trace.sites.iter().filter(|t| t.dispatch_ix == ix);
        one.attach_executor(Shader::ENTRY, mine.map(|t| (&t.site, t.at.clone())));
        report.merge(one);
    }
    Ok(report.finish())
}

/// As [`trace_case`], of the Metal twins: clang's IR of their text, audited, and run on the CPU. Parameters that the
/// text takes by reference are no accesses to the auditor.
pub fn trace_twins(
    cpu: &MetalCpu,
    case: &Case,
    variant_ix: usize,
    settings: &Settings,
) -> Result<Report, CaseError> {
    let plan = case.plan(variant_ix, &cpu.caps)?;
    let (_, trace) = cpu.run(&case.problem(variant_ix, SEED), &plan, MetalText::Twin)?;
    let mut report = Report::default();
    for (ix, dispatch) in plan.dispatches.iter().enumerate() {
        let Some(msl) = dispatch.shader.msl else { continue };
        let mut one = audit_twin(cpu.clang(), dispatch, msl, settings)?;
        let mine = trace.sites.iter().filter(|t| t.dispatch_ix == ix).map(|t| &t.traffic);
        one.attach_metal(Shader::MSL_ENTRY, mine, msl.path, msl.text);
        report.merge(one);
    }
    Ok(report.finish())
}

/// Audits the Metal twin of one dispatch, its parameters and grid known.
fn audit_twin(
    clang: &Clang,
    dispatch: &Dispatch,
    msl: Source,
    settings: &Settings,
) -> Result<Report, CaseError> {
    let shader = &dispatch.shader;
    let lowered = shader.lower()?;
    let (source, entry, _) = MetalText::Twin.source(shader, &lowered).map_err(RunError::from)?;
    let ir = metal::llvm_ir_of(clang, &source, &entry).map_err(|list| CaseError::Clang {
        kernel: shader.label(),
        message: list.first().map_or_else(|| "clang refused it".into(), ToString::to_string),
    })?;
    let entry_ix = lowered.entry_index(Shader::ENTRY)?;
    let mut known = settings.clone();
    known.workgroups = Some(dispatch.workgroups);
    known.workgroup_size = Some(lowered.module.entry_points[entry_ix].workgroup_size);
    // The uniform block is read word by word, by its name and the byte offset.
    let bindings = lowered.bindings(entry_ix);
    let mut buffers = bindings.iter().filter(|b| b.resource != Resource::Texture);
    let uniform_slot = buffers.position(|b| b.resource == Resource::Uniform).map(|slot| slot as u32);
    let is_uniform = |p: &&metal::Param| matches!(p.binding, metal::Binding::Buffer { slot } if Some(slot) == uniform_slot);
    let params = ir.kernels.iter().filter(|k| k.name == entry).flat_map(|k| &k.params);
    if let Some(param) = params.into_iter().find(is_uniform) {
        for (i, word) in dispatch.params.chunks_exact(4).enumerate() {
            let name = if i == 0 { param.name.clone() } else { format!("{}+{}", param.name, 4 * i) };
            let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            known.values.insert(name, i64::from(value));
        }
    }
    Ok(audit_ir(&ir, msl.path, msl.text, &known))
}

/// Audits the kernels that a variant of this crate runs for a case on an Apple GPU, with the case's parameters and
/// grid known.
pub fn audit_case(case: &Case, variant_ix: usize, settings: &Settings) -> Result<Report, Refusal> {
    let mut report = Report::default();
    for dispatch in &case.plan(variant_ix, &Caps::apple())?.dispatches {
        report.merge(audit_dispatch(dispatch, settings));
    }
    Ok(report.finish())
}

/// Audits one dispatch of a plan, its parameters and grid known.
pub fn audit_dispatch(dispatch: &Dispatch, settings: &Settings) -> Report {
    let lowered = match dispatch.shader.lower() {
        Ok(lowered) => lowered,
        Err(e) => return not_analysed(dispatch.shader.wgsl.path, Shader::ENTRY, e.to_string()),
    };
    let mut known = settings.clone();
    known.workgroups = Some(dispatch.workgroups);
    for variable in variables(&lowered.module).iter().filter(|v| v.uniform) {
        known.values.extend(variable.values(&dispatch.params));
    }
    audit_lowered(&lowered, &known)
}
