//! `marlin bench`: bandwidth by access pattern, at chosen sizes.

use std::time::Duration;

use wgpu_marlin::kernels::{patterns, spec::CaseClass};
use wgpu_marlin::measure::{self, ChecksChoice, CompareOptions};

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
    let mut family = patterns::family();
    if args.pattern != "all" {
        if !family.variants.iter().any(|v| v.name == args.pattern) {
            let names: Vec<_> = family.variants.iter().map(|v| v.name).collect();
            let (given, names) = (&args.pattern, names.join(", "));
            return Err(Failure::new(format!("there is no pattern `{given}`; there are all, {names}")));
        }
        family.keep_variants(|name| name == args.pattern);
    }
    family.cases.clear();
    for &n in &args.sizes {
        family.cases.push(patterns::case(patterns::Spec::new(n)?, CaseClass::Bench));
    }
    let device = open(&args.device)?;
    let options = CompareOptions {
        case: "all".into(),
        checks: Some(ChecksChoice::Unchecked),
        budget: Duration::from_millis(300),
        ..CompareOptions::default()
    };
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
