//! Verification against the reference, timing, ceilings.
//!
//! [`compare()`] is the one driver: for each family, case and variant it generates the problem, runs the
//! plan over guarded outputs, checks them, and only then times it. Nothing unverified is timed.

mod audit;
mod bench;
mod compare;
mod cpu;
mod device;
mod metal;
mod passthrough;
mod row;
mod run;
mod verify;

pub use audit::{
    CaseError, MemoryAuditor, PRIORITY_FAMILIES, audit_case, audit_dispatch, audit_shader,
    generate_full_report, trace_case, trace_twins,
};
pub use bench::{BenchmarkError, benchmark_options, coalescing_benchmark, run_coalescing_benchmark};
pub use compare::{ChecksChoice, CompareOptions, Comparison, MslCases, Progress, compare, device_row};
pub use cpu::{Cpu, FETCH_BLOCK_BYTES, HostOperands, HostSource, Trace, TracedSite};
pub use device::Device;
pub use metal::{MetalCpu, MetalSite, MetalText, MetalTrace};
pub use passthrough::{check_passthrough, judge_passthrough, passthrough_probe};
pub use run::{Operands, Outputs, RunError, Workload};
pub use verify::{Verdict, verify};

use serde::Serialize;

/// A line of a comparison, as DESIGN's JSON contract has it. Absent figures are `None`, never 0.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Kernel family.
    pub family: String,
    /// Variant.
    pub variant: String,
    /// `naive`, `advised`, `optimized` or `ceiling`.
    pub role: &'static str,
    /// `wgsl` or `msl`.
    pub source: &'static str,
    /// `checked`, `unchecked`, or `native` for Metal twins; `msl` that is not native is what naga makes of the WGSL.
    pub checks: &'static str,
    /// What the text went through on its way to the device, and how that was told to treat it.
    pub compile_options: String,
    /// Case.
    pub case: String,
    /// Device name.
    pub device: String,
    /// Whether every checked element was within its bound.
    pub verified: bool,
    /// What the verification found wrong.
    pub failure: Option<String>,
    /// Elements that were compared with the reference, and all there are.
    pub checked_elements: u64,
    /// Output elements.
    pub elements: u64,
    /// |got − reference| of the element that came closest to its bound.
    pub max_err: Option<f64>,
    /// That element's bound.
    pub tolerance: Option<f64>,
    /// Median time of one run.
    pub time_ns: Option<f64>,
    /// How it was taken.
    pub timing_method: Option<&'static str>,
    /// Samples behind the median.
    pub samples: usize,
    /// Bytes that must move, by the family's cost.
    pub useful_bytes: u64,
    /// Bytes of the 128-byte blocks that storage requests touched in the executor's trace, a block counted
    /// once per request of a subgroup: what memory would deliver if no cache kept it between requests.
    pub fetched_bytes: Option<u64>,
    /// [`fetched_bytes`](Self::fetched_bytes) over those of the same variant's WGSL on the executor, for Metal text on
    /// the CPU.
    pub fetched_vs_wgsl: Option<f64>,
    /// Useful bytes over time.
    pub gbps: Option<f64>,
    /// [`gbps`](Self::gbps) over that of the copy of the same run.
    pub ceiling_fraction: Option<f64>,
    /// Operations over time.
    pub tflops: Option<f64>,
    /// The naive variant's time over this one's.
    pub speedup_vs_naive: Option<f64>,
    /// Why it did not run.
    pub skipped: Option<String>,
}

impl Row {
    /// What ran, in words: the language, and how it came to be.
    pub fn code(&self) -> String {
        match (self.source, self.checks) {
            ("msl", "native") => "msl native".into(),
            ("msl", checks) => format!("msl by naga, {checks}"),
            (source, checks) => format!("{source} {checks}"),
        }
    }
}
