//! `marlin bench`: bandwidth by access pattern, at chosen sizes.

use wgpu_marlin::measure;

use super::{Failure, compare, open};

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// A variant of the family `patterns`, or all.
    #[arg(long, default_value = "all", value_name = "NAME")]
    pattern: String,
    /// Sizes in f32 elements, each a multiple of 1024.
    #[arg(long, value_delimiter = ',', default_value = "67108864", value_name = "N,N,...")]
    sizes: Vec<u64>,
    /// auto, cpu, vulkan, metal, dx12, or an index of `marlin devices`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Write JSON to FILE, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let family = measure::coalescing_benchmark(&args.pattern, &args.sizes)?;
    let device = open(&args.device)?;
    let options = measure::benchmark_options();
    let comparison =
        compare::with_progress(|progress| measure::compare(&device, &[family], &options, progress));
    let report = compare::Finished {
        device: &device,
        comparison: &comparison,
        seed: options.seed,
        quantizations: &[],
    };
    compare::finish(&report, args.json.as_deref(), None)
}
