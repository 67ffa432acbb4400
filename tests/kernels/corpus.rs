//! Every variant of every family, at every case of the smoke and edge corpus, on every device of this
//! machine, against the one reference. A new kernel needs no change here.
//!
//! `MARLIN_REQUIRE_GPU=1` makes a missing GPU adapter a failure.

use wgpu_marlin::exec::TraceMode;
use wgpu_marlin::gpu::{self, DeviceChoice, Gpu};
use wgpu_marlin::kernels;
use wgpu_marlin::measure::{self, ChecksChoice, CompareOptions, Comparison, Cpu, Device, MslCases, compare};

/// The devices to test on, or the reason why there is none.
fn gpus() -> Vec<Device> {
    let n = pollster::block_on(gpu::adapters()).len();
    let open = |i| pollster::block_on(Gpu::open(&DeviceChoice::Index(i)));
    let devices: Vec<Device> =
        (0..n).map(|i| Device::Gpu(Box::new(open(i).expect("adapter opens")))).collect();
    if devices.is_empty() {
        assert!(
            std::env::var_os("MARLIN_REQUIRE_GPU").is_none(),
            "MARLIN_REQUIRE_GPU is set, but there is no GPU adapter"
        );
        println!("skipped: no GPU adapter");
    }
    devices
}

fn judge(device: &Device, comparison: &Comparison) {
    let wrong: Vec<String> = comparison
        .rows
        .iter()
        .filter(|r| !r.verified && r.skipped.is_none())
        .map(|r| {
            format!(
                "{}/{} {} {}: {}",
                r.family,
                r.variant,
                r.case,
                r.checks,
                r.failure.as_deref().unwrap_or("?")
            )
        })
        .collect();
    let skipped: Vec<String> = comparison
        .rows
        .iter()
        .filter_map(|r| Some(format!("{}/{} {}: {}", r.family, r.variant, r.case, r.skipped.as_ref()?)))
        .collect();
    let n = comparison.rows.len();
    println!(
        "{}: {} verified, {} wrong, {} skipped",
        device.name(),
        n - wrong.len() - skipped.len(),
        wrong.len(),
        skipped.len()
    );
    for s in &skipped {
        println!("  skipped {s}");
    }
    assert!(
        wrong.is_empty(),
        "{} of {n} results are wrong on {}:\n{}",
        wrong.len(),
        device.name(),
        wrong.join("\n")
    );
}

#[test]
fn every_variant_is_right_on_every_gpu() {
    for device in gpus() {
        for case in ["smoke", "edge"] {
            let options = CompareOptions {
                case: case.into(),
                checks: Some(ChecksChoice::Both),
                time: false,
                ..CompareOptions::default()
            };
            let comparison = compare(&device, &kernels::families(), &options, &mut |_| {});
            judge(&device, &comparison);
        }
    }
}

/// At 32 lanes with the sanitizer: also no access out of bounds, no race, no uninitialized read, no
/// divergent barrier. It runs workgroups one after the other, so that once must do.
fn right_on_the_executor(width: u32) {
    for case in ["smoke", "edge"] {
        // Tracing is slow: once per kernel is enough.
        let trace = if case == "smoke" && width == 32 { TraceMode::Sample(16) } else { TraceMode::Off };
        let device = Device::Cpu(Cpu { sanitize: width == 32, trace, ..Cpu::with_subgroup_size(width) });
        let options = CompareOptions {
            case: case.into(),
            time: false,
            msl: MslCases::None,
            ..CompareOptions::default()
        };
        let comparison = compare(&device, &kernels::families(), &options, &mut |_| {});
        judge(&device, &comparison);
        let counted = |r: &measure::Row| r.fetched_bytes.is_some() == (trace != TraceMode::Off);
        assert!(comparison.rows.iter().filter(|r| r.verified).all(counted));
    }
}

#[test]
fn every_variant_is_right_on_the_executor_with_4_lanes() {
    right_on_the_executor(4);
}

#[test]
fn every_variant_is_right_on_the_executor_with_8_lanes() {
    right_on_the_executor(8);
}

#[test]
fn every_variant_is_right_on_the_executor_with_32_lanes() {
    right_on_the_executor(32);
}

#[test]
fn timing_gives_times_only_to_what_was_verified() {
    for device in gpus() {
        let families = kernels::select(kernels::families(), &["patterns/coalesced".into()]).unwrap();
        let options =
            CompareOptions { budget: std::time::Duration::from_millis(20), ..CompareOptions::default() };
        let comparison = compare(&device, &families, &options, &mut |_| {});
        assert!(comparison.ceiling_gbps.is_some_and(|g| g > 0.0));
        for row in &comparison.rows {
            assert!(row.verified && row.time_ns.is_some_and(|t| t > 0.0) && row.samples >= 1, "{row:?}");
            assert!(row.timing_method.is_some());
        }
    }
}
