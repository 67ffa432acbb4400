//! The whole registry as Metal text: every file of `msl/`, and what naga makes of every WGSL variant, checked by
//! clang and run against the same reference as the WGSL. A new kernel needs no change here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::{clang, shown};
use wgpu_marlin::exec::TraceMode;
use wgpu_marlin::gpu::{Caps, Language, Plan};
use wgpu_marlin::kernels;
use wgpu_marlin::kernels::spec::{CaseClass, Family, Problem, VariantInfo};
use wgpu_marlin::lower::{Checks, Shader, Source};
use wgpu_marlin::measure::{Cpu, Device, MetalCpu, MetalText, judge_passthrough, passthrough_probe, verify};
use wgpu_marlin::metal::check;

/// Calls `work` for each item, on a thread per core, and returns what went wrong, sorted.
fn failures<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
                    if let Err(e) = work(item) {
                        failures.lock().expect("no panic while locked").push(e);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic while locked");
    failures.sort();
    failures
}

fn texts(variant: &VariantInfo) -> impl Iterator<Item = MetalText> {
    let lowered = [Checks::Unchecked, Checks::Checked].map(MetalText::Lowered);
    variant.twin.then_some(MetalText::Twin).into_iter().chain(lowered)
}

/// What Apple's GPUs run: variants that no case of theirs accepts are named, and may only be those with matrices
/// that Metal does not have.
fn name_refused(family: &Family, variant: &VariantInfo, caps: &Caps) {
    let refusals: BTreeSet<String> = family
        .cases
        .iter()
        .map(|case| case.plan(variant.ix, caps).map_or_else(|why| why.to_string(), |_| String::new()))
        .collect();
    if !refusals.contains("") {
        let why = refusals.iter().next().map_or("no case", String::as_str);
        println!("not for Metal: {}/{}: {why}", family.name, variant.name);
        assert!(refusals.iter().any(|r| r.contains("16x16x16")), "{}/{}: {why}", family.name, variant.name);
    }
}

#[test]
fn every_metal_text_passes_the_check() {
    let Some(clang) = clang("every_metal_text_passes_the_check") else { return };
    let caps = Caps::apple();
    // Each file of each variant, specialised as at the first case that runs it.
    // Some variants share a shader that only one of them has a twin of.
    let mut shaders: BTreeMap<(String, bool), (Shader, Vec<MetalText>)> = BTreeMap::new();
    for family in kernels::families() {
        for variant in &family.variants {
            let mut files = BTreeSet::new();
            name_refused(&family, variant, &caps);
            for case in &family.cases {
                for d in case.plan(variant.ix, &caps).map(|p| p.dispatches).unwrap_or_default() {
                    if files.insert(d.shader.wgsl.path) {
                        let key = (d.shader.label(), variant.twin);
                        shaders.insert(key, (d.shader, texts(variant).collect()));
                    }
                }
            }
        }
    }
    let (_, probe) = passthrough_probe();
    let probe = probe.dispatches[0].shader.clone();
    shaders.insert((probe.label(), true), (probe, vec![MetalText::Twin]));

    let mut present = BTreeSet::new();
    let msl = Path::new(env!("CARGO_MANIFEST_DIR")).join("msl");
    for folder in std::fs::read_dir(&msl).expect("readable").map(|f| f.expect("readable").path()) {
        for file in std::fs::read_dir(&folder).expect("a folder").map(|f| f.expect("readable").path()) {
            let path = file.strip_prefix(&msl).expect("below msl").to_string_lossy().replace('\\', "/");
            // Common files are parts of the others.
            present.extend((!path.starts_with("common/")).then_some(path));
        }
    }
    let reached = shaders.values().filter_map(|(s, _)| s.msl.map(|m| m.path.to_string()));
    assert_eq!(reached.collect::<BTreeSet<_>>(), present, "every file of msl/ is checked");

    let items: Vec<(&Shader, MetalText)> =
        shaders.values().flat_map(|(s, texts)| texts.iter().map(move |t| (s, *t))).collect();
    let wrong = failures(&items, |(shader, text)| {
        let lowered = shader.lower().map_err(|e| e.to_string())?;
        let (source, entry, _) = text.source(shader, &lowered).map_err(|e| e.to_string())?;
        let named = |what: String| format!("{} as {text:?}: {what}", shader.label());
        let checked = check(&clang, &source).map_err(|list| named(shown(&list)))?;
        let has_entry = checked.kernels.iter().any(|k| k.name == entry);
        has_entry.then_some(()).ok_or_else(|| named(format!("no kernel `{entry}`")))
    });
    println!("{} texts of {} shaders checked", items.len(), shaders.len());
    assert!(wrong.is_empty(), "{} of {} are refused:\n{}", wrong.len(), items.len(), wrong.join("\n"));
}

/// A variant at a case.
struct Item {
    name: String,
    problem: Arc<Problem>,
    plan: Plan,
    text: MetalText,
}

#[test]
fn every_metal_text_computes_the_reference_in_both_lane_orders() {
    let Some(clang) = clang("every_metal_text_computes_the_reference_in_both_lane_orders") else { return };
    let devices = [false, true].map(|reverse_lanes| {
        let mut device = MetalCpu::new(clang.clone(), &Caps::apple());
        (device.sanitize, device.trace, device.reverse_lanes) = (true, TraceMode::All, reverse_lanes);
        device
    });
    let caps = devices[0].caps.clone();
    let mut items = Vec::new();
    for family in kernels::families() {
        let edge = || family.cases.iter().filter(|c| c.class == CaseClass::Edge);
        for variant in &family.variants {
            name_refused(&family, variant, &caps);
            // The cheapest odd shape of some size that the variant takes.
            let candidates = edge().filter_map(|case| {
                let plan = case.plan(variant.ix, &caps).ok()?;
                let problem = case.problem(variant.ix, 1);
                let outputs: usize = problem.outputs.iter().map(|o| o.n_rows * o.row_len).sum();
                let cost = problem.cost.flops + problem.cost.useful_bytes;
                Some(((outputs < LEAST_OUTPUTS, cost), case, Arc::new(problem), plan))
            });
            let Some((_, case, problem, plan)) = candidates.min_by_key(|c| c.0) else { continue };
            for text in texts(variant) {
                let name = format!("{}/{} {} {text:?}", family.name, variant.name, case.name);
                items.push(Item { name, problem: problem.clone(), plan: plan.clone(), text });
            }
        }
    }
    let wrong = failures(&items, |item| {
        for device in &devices {
            let named = |what: String| {
                let order = if device.reverse_lanes { "last lane first" } else { "first lane first" };
                format!("{}, {order}: {what}", item.name)
            };
            let ran = device.run(&item.problem, &item.plan, item.text).map_err(|e| named(e.to_string()))?;
            if let Some(failure) = verify(&item.problem, &ran.0, 1).failure {
                return Err(named(failure));
            }
            if !ran.1.complete || ran.1.sites.is_empty() || ran.1.fetched_bytes == 0 {
                return Err(named("nothing was traced".into()));
            }
        }
        Ok(())
    });
    println!("{} texts run", items.len());
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), items.len(), wrong.join("\n"));
}

/// Output elements below which a shape shows little.
const LEAST_OUTPUTS: usize = 200;

#[test]
fn the_passthrough_probe_tells_the_binding_order() {
    let (problem, plan) = passthrough_probe();
    let outputs = Device::Cpu(Cpu::default())
        .run_blocking(&problem, &plan, Language::Wgsl(Checks::Unchecked))
        .expect("the executor runs it");
    assert_eq!(judge_passthrough(&problem, &outputs), Ok(()));
    let Some(clang) = clang("the_passthrough_probe_tells_the_binding_order") else { return };
    let device = MetalCpu::new(clang, &Caps::apple());
    for text in [MetalText::Twin, MetalText::Lowered(Checks::Checked), MetalText::Lowered(Checks::Unchecked)]
    {
        let (outputs, _) = device.run(&problem, &plan, text).expect("the probe runs");
        assert_eq!(judge_passthrough(&problem, &outputs), Ok(()), "{text:?}");
    }
    // Bound in another order, it fails, whichever two buffers change places.
    for (a, b) in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)] {
        let wrong = mutated(&plan, |text| {
            let slot = |n: i32| format!("[[buffer({n})]]");
            text.replace(&slot(a), "@").replace(&slot(b), &slot(a)).replace('@', &slot(b))
        });
        let judged = device
            .run(&problem, &wrong, MetalText::Twin)
            .map_err(|e| e.to_string())
            .and_then(|(outputs, _)| judge_passthrough(&problem, &outputs));
        assert!(judged.is_err(), "slots {a} and {b} changed places unnoticed");
    }
}

/// The plan with its first twin's text changed.
fn mutated(plan: &Plan, change: impl Fn(&str) -> String) -> Plan {
    let mut plan = plan.clone();
    let twin = plan.dispatches[0].shader.msl.expect("a twin");
    let text = change(twin.text);
    assert_ne!(text, twin.text, "{} has nothing to change", twin.path);
    plan.dispatches[0].shader.msl = Some(Source { path: twin.path, text: text.leak() });
    plan
}

/// Twins broken on purpose: variant, why, what is replaced, and a part of what must be said (nothing where the
/// reference must find it).
const MUTANTS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "patterns/workgroup_3",
        "removed barrier",
        "threadgroup_barrier(mem_flags::mem_threadgroup);",
        "",
        "no thread wrote",
    ),
    (
        "gemm/register_tile",
        "barriers removed",
        "threadgroup_barrier(mem_flags::mem_threadgroup);",
        "",
        "no thread wrote",
    ),
    (
        "gemv/optimized",
        "rows beyond the end are read",
        "min(first_row + r, params.n - 1)",
        "first_row + r",
        "out of bounds",
    ),
    (
        "gemv/optimized",
        "one row beyond the end is written",
        "first_row + r < params.n",
        "first_row + r <= params.n",
        "",
    ),
    ("patterns/coalesced", "reads one beyond the end", "input[i]", "input[i + 1]", "out of bounds"),
    ("patterns/coalesced", "a name that is nowhere", "input[i]", "inputs[i]", "patterns/coalesced.metal:19"),
];

#[test]
fn broken_twins_are_caught() {
    let Some(clang) = clang("broken_twins_are_caught") else { return };
    let mut device = MetalCpu::new(clang, &Caps::apple());
    device.sanitize = true;
    let wrong = failures(MUTANTS, |(kernel, why, find, replace, says)| {
        let mut family =
            kernels::select(kernels::families(), &[kernel.to_string()]).expect("a kernel").remove(0);
        let variant = family.variants.remove(0);
        let mut caught = false;
        for case in family.cases.iter().filter(|c| c.class == CaseClass::Edge) {
            let Ok(plan) = case.plan(variant.ix, &device.caps) else { continue };
            let problem = case.problem(variant.ix, 1);
            if problem.cost.flops > 10_000_000 {
                continue;
            }
            match device.run(&problem, &mutated(&plan, |t| t.replace(find, replace)), MetalText::Twin) {
                Err(e) if e.to_string().contains(says) => caught = true,
                Err(e) => return Err(format!("{kernel}: {why}: {e}")),
                Ok((outputs, _)) => {
                    caught |= says.is_empty() && verify(&problem, &outputs, 1).failure.is_some()
                }
            }
            if caught {
                return Ok(());
            }
        }
        Err(format!("{kernel}: {why}: not caught"))
    });
    assert_eq!(wrong, [""; 0]);
}
