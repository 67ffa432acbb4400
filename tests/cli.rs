//! The command as users and scripts call it: contracts, one-line errors, exit codes.

use std::process::{Command, Output};

fn marlin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_marlin")).args(args).output().expect("marlin runs")
}

fn has_gpu() -> bool {
    !pollster::block_on(wgpu_marlin::gpu::adapters()).is_empty()
}

#[test]
fn mistakes_give_one_clear_line_and_exit_2() {
    for (args, part) in [
        (&["compare", "nothing"][..], "there is no family `nothing`"),
        (&["compare", "patterns/nothing"], "there is no variant `nothing`"),
        (&["compare", "--case", "nothing"], "there is no case `nothing`"),
        (&["compare", "--device", "banana"], "unknown device `banana`"),
        (&["compare", "--device", "999"], "no GPU adapter found for `999`"),
        (&["bench", "--pattern", "nothing"], "there is no pattern `nothing`"),
        (&["bench", "--sizes", "7"], "size 7 is not a positive multiple"),
        (&["bench", "--sizes", "0"], "size 0 is not a positive multiple"),
        (&["bench", "--sizes", "99999999999744"], "below 2^30"),
        (&["lower", "patterns", "--to", "msl"], "name one of the variants"),
        (&["lower", "missing.wgsl", "--to", "msl"], "cannot read missing.wgsl"),
        (&["lower", "patterns/copy", "--to", "msl", "--case", "x"], "no such case"),
    ] {
        let output = marlin(args);
        let stderr: String = String::from_utf8_lossy(&output.stderr)
            .lines()
            .filter(|l| l.starts_with("marlin:"))
            .map(str::to_string)
            .collect();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn list_names_every_family_in_both_forms() {
    let text = String::from_utf8(marlin(&["list"]).stdout).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&marlin(&["list", "--json", "-"]).stdout).unwrap();
    for family in wgpu_marlin::kernels::families() {
        assert!(text.contains(family.name));
        let row = json["families"].as_array().unwrap().iter().find(|f| f["name"] == family.name).unwrap();
        assert_eq!(row["variants"].as_array().unwrap().len(), family.variants.len());
    }
}

#[test]
fn lowered_msl_names_its_options_first() {
    let text = String::from_utf8(marlin(&["lower", "patterns/coalesced", "--to", "msl"]).stdout).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.contains("Metal 3.1") && first.contains("bounds checks off"), "{first}");
    assert!(text.contains("kernel void main_("));
    for target in ["spirv-asm", "hlsl", "wgsl"] {
        let output = marlin(&["lower", "patterns/coalesced", "--to", target, "--checked"]);
        assert!(output.status.success() && output.stdout.len() > 100, "{target}");
    }
}

#[test]
fn compare_keeps_the_json_contract() {
    if !has_gpu() {
        assert!(std::env::var_os("MARLIN_REQUIRE_GPU").is_none());
        println!("skipped: no GPU adapter");
        return;
    }
    let output = marlin(&[
        "compare",
        "patterns/coalesced",
        "patterns/copy",
        "--device",
        "0",
        "--budget",
        "10",
        "--json",
        "-",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["complete"], true);
    assert!(json["device"]["name"].is_string());
    let rows = json["rows"].as_array().unwrap();
    assert!(rows.len() >= 3);
    for key in [
        "family",
        "variant",
        "role",
        "source",
        "case",
        "device",
        "verified",
        "max_err",
        "tolerance",
        "time_ns",
        "timing_method",
        "samples",
        "useful_bytes",
        "fetched_bytes",
        "gbps",
        "ceiling_fraction",
        "tflops",
        "speedup_vs_naive",
        "skipped",
    ] {
        assert!(rows.iter().all(|r| r.get(key).is_some()), "a row lacks {key}");
    }
    assert!(rows.iter().all(|r| r["verified"] == true));
}

#[test]
fn a_report_has_the_comparison_and_the_audit_in_both_forms() {
    let dir = tempfile::tempdir().unwrap();
    for (name, parts) in [
        ("all.txt", [" verified, 0 wrong", "warning[sequential]", "Every access of them"]),
        ("all.html", [" verified, 0 wrong", "<pre>warning[sequential]", "</html>"]),
    ] {
        let path = dir.path().join(name);
        let path = path.to_str().unwrap();
        let output = marlin(&["report", "patterns/strided_8", "--out", path, "--device", "cpu"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(path).unwrap();
        for part in parts {
            assert!(text.contains(part), "{name} lacks {part}: {text}");
        }
    }
    let output = marlin(&["report", "--out", "report.pdf"]);
    assert_eq!(output.status.code(), Some(2));
}

/// With no GPU adapter at all, asking for one fails with what to install.
#[test]
fn without_an_adapter_the_error_says_what_to_install() {
    let output = Command::new(env!("CARGO_BIN_EXE_marlin"))
        .args(["compare", "--device", "vulkan"])
        .env("VK_DRIVER_FILES", "none.json")
        .env("VK_ICD_FILENAMES", "none.json")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("mesa-vulkan-drivers"), "{stderr}");
}

/// Metal rows need clang: without it they, and only they, are skipped by name; with it they are verified and traced.
#[test]
fn compare_on_the_cpu_has_metal_rows_where_there_is_clang() {
    let rows_with = |clang: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marlin"));
        command.args(["compare", "router", "--case", "t5-h128-e8-k2-f32", "--device", "cpu", "--json", "-"]);
        if let Some(path) = clang {
            command.env("MARLIN_CLANG", path);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["rows"].as_array().unwrap().clone()
    };
    let ran = |r: &serde_json::Value| r["skipped"].is_null();
    let without = rows_with(Some("no-such-clang"));
    let (msl, wgsl): (Vec<_>, Vec<_>) = without.iter().partition(|r| r["source"] == "msl");
    assert!(msl.iter().all(|r| r["skipped"].as_str().unwrap().contains("needs clang >= 17")));
    assert!(wgsl.iter().any(|r| ran(r)) && wgsl.iter().filter(|r| ran(r)).all(|r| r["verified"] == true));
    assert!(wgsl.iter().all(|r| ran(r) || !r["skipped"].as_str().unwrap().contains("clang")));
    if let Err(why) = wgpu_marlin::metal::Clang::find() {
        assert!(!wgpu_marlin::metal::Clang::required(), "{why}");
        println!("skipped: {why}");
        return;
    }
    let with = rows_with(None);
    assert_eq!(with.len(), without.len());
    let naive: Vec<_> = with.iter().filter(|r| r["variant"] == "naive").collect();
    let kinds: Vec<_> = naive.iter().map(|r| (r["source"].as_str(), r["checks"].as_str())).collect();
    let kind = |source, checks| (Some(source), Some(checks));
    assert_eq!(kinds, [kind("wgsl", "unchecked"), kind("msl", "unchecked"), kind("msl", "native")]);
    for row in with.iter().filter(|r| ran(r)) {
        assert!(row["verified"] == true && row["fetched_bytes"].as_u64() > Some(0), "{row}");
        assert_eq!(row["fetched_vs_wgsl"].is_number(), row["source"] == "msl", "{row}");
        assert!(row["compile_options"].as_str().is_some_and(|o| !o.is_empty()), "{row}");
    }
}

#[test]
fn an_interrupted_comparison_leaves_the_rows_that_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_marlin"));
    command.args(["compare", "--case", "edge", "--msl", "all", "--device", "cpu", "--json"]).arg(&path);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let begin = std::time::Instant::now();
    while !path.exists() && begin.elapsed().as_secs() < 120 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["complete"], false, "it ended before it was interrupted");
    let rows = json["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|r| r["verified"] == true || !r["skipped"].is_null()));
}
