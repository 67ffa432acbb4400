//! Speed of the auditor: a WGSL file of about 300 lines, and 80,000 lines of Metal including clang.
//!
//! The aims, on two cores: 20 ms for the WGSL, 30 s for the Metal. The Metal text is this crate's own kernels as
//! naga writes them, in files of some thousand lines, every kernel under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgpu_marlin::audit::{Request, Settings, audit_wgsl, run};
use wgpu_marlin::gpu::Caps;
use wgpu_marlin::kernels::{self, spec::CaseClass};
use wgpu_marlin::lower::{Checks, Shader};
use wgpu_marlin::measure::audit_shader;
use wgpu_marlin::metal::Clang;

const METAL_LINES: usize = 80_000;
const LINES_PER_FILE: usize = 8_000;

/// The shaders of all families at their smoke cases, by label.
fn shaders() -> BTreeMap<String, Shader> {
    let mut all = BTreeMap::new();
    for family in kernels::families() {
        for case in family.cases.iter().filter(|c| c.class == CaseClass::Smoke) {
            for variant in &family.variants {
                let Ok(plan) = case.plan(variant.ix, &Caps::apple()) else { continue };
                for dispatch in plan.dispatches {
                    all.insert(dispatch.shader.label(), dispatch.shader);
                }
            }
        }
    }
    all
}

fn wgsl(criterion: &mut Criterion) {
    let settings = Settings::default();
    let composed =
        shaders().into_values().filter_map(|s| Some((s.lower().ok()?.composed.text.lines().count(), s)));
    let Some((lines, shader)) = composed.min_by_key(|(lines, _)| lines.abs_diff(300)) else {
        return println!("skipped: no shader");
    };
    println!("{}: {lines} lines composed", shader.wgsl.path);
    let mut group = criterion.benchmark_group("audit wgsl");
    group.throughput(Throughput::Elements(lines as u64)).measurement_time(Duration::from_secs(5));
    group.bench_function("composed and audited", |b| {
        b.iter(|| assert!(audit_shader(&shader, &settings).kernels.iter().all(|k| k.analysed)));
    });
    let Ok(text) = shader.lower().map(|l| l.composed.text) else { return };
    group.bench_function("audited", |b| {
        b.iter(|| assert!(!audit_wgsl("bench.wgsl", &text, &settings).sites.is_empty()));
    });
    group.finish();
}

/// `text` with every name that it declares at its top level followed by `_number`.
fn renamed(text: &str, number: usize) -> String {
    let is_name = |c: char| c == '_' || c.is_alphanumeric();
    let mut declared = BTreeSet::new();
    let (mut depth, mut last, mut before, mut typedef) = (0i32, "", "", false);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let length = text[at..].find(|c| is_name(c) != is_name(text[at..].chars().next().unwrap_or(' ')));
        let end = if is_name(c) { at + length.unwrap_or(text.len() - at) } else { at + c.len_utf8() };
        let token = &text[at..end];
        match token {
            "{" | "(" | "["
                if depth == 0 && is_name(before.chars().last().unwrap_or(' ')) && !last.is_empty() =>
            {
                declared.insert(before);
                depth += i32::from(token != "[");
            }
            "=" if depth == 0 && !last.is_empty() => drop(declared.insert(before)),
            "typedef" => typedef = true,
            ";" if typedef => {
                if is_name(before.chars().last().unwrap_or(' ')) {
                    declared.insert(before);
                }
                typedef = false;
            }
            "{" | "(" => depth += 1,
            "}" | ")" => depth -= 1,
            _ => {}
        }
        if !token.trim().is_empty() {
            (last, before) = (before, token);
        }
        at = end;
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|x| is_name(x) != is_name(c)).unwrap_or(rest.len());
        out.push_str(&rest[..end]);
        if declared.contains(&rest[..end]) {
            out.push_str(&format!("_{number}"));
        }
        rest = &rest[end..];
    }
    out
}

fn metal(criterion: &mut Criterion) {
    if let Err(e) = Clang::find() {
        return println!("skipped: {e}");
    }
    let texts: Vec<String> = shaders()
        .into_values()
        .filter_map(|s| Some(s.lower().ok()?.to_msl(Shader::ENTRY, Checks::Unchecked).ok()?.text))
        .collect();
    let dir = tempfile::tempdir().expect("a folder for the files");
    let (mut file, mut lines, mut files) = (String::new(), 0, 0);
    for (number, text) in texts.iter().cycle().enumerate() {
        let text = renamed(text, number);
        lines += text.lines().count();
        file.push_str(&text);
        let done = lines >= METAL_LINES;
        if file.lines().count() >= LINES_PER_FILE || done {
            std::fs::write(dir.path().join(format!("{files}.metal")), std::mem::take(&mut file))
                .expect("a file");
            files += 1;
        }
        if done {
            break;
        }
    }
    let request = Request { paths: vec![dir.path().to_path_buf()], ..Request::default() };
    let report = run(&request).expect("files to audit");
    let analysed = report.kernels.iter().filter(|k| k.analysed).count();
    println!("{lines} lines in {files} files: {analysed} of {} kernels analysed", report.kernels.len());
    let left_out = report.kernels.iter().find(|k| !k.analysed);
    assert!(left_out.is_none(), "not analysed: {left_out:?}");
    let mut group = criterion.benchmark_group("audit metal");
    group
        .throughput(Throughput::Elements(lines as u64))
        .warm_up_time(Duration::from_millis(1))
        .sample_size(10);
    group.bench_function("80,000 lines with clang", |b| {
        b.iter(|| run(&request).expect("files to audit").sites.len());
    });
    group.finish();
}

criterion_group!(benches, wgsl, metal);
criterion_main!(benches);
