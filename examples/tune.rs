//! Times ways to divide the work of a kernel on the best GPU present, each verified first on a small matrix.
//!
//! `cargo run --release --example tune [gemv|dequant] [BATCH] [DEVICE]` prints GB/s and the share of a copy, best
//! last: what `gemv::Tuning::for_shape` and `dequant::Tuning::default` should choose on that device.

use std::time::Duration;

use wgpu_marlin::gpu::{Caps, DeviceChoice, DeviceClass, Gpu, Language, Plan};
use wgpu_marlin::kernels::spec::{Elem, Problem, Refusal};
use wgpu_marlin::kernels::{dequant, gemv};
use wgpu_marlin::lower::Checks;
use wgpu_marlin::measure::{CompareOptions, Device, Operands, Workload, device_row, verify};
use wgpu_marlin::quant::{Format, GroupSize, QuantizedMatrix, Shape, WeightSpec};

type Failure = Box<dyn std::error::Error>;
const UNCHECKED: Language = Language::Wgsl(Checks::Unchecked);

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let family = arguments.next().unwrap_or_else(|| "gemv".into());
    let batch: u32 = arguments.next().map_or(Ok(1), |b| b.parse())?;
    let choice: DeviceChoice = arguments.next().map_or(Ok(DeviceChoice::Auto), |d| d.parse())?;
    let device = Device::Gpu(Box::new(pollster::block_on(Gpu::open(&choice))?));
    let ceiling = device_row(&device, &CompareOptions::default()).and_then(|row| row.gbps);
    println!("{}: copy {:.0} GB/s", device.name(), ceiling.unwrap_or(f64::NAN));
    let Device::Gpu(gpu) = &device else { return Err("tuning needs a GPU".into()) };

    let mut times = match family.as_str() {
        "gemv" => tune(gpu, Some(batch), &gemv_tunings(batch, &gpu.caps))?,
        "dequant" => tune(gpu, None, &dequant_tunings())?,
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

/// A way to make a plan for a shape, and what to call it.
type Tuning = (String, Box<dyn Fn(Shape, &Caps) -> Result<Plan, Failure>>);

fn weights(shape: Shape) -> Result<WeightSpec, Failure> {
    Ok(WeightSpec::new(shape, Format::Fp4, GroupSize::G32)?)
}

fn gemv_spec(shape: Shape, batch: u32) -> Result<gemv::Spec, Failure> {
    Ok(gemv::Spec::new(weights(shape)?, 1.0, batch, Elem::F16)?)
}

fn gemv_tunings(batch: u32, caps: &Caps) -> Vec<Tuning> {
    let lanes = caps.subgroup_size.unwrap_or(32);
    let subgroups = caps.subgroups && caps.subgroup_size.is_some();
    let mut tunings: Vec<Tuning> = Vec::new();
    for (vec, unroll) in [(4, 1), (4, 2), (2, 1), (2, 2), (1, 1), (1, 2), (1, 4)] {
        for rows in [1, 2, 4, 8] {
            for (teams, k_split) in [(2, 1), (4, 1), (8, 1), (1, 2), (1, 4)] {
                for scale_sums in [true, false] {
                    // Sums and loads beyond the registers are no choice.
                    if rows * batch > 64 || rows * vec * unroll > 32 {
                        continue;
                    }
                    let tuning = gemv::Tuning { lanes, k_split, teams, rows, vec, unroll, scale_sums };
                    let plan = move |shape, caps: &Caps| {
                        Ok(gemv::tuned(&gemv_spec(shape, batch)?, caps, tuning, subgroups)?.plan().clone())
                    };
                    tunings.push((format!("{tuning:?}"), Box::new(plan)));
                }
            }
        }
    }
    tunings
}

fn dequant_tunings() -> Vec<Tuning> {
    let mut tunings: Vec<Tuning> = Vec::new();
    for threads in [64, 128, 256, 512] {
        for steps in [1, 2, 4, 8] {
            let tuning = dequant::Tuning { threads, steps };
            let plan = move |shape, caps: &Caps| {
                let spec = dequant::Spec::new(weights(shape)?, 1.0, Elem::F16)?;
                Ok(dequant::tuned(&spec, caps, tuning, true)?.plan().clone())
            };
            tunings.push((format!("{tuning:?}"), Box::new(plan)));
        }
    }
    tunings
}

/// The product of a shape with `batch` vectors, or its dequantization.
fn problem(shape: Shape, batch: Option<u32>) -> Result<Problem, Failure> {
    let matrix = QuantizedMatrix::random(shape, Format::Fp4, GroupSize::G32, 1)?.into();
    let case = match batch {
        Some(batch) => gemv::case_of("tune", matrix, batch, Elem::F16)?,
        None => dequant::case_of("tune", matrix, Elem::F16)?,
    };
    Ok(case.problem(0, 1))
}

/// Verifies each tuning on a small matrix and times it on a large one, whose buffers all share.
fn tune(gpu: &Gpu, batch: Option<u32>, tunings: &[Tuning]) -> Result<Vec<Time>, Failure> {
    let small = Shape::new(520, 8192)?;
    let large = match batch {
        _ if gpu.caps.class == DeviceClass::Software => small,
        Some(_) => Shape::new(28672, 8192)?,
        None => Shape::new(16384, 16384)?,
    };
    let (small_problem, large_problem) = (problem(small, batch)?, problem(large, batch)?);
    let small_operands = Operands::new(gpu, &small_problem);
    let large_operands = Operands::new(gpu, &large_problem);
    let mut times = Vec::new();
    for (ix, (tuning, plan)) in tunings.iter().enumerate() {
        let small_plan = match plan(small, &gpu.caps) {
            Ok(plan) => plan,
            Err(e) if e.is::<Refusal>() => {
                println!("refused {tuning}: {e}");
                continue;
            }
            Err(e) => return Err(e),
        };
        let outputs = Workload::new(&small_operands, &small_plan, UNCHECKED, false)?.run_blocking()?;
        if let Some(failure) = verify(&small_problem, &outputs, 1).failure {
            return Err(format!("{tuning}: {failure}").into());
        }
        let workload = Workload::new(&large_operands, &plan(large, &gpu.caps)?, UNCHECKED, true)?;
        if let Some(time_ns) = workload.time_blocking(Duration::from_millis(20))?.median_ns() {
            println!("{:3}/{}: {:8.1} us  {tuning}", ix + 1, tunings.len(), time_ns / 1e3);
            let gbps = large_problem.cost.useful_bytes as f64 / time_ns;
            times.push(Time { tuning: tuning.clone(), time_ns, gbps });
        }
    }
    Ok(times)
}
