//! Rules of the repository, as tests: what is registered, paired and documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wgpu_marlin::gpu::{Caps, CoopShape, ScalarType};
use wgpu_marlin::kernels;
use wgpu_marlin::lower::{Checks, Embedded, Shader};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of the files below a folder, relative to it, with `/`.
fn files_below(folder: &str) -> BTreeSet<String> {
    fn walk(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().map(|e| e.expect("readable folder")) {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
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

/// Every shader that any variant runs at any case on any of those devices.
fn all_shaders() -> BTreeSet<(String, ShaderKey)> {
    let mut shaders = BTreeSet::new();
    for family in kernels::families() {
        for case in &family.cases {
            for variant in &family.variants {
                for caps in all_caps() {
                    for d in case.plan(variant.ix, &caps).map(|p| p.dispatches).unwrap_or_default() {
                        shaders.insert((format!("{}/{}", family.name, variant.name), ShaderKey(d.shader)));
                    }
                }
            }
        }
    }
    shaders
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
    used.insert("probe/subgroup_size.wgsl".into());
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
