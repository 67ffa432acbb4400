//! Metal kernels rebuilt small from public reports: what the auditor makes of the compiled text, in the author's words.

use wgpu_marlin::audit::{Pattern, Report, Request, Settings, Severity, Site, audit_metal, run};
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

#[test]
fn text_as_its_author_published_it_is_taken() {
    // The fixture, its kernels, and accesses to buffers of which all are classified.
    let all = [
        ("address_space_overload", 1, 4),
        ("bf16_overload", 1, 2),
        ("bfloat_math", 1, 2),
        ("fc_expr", 1, 2),
        ("fc_expression", 1, 2),
        ("fc_no_space", 1, 2),
        ("fc_values", 3, 6),
        ("mb2", 1, 1),
        ("os_log", 1, 1),
        ("simd_names", 1, 1),
        ("threadgroup_init", 1, 2),
        ("uniform_type", 1, 2),
        ("vec_brace", 1, 1),
        ("project/proj/sub/include_root", 1, 2),
    ];
    for (name, kernels, at_least) in all {
        let Some(report) = audit_where_it_is(name) else { return };
        let analysed = report.kernels.iter().filter(|k| k.analysed).count();
        assert_eq!((analysed, report.kernels.len()), (kernels, kernels), "{name}: {:?}", report.kernels);
        let n = report.sites.iter().filter(|s| s.is_classified()).count();
        assert!(n >= at_least && n == report.sites.len(), "{name}: {:?}", report.sites);
    }
}

/// The fixture as a file in its folder.
fn audit_where_it_is(name: &str) -> Option<Report> {
    crate::metal::clang(name)?;
    let path = format!("{}/tests/fixtures/audit/published/{name}.metal", env!("CARGO_MANIFEST_DIR"));
    let request = Request { paths: vec![path.into()], ..Request::default() };
    Some(run(&request).expect("a readable fixture"))
}

#[test]
fn function_constants_are_unknown_until_given() {
    let Some(report) = audit("fc_values") else { return };
    // Both arms of what the constant decides.
    let stores = |r: &Report| r.sites.iter().filter(|s| s.kernel == "k" && s.buffer == "o").count();
    assert!(stores(&report) >= 1);
    assert_eq!(site(&report, "k", "p").stride_symbol.as_deref(), Some("4·width"));
    assert_eq!(worst(&report, "k"), Some(Severity::Info));
    assert_eq!(site(&report, "with_default", "p").stride_bytes, Some(128));
    let text = include_str!("../fixtures/audit/published/fc_values.metal");
    let given = |values: &[(&str, f64)]| {
        let mut settings = Settings::default();
        values.iter().for_each(|(name, value)| settings.set(name, *value));
        audit_metal("fc_values.metal", text, &Defines::new(), &settings)
    };
    let wide = given(&[("width", 64.0)]);
    for kernel in ["k", "always", "with_default"] {
        assert_eq!(site(&wide, kernel, "p").stride_bytes, Some(256), "{kernel}");
    }
    let plain = given(&[("fancy", 0.0)]);
    assert!(!plain.sites.iter().any(|s| s.kernel == "k" && s.buffer == "p"), "the arm is not reached");
    for name in ["width", "fancy"] {
        assert!(report.parameters.contains(name), "{name} can be given: {:?}", report.parameters);
    }
}

#[test]
fn a_comment_after_code_suppresses_that_line_only() {
    let Some(report) = audit("sup_trailing") else { return };
    let lines: Vec<_> = report.findings.iter().filter_map(|f| f.place().map(|l| (f.code, l.line))).collect();
    assert_eq!(lines, [("strided", 8)], "{:?}", report.findings);
}

#[test]
fn the_threadgroup_is_as_large_as_the_text_allows_and_said() {
    if crate::metal::clang("max_threads").is_none() {
        return;
    }
    let text = "#include <metal_stdlib>
using namespace metal;
constant constexpr int WAVES = 2;
[[max_total_threads_per_threadgroup(WAVES * 32)]]
kernel void bound(device float* o [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { o[l] = 1; }
kernel void free(device float* o [[buffer(0)]], uint2 t [[thread_position_in_threadgroup]]) { o[t.y * 32 + t.x] = 1; }
";
    let report = audit_metal("sizes.metal", text, &Defines::new(), &Settings::default());
    let size = |name: &str| {
        let kernel = report.kernels.iter().find(|k| k.name == name).expect("a row");
        (kernel.workgroup_size, kernel.workgroup_size_assumed)
    };
    assert_eq!(size("bound"), (Some([64, 1, 1]), true));
    assert_eq!(size("free"), (Some([32, 8, 1]), true));
    assert!(report.summary().contains("threadgroups of 32 × 8 × 1 are assumed"), "{}", report.summary());
    let settings = Settings { workgroup_size: Some([16, 1, 1]), ..Settings::default() };
    let report = audit_metal("sizes.metal", text, &Defines::new(), &settings);
    assert!(report.kernels.iter().all(|k| k.workgroup_size == Some([16, 1, 1]) && !k.workgroup_size_assumed));
    assert!(!report.summary().contains("assumed"));
}

#[test]
fn kernels_that_are_refused_are_named_beside_those_that_are_not() {
    if crate::metal::clang("refused").is_none() {
        return;
    }
    let text = "#include <metal_stdlib>
#include <MetalPerformancePrimitives/MetalPerformancePrimitives.h>
using namespace metal;
kernel void fine(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]) { o[i] = 1; }
kernel void tensors(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]) {
    constexpr auto d = mpp::tensor_ops::matmul2d_descriptor(8, 8, 8);
    o[i] = d.m;
}
kernel void slip(device float* o [[buffer(0)]], uint i [[thread_position_in_grid]]) { o[i] = nothing; }
";
    let report = audit_metal("part.metal", text, &Defines::new(), &Settings::default());
    let row = |name: &str| report.kernels.iter().find(|k| k.name == name).expect("a row");
    assert!(row("fine").analysed);
    let reason = |name: &str| row(name).reason.clone().unwrap_or_default();
    assert!(reason("tensors").contains("MetalPerformancePrimitives"), "{}", reason("tensors"));
    assert!(reason("slip").contains("nothing"), "{}", reason("slip"));
    assert_eq!((row("tensors").line, row("slip").line), (Some(5), Some(9)));
}

#[test]
fn what_public_libraries_write_compiles() {
    if crate::metal::clang("shapes").is_none() {
        return;
    }
    // Constructors by address space, literals in templates, macros in loop pragmas, a program's own `dot` and
    // `is_empty`.
    let text = "#include <metal_stdlib>
using namespace metal;
#define MOST(a, b) ((a) < (b) ? (a) : (b))
namespace metal { template <typename T> struct is_empty : metal::bool_constant<__is_empty(T)> {}; }
template <typename T> inline float dot(T a, T b) { return a * b; }
template <typename T> struct pair_of {
  T a, b;
  constexpr pair_of(T x) thread : a(x), b(x) {}
  constexpr pair_of(T x) threadgroup : a(x), b(x) {}
  constexpr pair_of(T x) device : a(x), b(x) {}
  constexpr pair_of(T x) constant : a(x), b(x) {}
  T sum() const thread { return a + b; }
  T sum() const constant { return a + b; }
};
constant bool wide [[function_constant(3)]];
constant float share = is_function_constant_defined(wide) && wide ? 0.5 : 0.25h;
template <typename T> kernel void k(device T* o [[buffer(0)]], constant int& n [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  float2 v = float2(o[i]);
  float s = pair_of<float>(1.0).sum() + dot(v, v) + dot(2.0, 3.0);
#pragma unroll (MOST(4, 2 * 4))
  for (int j = 0; j < 4; ++j) s += fmax(0, fmin(1, s / 6 + 0.5));
  o[i] = T(s * share);
}
template <typename T> struct of { T t; };
template <typename T> thread of<T>& operator+=(thread of<T>& a, of<T> b) { a.t += b.t; return a; }
template <typename I> vec<I, 2> start(uint3 e) { return vec<I, 2>(I(e.x), I(e.y)); }
template <typename I> kernel void steps(device float* o [[buffer(0)]], constant int& n [[buffer(1)]], uint3 g [[thread_position_in_grid]]) {
  auto at = start<I>({2 * g.x, g.y, g.z});
  I by = n;
  for (int j = 0; j < 4; ++j) { o[at.x] = float(at.y); at.x += by; at.y += by, at.y += 1; }
}
template [[host_name(\"ks\")]] kernel void steps<int>(device float*, constant int&, uint3);
template [[host_name(\"kf\")]] kernel void k<float>(device float*, constant int&, uint);
template [[host_name(\"kh\")]] kernel void k<half>(device half*, constant int&, uint);
";
    let report = audit_metal("shapes.metal", text, &Defines::new(), &Settings::default());
    assert!(report.kernels.iter().all(|k| k.analysed) && report.kernels.len() == 3, "{:?}", report.kernels);
}

#[test]
fn accesses_of_the_arms_of_a_branch_stand_where_the_text_has_them() {
    let Some(report) = audit("ternary_line") else { return };
    let found = |kernel: &str| {
        let own = report.sites.iter().filter(|s| s.kernel == kernel && s.line != 26);
        let mut all: Vec<_> = own.map(|s| (s.buffer.as_str(), s.line, s.column > 1)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(found("arms"), [("a", 13, true), ("b", 15, true), ("o", 13, true), ("o", 15, true)]);
    // Of a choice between two loads the compiler keeps the line only.
    let lines: Vec<_> = found("choice").into_iter().map(|(buffer, line, _)| (buffer, line)).collect();
    assert_eq!(lines, [("a", 24), ("b", 24)]);
    let lines: Vec<_> = report.findings.iter().filter_map(|f| f.place().map(|l| l.line)).collect();
    assert!(lines.iter().all(|l| [13, 15, 24].contains(l)) && lines.len() >= 5, "{lines:?}");
}
