//! `marlin audit` and `marlin explain` as scripts see them.

use std::process::{Command, Output};

fn marlin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_marlin"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output()
        .unwrap()
}

fn stdout(o: &Output) -> String {
    String::from_utf8(o.stdout.clone()).unwrap()
}

const STRIDED: &str = "tests/fixtures/audit/a01.wgsl";
const SILENT: &str = "tests/fixtures/audit/a05.wgsl";

#[test]
fn exit_codes_tell_clean_from_denied_from_failed() {
    assert_eq!(marlin(&["audit", STRIDED]).status.code(), Some(0));
    assert_eq!(marlin(&["audit", STRIDED, "--deny", "error"]).status.code(), Some(0));
    assert_eq!(marlin(&["audit", STRIDED, "--deny", "warning"]).status.code(), Some(1));
    assert_eq!(marlin(&["audit", SILENT, "--deny", "info"]).status.code(), Some(0));
    assert_eq!(marlin(&["audit", "no/such/file.wgsl"]).status.code(), Some(2));
    assert_eq!(marlin(&["audit", STRIDED, "--set", "n"]).status.code(), Some(2));
}

#[test]
fn text_underlines_the_operand_and_counts_bytes() {
    let text = stdout(&marlin(&["audit", STRIDED]));
    assert!(text.contains("warning[strided]"), "{text}");
    assert!(text.contains("32 lanes touch 32 lines of 128 B: 128 of 4096 bytes used"), "{text}");
    assert!(text.contains("4096 bytes from lane to lane"), "{text}");
}

#[test]
fn json_has_the_fields_of_the_contract() {
    let v: serde_json::Value =
        serde_json::from_str(&stdout(&marlin(&["audit", STRIDED, "--sites", "--format", "json"]))).unwrap();
    assert_eq!(v["schema"], 1);
    let site = v["sites"].as_array().unwrap().iter().find(|s| s["buffer"] == "m").unwrap();
    for field in [
        "file",
        "line",
        "column",
        "kernel",
        "space",
        "op",
        "bytes_per_lane",
        "active_lanes",
        "pattern",
        "stride_bytes",
        "stride_symbol",
        "blocks32",
        "blocks64",
        "blocks128",
        "blocks32_if_aligned",
        "blocks64_if_aligned",
        "blocks128_if_aligned",
        "useful_bytes",
        "fetched_bytes",
        "confidence",
        "assumptions",
    ] {
        assert!(site.get(field).is_some(), "{field}");
    }
    assert_eq!((&site["stride_bytes"], &site["blocks128"]), (&4096.into(), &32.0.into()));
    assert_eq!(v["kernels"][0]["analysed"], true);
}

#[test]
fn sarif_and_annotations_name_rule_and_line() {
    let v: serde_json::Value =
        serde_json::from_str(&stdout(&marlin(&["audit", STRIDED, "--format", "sarif"]))).unwrap();
    assert_eq!(v["version"], "2.1.0");
    let result = &v["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "strided");
    assert!(result["locations"][0]["physicalLocation"]["region"]["startLine"].as_u64() > Some(1));
    let text = stdout(&marlin(&["audit", STRIDED, "--format", "github"]));
    assert!(text.starts_with("::warning file=tests/fixtures/audit/a01.wgsl,line="), "{text}");
}

#[test]
fn a_baseline_silences_what_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known.json");
    let path = path.to_str().unwrap();
    marlin(&["audit", STRIDED, "--write-baseline", path]);
    let known = marlin(&["audit", STRIDED, "--baseline", path, "--deny", "info"]);
    assert_eq!(known.status.code(), Some(0), "{}", stdout(&known));
    let new = marlin(&["audit", "tests/fixtures/audit/a06.wgsl", "--baseline", path, "--deny", "warning"]);
    assert_eq!(new.status.code(), Some(1));
}

#[test]
fn explain_prints_a_rules_page() {
    let page = marlin(&["explain", "strided"]);
    assert_eq!(page.status.code(), Some(0));
    assert!(stdout(&page).contains("When to ignore it"));
    assert_eq!(marlin(&["explain", "marlin.strided"]).status.code(), Some(0));
    assert_eq!(marlin(&["explain", "nothing"]).status.code(), Some(2));
}

#[test]
fn trace_shows_the_executors_counts_beside_the_static_ones() {
    let traced = |args: &[&str]| {
        let out = marlin(&[args, &["--trace"]].concat());
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        stdout(&out)
    };
    // A kernel of this crate.
    let text = traced(&["audit", "patterns/strided_32"]);
    assert!(text.contains("static: 2048 requests of 32 lanes; blocks of 32/64/128 B: 32/32/32"), "{text}");
    assert!(text.contains("traced: 2048 requests of 32 lanes; blocks of 32/64/128 B: 32/32/32"), "{text}");
    assert!(!text.contains("DIFFERENT"), "{text}");
    // A file.
    let args = ["audit", STRIDED, "--set", "num_workgroups=2", "--buffer", "m=8000000", "--buffer", "o=4096"];
    let v: serde_json::Value =
        serde_json::from_str(&traced(&[&args[..], &["--format", "json"]].concat())).unwrap();
    let site = v["sites"].as_array().unwrap().iter().find(|s| s["buffer"] == "m").unwrap();
    assert_eq!(site["traced"]["requests"], 32, "{site}");
    assert_eq!(site["traced"]["blocks128"], site["blocks128"]);
    assert_eq!(site["traced"]["agrees"], true);
    for field in ["active_lanes", "blocks32", "blocks64", "blocks32_if_aligned", "useful_bytes"] {
        assert_eq!(site["traced"][field], site[field], "{field}");
    }
}

#[test]
fn trace_says_what_it_lacks() {
    let refused = |args: &[&str]| {
        let out = marlin(&[args, &["--trace"]].concat());
        assert_eq!(out.status.code(), Some(2));
        String::from_utf8(out.stderr).unwrap()
    };
    assert!(refused(&["audit", STRIDED]).contains("num_workgroups"));
    assert!(refused(&["audit", STRIDED, "--set", "num_workgroups=2"]).contains("size in bytes of buffer `"));
    let args = ["audit", STRIDED, "--set", "num_workgroups=2", "--buffer", "m=1", "--buffer", "o=4096"];
    assert!(refused(&args).contains("needs at least 4"));
    assert!(refused(&["audit", "gemv/none"]).contains("no variant"));
}
