//! `marlin compare --weights FILE --tensor NAME`: families with 4-bit weights on a real matrix.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use wgpu_marlin::kernels::spec::{Case, Elem, Family};
use wgpu_marlin::kernels::{dequant, gemv};
use wgpu_marlin::quant::weights::read_matrix;
use wgpu_marlin::quant::{ErrorStats, Format, GroupSize, quantize};

use super::Failure;

/// What quantizing a matrix cost in precision.
pub(crate) struct Quantization {
    format: String,
    stats: ErrorStats,
}

/// The formats that a matrix is quantized to, each with its usual group.
const FORMATS: [(Format, GroupSize); 5] = [
    (Format::Fp4, GroupSize::G32),
    (Format::Int4Sym, GroupSize::G32),
    (Format::Int4Asym, GroupSize::G32),
    (Format::Mxfp4, GroupSize::G32),
    (Format::Nvfp4, GroupSize::G16),
];

/// Replaces the cases of `dequant` and `gemv` by those of the matrix in each format; other families are
/// refused, since a weight matrix says nothing to them.
pub(crate) fn replace_cases(
    families: &mut Vec<Family>,
    named: bool,
    file: &str,
    tensor: &str,
) -> Result<Vec<Quantization>, Failure> {
    let takes_weights = |f: &Family| matches!(f.name, "dequant" | "gemv");
    if named && let Some(other) = families.iter().find(|f| !takes_weights(f)) {
        return Err(Failure::new(format!("--weights is for dequant and gemv, not {}", other.name)));
    }
    families.retain(takes_weights);
    let matrix = read_matrix(Path::new(file), tensor)?;
    let mut quantizations = Vec::new();
    for family in families.iter_mut() {
        family.cases.clear();
    }
    for (format, group) in FORMATS {
        let quantized = Arc::new(quantize(&matrix.values, matrix.shape, format, group)?);
        let name = format!("{tensor} {format}-g{group} {}", matrix.shape);
        quantizations.push(Quantization {
            format: format!("{format}-g{group}"),
            stats: ErrorStats::between(&matrix.values, &quantized.dequantize()),
        });
        for family in families.iter_mut() {
            let case: Case = match family.name {
                "dequant" => dequant::case_of(&name, quantized.clone(), Elem::F16)?,
                _ => gemv::case_of(&name, quantized.clone(), 1, Elem::F16)?,
            };
            family.cases.push(case);
        }
    }
    Ok(quantizations)
}

impl Quantization {
    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let s = &self.stats;
        format!(
            "quantization error {:14} relative {:.4}, rms {:.3e}, max {:.3e}",
            self.format, s.relative, s.rms, s.max_abs
        )
    }

    /// The same for scripts.
    pub(crate) fn json(&self) -> Value {
        let s = &self.stats;
        json!({ "format": self.format, "relative": s.relative, "rms": s.rms, "max": s.max_abs })
    }
}
