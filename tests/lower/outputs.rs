//! `marlin lower`: what each language is, and how a request that can't be met is refused.

use std::process::{Command, Output};

fn lower(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_marlin")).arg("lower").args(args).output().expect("marlin runs")
}

fn refusal(args: &[&str]) -> String {
    let output = lower(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn spirv_is_binary_and_its_assembly_is_text() {
    let folder = std::env::temp_dir().join(format!("marlin-lower-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("k.spv");
    let path = file.to_str().expect("a plain name");
    assert!(lower(&["patterns/coalesced", "--to", "spirv", "-o", path]).status.success());
    let bytes = std::fs::read(&file).expect("written");
    assert_eq!(bytes[..4], [0x03, 0x02, 0x23, 0x07], "SPIR-V's magic number, little-endian");
    assert_eq!(bytes.len() % 4, 0);
    std::fs::remove_dir_all(folder).expect("removed");

    let text = String::from_utf8(lower(&["patterns/coalesced", "--to", "spirv-asm"]).stdout).expect("text");
    for part in ["; patterns/coalesced", "OpEntryPoint GLCompute", "OpFunctionEnd"] {
        assert!(text.contains(part), "{text}");
    }
    // Several programs are several texts, and no binary.
    let e = refusal(&["attention/split", "--to", "spirv"]);
    assert!(e.contains("programs") && e.contains("spirv-asm"), "{e}");
}

#[test]
fn hlsl_is_refused_in_a_sentence() {
    let e = refusal(&["attention/flash_coop", "--to", "hlsl"]);
    assert!(e.contains("HLSL has no cooperative matrices"), "{e}");
}

#[test]
fn overrides_are_set_by_name() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/lower/override_without_default.wgsl");
    assert!(refusal(&[file, "--to", "msl"]).contains("'N'"));
    let text = String::from_utf8(lower(&[file, "--to", "msl", "--set", "N=7"]).stdout).expect("text");
    assert!(text.contains("N = 7u"), "{text}");
    assert!(refusal(&[file, "--to", "msl", "--set", "M=7"]).contains("no override `M`; it has `N`"));
    assert!(refusal(&[file, "--to", "msl", "--set", "N"]).contains("NAME=VALUE"));
}
