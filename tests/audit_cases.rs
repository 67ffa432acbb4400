//! Access patterns with known answers: exact block counts and verdicts, and silence where nothing is wrong.

use wgpu_marlin::audit::{Pattern, Report, Settings, Severity, Site, audit_wgsl};

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

fn audit(fixture: &str) -> Report {
    let path = format!("{}/tests/fixtures/audit/{fixture}.wgsl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let report = audit_wgsl(&format!("{fixture}.wgsl"), &text, &Settings::default());
    for k in &report.kernels {
        assert!(k.analysed, "{fixture}: {:?}", k.reason);
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
    for &(fixture, text, lanes, useful, as_aligned, if_aligned, pattern) in COUNTED {
        let report = audit(fixture);
        let site = report.site(text).unwrap_or_else(|| panic!("{fixture}: no access `{text}`"));
        assert_eq!(site.active_lanes, Some(lanes), "{fixture} {text}: lanes");
        assert_eq!(site.useful_bytes, Some(useful), "{fixture} {text}: useful bytes");
        assert_eq!(blocks(site), (Some(as_aligned), Some(if_aligned)), "{fixture} {text}: blocks");
        assert_eq!(site.pattern, pattern, "{fixture} {text}");
    }
}

#[test]
fn strides_are_given_in_bytes() {
    for (fixture, text, stride) in [
        ("a01", "m[", 4096),
        ("a06", "m[", 8196),
        ("a16", "o[", 4096),
        ("r2", "w[", 1024),
        ("k1", "k[", 128),
        ("a15", "src[", 136),
    ] {
        assert_eq!(audit(fixture).site(text).unwrap().stride_bytes, Some(stride), "{fixture}");
    }
}

#[test]
fn data_dependent_addresses_are_scattered() {
    for (fixture, text) in [("a12", "x["), ("a14", "edges["), ("a14", "cost[")] {
        assert_eq!(audit(fixture).site(text).unwrap().pattern, Pattern::Scattered, "{fixture} {text}");
    }
}

#[test]
fn bank_ways_follow_the_model() {
    assert_eq!(audit("w1").site("tile[l.x * 64u").unwrap().bank_ways, Some(32));
    assert_eq!(audit("w2").site("tile[l.x * 66u").unwrap().bank_ways, Some(1));
}

#[test]
fn local_arrays_are_no_memory() {
    let report = audit("l1");
    assert!(report.sites.iter().all(|s| s.buffer == "o"), "{:?}", report.sites);
}

#[test]
fn what_must_be_said_is_said_and_nothing_worse() {
    for &(fixture, wanted) in SAID {
        let report = audit(fixture);
        let worst = report.findings.iter().map(|f| f.severity).max();
        match wanted {
            None => assert!(report.findings.is_empty(), "{fixture} is silent: {:#?}", report.findings),
            Some((code, severity)) => {
                assert!(
                    report.findings.iter().any(|f| f.code == code && f.severity == severity),
                    "{fixture} must say {code}: {:#?}",
                    report.findings
                );
                assert_eq!(worst, Some(severity), "{fixture}: {:#?}", report.findings);
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
