//! What the tests of the web are given: every composed shader of this crate as a file, written by `tests/web.sh`'s
//! call of the ignored test here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wgpu_marlin::gpu::Caps;
use wgpu_marlin::kernels;
use wgpu_marlin::kernels::spec::CaseClass;

/// The composed texts by the kernel's name, each text once.
fn composed() -> BTreeMap<String, String> {
    let none = Caps {
        f16: false,
        int16: false,
        subgroups: false,
        subgroup_size: None,
        coop: vec![],
        ..Caps::apple()
    };
    let mut names_by_text = BTreeMap::new();
    for caps in [Caps::apple(), none] {
        for family in kernels::families() {
            for case in family.cases.iter().filter(|c| c.class == CaseClass::Smoke) {
                for variant in &family.variants {
                    let dispatches = case.plan(variant.ix, &caps).map(|p| p.dispatches).unwrap_or_default();
                    for (n, d) in dispatches.iter().enumerate() {
                        let lowered =
                            d.shader.lower().expect("it lowers: the repository's tests see to that");
                        let name = format!("{}_{}_{}_{n}", family.name, variant.name, case.name);
                        names_by_text.entry(lowered.composed.text.clone()).or_insert(name);
                    }
                }
            }
        }
    }
    let mut texts = BTreeMap::new();
    for (text, name) in names_by_text {
        // The devices' texts of one kernel differ.
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
        let free = |name: &String| !texts.contains_key(name);
        let name = [name.clone(), format!("{name}_poor")].into_iter().find(free);
        texts.insert(name.expect("two devices, two texts"), text);
    }
    texts
}

#[test]
#[ignore = "writes files for tests/web.sh, which names the folder in MARLIN_WEB_CORPUS"]
fn composed_shaders_are_written() {
    let folder =
        PathBuf::from(std::env::var_os("MARLIN_WEB_CORPUS").expect("MARLIN_WEB_CORPUS names a folder"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder that can be made");
    let texts = composed();
    for (name, text) in &texts {
        std::fs::write(folder.join(format!("{name}.wgsl")), text).expect("a file that can be written");
    }
    println!("{} composed shaders", texts.len());
    assert!(texts.len() > 100);
}
