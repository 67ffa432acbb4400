//! Nothing is green by silence: what can't be analysed, and names that nothing has, in all formats.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FIXTURES: &str = "tests/fixtures/audit/published";

fn marlin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_marlin"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output()
        .expect("marlin runs")
}

fn code(args: &[&str]) -> Option<i32> {
    marlin(args).status.code()
}

fn out(args: &[&str]) -> (String, String) {
    let o = marlin(args);
    (String::from_utf8(o.stdout).expect("UTF-8"), String::from_utf8(o.stderr).expect("UTF-8"))
}

/// A folder with a good kernel, a file that is no WGSL, and a kernel that needs a size.
fn mixed(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("a folder");
    let good = "@group(0) @binding(0) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64) fn fine(@builtin(global_invocation_id) g: vec3<u32>) { o[g.x] = 1.0; }\n";
    let broken = "@compute @workgroup_size(64)\nfn k() { let x = ; }\n";
    let sized = "override n: u32;\nvar<workgroup> tile: array<f32, n>;
@group(0) @binding(0) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64) fn sized(@builtin(local_invocation_index) i: u32) { tile[i] = 1.0; o[i] = tile[i]; }\n";
    for (file, text) in [("good.wgsl", good), ("broken.wgsl", broken), ("sized.wgsl", sized)] {
        std::fs::write(dir.join(file), text).expect("a file");
    }
    dir
}

#[test]
fn what_is_not_analysed_fails_a_gate_and_is_said_in_every_format() {
    let dir = mixed("not_analysed");
    let dir = dir.to_str().expect("UTF-8");
    assert_eq!(code(&["audit", dir]), Some(0), "without a gate the rest is reported");
    let (text, error) = out(&["audit", dir, "--deny", "warning"]);
    assert_eq!(code(&["audit", dir, "--deny", "warning"]), Some(1));
    assert!(error.contains("2 of 3 kernels could not be analysed"), "{error}");
    assert!(text.contains("error[not-analysed]") && text.contains("3 kernels, 2 not analysed"), "{text}");
    assert!(text.contains("give `--set n=VALUE`"), "{text}");

    let (json, _) = out(&["audit", dir, "--format", "json"]);
    let v: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let kernels = v["kernels"].as_array().expect("rows");
    let broken = kernels.iter().find(|k| k["file"].as_str().is_some_and(|f| f.ends_with("broken.wgsl")));
    let broken = broken.expect("a row for the broken file");
    assert_eq!((broken["analysed"].as_bool(), broken["line"].as_u64()), (Some(false), Some(2)), "{broken}");

    let (sarif, _) = out(&["audit", dir, "--format", "sarif"]);
    let v: serde_json::Value = serde_json::from_str(&sarif).expect("JSON");
    let invocation = &v["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(invocation["toolExecutionNotifications"].as_array().map(Vec::len), Some(2));

    let (github, _) = out(&["audit", dir, "--format", "github"]);
    let errors: Vec<&str> = github.lines().filter(|l| l.starts_with("::error file=")).collect();
    assert_eq!(errors.len(), 2, "{github}");
    assert!(errors.iter().any(|l| l.contains("broken.wgsl,line=2,title=not-analysed::")), "{github}");

    let good = format!("{dir}/good.wgsl");
    assert_eq!(code(&["audit", &good, "--deny", "warning"]), Some(0));
    let (sarif, _) = out(&["audit", &good, "--format", "sarif"]);
    let v: serde_json::Value = serde_json::from_str(&sarif).expect("JSON");
    assert_eq!(v["runs"][0]["invocations"][0]["executionSuccessful"], true);
    assert_eq!(code(&["audit", &format!("{dir}/broken.wgsl")]), Some(2), "nothing was analysed");
}

#[test]
fn a_path_that_is_no_shader_is_an_error() {
    let (_, error) = out(&["audit", "README.md"]);
    assert_eq!(code(&["audit", "README.md"]), Some(2));
    assert!(error.contains("README.md is no shader"), "{error}");
}

#[test]
fn parameters_have_the_names_that_an_author_writes() {
    let file = format!("{FIXTURES}/set_names.wgsl");
    for good in ["pitch=64", "p.pitch=64", "dims.x=64", "dims[0]=64u", "p.pitch=0x40"] {
        assert_eq!(code(&["audit", &file, "--set", good]), Some(0), "{good}");
    }
    let (text, _) = out(&["audit", &file, "--set", "p.pitch=1", "--set", "dims.x=1"]);
    assert!(text.contains("0 warnings, 0 notes"), "{text}");
    for format in ["text", "json", "sarif", "github"] {
        let args = ["audit", &file, "--set", "pich=64", "--format", format];
        let (_, error) = out(&args);
        assert_eq!(code(&args), Some(2), "{format}");
        assert!(
            error.contains("--set pich") && error.contains("p.pitch") && error.contains("dims.x"),
            "{error}"
        );
    }
    assert_eq!(code(&["audit", &file, "-D", "NOBODY"]), Some(2));
}

#[test]
fn overrides_of_every_type_are_given_or_unknown() {
    let file = format!("{FIXTURES}/overrides.wgsl");
    let (text, error) = out(&["audit", &file]);
    assert_eq!(code(&["audit", &file]), Some(0), "{error}");
    assert!(text.contains("4·width bytes"), "{text}");
    let all =
        ["audit", &file, "--set", "dt=0.2", "--set", "clear=true", "--set", "shift=0", "--set", "width=1"];
    let (text, error) = out(&all);
    assert!(text.contains("0 warnings"), "{text}{error}");
}

#[test]
fn an_unknown_rule_in_a_suppression_is_an_error() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("suppressed.wgsl");
    let text = "@group(0) @binding(0) var<storage, read_write> o: array<f32>;
@diagnostic(off, marlin.stridden)
@compute @workgroup_size(64) fn k(@builtin(global_invocation_id) g: vec3<u32>) { o[g.x] = 1.0; }\n";
    std::fs::write(&dir, text).expect("a file");
    let args = ["audit", dir.to_str().expect("UTF-8"), "--deny", "error"];
    let (text, _) = out(&args);
    assert_eq!(code(&args), Some(1), "{text}");
    assert!(text.contains("no rule `stridden`") && text.contains("strided"), "{text}");
}

#[test]
fn a_buffer_that_is_too_small_is_the_callers_slip() {
    for (file, groups) in [("trace_small", "4"), ("trace_out_of_bounds", "4")] {
        let path = format!("{FIXTURES}/{file}.wgsl");
        let args = [
            "audit",
            &path,
            "--trace",
            "--set",
            &format!("num_workgroups={groups}"),
            "--buffer",
            "a=64",
            "--buffer",
            "o=4096",
        ];
        let (text, error) = out(&args);
        assert_eq!(code(&args), Some(2), "{text}{error}");
        assert!(error.contains(".wgsl:") && error.contains("`a`") && error.contains("more bytes"), "{error}");
        assert!(!error.contains("report this") && !text.contains("an error of marlin"), "{text}{error}");
        let enough = [
            "audit",
            &path,
            "--trace",
            "--set",
            &format!("num_workgroups={groups}"),
            "--buffer",
            "a=4096",
            "--buffer",
            "o=4096",
        ];
        assert_eq!(code(&enough), Some(0), "{:?}", out(&enough));
    }
    let path = format!("{FIXTURES}/trace_small.wgsl");
    let args = ["audit", &path, "--trace", "--set", "num_workgroups=1", "--buffer", "b=64"];
    let (_, error) = out(&args);
    assert!(error.contains("no buffer `b`: there are a, o"), "{error}");
}

#[test]
fn a_text_may_come_through_a_pipe() {
    use std::io::Write;
    let piped = |text: &str, args: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_marlin"))
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("marlin runs");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
        let out = child.wait_with_output().expect("ends");
        (out.status.code(), String::from_utf8(out.stdout).expect("UTF-8"))
    };
    let strided = std::fs::read_to_string(format!("{FIXTURES}/camel_name.wgsl")).expect("fixture");
    let (code, text) = piped(&strided, &["audit", "-", "--deny", "warning"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("<stdin>:4:") && text.contains("`clearGrid`"), "{text}");
    let (code, text) = piped("not a shader", &["audit", "-"]);
    assert_eq!(code, Some(2), "{text}");
}
