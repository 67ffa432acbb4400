//! Metal kernels rebuilt small from public reports: what the auditor makes of the compiled text, in the author's words.

use wgpu_marlin::audit::{Pattern, Report, Settings, Severity, Site, audit_metal};
use wgpu_marlin::lower::Defines;

fn audit(name: &str) -> Option<Report> {
    crate::metal::clang(name)?;
    let path = format!("{}/tests/fixtures/audit/published/{name}.metal", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("readable fixture");
    let report = audit_metal(&format!("{name}.metal"), &text, &Defines::new(), &Settings::default());
    for k in &report.kernels {
        assert!(k.analysed, "{}: {:?}", k.name, k.reason);
    }
    Some(report)
}

fn site<'r>(report: &'r Report, kernel: &str, buffer: &str) -> &'r Site {
    let found = report.sites.iter().find(|s| s.kernel == kernel && s.buffer == buffer);
    found.unwrap_or_else(|| panic!("no access to {buffer} in {kernel}"))
}

fn worst(report: &Report, kernel: &str) -> Option<Severity> {
    report.findings.iter().filter(|f| f.kernel == kernel).map(|f| f.severity).max()
}

#[test]
fn an_element_that_the_compiler_loads_in_pieces_is_one_access() {
    let Some(report) = audit("whole_loads") else { return };
    for (buffer, useful, fetched) in
        [("q", 384.0, 384.0), ("s", 512.0, 512.0), ("p", 384.0, 512.0), ("v", 640.0, 1024.0)]
    {
        for kernel in ["loads", "stores"] {
            let s = site(&report, kernel, buffer);
            assert_eq!((s.useful_bytes, s.fetched_bytes), (Some(useful), Some(fetched)), "{kernel} {buffer}");
            assert_eq!(report.sites.iter().filter(|o| o.kernel == kernel && o.buffer == buffer).count(), 1);
        }
    }
    assert_eq!(site(&report, "loads", "h").pattern, Pattern::Coalesced);
    assert_eq!(worst(&report, "loads"), Some(Severity::Info));
    let padding = report.findings.iter().find(|f| f.message.contains("array `v`")).expect("said");
    assert!(padding.message.contains("20 of the 32 bytes of `Vertex`") && padding.message.contains("62.5 %"));
    let vector = report.findings.iter().find(|f| f.message.contains("array `p`")).expect("said");
    assert!(vector.message.contains("12 of the 16 bytes of `float3`"), "{}", vector.message);
    assert!(!vector.notes.iter().any(|n| n.contains("neighbouring")), "{:?}", vector.notes);
    let Some(report) = audit("vec3") else { return };
    assert_eq!(report.worst(), Some(Severity::Info));
}

#[test]
fn fields_and_counters_have_the_authors_names() {
    let Some(report) = audit("byte_stride") else { return };
    for kernel in ["rows", "walk"] {
        let load = site(&report, kernel, "x");
        assert_eq!((load.blocks128, load.blocks32), (Some(32.0), Some(32.0)), "{kernel}: a float is aligned");
        assert_eq!(load.stride_symbol.as_deref(), Some("a.pitch"));
    }
    assert!(
        report
            .findings
            .iter()
            .any(|f| f.message.contains("4 bytes per step of `k`, a.pitch bytes between lanes"))
    );
    let mut settings = Settings::default();
    settings.set("a.pitch", 4.0);
    let text = include_str!("../fixtures/audit/published/byte_stride.metal");
    let known = audit_metal("byte_stride.metal", text, &Defines::new(), &settings);
    assert_eq!(site(&known, "rows", "x").pattern, Pattern::Coalesced);
}

#[test]
fn ids_by_subscript_are_followed() {
    let Some(report) = audit("subscript_id") else { return };
    for kernel in ["k", "k2", "k3"] {
        assert_eq!(site(&report, kernel, "a").pattern, Pattern::Coalesced, "{kernel}");
        assert_eq!(site(&report, kernel, "o").pattern, Pattern::Coalesced, "{kernel}");
    }
}

#[test]
fn reversed_bits_are_no_neighbours() {
    let Some(report) = audit("bitrev") else { return };
    for kernel in ["by_constant", "by_log", "by_size", "by_grid", "by_loop"] {
        assert_eq!(site(&report, kernel, "a").pattern, Pattern::Strided, "{kernel}");
        assert_eq!(worst(&report, kernel), Some(Severity::Warning), "{kernel}");
    }
    assert_eq!(site(&report, "by_constant", "a").blocks128, Some(32.0));
}

#[test]
fn an_assumed_length_excuses_no_distance() {
    let Some(report) = audit("assumed_loop") else { return };
    for kernel in ["first", "second"] {
        assert_eq!(site(&report, kernel, "K").blocks128, Some(32.0));
        assert_eq!(worst(&report, kernel), Some(Severity::Warning), "{kernel}");
    }
}

#[test]
fn scores_of_a_tiled_loop_are_read_back() {
    let Some(report) = audit("round_trip") else { return };
    assert!(report.findings.iter().any(|f| f.code == "round-trip" && f.message.contains("`P`")));
}

#[test]
fn components_of_a_vector_that_a_loop_steps_are_followed() {
    let Some(report) = audit("component_arith") else { return };
    // Lanes differ in x: stores are side by side, all lanes load what y says.
    assert_eq!(site(&report, "kf", "b").blocks128_if_aligned, Some(1.0));
    assert!(matches!(site(&report, "kf", "b").pattern, Pattern::Coalesced | Pattern::Misaligned));
    assert_ne!(site(&report, "kf", "a").pattern, Pattern::Unknown);
}

#[test]
fn a_condition_that_made_up_values_contradict_leaves_the_others() {
    let Some(report) = audit("tile_bound") else { return };
    let ways: Vec<_> =
        report.sites.iter().filter(|s| s.buffer == "tile").filter_map(|s| s.bank_ways).collect();
    assert!(ways.iter().all(|&w| w <= 16) && ways.contains(&16), "{ways:?}");
}

#[test]
fn a_bitonic_sort_in_workgroup_memory_is_followed() {
    let Some(report) = audit("bitonic") else { return };
    let own: Vec<_> = report.sites.iter().filter(|s| s.buffer == "threadgroup(0)").collect();
    assert!(own.iter().all(|s| s.pattern != Pattern::Unknown), "{own:?}");
    assert!(report.findings.iter().any(|f| f.code == "scattered" && f.message.contains("`a`")));
}
