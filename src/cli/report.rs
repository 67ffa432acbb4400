//! `marlin report`: a comparison of every family and the audit of the naive kernels, in one file.

use wgpu_marlin::audit::render;
use wgpu_marlin::kernels;
use wgpu_marlin::measure::{self, CompareOptions, MemoryAuditor};
use wgpu_marlin::report::full_html;

use super::compare::{self, Finished};
use super::{Failure, open, print_out, write_out};

#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// Families or single variants to compare; all by default.
    #[arg(value_name = "FAMILY[/VARIANT]")]
    names: Vec<String>,
    /// The file, HTML or plain text by its ending.
    #[arg(long, value_name = "FILE.html|FILE.txt")]
    out: String,
    /// auto, cpu, vulkan, metal, dx12, or an index of `marlin devices`.
    #[arg(long, default_value = "auto")]
    device: String,
}

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let html = args.out.ends_with(".html");
    if !html && !args.out.ends_with(".txt") {
        return Err(Failure::new(format!("--out {}: end the name in .html or .txt", args.out)));
    }
    let families = kernels::select(kernels::families(), &args.names)?;
    let device = open(&args.device)?;
    let options = CompareOptions { case: "smoke".into(), ..CompareOptions::default() };
    let comparison =
        compare::with_progress(|progress| measure::compare(&device, &families, &options, progress));
    let audit = MemoryAuditor::new(".").audit_priority_kernels();
    let finished =
        Finished { device: &device, comparison: &comparison, seed: options.seed, quantizations: &[] };
    let text = if html {
        let title = format!("wgpu-marlin on {}", device.name());
        full_html(&compare::page(&finished, &title), &comparison, &audit)?
    } else {
        format!(
            "{}\nAudit of the naive kernels\n\n{}\nEvery access of them\n\n{}",
            compare::text(&finished),
            render::text(&audit),
            render::sites(&audit)
        )
    };
    write_out(&args.out, &text)?;
    print_out(format!("wrote {}: {}\n", args.out, compare::summary(&comparison, options.seed)))?;
    compare::judge(&comparison)
}
