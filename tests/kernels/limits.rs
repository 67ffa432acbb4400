//! Chosen means: fits the device's limits and computes the right thing. Refused means: a limit or a feature is named, and a device
//! that has all would do.
//!
//! Devices are drawn: presets, and random ones between them. Draws are seeded; their number and seed are printed.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use wgpu_marlin::gpu::{Caps, CoopShape, DeviceClass, Plan, ScalarType};
use wgpu_marlin::kernels::attention;
use wgpu_marlin::kernels::spec::{Case, CaseClass, Elem, Family, Refusal};
use wgpu_marlin::kernels::{self, dequant, expert_gemm, gemm, gemv, router};
use wgpu_marlin::lower::{Resource, Shader};
use wgpu_marlin::measure::{Cpu, verify};
use wgpu_marlin::quant::{Format, GroupSize, Shape, WeightSpec};

/// Devices as their drivers describe them, by name.
fn presets() -> Vec<(&'static str, Caps)> {
    let defaults = Caps::webgpu_defaults();
    let sixteen = [(ScalarType::F16, ScalarType::F16), (ScalarType::F16, ScalarType::F32)];
    let sixteen = sixteen.map(|(ab, c)| CoopShape { m: 16, n: 16, k: 16, ab, c });
    let of_32_kib = Caps {
        max_workgroup_memory: 32 << 10,
        max_invocations: 1024,
        max_workgroup_size: [1024, 1024, 64],
        max_storage_buffers: 10,
        max_binding_bytes: 1 << 30,
        max_buffer_bytes: 1 << 30,
        ..defaults.clone()
    };
    let known = |width| Caps { subgroups: true, subgroup_size: Some(width), ..of_32_kib.clone() };
    vec![
        ("WebGPU's defaults", defaults.clone()),
        ("Chromium on SwiftShader", Caps { max_invocations: 256, max_storage_buffers: 8, ..known(4) }),
        ("Apple", Caps::apple()),
        ("Adreno, width unknown", Caps { f16: true, subgroup_size: None, ..known(64) }),
        ("llvmpipe", Caps { class: DeviceClass::Software, f16: true, ..known(8) }),
        (
            "H100",
            Caps {
                class: DeviceClass::DiscreteGpu,
                f16: true,
                coop: sixteen.to_vec(),
                max_workgroup_memory: 48 << 10,
                ..known(32)
            },
        ),
    ]
}

/// Small cases of all families that have an operation.
fn cases() -> Vec<(Family, Case)> {
    let families = kernels::families().into_iter().filter(|f| f.name != "patterns");
    let small = |f: Family| {
        let small: Vec<Case> = f.cases.iter().filter(|c| c.class != CaseClass::Bench).cloned().collect();
        small.into_iter().map(move |case| (f.clone(), case)).collect::<Vec<_>>()
    };
    families.flat_map(small).collect()
}

/// The first limit that a plan breaks, found by other means than the crate's own check.
fn broken(plan: &Plan, caps: &Caps) -> Option<String> {
    let most = caps.max_binding_bytes.min(caps.max_buffer_bytes);
    for b in plan.buffers.iter().chain(&plan.scratch) {
        if b.size_bytes > most {
            return Some(format!("`{}` has {} B of {most}", b.name, b.size_bytes));
        }
    }
    for d in &plan.dispatches {
        let lowered = d.shader.lower().expect("own shaders lower");
        let ix = lowered.entry_index(Shader::ENTRY).expect("own shaders have `main`");
        let size = lowered.module.entry_points[ix].workgroup_size;
        let storage =
            lowered.bindings(ix).iter().filter(|b| matches!(b.resource, Resource::Storage(_))).count();
        let memory = lowered.workgroup_memory_bytes(ix);
        let text = &lowered.composed.text;
        let label = d.shader.label();
        for (what, is, allowed) in [
            ("bytes of workgroup memory", memory, u64::from(caps.max_workgroup_memory)),
            ("invocations", size.iter().map(|n| u64::from(*n)).product(), u64::from(caps.max_invocations)),
            ("storage buffers", storage as u64, u64::from(caps.max_storage_buffers)),
            ("f16", u64::from(text.contains("enable f16;")), u64::from(caps.f16)),
            ("subgroups", u64::from(text.contains("subgroup_invocation_id)")), u64::from(caps.subgroups)),
            ("matrices", u64::from(text.contains("coopLoad")), caps.coop.len() as u64),
        ] {
            if is > allowed {
                return Some(format!("{label}: {is} {what} of {allowed}"));
            }
        }
        for (side, most) in size.into_iter().zip(caps.max_workgroup_size) {
            if side > most {
                return Some(format!("{label}: workgroups of {size:?}"));
            }
        }
        if d.workgroups.iter().any(|n| *n == 0 || *n > caps.max_workgroups) {
            return Some(format!("{label}: {:?} workgroups", d.workgroups));
        }
    }
    None
}

/// What a case's choice on a device proves, or what is wrong with it.
fn judge(family: &Family, case: &Case, caps: &Caps) -> Result<&'static str, String> {
    let about = |what: String| format!("{} {} on {caps:?}: {what}", family.name, case.name);
    let operation = match case.operation(caps) {
        Ok(operation) => operation,
        Err(Refusal::NoVariant(passed_over)) if !passed_over.is_empty() => {
            let named = |r: &Refusal| matches!(r, Refusal::Needs(_) | Refusal::Limit { .. });
            if let Some(p) = passed_over.iter().find(|p| !named(&p.refusal)) {
                return Err(about(format!("{p}")));
            }
            let all = Caps { f16: true, class: caps.class, ..Cpu::default().caps };
            case.operation(&all).map_err(|e| about(format!("no device would do: {e}")))?;
            return Ok("refused");
        }
        Err(other) => return Err(about(other.to_string())),
    };
    if let Some(limit) = broken(operation.plan(), caps) {
        return Err(about(format!("{} was chosen, but {limit}", operation.variant())));
    }
    let variant = family.variants.iter().find(|v| v.name == operation.variant());
    let variant = variant.ok_or_else(|| about("a variant of no family".into()))?;
    let problem = case.problem(variant.ix, 1);
    let cpu = Cpu { caps: caps.clone(), ..Cpu::with_subgroup_size(caps.subgroup_size.unwrap_or(32)) };
    let (outputs, _) = cpu.run(&problem, operation.plan()).map_err(|e| about(e.to_string()))?;
    match verify(&problem, &outputs, 1).failure {
        Some(failure) => Err(about(format!("{}: {failure}", operation.variant()))),
        None => Ok(if operation.why().is_empty() { "the best" } else { "another" }),
    }
}

#[test]
fn what_is_chosen_fits_and_is_right_and_what_is_refused_names_why() {
    const DRAWS: u32 = 250;
    let (cases, presets) = (cases(), presets());
    let device = (
        0..presets.len(),
        any::<[bool; 3]>(),
        prop::option::of(0usize..6),
        prop::option::of(10u32..17),
        prop::option::of(5u32..11),
        prop::option::of(3u32..12),
        prop::option::of(6u32..24),
        prop::option::of(1u32..80),
    );
    let strategy = (device, 0..cases.len());
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    let config = Config { cases: DRAWS, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let counted = std::cell::RefCell::new(&mut counts);
    TestRunner::new_with_rng(config, rng)
        .run(
            &strategy,
            |((preset, [f16, subgroups, coop], width, memory, threads, buffers, bytes, groups), case)| {
                let mut caps = presets[preset].1.clone();
                caps.f16 &= f16;
                if !subgroups {
                    (caps.subgroups, caps.subgroup_size) = (false, None);
                } else if let Some(width) = width.filter(|_| caps.subgroup_size.is_some()) {
                    caps.subgroup_size = Some(4 << width);
                }
                if !coop || !caps.subgroups {
                    caps.coop.clear();
                }
                caps.max_workgroup_memory = memory.map_or(caps.max_workgroup_memory, |m| 1 << m);
                if let Some(threads) = threads {
                    caps.max_invocations = 1 << threads;
                    caps.max_workgroup_size = [1 << threads, 1 << threads, 64];
                }
                caps.max_storage_buffers = buffers.unwrap_or(caps.max_storage_buffers);
                caps.max_binding_bytes = bytes.map_or(caps.max_binding_bytes, |b| 1 << b);
                caps.max_workgroups = groups.unwrap_or(caps.max_workgroups);
                let (family, case) = &cases[case];
                let proved = judge(family, case, &caps).map_err(TestCaseError::fail)?;
                *counted.borrow_mut().entry(proved).or_default() += 1;
                Ok(())
            },
        )
        .unwrap();
    println!("{DRAWS} draws of device and case, ChaCha's fixed seed: {counts:?}");
    assert!(counts.len() == 3 && counts.values().all(|n| *n >= DRAWS / 25), "one-sided draws: {counts:?}");
}

/// WebGPU's default limits, neither f16 nor subgroups: every family computes every small case, but for f16 results of the
/// products, which need shader-f16 to be stored.
#[test]
fn every_family_has_a_path_on_webgpus_default_limits() {
    let caps = Caps::webgpu_defaults();
    let (mut ran, mut refused) = (0, 0);
    for (family, case) in cases() {
        match case.operation(&caps) {
            Ok(_) => {
                let proved = judge(&family, &case, &caps).unwrap_or_else(|e| panic!("{e}"));
                assert_ne!(proved, "refused");
                ran += 1;
            }
            Err(e) => {
                let f16_results =
                    matches!(family.name, "gemm" | "expert_gemm") && e.to_string().contains("f16");
                assert!(f16_results, "{} {}: {e}", family.name, case.name);
                refused += 1;
            }
        }
    }
    println!("{ran} cases ran, {refused} refused for f16 results");
    assert!(refused < ran / 4, "{refused} of {ran}");
}

/// Lengths of prompts and decode steps alike, at every head size: attention runs in 16 KiB.
#[test]
fn prompt_attention_fits_16_kib_at_every_head_size() {
    for head_dim in attention::HEAD_DIMS {
        for n_queries in [1, 100] {
            let shape = attention::Shape { n_queries, n_keys: 100, heads: 2, kv_heads: 1, head_dim };
            let spec = attention::Spec::new(shape, Elem::F16, attention::Options::default()).unwrap();
            let operation = attention::operation(&spec, &Caps::webgpu_defaults()).unwrap();
            assert_eq!(operation.variant(), "flash");
            assert_eq!(broken(operation.plan(), &Caps::webgpu_defaults()), None);
            assert!(operation.why().len() == 1, "{:?}", operation.why());
        }
    }
}

/// A device whose width is known chooses alike, whether it was stated, reported or probed.
#[test]
fn the_choice_depends_on_what_is_known_alone() {
    let probed = Caps::apple();
    let unknown = Caps { subgroup_size: None, ..probed.clone() };
    let stated = Caps { subgroup_size: Some(32), ..unknown.clone() };
    let mut differ = 0;
    for (family, case) in cases() {
        let variant = |caps: &Caps| case.operation(caps).map(|o| o.variant());
        assert_eq!(variant(&stated), variant(&probed), "{} {}", family.name, case.name);
        if variant(&unknown) != variant(&probed) {
            differ += 1;
            let o = case.operation(&unknown).unwrap();
            let why: Vec<String> = o.why().iter().map(ToString::to_string).collect();
            assert!(why.iter().any(|w| w.contains("subgroup")), "{} {}: {why:?}", family.name, case.name);
        }
    }
    println!("{differ} choices need the width");
    assert!(differ > 0);
}

/// Weights beyond the largest binding: refused with the number of parts that fit.
#[test]
fn weights_that_no_binding_holds_are_refused_with_the_parts_that_would_fit() {
    let caps = Caps::webgpu_defaults();
    let of = |n| WeightSpec::new(Shape::new(n, 8192).unwrap(), Format::Fp4, GroupSize::G32).unwrap();
    let whole = gemv::Spec::new(of(128_256), 1.0, 1, Elem::F32).unwrap();
    let refusal = gemv::operation(&whole, &caps).unwrap_err().to_string();
    assert!(refusal.contains("`words` of 525336576 B"), "{refusal}");
    assert!(refusal.contains("4 matrices of at most 32767 of the 128256 rows would fit"), "{refusal}");
    let part = gemv::Spec::new(of(32_767), 1.0, 1, Elem::F32).unwrap();
    assert!(gemv::operation(&part, &caps).is_ok());
    let dense = gemm::Spec::new(8, of(128_256), 1.0, Elem::F32, Elem::F32).unwrap();
    assert!(gemm::operation(&dense, &caps).unwrap_err().to_string().contains("4 matrices"));
    let decoded = dequant::Spec::new(of(128_256), 1.0, Elem::F32).unwrap();
    assert!(dequant::operation(&decoded, &caps).is_err());
}

/// Extreme numbers are typed errors or sound specs, never an overflow.
#[test]
fn extreme_numbers_never_overflow() {
    const MAX: u32 = u32::MAX;
    let caps = [Caps::apple(), Caps::webgpu_defaults()];
    let values = [0, 1, 2, 3, 80, 255, 65_536, (1 << 30) - 1, 1 << 30, 1 << 31, MAX - 1, MAX];
    let mut tried = 0;
    for a in values {
        for b in values {
            for c in [1, 2, 512, MAX] {
                tried += 1;
                let shape =
                    attention::Shape { n_queries: a, n_keys: b, heads: c, kv_heads: c, head_dim: 256 };
                let options = attention::Options { causal: true, ..attention::Options::default() };
                let attention = attention::Spec::new(shape, Elem::F16, options);
                let shape = router::Shape { n_tokens: c, hidden: a, experts: b.min(512), top_k: 1 };
                let router = router::Spec::new(shape, Elem::F32, true);
                let weights = Shape::new(a as usize, (b as usize).next_multiple_of(32))
                    .and_then(|s| WeightSpec::new(s, Format::Fp4, GroupSize::G32));
                for caps in &caps {
                    let _: Option<bool> =
                        attention.as_ref().ok().map(|s| attention::operation(s, caps).is_ok());
                    let _: Option<bool> = router.as_ref().ok().map(|s| router::operation(s, caps).is_ok());
                    let Ok(weights) = weights else { continue };
                    let gemv = gemv::Spec::new(weights, 1.0, c, Elem::F32);
                    let _: Option<bool> = gemv.ok().map(|s| gemv::operation(&s, caps).is_ok());
                    let gemm = gemm::Spec::new(c, weights, 1.0, Elem::F32, Elem::F32);
                    let _: Option<bool> = gemm.ok().map(|s| gemm::operation(&s, caps).is_ok());
                    let mixture = expert_gemm::Mixture { n_tokens: a, top_k: c, experts: c };
                    let spec = expert_gemm::Spec::new(mixture, weights, 1.0, Elem::F32, Elem::F32);
                    let _: Option<bool> = spec.ok().map(|s| expert_gemm::operation(&s, caps).is_ok());
                }
            }
        }
    }
    println!("{tried} sets of sizes, each on {} devices", caps.len());
    let weights = WeightSpec::new(Shape::new(64, 1024).unwrap(), Format::Fp4, GroupSize::G32).unwrap();
    let spec = gemv::Spec::new(weights, 1.0, 1, Elem::F32).unwrap();
    let tuning =
        gemv::Tuning { lanes: 32, k_split: 1, teams: 2, rows: 4, vec: 4, unroll: 1, scale_sums: true };
    assert_eq!(
        gemv::tuned(&spec, &caps[0], tuning, true).unwrap().buffers().len(),
        spec_buffers(&spec, &caps[0])
    );
    for extreme in [
        gemv::Tuning { lanes: MAX, k_split: MAX, ..tuning },
        gemv::Tuning { teams: MAX, ..tuning },
        gemv::Tuning { rows: MAX, ..tuning },
        gemv::Tuning { unroll: MAX, ..tuning },
        gemv::Tuning { vec: MAX, ..tuning },
        gemv::Tuning { k_split: 0, ..tuning },
    ] {
        assert!(gemv::tuned(&spec, &caps[0], extreme, false).is_err(), "{extreme:?}");
    }
    let _: gemv::Tuning = gemv::Tuning::for_shape(&spec, MAX, false);
    let spec = dequant::Spec::new(weights, 1.0, Elem::F32).unwrap();
    for (threads, steps) in [(MAX, 1), (1, MAX), (0, 1), (1, 0)] {
        assert!(dequant::tuned(&spec, &caps[0], dequant::Tuning { threads, steps }, true).is_err());
    }
    // For devices that flush f16 subnormals.
    assert_eq!(
        dequant::tuned(&spec, &caps[1], dequant::Tuning::default(), false).unwrap().variant(),
        "portable"
    );
}

/// How many buffers the operation that is chosen has.
fn spec_buffers(spec: &gemv::Spec, caps: &Caps) -> usize {
    gemv::operation(spec, caps).unwrap().buffers().len()
}
