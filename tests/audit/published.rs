//! Kernels rebuilt small from public reports and public code: each stands for a kind of fault, its right value is in
//! its head or beside its line.

use std::path::PathBuf;

use wgpu_marlin::audit::{
    Confidence, Finding, Pattern, Report, Request, Settings, Severity, Site, Target, run,
};

/// The audit of a fixture, for a GPU with 32 banks of 4 bytes.
fn audit(name: &str) -> Report {
    audit_with(name, &[])
}

fn audit_with(name: &str, values: &[(&str, f64)]) -> Report {
    let mut settings = Settings { banks: Target::Nvidia.banks(), ..Settings::default() };
    for (name, value) in values {
        settings.set(name, *value);
    }
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/audit/published/{name}.wgsl"));
    run(&Request { paths: vec![path], settings, ..Request::default() }).expect("readable fixture")
}

/// The access of a kernel whose text contains `text`.
fn site<'r>(report: &'r Report, kernel: &str, text: &str) -> &'r Site {
    let found = report.sites.iter().find(|s| s.kernel == kernel && s.source.contains(text));
    let texts = || report.sites.iter().map(|s| s.source.as_str()).collect::<Vec<_>>();
    found.unwrap_or_else(|| panic!("no `{text}` in {kernel}: {:?}", texts()))
}

/// The findings of one rule in a kernel, with the text that they underline beginning with `text`.
fn findings<'r>(report: &'r Report, kernel: &str, code: &str) -> Vec<&'r Finding> {
    report.findings.iter().filter(|f| f.kernel == kernel && f.code == code).collect()
}

fn note<'f>(f: &'f Finding, part: &str) -> Option<&'f str> {
    f.notes.iter().map(String::as_str).find(|n| n.contains(part))
}

fn worst(report: &Report, kernel: &str) -> Option<Severity> {
    report.findings.iter().filter(|f| f.kernel == kernel).map(|f| f.severity).max()
}

#[test]
fn bits_are_reversed_extracted_and_inserted() {
    let report = audit_with("bitrev", &[("p.bits", 16.0), ("p.n", 65536.0)]);
    for kernel in ["by_constant", "by_log", "by_size"] {
        let load = site(&report, kernel, "a[rev");
        assert_eq!((load.pattern, load.blocks128), (Pattern::Strided, Some(32.0)), "{kernel}");
    }
    let load = site(&report, "by_loop", "a[r]");
    assert_eq!((load.pattern, load.blocks128), (Pattern::Strided, Some(32.0)));
    // Unknown: nothing is made up about the distance.
    let unknown = audit("bitrev");
    assert_eq!(site(&unknown, "by_log", "a[rev").stride_bytes, None);
    // x = bits 2..5 of i, y = bits 3..6 with the lowest two replaced by those of i: rows 256 bytes apart.
    let report = audit("bits");
    let load = site(&report, "main", "a[x");
    let expected: std::collections::BTreeSet<u64> = (0..32u64)
        .map(|i| {
            let y = (i >> 3) & 7;
            ((((i >> 2) & 7) * 64 + ((y & !3) | (i & 3))) * 4) / 128
        })
        .collect();
    assert_eq!(load.blocks128, Some(expected.len() as f64));
}

#[test]
fn names_keep_their_capitals() {
    let report = audit("camel_name");
    let text = wgpu_marlin::audit::render::text(&report);
    assert!(text.contains("in kernel `clearGrid`, confidence: averaged"), "{text}");
    assert!(text.contains("in kernel `ClearGrid2D`"), "{text}");
}

#[test]
fn a_quotient_or_a_lone_parameter_is_a_note_with_its_condition() {
    for (name, code, what) in [
        ("chunk_per_lane", "sequential", "`((p.dim + 127) / 128)` is more than 1 element"),
        ("one_stride", "strided", "`p.stride` is more than 1 element"),
        ("clamped_rows", "strided", "`p.pitch` is more than 1 element"),
    ] {
        let report = audit(name);
        assert_eq!(worst(&report, "main"), Some(Severity::Info), "{name}");
        let found = findings(&report, "main", code);
        assert!(found.iter().any(|f| note(f, what).is_some()), "{name}: {found:?}");
    }
    // Known values decide: two elements per lane are few, a long row is not.
    let long = audit_with("one_stride", &[("p.stride", 64.0)]);
    assert_eq!(worst(&long, "main"), Some(Severity::Warning));
    assert_eq!(findings(&audit_with("one_stride", &[("p.stride", 1.0)]), "main", "strided").len(), 0);
    let long = audit_with("chunk_per_lane", &[("p.dim", 8192.0)]);
    assert_eq!(worst(&long, "main"), Some(Severity::Warning));
}

#[test]
fn a_stride_behind_a_division_is_large_only_where_rows_are_walked() {
    let kernel = |body: &str| {
        let text = format!(
            "@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> o: array<u32>;
@group(0) @binding(2) var<uniform> pitch: u32;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {{ var s = 0u; {body} o[g.x] = s; }}"
        );
        wgpu_marlin::audit::audit_wgsl("divided.wgsl", &text, &Settings::default())
    };
    let report = kernel("s += a[g.x * pitch / 32u];");
    assert_eq!(worst(&report, "main"), Some(Severity::Info));
    let found = findings(&report, "main", "strided");
    assert!(
        note(found[0], "bad if `4·pitch/32 bytes` is more than 1 element").is_some(),
        "{:?}",
        found[0].notes
    );
    // Keys of a token each, two to a word: the pitch is a row's.
    let report = kernel("for (var d = 0u; d < 32u; d++) { s += a[g.x * pitch / 2u + d]; }");
    assert_eq!(worst(&report, "main"), Some(Severity::Warning));
}

#[test]
fn a_stride_that_another_index_is_counted_in_stays_a_warning() {
    let text = "
struct P { n: u32 }
@group(0) @binding(0) var<uniform> p: P;
@group(0) @binding(1) var<storage, read> m: array<f32>;
@group(0) @binding(2) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn rows(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0.0;
    for (var d = 0u; d < p.n; d++) { sum += m[g.x * p.n + d]; }
    o[g.x] = sum;
}";
    let report = wgpu_marlin::audit::audit_wgsl("rows.wgsl", text, &Settings::default());
    assert_eq!(worst(&report, "rows"), Some(Severity::Warning));
}

#[test]
fn a_clamp_does_not_change_the_distance() {
    let report = audit("clamped_rows");
    let load = site(&report, "main", "a[(first");
    assert_eq!(load.stride_symbol.as_deref(), Some("4·p.pitch"));
    assert_eq!(load.blocks128, Some(32.0));
}

#[test]
fn bank_conflicts_are_counted_and_their_advice_is() {
    let report = audit("tile_row_pitches");
    let ways = |text: &str| site(&report, "column", text).bank_ways;
    assert_eq!([ways("t20["), ways("t18["), ways("t17["), ways("t16[")], [4, 2, 1, 16].map(Some));
    let report = audit("bytes_read_as_words");
    assert_eq!(site(&report, "read", "q128[").bank_ways, Some(8));
    assert_eq!(site(&report, "read", "q144[").bank_ways, Some(1));
    let found = findings(&report, "read", "bank-conflict");
    assert_eq!(found.len(), 1);
    assert!(note(found[0], "rows of 144 bytes instead of 128").is_some(), "{:?}", found[0].notes);
    assert!(note(found[0], "1 way instead of 8, counted").is_some(), "{:?}", found[0].notes);
    assert!(audit("transpose_by_vectors").findings.iter().all(|f| f.code != "bank-conflict"));
    let report = audit("transposed_store");
    let ways: Vec<_> = report
        .sites
        .iter()
        .filter(|s| s.buffer.starts_with("at"))
        .map(|s| (s.buffer.as_str(), s.bank_ways))
        .collect();
    assert_eq!(ways[..2], [("at", Some(2)); 2]);
    assert!(ways[2..].iter().all(|w| w.1 == Some(1)), "{ways:?}");
    let report = audit("adjacent_words");
    assert_eq!(site(&report, "adjacent", "pane[l * 2u").bank_ways, Some(2));
    assert_eq!(worst(&report, "apart"), None);
    let report = audit("tile_bound");
    assert_eq!(site(&report, "main", "tile[k]").bank_ways, Some(16));
}

#[test]
fn padding_is_advised_in_whole_elements_of_real_rows() {
    let report = audit("pad_advice");
    for (kernel, buffer, help) in [
        (
            "four_lanes_a_row",
            "r32",
            "rows of 144 bytes instead of 128 (element i at i + i / 32 * 4): 1 way instead of 8",
        ),
        (
            "four_lanes_a_row",
            "r33",
            "rows of 144 bytes instead of 132 (element i at i + i / 33 * 3): 1 way instead of 4",
        ),
        (
            "every_fourth_row",
            "a128",
            "rows of 528 bytes instead of 512 (element i at i + i / 128 * 4): 1 way instead of 2",
        ),
        (
            "every_fourth_row",
            "a129",
            "rows of 528 bytes instead of 516 (element i at i + i / 129 * 3): 1 way instead of 2",
        ),
        (
            "wide_elements",
            "v4",
            "rows of 80 bytes instead of 64 (element i at i + i / 4): 4 ways instead of 16",
        ),
    ] {
        let found = findings(&report, kernel, "bank-conflict");
        let found = found.iter().find(|f| f.message.contains(&format!("`{buffer}`"))).expect(buffer);
        assert!(note(found, help).is_some(), "{buffer}: {:?}", found.notes);
    }
    assert!(!report.findings.iter().any(|f| f.message.contains("r36") || f.message.contains("v5")));
}

#[test]
fn the_worst_level_of_a_scan_decides() {
    let report = audit("scan_levels");
    for (kernel, ways, alike, copies) in [("upward", 8, 7, 8), ("interleaved", 4, 6, 7)] {
        let store = report
            .sites
            .iter()
            .find(|s| s.kernel == kernel && s.buffer == "tree" && s.copies > 1)
            .expect("an unrolled access");
        assert_eq!(
            (store.bank_ways, store.copies_alike, store.copies),
            (Some(ways), alike, copies),
            "{kernel}"
        );
        for f in findings(&report, kernel, "bank-conflict") {
            assert_eq!(f.severity, Severity::Warning);
            assert!(note(f, &format!("{alike} of {copies} copies")).is_some(), "{:?}", f.notes);
            // A spare word after every round of the banks serves all levels; no row padding does.
            assert!(note(f, "i + i / 32): 1 way").is_some(), "{:?}", f.notes);
        }
    }
    let lines: Vec<u64> = (36..=40)
        .step_by(2)
        .filter_map(|line| report.sites.iter().find(|s| s.line == line && s.buffer == "tree")?.bank_ways)
        .collect();
    assert_eq!(lines, [2, 4, 8]);
}

#[test]
fn an_unknown_copy_hides_no_known_one() {
    let report = audit("unknown_hides");
    let strided = findings(&report, "both", "strided");
    assert_eq!((strided.len(), strided[0].severity), (1, Severity::Warning));
    assert!(strided[0].message.contains("1024 bytes"), "{}", strided[0].message);
    assert!(note(strided[0], "1 of 2 copies").is_some(), "{:?}", strided[0].notes);
    assert_eq!(findings(&report, "both", "unknown").len(), 1);
}

#[test]
fn lanes_that_a_guard_keeps_out_access_nothing() {
    let report = audit("scatter_one_lane");
    assert!(report.worst().is_none_or(|w| w == Severity::Info), "{:?}", report.findings);
    let load = site(&report, "early_return", "link[link[l");
    assert_eq!(
        (load.pattern, load.active_lanes, load.blocks128),
        (Pattern::SingleLane, Some(1.0), Some(1.0))
    );
    let load = site(&report, "by_two_lanes", "link[link[w");
    assert_eq!(load.active_lanes, Some(2.0));
}

#[test]
fn only_the_fields_that_are_used_count() {
    let report = audit("textbook");
    for kernel in ["age_only", "age_direct"] {
        let load = site(&report, kernel, "bodies[g.x]");
        assert_eq!(
            (load.bytes_per_lane, load.useful_bytes, load.fetched_bytes),
            (4, Some(128.0), Some(1024.0))
        );
        let found = findings(&report, kernel, "array-of-structs");
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning), "{kernel}");
        assert!(note(found[0], "1 line instead of 8, counted").is_some(), "{:?}", found[0].notes);
    }
    assert_eq!(worst(&report, "grow_older"), None);
    // Padding is not used, and a struct whose every field is used is no slip.
    let report = audit("vec3");
    let load = site(&report, "k", "v[g.x]");
    assert_eq!((load.bytes_per_lane, load.useful_bytes), (20, Some(640.0)));
    assert!(worst(&report, "k").is_none_or(|w| w == Severity::Info));
}

#[test]
fn textbook_kernels_are_what_textbooks_say() {
    let report = audit("textbook");
    let pattern = |kernel: &str, text: &str| site(&report, kernel, text).pattern;
    for text in ["val[k]", "x[idx[k]]", "idx[k]"] {
        assert_eq!(pattern("spmv_row_per_lane", text), Pattern::Scattered, "{text}");
    }
    assert_eq!(pattern("spmv_row_per_lane", "ptr[g.x]"), Pattern::Coalesced);
    assert_eq!(pattern("spmv_row_per_group", "val[k]"), Pattern::Misaligned);
    assert_eq!(pattern("spmv_row_per_group", "x[idx[k]]"), Pattern::Scattered);
    assert_eq!(site(&report, "stencil_z_fast", "x[i - 1u]").blocks128, Some(32.0));
    assert_eq!(pattern("stencil_x_fast", "x[i - p.cols]"), Pattern::Misaligned);
    assert_eq!(pattern("histogram_global", "atomicAdd"), Pattern::Scattered);
    assert_eq!(site(&report, "histogram_private", "own[l * 16u + b]").bank_ways, Some(16));
    let merged = report.sites.iter().find(|s| s.kernel == "histogram_local" && s.buffer == "bins");
    assert_eq!(merged.map(|s| s.pattern), Some(Pattern::Coalesced));
}

#[test]
fn three_words_a_lane_that_are_all_used_are_fine() {
    let report = audit("vec3");
    assert!(findings(&report, "k", "strided").is_empty());
    assert_eq!(site(&report, "k", "f[g.x * 3u]").stride_bytes, Some(12));
    assert_eq!(site(&report, "k", "p[g.x]").blocks128, Some(4.0));
}

#[test]
fn vectors_are_advised_only_where_there_is_none_yet() {
    let report = audit("vector_advice");
    let found = findings(&report, "parts", "vector-width");
    let of = |buffer: &str| {
        found
            .iter()
            .find(|f| f.message.contains(&format!("`{buffer}`")))
            .unwrap_or_else(|| panic!("{buffer}"))
    };
    for (buffer, n) in [("p", "3"), ("q", "4")] {
        assert!(note(of(buffer), "load the element once").is_some());
        assert!(of(buffer).message.starts_with(n), "{}", of(buffer).message);
    }
    assert!(note(of("f"), "array of vectors of 4").is_some());
    assert_eq!(found.len(), 3);
}

#[test]
fn a_loop_is_bounded_by_its_clamp() {
    // With a whole grid each of 32 lanes walks 16 words: 16 lines of 128 bytes.
    let mut settings = Settings { workgroups: Some([4, 1, 1]), ..Settings::default() };
    settings.set("p.n", 16384.0);
    let text = include_str!("../fixtures/audit/published/loop_bound.wgsl");
    let report = wgpu_marlin::audit::audit_wgsl("loop_bound.wgsl", text, &settings);
    let load = report.site("a[base + i]").expect("the load");
    assert_eq!((load.blocks128, load.confidence), (Some(16.0), Confidence::Exact));
    let unknown = audit("loop_bound");
    assert!(unknown.site("a[base + i]").and_then(|s| s.blocks128).is_some_and(|b| b <= 16.0));
}

#[test]
fn a_kernel_has_its_bytes_per_workgroup_and_per_dispatch() {
    let text = "
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    var sum = 0.0;
    for (var k = 0u; k < 16u; k++) { sum += a[(g.x * 16u + k) * 32u]; }
    for (var k = 0u; k < 4u; k++) { sum += a[k * 4096u + g.x]; }
    o[g.x] = sum;
}";
    let settings = Settings { workgroups: Some([10, 1, 1]), ..Settings::default() };
    let report = wgpu_marlin::audit::audit_wgsl("bytes.wgsl", text, &settings);
    let kernel = &report.kernels[0];
    // 64 lanes: 16 words that share no line, 4 words side by side, one store.
    let one = kernel.per_workgroup.expect("counted");
    assert_eq!((one.asked_bytes, one.useful_bytes, one.uncounted), (5376.0, 5376.0, 0));
    assert_eq!(one.fetched_bytes, 16.0 * 64.0 * 128.0 + 4.0 * 256.0 + 256.0);
    let all = kernel.per_dispatch.expect("the grid is known");
    assert_eq!(all.fetched_bytes, 10.0 * one.fetched_bytes);
    // Without the grid a workgroup's share is the same.
    let report = wgpu_marlin::audit::audit_wgsl("bytes.wgsl", text, &Settings::default());
    assert_eq!(report.kernels[0].per_workgroup, Some(one));
    assert_eq!(report.kernels[0].per_dispatch, None);
    assert!(report.summary().contains("per workgroup: lanes ask for 5376 bytes"), "{}", report.summary());
    let costs: Vec<f64> = report.findings.iter().map(|f| f.wasted_bytes.unwrap_or(-1.0)).collect();
    assert!(costs.windows(2).all(|p| p[0] >= p[1]) && costs[0] > 100_000.0, "{costs:?}");
}

#[test]
fn slots_and_prefix_sums_are_dense_by_nature() {
    let text = "
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> n: atomic<u32>;
@group(0) @binding(2) var<storage, read_write> o: array<u32>;
@group(0) @binding(3) var<storage, read_write> wide: array<array<u32, 64>>;
@compute @workgroup_size(64)
fn slots(@builtin(global_invocation_id) g: vec3<u32>) {
    if a[g.x] > 3u {
        let slot = atomicAdd(&n, 1u);
        o[slot] = g.x;
        wide[slot][3] = g.x;
    }
}
@compute @workgroup_size(64)
fn scan(@builtin(global_invocation_id) g: vec3<u32>) {
    let keep = u32(a[g.x] > 3u);
    let at = subgroupExclusiveAdd(keep);
    if keep == 1u { o[at] = g.x; }
}";
    let report = wgpu_marlin::audit::audit_wgsl("slots.wgsl", text, &Settings::default());
    for kernel in ["slots", "scan"] {
        let found: Vec<_> = findings(&report, kernel, "scattered")
            .into_iter()
            .filter(|f| f.message.contains("`o`"))
            .map(|f| (f.severity, note(f, "dense by nature").is_some()))
            .collect();
        assert_eq!(found, [(Severity::Info, true)], "{kernel}: {:?}", report.findings);
    }
    let store = report.sites.iter().find(|s| s.kernel == "slots" && s.buffer == "wide").expect("a row");
    assert_eq!(store.blocks128, Some(32.0), "slots 256 bytes apart");
    assert_eq!(worst(&report, "slots"), Some(Severity::Warning));
    assert_eq!(worst(&report, "scan"), Some(Severity::Info));
}

#[test]
fn scores_that_are_stored_and_read_back_are_found() {
    // A lane writes a score each, then all read the row in turn: as attention is commonly written.
    let text = "
struct P { n: u32, dim: u32 }
@group(0) @binding(0) var<uniform> p: P;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(64)
fn attention(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_index) l: u32) {
    for (var j = l; j < p.n; j += 64u) {
        var s = 0.0;
        for (var d = 0u; d < p.dim; d++) { s += q[w.x * p.dim + d] * k[j * p.dim + d]; }
        scores[w.x * p.n + j] = s;
    }
    storageBarrier();
    var most = -1e30;
    for (var j = 0u; j < p.n; j++) { most = max(most, scores[w.x * p.n + j]); }
    o[w.x * 64u + l] = most;
}";
    let report = wgpu_marlin::audit::audit_wgsl("scores.wgsl", text, &Settings::default());
    let found = findings(&report, "attention", "round-trip");
    assert_eq!(found.len(), 1, "{:?}", report.findings);
    assert!(found[0].message.contains("`scores`"));
}

/// The audit of a fixture with names for its preprocessor.
fn audit_defined(name: &str, defines: &[(&str, &str)]) -> Report {
    let mut names = wgpu_marlin::lower::Defines::new();
    defines.iter().for_each(|(name, value)| names.set(name, *value));
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/audit/published/{name}.wgsl"));
    run(&Request { paths: vec![path], defines: names, ..Request::default() }).expect("readable fixture")
}

#[test]
fn naga_oils_dialect_is_read() {
    let stored = |defines: &[(&str, &str)]| {
        let report = audit_defined("else_ifdef", defines);
        assert!(report.kernels[0].analysed, "{:?}", report.kernels[0].reason);
        report.sites[0].line
    };
    assert_eq!([stored(&[("A", "1")]), stored(&[("B", "1")]), stored(&[])], [5, 7, 9]);

    let report = audit_defined("value_def", &[("COUNT", "16")]);
    assert!(report.kernels[0].analysed, "{:?}", report.kernels[0].reason);
    let place = report.site("o[i + k * 64u]").map(|s| (s.line, s.column));
    assert_eq!(place, Some((4, 44)), "columns are the source's");
    let report = audit_defined("value_def", &[]);
    let reason = report.kernels[0].reason.as_deref().expect("no value");
    assert!(reason.contains("-D COUNT=VALUE"), "{reason}");

    // The module is found by what it calls itself, the alias and the qualifier go.
    let report = audit("oil_import");
    assert!(report.kernels[0].analysed, "{:?}", report.kernels[0].reason);
    let load = report.site("a[Shape::at(s, i, 3u)]").expect("the text is the author's");
    // `i + 3 * rows`, the rows unknown.
    assert_eq!((load.line, load.pattern), (6, Pattern::Misaligned));

    let report = audit("import_as");
    let reason = report.kernels[0].reason.as_deref().expect("the modules are not there");
    assert!(reason.contains("import_as.wgsl:2: `#import shapes::plane`"), "{reason}");
    assert!(!reason.contains(".wgsl` to include"), "{reason}");
}

#[test]
fn enable_subgroups_is_accepted() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("enable_subgroups.wgsl");
    let text = "enable subgroups;\n@group(0) @binding(0) var<storage, read_write> o: array<u32>;
@compute @workgroup_size(64) fn k(@builtin(global_invocation_id) g: vec3<u32>) { o[g.x] = subgroupAdd(g.x); }\n";
    std::fs::write(&dir, text).expect("a file");
    let report = run(&Request { paths: vec![dir], ..Request::default() }).expect("readable");
    assert!(report.kernels[0].analysed, "{:?}", report.kernels[0].reason);
}
