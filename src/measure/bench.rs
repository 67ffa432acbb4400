//! Bandwidth by access pattern in one call.

use super::{ChecksChoice, CompareOptions, Comparison, Cpu, Device, compare};
use crate::gpu::{DeviceChoice, Gpu, GpuError};
use crate::kernels::patterns;
use crate::kernels::spec::{CaseClass, Family, Refusal};

/// Why a benchmark did not run.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// No such pattern.
    #[error("there is no pattern `{given}`; there are all, {present}")]
    UnknownPattern {
        /// What was asked for.
        given: String,
        /// The names that exist.
        present: String,
    },
    /// A size that the patterns don't run at.
    #[error(transparent)]
    Size(#[from] Refusal),
    /// The GPU refused.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// The family `patterns` with one variant or all, at these sizes in f32 elements.
pub fn coalescing_benchmark(pattern: &str, sizes: &[u64]) -> Result<Family, BenchmarkError> {
    let mut family = patterns::family();
    if pattern != "all" {
        if !family.variants.iter().any(|v| v.name == pattern) {
            let names: Vec<_> = family.variants.iter().map(|v| v.name).collect();
            let (given, present) = (pattern.to_string(), names.join(", "));
            return Err(BenchmarkError::UnknownPattern { given, present });
        }
        family.keep_variants(|name| name == pattern);
    }
    family.cases.clear();
    for &n in sizes {
        family.cases.push(patterns::case(patterns::Spec::new(n)?, CaseClass::Bench));
    }
    Ok(family)
}

/// Verifies and times one access pattern, or `all`, at these sizes in f32 elements, on the best GPU present; without a
/// GPU the executor counts bytes instead. Opens the device, submits and waits.
///
/// ```
/// let results = wgpu_marlin::measure::run_coalescing_benchmark("strided_8", &[4096, 16384])?;
/// for row in results.rows.iter().filter(|r| r.variant == "strided_8") {
///     println!("{} {}: {:?} GB/s, {:?} bytes fetched", row.variant, row.case, row.gbps, row.fetched_bytes);
///     assert!(row.verified);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_coalescing_benchmark(pattern: &str, sizes: &[u64]) -> Result<Comparison, BenchmarkError> {
    let family = coalescing_benchmark(pattern, sizes)?;
    let device = match pollster::block_on(Gpu::open(&DeviceChoice::Auto)) {
        Ok(gpu) => Device::Gpu(Box::new(gpu)),
        Err(GpuError::NoAdapter { .. }) => Device::Cpu(Cpu::default()),
        Err(e) => return Err(e.into()),
    };
    Ok(compare(&device, &[family], &benchmark_options(), &mut |_| {}))
}

/// Every size, unchecked code.
pub fn benchmark_options() -> CompareOptions {
    CompareOptions { case: "all".into(), checks: Some(ChecksChoice::Unchecked), ..CompareOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let e = coalescing_benchmark("nothing", &[4096]).unwrap_err().to_string();
        assert!(e.contains("`nothing`") && e.contains("coalesced"), "{e}");
        assert!(matches!(coalescing_benchmark("all", &[7]), Err(BenchmarkError::Size(_))));
        assert_eq!(coalescing_benchmark("vec4", &[4096, 16384]).unwrap().cases.len(), 2);
    }
}
