//! Machine code by the system's own drivers: always on Debian with mesa-vulkan-drivers. What needs fetched
//! drivers is skipped by name where `MARLIN_MESA` or a setup is missing.

use std::process::{Command, Output};

use serde_json::Value;

fn marlin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marlin"));
    command.arg("isa").args(args);
    command
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `n` dependent multiply-adds of floats in registers.
fn chain(n: usize) -> String {
    let steps = "  x = fma(x, y, z);\n".repeat(n);
    format!(
        "@group(0) @binding(0) var<storage, read_write> a: array<f32>;\n\
         @compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n  \
         var x = a[id.x]; let y = a[id.x + 4096u]; let z = a[id.x + 8192u];\n{steps}  a[id.x] = x;\n}}\n"
    )
}

/// `n` floats that live from the first load to the last store.
fn pressure(n: usize) -> String {
    let loads: String = (0..n).map(|i| format!("  let v{i} = a[id.x * {n}u + {i}u];\n")).collect();
    let stores: String =
        (0..n).map(|i| format!("  a[id.x * {n}u + {i}u] = v{} * v{i};\n", (i + n / 2) % n)).collect();
    format!(
        "@group(0) @binding(0) var<storage, read_write> a: array<f32>;\n\
         @compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{\n\
         {loads}  workgroupBarrier();\n{stores}}}\n"
    )
}

/// The figures of one probe on one GPU.
fn code(gpu: &str, text: &str) -> Result<Value, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("probe.wgsl");
    std::fs::write(&file, text).unwrap();
    let output = marlin(&[file.to_str().unwrap(), "--gpu", gpu, "--json", "-"]).output().unwrap();
    if !output.status.success() {
        return Err(error(&output));
    }
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kernel = &json["gpus"][0]["kernels"][0];
    assert!(kernel["code"].is_object(), "{json}");
    Ok(kernel["code"].clone())
}

fn number(code: &Value, name: &str) -> u64 {
    code[name].as_u64().unwrap_or_else(|| panic!("no {name} in {code}"))
}

#[test]
fn each_multiply_add_is_one_instruction_on_amd() {
    let short = code("amd-navi31", &chain(10)).unwrap();
    let long = code("amd-navi31", &chain(110)).unwrap();
    let added = number(&long, "instructions") - number(&short, "instructions");
    // Mesa's newer compiler puts a wait (s_delay_alu) before every second one of a dependent chain on RDNA 3.
    let vector = |code: &Value| {
        let raw = code["raw"].as_array().unwrap();
        raw.iter().find(|r| r["name"] == "VALU").and_then(|r| r["value"].as_f64())
    };
    match (vector(&short), vector(&long)) {
        (Some(short), Some(long)) => assert_eq!((long - short, added), (100.0, 150)),
        _ => assert_eq!(added, 100),
    }
    assert_eq!(number(&short, "registers"), number(&long, "registers"));
    assert_eq!(long, code("amd-navi31", &chain(110)).unwrap(), "twice the same numbers");
}

#[test]
fn live_values_take_registers_on_amd() {
    let few = number(&code("amd-navi31", &pressure(8)).unwrap(), "registers");
    let many = number(&code("amd-navi31", &pressure(96)).unwrap(), "registers");
    assert!(many >= few + 60, "{few} registers, then {many}");
}

#[test]
fn multiply_adds_and_pressure_move_as_known_on_m1() {
    let short = match code("apple-m1", &chain(10)) {
        Ok(code) => code,
        Err(why) => {
            assert!(why.contains("`marlin isa --setup` fetches one"), "{why}");
            eprintln!("skipped multiply_adds_and_pressure_move_as_known_on_m1: {why}");
            return;
        }
    };
    let long = code("apple-m1", &chain(110)).unwrap();
    assert_eq!(number(&long, "instructions") - number(&short, "instructions"), 100);
    assert_eq!(number(&long, "code_bytes") - number(&short, "code_bytes"), 800);
    assert_eq!(number(&code("apple-m1", &pressure(48)).unwrap(), "spills"), 0);
    let heavy = code("apple-m1", &pressure(160)).unwrap();
    assert!(number(&heavy, "spills") > 0, "{heavy}");
    assert!(number(&heavy["occupancy"], "value") < number(&heavy["occupancy"], "full"), "{heavy}");
}

#[test]
fn a_wrong_gpu_names_the_right_ones() {
    let output = marlin(&["gemv", "--gpu", "gfx9999"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let why = error(&output);
    assert!(why.contains("`gfx9999`") && why.contains("apple-m1") && why.contains("amd-navi31"), "{why}");
}

#[test]
fn no_driver_is_one_sentence() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = marlin(&["gemv", "--gpu", "apple-m1"]);
    let output = command.env_remove("MARLIN_MESA").env("MARLIN_CACHE", cache.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let why = error(&output);
    assert!(why.contains("no driver for apple-m1") && why.contains("marlin isa --setup"), "{why}");
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_cache_that_is_a_file_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = marlin(&["gemv"]).env("MARLIN_CACHE", file.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("MARLIN_CACHE"), "{}", error(&output));
}

#[test]
fn setup_without_a_mirror_says_so_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = marlin(&["--setup"]);
    command.env("MARLIN_CACHE", cache.path()).env("MARLIN_DEBIAN", "file:/nonexistent-mirror");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("setup: "), "{}", error(&output));
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_shape_that_the_driver_lacks_is_named() {
    let output = marlin(&["gemv/coop_8x8", "--gpu", "amd-navi31", "--json", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = json["gpus"][0]["kernels"][0]["refused"].as_str().unwrap().to_string();
    assert!(why.contains("cooperative matrix") || why.contains("memory model"), "{why}");
}
