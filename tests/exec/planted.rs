//! Kernels from files with one planted fault each, and right ones that look suspect. Their heads say how to run them:
//! `//buf NAME BYTES` (or `zero:BYTES`, `u32:VALUE`), `//tex` and `//stex NAME WIDTH HEIGHT`, `//groups X Y Z`, and
//! `//expect KIND line N` — what is found, and the line of one of the accesses that it is about.

use std::path::Path;
use wgpu_marlin::exec::{Bindings, Buffer, Fault, FaultKind, Kernel, Options, Texture, locate};
use wgpu_marlin::lower::{Composed, Lowered};

enum Resource {
    Buffer(Buffer),
    Texture(Texture),
}

/// What a run finds: the fault that ends it, or the warnings.
fn found(name: &str, text: &str, width: u32, reverse: bool) -> Vec<Fault> {
    let lowered = Lowered::new(Composed::verbatim(name, text)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let kernel = Kernel::new(&lowered.module, &lowered.info, "main", &Default::default())
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut groups = [1u32; 3];
    let mut resources = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().expect("a number");
        match words[0] {
            "//groups" => groups = [number(1), number(2), number(3)],
            "//buf" => {
                let buffer = match words[2].split_once(':') {
                    Some(("u32", value)) => Buffer::from_slice(&[value.parse::<u32>().expect("a number")]),
                    Some(("zero", bytes)) => Buffer::zeroed(bytes.parse().expect("a number")),
                    _ => {
                        let bytes: Vec<u8> = (0..number(2)).map(|i| (i * 151 % 61) as u8).collect();
                        Buffer::from_bytes(&bytes)
                    }
                };
                resources.push((words[1], Resource::Buffer(buffer)));
            }
            kind @ ("//tex" | "//stex") => {
                let (width, height) = (number(2), number(3));
                let (format, texel) = match kind {
                    "//tex" => (naga::StorageFormat::Rgba32Float, 16),
                    _ => (naga::StorageFormat::R32Uint, 4),
                };
                let bytes = vec![0; (width * height) as usize * texel];
                let texture = Texture::new(format, [width, height, 1], &bytes).expect("a texture");
                resources.push((words[1], Resource::Texture(texture)));
            }
            _ => {}
        }
    }
    let mut bindings = Bindings::new();
    for b in kernel.bindings() {
        let resource = resources.iter().find(|(name, _)| *name == b.name).map(|(_, r)| r);
        bindings = match resource.unwrap_or_else(|| panic!("{name}: nothing for `{}`", b.name)) {
            Resource::Buffer(buffer) => bindings.buffer(b.group, b.binding, buffer),
            Resource::Texture(texture) => bindings.texture(b.group, b.binding, texture),
        };
    }
    let options = Options {
        subgroup_size: width,
        sanitize: true,
        reverse_subgroups: reverse,
        max_steps: 100_000,
        ..Options::default()
    };
    match kernel.run(groups, &bindings, &options) {
        Ok(run) => run.warnings,
        Err(e) => vec![e.fault().unwrap_or_else(|| panic!("{name}: {e}")).clone()],
    }
}

/// Whether a fault is of the kind that a head names. A missing barrier is also seen as a read of what is not yet
/// written, where the reader comes first.
fn is(kind: &str, fault: &FaultKind) -> bool {
    use FaultKind as F;
    match kind {
        "race" => matches!(fault, F::Race { .. } | F::Uninitialized { .. }),
        "oob" => matches!(fault, F::OutOfBounds { .. }),
        "barrier" => matches!(fault, F::DivergentBarrier { .. }),
        "steps" => matches!(fault, F::StepLimit(_)),
        "shift" => matches!(fault, F::LargeShift { .. }),
        "subgroup" => matches!(fault, F::AbsentLane { .. } | F::DivergentSubgroup { .. }),
        other => panic!("no kind `{other}`"),
    }
}

/// What a file's head expects and is not found, or is found and not expected.
fn wrong(name: &str, text: &str, width: u32, reverse: bool) -> Option<String> {
    let found = found(name, text, width, reverse);
    let shown: Vec<String> = found
        .iter()
        .map(|f| format!("line {}: {f}", locate(f.span, text).map_or(0, |l| l.line_number)))
        .collect();
    let told = |what: &str| Some(format!("{name}, {width} lanes, reverse {reverse}: {what}: {shown:?}"));
    let Some(expect) = text.lines().find_map(|l| l.strip_prefix("//expect ")) else {
        return if found.is_empty() { None } else { told("nothing is wrong with it") };
    };
    let (kind, line) = expect.split_once(" line ").expect("KIND line N");
    let line: u32 = line.parse().expect("a line");
    let at = |span| locate(span, text).is_some_and(|l| l.line_number == line);
    let other = |f: &Fault| match &f.kind {
        FaultKind::Race { earlier_span, .. } => at(*earlier_span),
        _ => false,
    };
    let fits = found.iter().any(|f| is(kind, &f.kind) && (at(f.span) || other(f)));
    if fits { None } else { told(&format!("expected {expect}")) }
}

#[test]
fn planted_faults_are_found_and_right_kernels_are_silent() {
    let mut wrongs = Vec::new();
    let mut n = 0;
    for folder in ["bugs", "ok"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exec/planted").join(folder);
        for path in std::fs::read_dir(folder).expect("readable").map(|f| f.expect("readable").path()) {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("readable");
            for width in [4, 8, 32] {
                // 64 subgroups of 4 lanes are more than its 32 partial sums: out of bounds indeed.
                if name == "05_subgroup_tree_with_barrier.wgsl" && width == 4 {
                    let first = &found(&name, &text, width, false)[0].kind;
                    assert!(matches!(first, FaultKind::OutOfBounds { length: 32, .. }), "{first}");
                    continue;
                }
                // Its store is by lane 5, which a subgroup of 4 has not: nothing is wrong there.
                if name == "35_shared_two_lanes_one_subgroup_hidden.wgsl" && width == 4 {
                    assert!(found(&name, &text, width, false).is_empty());
                    continue;
                }
                wrongs.extend([false, true].into_iter().filter_map(|r| wrong(&name, &text, width, r)));
            }
            n += 1;
        }
    }
    assert_eq!(n, 25);
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

#[test]
fn two_variables_of_one_buffer_race() {
    let text = "@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> b: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) { b[i] = a[63u - i]; }";
    let lowered = Lowered::new(Composed::verbatim("twice.wgsl", text)).expect("valid");
    let kernel = Kernel::new(&lowered.module, &lowered.info, "main", &Default::default()).expect("compiles");
    let (one, two) = (Buffer::zeroed(256), Buffer::zeroed(256));
    let options = Options { sanitize: true, ..Options::default() };
    let apart = Bindings::new().buffer(0, 0, &one).buffer(0, 1, &two);
    assert!(kernel.run([1, 1, 1], &apart, &options).is_ok());
    let together = Bindings::new().buffer(0, 0, &one).buffer(0, 1, &one);
    let error = kernel.run([1, 1, 1], &together, &options).expect_err("a race");
    assert!(matches!(error.fault().expect("a fault").kind, FaultKind::Race { .. }), "{error}");
}
