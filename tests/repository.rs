//! Rules of the repository, as tests: what is registered, paired and documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wgpu_marlin::gpu::{Caps, CoopShape, ScalarType};
use wgpu_marlin::kernels;
use wgpu_marlin::kernels::spec::{CaseClass, Role, VariantInfo};
use wgpu_marlin::lower::{Checks, Embedded, Shader};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of the files below a folder, relative to it, with `/`.
fn files_below(folder: &str) -> BTreeSet<String> {
    fn walk(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().map(|e| e.expect("readable folder")) {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // What npm fetches for the web is nobody's source here.
            if entry.file_name() == "node_modules" {
                continue;
            }
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&root().join(folder), "", &mut found);
    found
}

/// Capability sets that between them reach every path of every kernel.
fn all_caps() -> Vec<Caps> {
    let coop = |s, ab, c| CoopShape { m: s, n: s, k: s, ab, c };
    let base = Caps::apple();
    let sixteen =
        vec![coop(16, ScalarType::F16, ScalarType::F16), coop(16, ScalarType::F16, ScalarType::F32)];
    let mut all = vec![base.clone(), Caps { coop: sixteen, ..base.clone() }];
    for width in [4, 8, 64] {
        all.push(Caps { subgroup_size: Some(width), coop: vec![], ..base.clone() });
    }
    all.push(Caps { f16: false, int16: false, coop: vec![], ..base.clone() });
    let none = Caps { f16: false, int16: false, subgroups: false, subgroup_size: None, coop: vec![], ..base };
    all.push(none);
    all
}

/// Every shader that any variant runs at any case on a device, with the variant's name; some more than once.
fn shaders_for(caps: &Caps) -> Vec<(String, Shader)> {
    let mut shaders = Vec::new();
    for family in kernels::families() {
        for case in &family.cases {
            for variant in &family.variants {
                for d in case.plan(variant.ix, caps).map(|p| p.dispatches).unwrap_or_default() {
                    shaders.push((format!("{}/{}", family.name, variant.name), d.shader));
                }
            }
        }
    }
    shaders
}

/// Every shader that any variant runs at any case on any of those devices.
fn all_shaders() -> BTreeSet<(String, ShaderKey)> {
    let of = |caps: &Caps| shaders_for(caps).into_iter().map(|(name, shader)| (name, ShaderKey(shader)));
    all_caps().iter().flat_map(of).collect()
}

/// A shader ordered by its label.
#[derive(Clone, PartialEq, Eq)]
struct ShaderKey(Shader);

impl PartialOrd for ShaderKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShaderKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.label().cmp(&other.0.label())
    }
}

#[test]
fn every_shader_file_is_used() {
    let mut used: BTreeSet<String> = Embedded::all().iter().map(|s| s.path.to_string()).collect();
    let probes = ["probe/subgroup_size.wgsl", "probe/passthrough.wgsl", "probe/passthrough.metal"];
    used.extend(probes.map(String::from));
    for (_, shader) in all_shaders() {
        used.insert(shader.0.wgsl.path.into());
        used.extend(shader.0.msl.map(|m| m.path.to_string()));
    }
    let present: BTreeSet<String> = files_below("wgsl").union(&files_below("msl")).cloned().collect();
    let orphans: Vec<_> = present.difference(&used).collect();
    assert!(orphans.is_empty(), "shader files that no variant runs: {orphans:?}");
}

#[test]
fn twins_have_the_stem_of_their_wgsl_and_variants_say_so() {
    for family in kernels::families() {
        for variant in &family.variants {
            for case in &family.cases {
                for d in case.plan(variant.ix, &all_caps()[0]).map(|p| p.dispatches).unwrap_or_default() {
                    let name = format!("{}/{}", family.name, variant.name);
                    assert_eq!(d.shader.msl.is_some(), variant.twin, "{name}: {}", d.shader.label());
                    if let Some(msl) = d.shader.msl {
                        let stem = |p: &str| p.rsplit_once('.').expect("extension").0.to_string();
                        assert_eq!(stem(msl.path), stem(d.shader.wgsl.path), "{name}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_shader_lowers_to_every_target_and_stays_within_32_kib() {
    let mut lowered_labels = BTreeSet::new();
    for (name, ShaderKey(shader)) in all_shaders() {
        if !lowered_labels.insert(shader.label()) {
            continue;
        }
        let lowered = shader.lower().unwrap_or_else(|e| panic!("{name}: {e}"));
        for checks in [Checks::Checked, Checks::Unchecked] {
            lowered
                .to_msl(Shader::ENTRY, checks)
                .unwrap_or_else(|e| panic!("{name} {}: {e}", shader.label()));
            lowered
                .to_spirv(Shader::ENTRY, checks)
                .unwrap_or_else(|e| panic!("{name} {}: {e}", shader.label()));
        }
        let entry_ix = lowered.entry_index(Shader::ENTRY).expect("entry point");
        let memory = lowered.workgroup_memory_bytes(entry_ix);
        assert!(memory <= 32 << 10, "{name} {}: {memory} B of workgroup memory", shader.label());
        if let Some(text) = shader.msl_text() {
            text.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    println!("{} shaders lowered", lowered_labels.len());
    assert!(lowered_labels.len() > 10);
}

/// What naga's validator would allow on a device with these capabilities and no others.
fn allowed(caps: &Caps) -> naga::valid::Capabilities {
    use naga::valid::Capabilities as Allowed;
    // Reading packed f16 as f32 needs no feature.
    let mut allowed = Allowed::SHADER_FLOAT16_IN_FLOAT32;
    allowed.set(Allowed::SHADER_FLOAT16, caps.f16);
    allowed.set(Allowed::SHADER_INT16, caps.int16);
    allowed.set(Allowed::SUBGROUP, caps.subgroups);
    allowed.set(Allowed::COOPERATIVE_MATRIX, !caps.coop.is_empty());
    allowed
}

/// A plan for a device has no shader that needs more than the device has: features are never tacit.
#[test]
fn no_shader_needs_a_feature_that_its_device_lacks() {
    let mut checked = BTreeSet::new();
    for (which, caps) in all_caps().iter().enumerate() {
        for (name, shader) in shaders_for(caps) {
            if !checked.insert((which, shader.label())) {
                continue;
            }
            let lowered = shader.lower().unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut validator =
                naga::valid::Validator::new(naga::valid::ValidationFlags::all(), allowed(caps));
            if caps.subgroups {
                validator
                    .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
                    .subgroup_operations(naga::valid::SubgroupOperationSet::all());
            }
            if let Err(e) = validator.validate(&lowered.module) {
                panic!("{name} {} on {caps:?}: {:?}", shader.label(), e.into_inner());
            }
        }
    }
    println!("{} shaders on {} kinds of device", checked.len(), all_caps().len());
}

/// On a device with neither f16 nor subgroups each family runs every case but those with f16 results that are
/// written one by one; each of these is refused for that reason, and its twin in f32 is among the cases.
#[test]
fn every_family_runs_without_f16_and_subgroups() {
    let none = all_caps().pop().expect("the list ends with the poorest device");
    assert!(!none.f16 && !none.subgroups && none.coop.is_empty());
    for family in kernels::families() {
        let mut runs = 0;
        for case in &family.cases {
            let plans: Vec<_> = family.variants.iter().map(|v| (v, case.plan(v.ix, &none))).collect();
            let optimized = |v: &VariantInfo| matches!(v.role, Role::Optimized | Role::Ceiling);
            if plans.iter().any(|(v, p)| optimized(v) && p.is_ok()) {
                runs += 1;
                continue;
            }
            assert!(
                ["gemm", "expert_gemm"].contains(&family.name),
                "{} {}: no variant can run",
                family.name,
                case.name
            );
            for (v, plan) in plans.iter().filter(|(v, _)| ["naive", "gather", "tiled"].contains(&v.name)) {
                let reason = plan.as_ref().expect_err("it has f16 results").to_string();
                assert!(reason.contains("shader-f16"), "{}/{} {}: {reason}", family.name, v.name, case.name);
            }
        }
        println!("{}: {runs} of {} cases", family.name, family.cases.len());
        assert!(runs >= 4, "{}: only {runs} cases run", family.name);
    }
}

/// What a plan says of its buffers is what its problem has: sizes that bindings are checked against are not made up.
#[test]
fn plans_name_the_buffers_of_their_problems() {
    let mut compared = 0;
    // `patterns` is no operation: the inputs of its variants differ.
    for family in kernels::families().iter().filter(|f| f.name != "patterns") {
        for case in family.cases.iter().filter(|c| c.class != CaseClass::Bench) {
            let variant = &family.variants[0];
            let Ok(plan) = case.plan(variant.ix, &all_caps()[0]) else { continue };
            let problem = case.problem(variant.ix, 1);
            let inputs = problem.inputs.iter().map(|o| (o.name, o.bytes.len() as u64));
            let outputs = problem.outputs.iter().map(|o| (o.name, o.size_bytes() as u64));
            let has: BTreeSet<_> = inputs.chain(outputs).collect();
            let says: BTreeSet<_> = plan.buffers.iter().map(|b| (b.name, b.size_bytes)).collect();
            assert_eq!(says, has, "{} {}", family.name, case.name);
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_wgsl_file_opens_with_its_contract() {
    for path in files_below("wgsl") {
        let text = std::fs::read_to_string(root().join("wgsl").join(&path)).expect("readable");
        assert!(text.starts_with("// "), "wgsl/{path} does not open with what it computes");
    }
    for path in files_below("msl") {
        let text = std::fs::read_to_string(root().join("msl").join(&path)).expect("readable");
        assert!(text.starts_with("// "), "msl/{path} does not open with what it computes");
    }
}

#[test]
fn names_are_unique_and_cases_have_a_smoke_and_an_edge() {
    let mut families = BTreeSet::new();
    for f in kernels::families() {
        assert!(families.insert(f.name));
        let variants: BTreeSet<_> = f.variants.iter().map(|v| v.name).collect();
        assert_eq!(variants.len(), f.variants.len(), "{}: two variants of one name", f.name);
        let cases: BTreeSet<_> = f.cases.iter().map(|c| c.name.clone()).collect();
        assert_eq!(cases.len(), f.cases.len(), "{}: two cases of one name", f.name);
        use wgpu_marlin::kernels::spec::CaseClass::{Bench, Edge, Smoke};
        for class in [Smoke, Edge, Bench] {
            assert!(f.cases.iter().any(|c| c.class == class), "{} has no {class:?} case", f.name);
        }
    }
}

/// The repository speaks of the project alone.
#[test]
fn no_unfinished_marks_in_sources() {
    for folder in ["src", "wgsl", "msl", "examples", "benches"] {
        for path in files_below(folder) {
            let Ok(text) = std::fs::read_to_string(root().join(folder).join(&path)) else { continue };
            for mark in [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")] {
                assert!(!text.contains(mark), "{folder}/{path} has {mark}");
            }
        }
    }
}

/// The floors, lowest first: a room uses rooms of lower floors only.
const FLOORS: [&[&str]; 9] = [
    &["memory"],
    &["quant", "lower"],
    &["weights"],
    &["exec", "metal", "isa"],
    &["audit", "gpu"],
    &["kernels"],
    &["measure"],
    &["report"],
    &["cli", "lsp"],
];

/// Imports upwards that stand until their room is mended: whoever mends one takes its line out.
const KNOWN_CLIMBS: [(&str, &str); 0] = [];

#[test]
fn rooms_use_only_rooms_of_lower_floors() {
    let floor_of = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    let mut climbs = BTreeSet::new();
    for file in files_below("src").into_iter().filter(|f| f.ends_with(".rs") && f.contains('/')) {
        let room = file.split('/').next().expect("a folder").to_string();
        let floor = floor_of(&room).unwrap_or_else(|| panic!("src/{room} is on no floor: add it to FLOORS"));
        let text = std::fs::read_to_string(root().join("src").join(&file)).expect("readable source");
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        for line in code {
            for used in line.split("crate::").skip(1) {
                let used: String =
                    used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let Some(other) = floor_of(&used).filter(|_| used != room) else { continue };
                // Rooms of one floor don't know each other.
                if other >= floor {
                    climbs.insert((room.clone(), used, file.clone()));
                }
            }
        }
    }
    let unknown: Vec<_> =
        climbs.iter().filter(|(a, b, _)| !KNOWN_CLIMBS.contains(&(a.as_str(), b.as_str()))).collect();
    assert!(unknown.is_empty(), "imports that climb or cross a floor (room, used, file): {unknown:#?}");
    for (from, to) in KNOWN_CLIMBS {
        assert!(
            climbs.iter().any(|c| (c.0.as_str(), c.1.as_str()) == (from, to)),
            "{from} no longer uses {to}"
        );
    }
}
