//! Bugs that others shipped, each with the case of ours that has it: kernels of this kind fail at the same places again.
//!
//! Most are cases of the edge corpus, which `tests/kernels/corpus.rs` runs; here it is held that they stay in it. What no case of
//! that size can show is run here.

use std::sync::Arc;

use wgpu_marlin::gpu::{self, Caps, DeviceChoice, Gpu, Language};
use wgpu_marlin::kernels::spec::{Case, CaseClass, Elem, Family};
use wgpu_marlin::kernels::{self, gemm};
use wgpu_marlin::lower::Checks;
use wgpu_marlin::measure::{Operands, Workload, verify};
use wgpu_marlin::quant::{Format, GroupSize, QuantizedMatrix, Shape};

fn family(name: &str) -> Family {
    kernels::select(kernels::families(), &[name.to_string()]).expect("the family exists").remove(0)
}

/// The edge cases of a family whose problem passes.
fn edges(family: &Family, holds: impl Fn(&Case) -> bool) -> Vec<String> {
    let edge = family.cases.iter().filter(|c| c.class == CaseClass::Edge);
    edge.filter(|c| holds(c)).map(|c| c.name.clone()).collect()
}

fn f32s(case: &Case, input: &str) -> Vec<f32> {
    case.problem(0, 1).input(input).map(|b| bytemuck::pod_collect_to_vec(b)).unwrap_or_default()
}

#[test]
fn masks_of_minus_infinity_and_rows_without_a_key() {
    let attention = family("attention");
    let has = |value: f32| edges(&attention, |c| f32s(c, "mask").contains(&value));
    assert!(has(f32::NEG_INFINITY).len() >= 4 && has(f32::MIN).len() >= 4);
    // Hidden by the mask: each row of `n_keys` that is −∞ throughout.
    let hidden = edges(&attention, |c| {
        let mask = f32s(c, "mask");
        let n_keys: usize =
            c.name.split("-k").nth(1).and_then(|s| s.split('-').next()?.parse().ok()).expect("keys");
        mask.chunks(n_keys).any(|row| row.iter().all(|m| *m == f32::NEG_INFINITY))
    });
    assert!(hidden.len() >= 3, "{hidden:?}");
    // Hidden by causality: more queries than keys.
    assert!(!edges(&attention, |c| c.name.starts_with("q40-k7-") && c.name.contains("causal")).is_empty());
}

#[test]
fn products_beyond_f16_that_come_back_into_range() {
    assert!(
        !edges(&family("attention"), |c| c.name.contains("-f16") && c.name.contains("-large")).is_empty()
    );
    assert!(!edges(&family("router"), |c| c.name.contains("-f16") && c.name.contains("-large")).is_empty());
}

#[test]
fn fewer_than_eight_columns_and_small_groups() {
    // The shape is `MxNxK` in gemm and `NxK` in expert_gemm.
    for (name, n_ix) in [("gemm", 1), ("expert_gemm", 0)] {
        let family = family(name);
        let narrow = edges(&family, |c| {
            let sizes = |part: &str| part.split('x').map(|n| n.parse().ok()).collect::<Option<Vec<u32>>>();
            let shape = c.name.split('-').filter_map(sizes).find(|shape| shape.len() > n_ix + 1);
            shape.expect("names have shapes")[n_ix] < 8
        });
        assert!(narrow.len() >= 3, "{name}: {narrow:?}");
    }
    for name in ["dequant", "gemv", "gemm", "expert_gemm"] {
        for group in ["-g16-", "-g32-"] {
            assert!(edges(&family(name), |c| c.name.contains(group)).len() >= 3, "{name} {group}");
        }
    }
}

#[test]
fn any_top_k() {
    let router = family("router");
    let top_k: Vec<u32> = router
        .cases
        .iter()
        .filter(|c| c.class == CaseClass::Edge)
        .filter_map(|c| c.name.split('-').find_map(|p| p.strip_prefix('k')?.parse().ok()))
        .collect();
    for k in [1, 3, 6, 10, 15, 17, 511, 512] {
        assert!(top_k.contains(&k), "no case with top_k = {k}");
    }
    let all = edges(&family("expert_gemm"), |c| c.name.contains("k8of8") || c.name.contains("k3of3"));
    assert_eq!(all.len(), 2, "{all:?}");
}

/// Stores of several f16 along the wrong axis show in results of f16 that are not square, nor multiples of a vector.
#[test]
fn results_of_f16_that_are_not_square() {
    for name in ["gemm", "expert_gemm", "attention"] {
        let odd = edges(&family(name), |c| {
            let output = &c.problem(0, 1).outputs[0];
            output.elem == Elem::F16 && output.n_rows != output.row_len && output.n_rows % 4 != 0
        });
        assert!(odd.len() >= 3, "{name}: {odd:?}");
    }
}

/// Partial sums of split K beyond M·N = 2048²: their addresses pass 2²⁴, and no scratch may be assumed.
#[test]
fn split_k_of_large_results() {
    let shape = Shape::new(2056, 256).expect("a shape");
    let matrix = QuantizedMatrix::random(shape, Format::Fp4, GroupSize::G32, 1).expect("whole groups");
    let case = gemm::case_of("split-k", Arc::new(matrix), 2050, Elem::F32, Elem::F32).expect("a sound shape");
    let variant = family("gemm").variants.into_iter().find(|v| v.name == "split_k").expect("it exists");
    let plan = case.plan(variant.ix, &Caps::apple()).expect("it splits");
    let partial = plan.scratch.iter().find(|s| s.name == "partial").expect("parts");
    assert_eq!(partial.size_bytes, 2 * 2050 * 2056 * 4, "two parts");

    let n = pollster::block_on(gpu::adapters()).len();
    assert!(
        n > 0 || std::env::var_os("MARLIN_REQUIRE_GPU").is_none(),
        "MARLIN_REQUIRE_GPU is set, but there is no GPU adapter"
    );
    for i in 0..n {
        let gpu = pollster::block_on(Gpu::open(&DeviceChoice::Index(i))).expect("adapter opens");
        let plan = case.plan(variant.ix, &gpu.caps).expect("it splits");
        let problem = case.problem(variant.ix, 1);
        let operands = Operands::new(&gpu, &problem);
        let workload = Workload::new(&operands, &plan, Language::Wgsl(Checks::Unchecked), false);
        let outputs = workload.expect("it binds").run_blocking().expect("it runs");
        let verdict = verify(&problem, &outputs, 1);
        println!("{}: {} of {} elements checked", gpu.info.name, verdict.checked_elements, verdict.elements);
        assert_eq!(verdict.failure, None, "{}", gpu.info.name);
    }
}
