//! Access patterns with known answers, in WGSL and in Metal: exact block counts and verdicts, and silence where
//! nothing is wrong.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use wgpu_marlin::audit::{Pattern, Report, Settings, Severity, Site, audit_ir, audit_metal, audit_wgsl};
use wgpu_marlin::lower::Defines;
use wgpu_marlin::metal::{Source, llvm_ir};

/// Blocks of 32, 64 and 128 bytes per request.
type Blocks = [f64; 3];

/// (fixture, text of the access, active lanes, useful bytes, blocks, blocks if aligned, verdict)
type Case = (&'static str, &'static str, f64, f64, Blocks, Blocks, Pattern);

#[rustfmt::skip]
const COUNTED: &[Case] = &[
    ("a01", "m[", 32.0, 128.0, [32.0, 32.0, 32.0], [32.0, 32.0, 32.0], Pattern::Strided),
    ("a02", "a[", 16.0, 16.0, [1.5, 1.25, 1.125], [1.0, 1.0, 1.0], Pattern::Broadcast),
    ("a03", "rec[", 32.0, 128.0, [8.0, 4.0, 2.0], [8.0, 4.0, 2.0], Pattern::Strided),
    ("a04", "q[", 25.0, 200.0, [6.25, 3.625, 2.3125], [6.25, 3.25, 1.75], Pattern::Coalesced),
    ("a05", "xj[", 32.0, 256.0, [8.0, 4.0, 2.0], [8.0, 4.0, 2.0], Pattern::Coalesced),
    ("a06", "m[", 16.0, 64.0, [16.0, 16.0, 16.0], [16.0, 16.0, 16.0], Pattern::Strided),
    ("a07", "m[", 16.0, 64.0, [2.875, 1.9375, 1.46875], [2.0, 1.0, 1.0], Pattern::Misaligned),
    ("a08", "ly[", 32.0, 8.0, [1.25, 1.125, 1.0625], [1.0, 1.0, 1.0], Pattern::Broadcast),
    ("a09", "m[", 32.0, 128.0, [4.0, 2.0, 2.0], [4.0, 2.0, 2.0], Pattern::Rows),
    ("a10", "c[", 32.0, 8.0, [2.0, 2.0, 2.0], [2.0, 2.0, 2.0], Pattern::Broadcast),
    ("a11", "src[", 32.0, 128.0, [5.0, 3.0, 2.0], [4.0, 2.0, 1.0], Pattern::Misaligned),
    ("a13", "d[", 32.0, 128.0, [4.0, 2.0, 1.0], [4.0, 2.0, 1.0], Pattern::Coalesced),
    ("a15", "src[", 32.0, 128.0, [32.0, 32.0, 32.0], [32.0, 32.0, 32.0], Pattern::Sequential),
    ("a15", "o[", 32.0, 128.0, [5.0, 3.0, 2.0], [4.0, 2.0, 1.0], Pattern::Misaligned),
    ("a16", "m[", 32.0, 128.0, [4.0, 2.0, 2.0], [4.0, 2.0, 2.0], Pattern::Rows),
    ("a16", "o[", 32.0, 128.0, [16.0, 16.0, 16.0], [16.0, 16.0, 16.0], Pattern::Strided),
    ("a17", "v[", 32.0, 128.0, [12.0, 6.0, 3.0], [12.0, 6.0, 3.0], Pattern::Strided),
    ("r1", "w[", 32.0, 64.0, [2.0, 1.0, 1.0], [2.0, 1.0, 1.0], Pattern::Coalesced),
    ("r2", "w[", 32.0, 256.0, [32.0, 32.0, 32.0], [32.0, 32.0, 32.0], Pattern::Sequential),
    ("r3", "w[", 32.0, 256.0, [8.0, 4.0, 2.0], [8.0, 4.0, 2.0], Pattern::Coalesced),
    ("k1", "k[", 32.0, 64.0, [32.0, 32.0, 32.0], [32.0, 32.0, 32.0], Pattern::Sequential),
    ("k2", "k[", 32.0, 64.0, [2.0, 1.0, 1.0], [2.0, 1.0, 1.0], Pattern::Coalesced),
    ("l3", "t[", 32.0, 127.75, [4.9375, 2.9375, 1.9375], [4.0, 2.0, 1.0], Pattern::Misaligned),
    ("l2", "out[", 1.0, 4.0, [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], Pattern::SingleLane),
];

/// (fixture, code, severity): what must be said, and nothing worse about anything else.
#[rustfmt::skip]
const SAID: &[(&str, Option<(&str, Severity)>)] = &[
    ("a01", Some(("strided", Severity::Warning))),
    ("a02", None),
    ("a03", Some(("array-of-structs", Severity::Warning))),
    ("a04", None),
    ("a05", None),
    ("a06", Some(("strided", Severity::Warning))),
    ("a07", Some(("misaligned", Severity::Info))),
    ("a08", None),
    ("a09", Some(("rows", Severity::Info))),
    ("a10", None),
    ("a11", Some(("misaligned", Severity::Info))),
    ("a12", Some(("scattered", Severity::Warning))),
    ("a13", None),
    ("a14", Some(("scattered", Severity::Warning))),
    ("a15", Some(("sequential", Severity::Warning))),
    ("a16", Some(("strided", Severity::Warning))),
    ("a17", Some(("array-of-structs", Severity::Warning))),
    ("r1", Some(("narrow", Severity::Info))),
    ("r2", Some(("sequential", Severity::Warning))),
    ("r3", None),
    ("k1", Some(("sequential", Severity::Warning))),
    ("k2", None),
    ("l1", None),
    ("l2", None),
    ("l3", Some(("misaligned", Severity::Info))),
    ("w1", Some(("bank-conflict", Severity::Warning))),
    ("w2", None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Language {
    Wgsl,
    Metal,
}
use Language::{Metal, Wgsl};

/// The languages to test in: without clang there is no Metal.
fn languages() -> Vec<Language> {
    match crate::metal::clang("the Metal fixtures") {
        Some(_) => vec![Wgsl, Metal],
        None => vec![Wgsl],
    }
}

fn read(fixture: &str, extension: &str) -> String {
    let path = format!("{}/tests/fixtures/audit/{fixture}.{extension}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The workgroup size that WGSL text gives: in Metal the host has it.
fn workgroup_size(wgsl: &str) -> [u32; 3] {
    let sizes = wgsl.split_once("@workgroup_size(").unwrap().1.split_once(')').unwrap().0;
    let mut all = [1; 3];
    for (slot, size) in all.iter_mut().zip(sizes.split(',')) {
        *slot = size.trim().parse().unwrap();
    }
    all
}

/// Each fixture is audited once: clang takes its time.
fn audit(fixture: &'static str, language: Language) -> Report {
    static DONE: LazyLock<Mutex<HashMap<(&str, Language), Report>>> = LazyLock::new(Mutex::default);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    done.entry((fixture, language)).or_insert_with(|| audit_anew(fixture, language)).clone()
}

fn audit_anew(fixture: &str, language: Language) -> Report {
    let wgsl = read(fixture, "wgsl");
    let report = match language {
        Wgsl => audit_wgsl(&format!("{fixture}.wgsl"), &wgsl, &Settings::default()),
        Metal => {
            let settings = Settings { workgroup_size: Some(workgroup_size(&wgsl)), ..Settings::default() };
            let text = read(fixture, "metal");
            audit_metal(&format!("{fixture}.metal"), &text, &Defines::new(), &settings)
        }
    };
    for k in &report.kernels {
        assert!(k.analysed, "{fixture} {language:?}: {:?}", k.reason);
    }
    report
}

fn blocks(s: &Site) -> (Option<Blocks>, Option<Blocks>) {
    let three = |a: Option<f64>, b: Option<f64>, c: Option<f64>| Some([a?, b?, c?]);
    (
        three(s.blocks32, s.blocks64, s.blocks128),
        three(s.blocks32_if_aligned, s.blocks64_if_aligned, s.blocks128_if_aligned),
    )
}

#[test]
fn counts_are_exact_and_verdicts_right() {
    for language in languages() {
        for &(fixture, text, lanes, useful, as_aligned, if_aligned, pattern) in COUNTED {
            let what = format!("{fixture} {text} {language:?}");
            let report = audit(fixture, language);
            let site = report.site(text).unwrap_or_else(|| panic!("{what}: not there: {:#?}", report.sites));
            assert_eq!(site.active_lanes, Some(lanes), "{what}: lanes");
            assert_eq!(site.useful_bytes, Some(useful), "{what}: useful bytes");
            assert_eq!(blocks(site), (Some(as_aligned), Some(if_aligned)), "{what}: blocks");
            assert_eq!(site.pattern, pattern, "{what}");
        }
    }
}

#[test]
fn strides_are_given_in_bytes() {
    for language in languages() {
        for (fixture, text, stride) in [
            ("a01", "m[", 4096),
            ("a06", "m[", 8196),
            ("a16", "o[", 4096),
            ("r2", "w[", 1024),
            ("k1", "k[", 128),
            ("a15", "src[", 136),
        ] {
            let report = audit(fixture, language);
            assert_eq!(report.site(text).unwrap().stride_bytes, Some(stride), "{fixture} {language:?}");
        }
    }
}

#[test]
fn data_dependent_addresses_are_scattered() {
    for language in languages() {
        for (fixture, text) in [("a12", "x["), ("a14", "edges["), ("a14", "cost[")] {
            let report = audit(fixture, language);
            assert_eq!(
                report.site(text).unwrap().pattern,
                Pattern::Scattered,
                "{fixture} {text} {language:?}"
            );
        }
    }
}

#[test]
fn bank_ways_follow_the_model() {
    for language in languages() {
        assert_eq!(audit("w1", language).site("tile[l.x * 64").unwrap().bank_ways, Some(32), "{language:?}");
        assert_eq!(audit("w2", language).site("tile[l.x * 66").unwrap().bank_ways, Some(1), "{language:?}");
    }
}

#[test]
fn local_arrays_are_no_memory() {
    for language in languages() {
        let report = audit("l1", language);
        assert!(report.sites.iter().all(|s| s.buffer == "o"), "{language:?}: {:?}", report.sites);
    }
}

#[test]
fn what_must_be_said_is_said_and_nothing_worse() {
    for language in languages() {
        for &(fixture, wanted) in SAID {
            let what = format!("{fixture} {language:?}");
            let report = audit(fixture, language);
            let worst = report.findings.iter().map(|f| f.severity).max();
            match wanted {
                None => assert!(report.findings.is_empty(), "{what} is silent: {:#?}", report.findings),
                Some((code, severity)) => {
                    assert!(
                        report.findings.iter().any(|f| f.code == code && f.severity == severity),
                        "{what} must say {code}: {:#?}",
                        report.findings
                    );
                    assert_eq!(worst, Some(severity), "{what}: {:#?}", report.findings);
                }
            }
        }
    }
}

#[test]
fn suppressions_work_by_module_function_and_line_and_unused_ones_are_reported() {
    let kernel = |before: &str, attribute: &str, comment: &str| {
        format!(
            "{before}
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
{attribute}
fn column(i: u32) -> f32 {{
    return m[i * 1024u]; {comment}
}}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {{ o[g.x] = column(g.x); }}
"
        )
    };
    let codes = |text: String| -> Vec<&'static str> {
        audit_wgsl("s.wgsl", &text, &Settings::default()).findings.iter().map(|f| f.code).collect()
    };
    assert_eq!(codes(kernel("", "", "")), ["strided"]);
    assert!(codes(kernel("diagnostic(off, marlin.strided);", "", "")).is_empty());
    assert!(codes(kernel("", "@diagnostic(off, marlin.strided)", "")).is_empty());
    assert!(codes(kernel("", "", "// marlin: allow(strided) small table")).is_empty());
    assert_eq!(
        codes(kernel("diagnostic(off, marlin.scattered);", "", "")),
        ["strided", "unused-suppression"]
    );
}

/// What is not known is named, not replaced by the number that it was counted with.
#[test]
fn a_stride_through_a_division_names_the_parameter() {
    let text = "
@group(0) @binding(0) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@group(0) @binding(2) var<uniform> pitch: u32;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) { o[g.x] = k[(g.x * pitch + 8u) / 4u].x; }
";
    let report = audit_wgsl("s.wgsl", text, &Settings::default());
    let load = report.site("k[(g.x").unwrap();
    assert_eq!((load.stride_bytes, load.stride_symbol.as_deref()), (None, Some("16·pitch/4")));
}

#[test]
fn an_access_larger_than_any_memory_is_not_counted() {
    let Some(clang) = crate::metal::clang("a vector of 2^64 - 1 floats") else { return };
    let text = "#include <metal_stdlib>\nkernel void f(device float* a, device const float* b, \
                uint g [[thread_position_in_grid]]) { a[g] = b[g]; }\n";
    let mut ir = llvm_ir(&clang, &Source::new("huge.metal", text)).unwrap();
    for access in ["load", "store"] {
        let huge = format!("{access} <18446744073709551615 x float>");
        ir.text = ir.text.replace(&format!("{access} float"), &huge);
    }
    let report = audit_ir(&ir, "huge.metal", text, &Settings::default());
    assert_eq!(report.sites.len(), 2);
    for site in &report.sites {
        assert_eq!(site.pattern, Pattern::Unknown);
        assert!(site.assumptions[0].contains("bytes per lane"), "{:?}", site.assumptions);
    }
}

#[test]
fn structs_that_lanes_read_whole_are_no_warning() {
    let kernel = |more: &str| {
        format!(
            "struct Block {{ scale: u32, codes: array<u32, 4> }}
            @group(0) @binding(0) var<storage, read> blocks: array<Block>;
            @group(0) @binding(1) var<storage, read_write> sums: array<u32>;
            @compute @workgroup_size(64)
            fn main(@builtin(global_invocation_id) g: vec3<u32>) {{
                let block = g.x / 2u;
                var sum = blocks[block].scale;
                {more}
                sums[g.x] = sum;
            }}"
        )
    };
    let severity = |text: &str| {
        let report = audit_wgsl("blocks.wgsl", text, &Settings::default());
        let found = report.findings.iter().find(|f| f.code == "array-of-structs").expect("a finding");
        found.severity
    };
    assert_eq!(severity(&kernel("")), Severity::Warning);
    // Two lanes share a block, each takes half of its codes.
    let halves = "for (var i = 0u; i < 2u; i++) { sum += blocks[block].codes[g.x % 2u * 2u + i]; }";
    assert_eq!(severity(&kernel(halves)), Severity::Info);
    let half = "for (var i = 0u; i < 2u; i++) { sum += blocks[block].codes[i]; }";
    assert_eq!(severity(&kernel(half)), Severity::Warning);
}
