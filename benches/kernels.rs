//! Criterion over the registry: every variant is verified, then timed on the GPU's own clock.
//!
//! `cargo bench --bench kernels -- gemv` runs one family. The first GPU is used; where there is only a
//! software driver, the small smoke cases run, so that the benches themselves are tested.

use std::cell::OnceCell;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgpu_marlin::gpu::{self, DeviceChoice, DeviceClass, Gpu, Language};
use wgpu_marlin::kernels::{self, spec::CaseClass};
use wgpu_marlin::lower::Checks;
use wgpu_marlin::measure::{Operands, Workload, check_passthrough, verify};

/// The best GPU, or a software one, or none.
fn open() -> Option<Gpu> {
    let auto = pollster::block_on(Gpu::open(&DeviceChoice::Auto));
    auto.or_else(|_| pollster::block_on(Gpu::open(&DeviceChoice::Index(0)))).ok()
}

fn kernels(criterion: &mut Criterion) {
    let Some(gpu) = open() else {
        println!("skipped: no GPU adapter among {}", pollster::block_on(gpu::adapters()).len());
        return;
    };
    let software = gpu.caps.class == DeviceClass::Software;
    let passthrough = gpu.caps.msl.then(|| check_passthrough(&gpu));
    if let Some(Err(why)) = &passthrough {
        println!("skipped all Metal twins: {why}");
    }
    let wanted = if software { CaseClass::Smoke } else { CaseClass::Bench };
    for family in kernels::families() {
        for case in family.cases.iter().filter(|c| c.class == wanted) {
            let mut group = criterion.benchmark_group(format!("{}/{}", family.name, case.name));
            group
                .warm_up_time(Duration::from_millis(100))
                .measurement_time(Duration::from_secs(1))
                .sample_size(10);
            let shared = OnceCell::new();
            let shared_operands = OnceCell::new();
            for variant in &family.variants {
                let plan = match case.plan(variant.ix, &gpu.caps) {
                    Ok(plan) => plan,
                    Err(why) => {
                        println!("skipped {}/{}: {why}", family.name, variant.name);
                        continue;
                    }
                };
                let own = case.has_own_problem(variant.ix).then(|| case.problem(variant.ix, 1));
                let own_operands = own.as_ref().map(|problem| Operands::new(&gpu, problem));
                let operands = match &own_operands {
                    Some(operands) => operands,
                    None => {
                        let problem = shared.get_or_init(|| case.problem(variant.ix, 1));
                        shared_operands.get_or_init(|| Operands::new(&gpu, problem))
                    }
                };
                let problem = operands.problem();
                let twin = (passthrough == Some(Ok(())) && variant.twin).then_some((Language::Msl, "msl"));
                let checked = (!software).then_some((Language::Wgsl(Checks::Checked), "wgsl_checked"));
                let unchecked = [(Language::Wgsl(Checks::Unchecked), "wgsl")];
                for (language, code) in unchecked.into_iter().chain(checked).chain(twin) {
                    let workload = match Workload::new(operands, &plan, language, true) {
                        Ok(workload) => workload,
                        Err(why) => {
                            println!("skipped {}/{}: {why}", family.name, variant.name);
                            continue;
                        }
                    };
                    let outputs = workload.run_blocking().expect("the kernel runs");
                    let verdict = verify(problem, &outputs, 1);
                    assert_eq!(verdict.failure, None, "{}/{} is wrong", family.name, variant.name);
                    group.throughput(Throughput::Bytes(problem.cost.useful_bytes));
                    let id = BenchmarkId::new(format!("{}/{code}", variant.name), &gpu.info.name);
                    group.bench_function(id, |bencher| {
                        bencher.iter_custom(|runs| {
                            let time = workload.time_runs_blocking(runs).expect("the device runs");
                            time.expect("the device's clock runs")
                        });
                    });
                }
            }
            group.finish();
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
