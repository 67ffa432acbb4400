//! Programs on which naga 30 panics or overflows a stack. Each file says what it must end as, stage by stage:
//! `//~ STAGE: a part of the error`; a stage that is not named must do its work.

use std::path::{Path, PathBuf};

use wgpu_marlin::exec::Kernel;
use wgpu_marlin::lower::{Checks, Composed, LowerError, Lowered, TargetError};

const STAGES: [&str; 6] = ["read", "msl", "spirv", "hlsl", "wgsl", "exec"];

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lower");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("fixtures").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

/// What a stage made of a program: nothing to say, or its error.
fn outcome(stage: &str, text: &str) -> Result<(), String> {
    let lowered = Lowered::new(Composed::verbatim("t.wgsl", text)).map_err(|e| e.to_string());
    let lowered = match (stage, lowered) {
        ("read", read) => return read.map(drop),
        (_, Ok(lowered)) => lowered,
        // Said where it was read.
        (_, Err(_)) => return Ok(()),
    };
    let checks = Checks::Checked;
    match stage {
        "msl" => lowered.to_msl("main", checks).map(drop).map_err(|e| e.to_string()),
        "spirv" => lowered.to_spirv("main", checks).map(drop).map_err(|e| e.to_string()),
        "hlsl" => lowered.to_hlsl("main", checks).map(drop).map_err(|e| e.to_string()),
        "wgsl" => lowered.to_wgsl().map(drop).map_err(|e| e.to_string()),
        _ => Kernel::new(&lowered.module, &lowered.info, "main", &Default::default())
            .map(drop)
            .map_err(|e| e.to_string()),
    }
}

#[test]
fn what_naga_can_not_do_is_a_typed_error() {
    let files = files();
    assert!(files.len() >= 9);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a fixture");
        for stage in STAGES {
            let want =
                text.lines().find_map(|l| l.strip_prefix("//~ ")?.strip_prefix(stage)?.strip_prefix(": "));
            let got = outcome(stage, &text);
            match (want, &got) {
                (None, Ok(())) => {}
                (Some(part), Err(message)) if message.contains(part) => {}
                _ => panic!("{} as {stage}: wanted {want:?}, got {got:?}", file.display()),
            }
        }
    }
}

#[test]
fn a_panic_has_its_own_variant() {
    let read = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lower").join(name);
        let text = std::fs::read_to_string(file).expect("a fixture");
        Lowered::new(Composed::verbatim("t.wgsl", &text))
    };
    let e = read("constant_f16_from_u32_too_large.wgsl").unwrap_err();
    assert!(matches!(e, LowerError::Panicked { .. }), "{e:?}");
    let e = read("f64.wgsl").unwrap().to_msl("main", Checks::Unchecked).unwrap_err();
    assert!(matches!(e, TargetError::Panicked { target: "msl", .. }), "{e:?}");
}

#[test]
fn commands_end_with_one_line() {
    for file in files() {
        let text = std::fs::read_to_string(&file).expect("a fixture");
        for stage in ["msl", "spirv-asm", "hlsl", "wgsl"] {
            let fails = ["read", stage.trim_end_matches("-asm")]
                .iter()
                .any(|s| text.lines().any(|l| l.starts_with(&format!("//~ {s}:"))));
            let path = file.to_str().expect("a plain name");
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_marlin"))
                .args(["lower", path, "--to", stage])
                .output()
                .expect("marlin runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(if fails { 2 } else { 0 }),
                "{path} --to {stage}: {stderr}"
            );
            assert_eq!(stderr.lines().count(), usize::from(fails), "{path} --to {stage}: {stderr}");
        }
    }
}

fn kernel(body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> y: array<u32>;\n\
         @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) l: u32) {{\n{body}}}\n"
    )
}

fn chain(n: usize) -> String {
    let mut body = String::from("    if l == 0u { y[0] = 0u; }\n");
    for k in 1..n {
        body += &format!("    else if l == {k}u {{ y[l] = {k}u; }}\n");
    }
    kernel(&body)
}

fn sum(n: usize) -> String {
    kernel(&format!("    y[l] =\n {};\n", vec!["l"; n].join(" + ")))
}

/// On a thread with the stack of a thread of a pool.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn long_programs_survive_every_stage() {
    on_a_small_stack(|| {
        for text in [chain(4_000), sum(50_000)] {
            for stage in STAGES {
                // naga nests an `else if` in its MSL, HLSL and WGSL, and reads no such depth itself.
                let got = outcome(stage, &text);
                let refused = got.as_ref().err().is_some_and(|e| e.contains("can't read again"));
                assert!(got.is_ok() || stage == "wgsl" && refused, "{stage}: {got:?}");
            }
        }
    });
}

#[test]
fn longer_ones_are_refused_with_their_line() {
    on_a_small_stack(|| {
        for (text, line) in [(chain(5_000), 4_004), (sum(250_000), 3)] {
            let e = Lowered::new(Composed::verbatim("t.wgsl", &text)).unwrap_err();
            let LowerError::TooDeep { at, message } = &e else { panic!("{e}") };
            assert_eq!(at.line, line, "{e}");
            assert!(message.contains("more than"), "{e}");
        }
        let nested = kernel(&format!("    y[l] = {}1u{};\n", "(".repeat(5_000), ")".repeat(5_000)));
        let e = outcome("read", &nested).unwrap_err();
        assert!(e.starts_with("t.wgsl:"), "{e}");
        let blocks = kernel(&format!("{}{}\n", "{".repeat(50_000), "}".repeat(50_000)));
        let e = outcome("read", &blocks).unwrap_err();
        assert!(e.starts_with("t.wgsl:"), "{e}");
    });
}
