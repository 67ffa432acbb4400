//! The same inputs give the same bits, run after run: no kernel adds in an order that depends on scheduling.
//!
//! Every variant of every family at its smoke cases and at an edge case, several times on each device; scratch buffers keep
//! what the run before left in them.

use wgpu_marlin::exec::{self, TraceMode};
use wgpu_marlin::gpu::{self, Caps, DeviceChoice, Gpu, Language};
use wgpu_marlin::kernels::spec::{Case, CaseClass, Elem, Family, Problem};
use wgpu_marlin::kernels::{self, expert_gemm};
use wgpu_marlin::lower::Checks;
use wgpu_marlin::measure::{Cpu, Operands, Outputs, Workload};
use wgpu_marlin::quant::{Format, GroupSize, QuantizedMatrix, Shape};

const RUNS: usize = 2;

/// Smoke cases, and an edge case of the families whose results come from several workgroups that could overtake one another.
fn cases(family: &Family) -> Vec<&Case> {
    let split = match family.name {
        "gemm" => "int4-g32-5x130x672-f16-f16-bias",
        "attention" => "q3-k511-h6x2-d64-f32-causal-cache",
        "router" => "t17-h1030-e127-k8-f16",
        "expert_gemm" => "fp4-g32-t129-k2of7-40x64-f16-f32-same",
        _ => "",
    };
    let chosen: Vec<&Case> =
        family.cases.iter().filter(|c| c.class == CaseClass::Smoke || c.name == split).collect();
    assert!(split.is_empty() || chosen.iter().any(|c| c.name == split), "no case {split}");
    chosen
}

/// Runs every variant through `run`, which gives the outputs of several runs; returns the number compared.
fn same_bits(caps: &Caps, mut run: impl FnMut(&Problem, &gpu::Plan) -> Vec<Outputs>) -> usize {
    let mut compared = 0;
    for family in kernels::families() {
        for case in cases(&family) {
            let mut shared = None;
            for variant in &family.variants {
                let Ok(plan) = case.plan(variant.ix, caps) else { continue };
                if case.has_own_problem(variant.ix) || shared.is_none() {
                    shared = Some(case.problem(variant.ix, 3));
                }
                let runs = run(shared.as_ref().expect("just made"), &plan);
                let name = format!("{}/{} {}", family.name, variant.name, case.name);
                assert!(runs.iter().all(|r| !r.is_empty() && r.iter().all(|o| !o.is_empty())), "{name}");
                assert!(runs.windows(2).all(|w| w[0] == w[1]), "{name}: runs differ");
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn gpus_give_the_same_bits_again() {
    let n = pollster::block_on(gpu::adapters()).len();
    assert!(
        n > 0 || std::env::var_os("MARLIN_REQUIRE_GPU").is_none(),
        "MARLIN_REQUIRE_GPU is set, but there is no GPU adapter"
    );
    for i in 0..n {
        let gpu = pollster::block_on(Gpu::open(&DeviceChoice::Index(i))).expect("adapter opens");
        let compared = same_bits(&gpu.caps, |problem, plan| {
            let language = Language::Wgsl(Checks::Unchecked);
            let operands = Operands::new(&gpu, problem);
            let workload = Workload::new(&operands, plan, language, false).expect("it binds");
            (0..RUNS).map(|_| workload.run_blocking().expect("it runs")).collect()
        });
        println!("{}: {compared} compared", gpu.info.name);
        assert!(compared > 100, "{compared}");
    }
}

/// Workgroups run on several threads, in whatever order they get to it.
#[test]
fn the_executor_gives_the_same_bits_again() {
    let cpu = Cpu { trace: TraceMode::Off, ..Cpu::default() };
    let compared = same_bits(&cpu.caps, |problem, plan| {
        (0..RUNS).map(|_| cpu.run(problem, plan).expect("it runs").0).collect()
    });
    println!("{compared} compared");
    assert!(compared > 100, "{compared}");
}

/// Pairs of an expert stay in their order: what the sum over a token's experts, and any use of the list, may count on.
#[test]
fn the_sort_by_expert_is_stable() {
    let (tokens, top_k, experts) = (700, 3, 37);
    let expert = QuantizedMatrix::random(Shape::new(8, 32).unwrap(), Format::Fp4, GroupSize::G32, 1).unwrap();
    let all = QuantizedMatrix::random(Shape::new(8 * experts, 32).unwrap(), Format::Fp4, GroupSize::G32, 1)
        .unwrap();
    let mixture = expert_gemm::Mixture { n_tokens: tokens, top_k, experts: experts as u32 };
    let spec = expert_gemm::Spec::new(mixture, expert.spec(), 1.0, Elem::F32, Elem::F32).unwrap();
    let mut rng = kernels::spec::Rng(5);
    // Skewed, and some that are no expert's.
    let ids: Vec<u32> = (0..tokens * top_k)
        .map(|_| rng.below(experts as u64 + 2).min(rng.below(experts as u64 + 2)) as u32)
        .collect();
    let mut wanted: Vec<u32> = (0..tokens * top_k).filter(|p| ids[*p as usize] < experts as u32).collect();
    wanted.sort_by_key(|p| ids[*p as usize]);

    let mut cpu = Cpu { trace: TraceMode::Off, ..Cpu::default() };
    cpu.caps = Caps { f16: false, subgroups: false, coop: vec![], ..cpu.caps };
    let operation = expert_gemm::operation(&spec, &cpu.caps).unwrap();
    assert_eq!(operation.variant(), "sorted");
    let uploaded = cpu.upload(&operation, &kernels::weight_operands(&all)).unwrap();
    let mut buffers: Vec<(&str, exec::Buffer)> = Vec::new();
    for b in operation.buffers().iter().chain(operation.scratch()) {
        buffers.push((b.name, exec::Buffer::zeroed(b.binding_bytes() as usize)));
    }
    buffers.retain(|(name, _)| !["words", "scales"].contains(name));
    let buffer = |name: &str| &buffers.iter().find(|(n, _)| *n == name).expect("it is bound").1;
    buffer("expert_ids").write(0, bytemuck::cast_slice(&ids));
    let bound: Vec<(&str, &exec::Buffer)> = buffers.iter().map(|(n, b)| (*n, b)).collect();
    let _trace = cpu.run_operation(&operation, &[&uploaded], &bound).unwrap();
    let sorted: Vec<u32> = buffer("sorted").to_vec();
    assert_eq!(sorted[..wanted.len()], wanted[..]);
}
