//! Times ways to divide the work of the `gemv` and `dequant` kernels on the best GPU present, each verified first.
//!
//! `cargo run --release --example tune [gemv|dequant] [BATCH] [DEVICE]` prints GB/s and the share of a copy, best last: what
//! `gemv::Tuning::for_shape` and `dequant::Tuning::default` should choose on that device.

use std::time::Duration;

use wgpu_marlin::gpu::{DeviceChoice, DeviceClass, Gpu, Language, Plan};
use wgpu_marlin::kernels::spec::{Elem, Problem};
use wgpu_marlin::kernels::{dequant, gemv};
use wgpu_marlin::lower::Checks;
use wgpu_marlin::measure::{CompareOptions, Device, Workload, device_row, verify};
use wgpu_marlin::quant::{Format, GroupSize, QuantizedMatrix, Shape};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let family = arguments.next().unwrap_or_else(|| "gemv".into());
    let batch: u32 = arguments.next().map_or(Ok(1), |b| b.parse())?;
    let choice: DeviceChoice = arguments.next().map_or(Ok(DeviceChoice::Auto), |d| d.parse())?;
    let device = Device::Gpu(Box::new(pollster::block_on(Gpu::open(&choice))?));
    let ceiling = device_row(&device, &CompareOptions::default()).and_then(|row| row.gbps);
    println!("{}: copy {:.0} GB/s", device.name(), ceiling.unwrap_or(f64::NAN));

    let mut times = match family.as_str() {
        "gemv" => gemv_times(&device, batch)?,
        "dequant" => dequant_times(&device)?,
        other => return Err(format!("no tunings of {other}: gemv or dequant").into()),
    };
    times.sort_by(|a, b| a.gbps.total_cmp(&b.gbps));
    for t in times {
        let share = ceiling.map_or(f64::NAN, |c| t.gbps / c);
        println!("{:8.1} us {:7.0} GB/s {share:5.2}  {}", t.time_ns / 1e3, t.gbps, t.tuning);
    }
    Ok(())
}

struct Time {
    tuning: String,
    time_ns: f64,
    gbps: f64,
}

/// A size that says something on the device, or one that a CPU driver gets done.
fn pick(device: &Device, real: (usize, usize), software: (usize, usize)) -> Result<Shape, Failure> {
    let software_device = device.caps().class == DeviceClass::Software;
    let (n, k) = if software_device { software } else { real };
    Ok(Shape::new(n, k)?)
}

fn gemv_times(device: &Device, batch: u32) -> Result<Vec<Time>, Failure> {
    let shape = pick(device, (28672, 8192), (512, 1024))?;
    let matrix = QuantizedMatrix::random(shape, Format::Fp4, GroupSize::G32, 1)?;
    let spec = gemv::Spec::new(matrix.spec(), 1.0, batch, Elem::F16)?;
    let problem = gemv::case_of("tune", matrix.into(), batch, Elem::F16)?.problem(0, 1);
    let lanes = device.caps().subgroup_size.unwrap_or(32);
    let subgroups = device.caps().subgroups && device.caps().subgroup_size.is_some();
    let mut times = Vec::new();
    for (vec, unroll) in [(4, 1), (4, 2), (2, 1), (2, 2), (1, 1), (1, 2), (1, 4)] {
        for rows in [2, 4, 8] {
            for (teams, k_split) in [(2, 1), (4, 1), (8, 1), (1, 2), (1, 4)] {
                for scale_sums in [true, false] {
                    // Sums and loads beyond the registers are no choice.
                    if rows * batch > 64 || rows * vec * unroll > 32 {
                        continue;
                    }
                    let tuning = gemv::Tuning { lanes, k_split, teams, rows, vec, unroll, scale_sums };
                    let plan = gemv::tuned(&spec, device.caps(), tuning, subgroups)?;
                    times.extend(time(device, &problem, &plan, format!("{tuning:?}"))?);
                }
            }
        }
    }
    Ok(times)
}

fn dequant_times(device: &Device) -> Result<Vec<Time>, Failure> {
    let shape = pick(device, (16384, 16384), (512, 1024))?;
    let matrix = QuantizedMatrix::random(shape, Format::Fp4, GroupSize::G32, 1)?;
    let spec = dequant::Spec::new(matrix.spec(), 1.0, Elem::F16)?;
    let problem = dequant::case_of("tune", matrix.into(), Elem::F16)?.problem(0, 1);
    let mut times = Vec::new();
    for threads in [64, 128, 256, 512] {
        for steps in [1, 2, 4, 8] {
            let tuning = dequant::Tuning { threads, steps };
            let plan = dequant::tuned(&spec, device.caps(), tuning, true)?;
            times.extend(time(device, &problem, &plan, format!("{tuning:?}"))?);
        }
    }
    Ok(times)
}

/// Verifies a plan and times it; `None` where the device gives no time.
fn time(device: &Device, problem: &Problem, plan: &Plan, tuning: String) -> Result<Option<Time>, Failure> {
    let Device::Gpu(gpu) = device else { return Err("tuning needs a GPU".into()) };
    let workload = Workload::new(gpu, problem, plan, Language::Wgsl(Checks::Unchecked), true)?;
    let verdict = verify(problem, &workload.run_blocking()?, 1);
    if let Some(failure) = verdict.failure {
        return Err(format!("{tuning}: {failure}").into());
    }
    let timings = workload.time_blocking(Duration::from_millis(20))?;
    let gbps = |time_ns: f64| problem.cost.useful_bytes as f64 / time_ns;
    Ok(timings.median_ns().map(|time_ns| Time { tuning, time_ns, gbps: gbps(time_ns) }))
}
