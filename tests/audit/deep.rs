//! Long programs: time that does not grow with their square, and no stack that overflows.

use std::fmt::Write;
use std::time::{Duration, Instant};

use wgpu_marlin::audit::{Report, Settings, audit_wgsl};

const HEAD: &str = "struct P { n: u32 }
@group(0) @binding(0) var<uniform> p: P;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read_write> o: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3<u32>) {
    let i = g.x;
";

/// Bounds are about ten times what a slow machine needs.
fn within(seconds: u64, body: &str) -> Report {
    let text = format!("{HEAD}{body}}}\n");
    let begun = Instant::now();
    let report = audit_wgsl("deep.wgsl", &text, &Settings::default());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(seconds), "{took:?}");
    report
}

fn chain(n: usize, condition: impl Fn(usize) -> String, arm: impl Fn(usize) -> String) -> String {
    let mut body = format!("    var x = 0u;\n    if {} {{ {} }}\n", condition(0), arm(0));
    for k in 1..n {
        writeln!(body, "    else if {} {{ {} }}", condition(k), arm(k)).expect("memory");
    }
    body + "    o[i] = x;\n"
}

#[test]
fn chains_of_else_if() {
    let by_parameter = chain(1600, |k| format!("p.n == {k}u"), |k| format!("o[{k}u * 64u + i] = {k}u;"));
    assert!(within(15, &by_parameter).sites.len() > 1600);
    let by_data = chain(1600, |k| format!("a[i] == {k}u"), |k| format!("x = {k}u + i;"));
    assert!(within(15, &by_data).kernels[0].analysed);
    let by_lane = chain(1600, |k| format!("i == {k}u"), |k| format!("x = {}u;", 7 * k));
    assert!(within(15, &by_lane).kernels[0].analysed);
    let endless = chain(5000, |k| format!("p.n == {k}u"), |k| format!("x = {k}u;"));
    let report = within(15, &endless);
    let reason = report.kernels[0].reason.as_deref().expect("refused");
    assert!(reason.contains("branches with `else if`"), "{reason}");
}

#[test]
fn a_chain_on_a_thread_of_a_pool() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let body = chain(1000, |k| format!("p.n == {k}u"), |k| format!("o[{k}u * 64u + i] = {k}u;"));
    assert!(pool.install(|| within(15, &body)).kernels[0].analysed);
}

#[test]
fn many_accesses() {
    let mut body = String::from("    var s = 0u;\n");
    for k in 0..4000 {
        writeln!(body, "    s += a[i * 8u + {k}u];").expect("memory");
    }
    let report = within(20, &(body + "    o[i] = s;\n"));
    assert_eq!(report.sites.len(), 4001);
}

#[test]
fn long_sums() {
    let sum = |n: usize| format!("    o[i] = {};\n", vec!["i"; n].join(" + "));
    let report = within(20, &sum(50_000));
    assert!(report.kernels[0].analysed, "{:?}", report.kernels[0].reason);
    let report = within(20, &sum(250_000));
    let reason = report.kernels[0].reason.as_deref().expect("refused");
    assert!(reason.starts_with("deep.wgsl:") && reason.contains("operators"), "{reason}");
}
