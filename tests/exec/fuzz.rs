//! Arbitrary WGSL never panics the executor and never hangs it: whatever naga accepts gives a result or
//! a typed error. Shaders are made by mutating the text of real ones: the crate's own and a few here.

use std::panic::catch_unwind;

use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use proptest::prelude::*;
use wgpu_marlin::exec::{Bindings, Buffer, Kernel, Options, Space, TraceMode};

const SEEDS: [&str; 4] = [
    "enable f16;
struct S { a: f32, b: vec3<f16>, c: array<vec2<u32>, 3> }
@group(0) @binding(0) var<storage, read> input: array<S>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<uniform> size: vec4<u32>;
var<workgroup> tile: array<array<f32, 9>, 8>;
var<private> state: array<i32, 5> = array(1, 2, 3, 4, 5);
fn pick(p: ptr<function, array<f32, 4>>, i: u32) -> f32 { (*p)[i % 4u] += 1.0; return (*p)[(i + 1u) % 4u]; }
@compute @workgroup_size(8, 4)
fn main(@builtin(local_invocation_id) l: vec3<u32>, @builtin(global_invocation_id) g: vec3<u32>) {
    var acc = array<f32, 4>(1.0, 2.0, 3.0, 4.0);
    tile[l.x][l.y] = input[g.x].a * f32(input[g.x].c[l.y % 3u].x);
    workgroupBarrier();
    for (var i = 0u; i < size.x; i++) {
        if i > 7u { break; }
        acc[i % 4u] = fma(tile[i][l.y], f32(input[i].b.y), acc[0]);
        switch i { case 1u: { continue; } case 2u, 3u: { state[i] = i32(i) / state[0]; } default: {} }
    }
    output[g.y * 8u + g.x] = pick(&acc, l.x) + f32(state[l.y]) + ldexp(acc[2], 3);
}",
    "@group(0) @binding(0) var<storage, read_write> x: array<atomic<u32>>;
var<workgroup> n: atomic<i32>;
var<workgroup> v: vec4<u32>;
fn f(a: vec3<i32>, b: mat2x3<f32>) -> vec3<f32> { return b * vec2(f32(a.x), 2.0) * b[1].y; }
@compute @workgroup_size(20)
fn main(@builtin(local_invocation_index) i: u32, @builtin(subgroup_invocation_id) lane: u32) {
    atomicAdd(&n, i32(i) - 3);
    let old = atomicCompareExchangeWeak(&x[i % 4u], i, subgroupAdd(i));
    if i == 0u { v = vec4(1u, 2u, 3u, 4u).wzyx; }
    let u = workgroupUniformLoad(&v);
    let s = subgroupShuffleXor(u.y + lane, 1u) + select(subgroupExclusiveAdd(i), 7u, old.exchanged);
    let m = f(vec3(i32(s), -1, 2), mat2x3<f32>(1.0, 2.0, 3.0, 4.0, 5.0, 6.0));
    atomicMax(&x[arrayLength(&x) - 1u], extractBits(s, i, 5u) ^ countOneBits(u32(dot(m, m))));
    loop { let k = atomicSub(&n, 1); if k < 0 { break; } continuing { break if k > 100; } }
    storageBarrier();
}",
    "@group(0) @binding(0) var t: texture_2d<f32>;
@group(0) @binding(1) var s: texture_storage_2d<r32uint, read_write>;
@group(0) @binding(2) var<storage, read_write> o: array<vec4<f32>>;
override K: u32 = 3u;
const T = array<f32, 4>(0.5, 1.0, 1.5, 2.0);
@compute @workgroup_size(4)
fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) w: vec3<u32>) {
    let p = textureLoad(t, vec2(i, w.x), 0) * T[i % K];
    textureStore(s, vec2(i, 1u), vec4(pack4x8unorm(p)));
    let d = textureDimensions(s);
    o[i] = vec4(modf(p.x).fract, f32(frexp(p.y).exp), unpack2x16float(d.x).y, textureLoad(t, d % 2u, 1).w);
}",
    "enable f16; enable wgpu_cooperative_matrix;
@group(0) @binding(0) var<storage, read> a: array<f16>;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) w: vec3<u32>) {
    var sums: array<coop_mat8x8<f32, C>, 2>;
    let first = w.x * 8u;
    let m = coopLoadT<coop_mat8x8<f16, A>>(&a[first], 8u);
    let n = coopLoad<coop_mat8x8<f16, B>>(&a[first], 16u);
    sums[0] = coopMultiplyAdd(m, n, sums[1]);
    sums[1] = sums[0] + sums[0] * 2.0;
    coopStoreT(sums[1], &c[first], 8u);
}",
];

/// The crate's own shaders, without the preprocessor's lines.
fn seeds() -> Vec<String> {
    let mut all: Vec<String> = SEEDS.map(str::to_owned).into();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                all.push(
                    text.lines().filter(|l| !l.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n"),
                );
            }
        }
    }
    all
}

/// Words, numbers and single signs.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in text.chars() {
        let word = c.is_alphanumeric() || c == '_' || c == '.';
        match out.last_mut() {
            Some(last) if word && in_word => last.push(c),
            _ => out.push(c.to_string()),
        }
        in_word = word;
    }
    out
}

/// One change: `kind` of it, `at` a place, `with` a choice.
fn mutate(tokens: &mut Vec<String>, kind: u8, at: usize, with: usize) {
    if tokens.is_empty() {
        return;
    }
    let is_word = |t: &String| t.chars().all(|c| c.is_alphanumeric() || c == '_');
    let places: Vec<usize> = (0..tokens.len())
        .filter(|&i| match kind {
            0 => tokens[i].starts_with(|c: char| c.is_ascii_digit()),
            1 => "+-*/%&|^<>".contains(tokens[i].as_str()),
            2 | 3 => is_word(&tokens[i]),
            _ => true,
        })
        .collect();
    let Some(&place) = places.get(at % places.len().max(1)) else { return };
    match kind {
        0 => {
            let numbers = [
                "0",
                "1",
                "2",
                "3u",
                "7u",
                "64u",
                "1000000u",
                "4294967295u",
                "-1",
                "2147483647",
                "0.0",
                "1e30",
                "-5i",
                "0u",
            ];
            tokens[place] = numbers[with % numbers.len()].into();
        }
        1 => tokens[place] = ["+", "-", "*", "/", "%", "&", "|", "^", "<", ">"][with % 10].into(),
        2 => tokens[place] = tokens[places[with % places.len()]].clone(),
        3 => {
            let words = [
                "u32",
                "i32",
                "f32",
                "f16",
                "bool",
                "vec2",
                "vec3",
                "vec4",
                "min",
                "max",
                "abs",
                "continue",
                "break",
                "return",
                "clamp",
                "sqrt",
                "firstLeadingBit",
                "reverseBits",
                "all",
                "any",
                "dot",
                "cross",
                "transpose",
                "determinant",
                "insertBits",
                "pow",
                "unpack4x8snorm",
                "subgroupMax",
                "quadSwapX",
                "workgroupBarrier",
                "subgroupBarrier",
                "u64",
                "i64",
                "f64",
                "i",
                "x",
            ];
            tokens[place] = words[with % words.len()].into();
        }
        4 => {
            tokens.remove(place);
        }
        // A statement or so, twice or not at all.
        _ => {
            let end = tokens[place..].iter().position(|t| t == ";").map_or(place, |n| place + n) + 1;
            let part: Vec<String> = tokens[place..end.min(tokens.len())].to_vec();
            if kind == 5 {
                tokens.splice(place..place, part);
            } else {
                tokens.drain(place..place + part.len());
            }
        }
    }
}

/// Runs every compute entry point that naga accepts; whether there was one.
fn run(source: &str, width: u32, sanitize: bool) -> bool {
    // naga's own panics are not ours to find.
    let front = catch_unwind(|| {
        let module = naga::front::wgsl::parse_str(source).ok()?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        validator.subgroup_stages(ShaderStages::all()).subgroup_operations(SubgroupOperationSet::all());
        let info = validator.validate(&module).ok()?;
        Some((module, info))
    });
    let Ok(Some((module, info))) = front else { return false };
    for entry in &module.entry_points {
        let Ok(kernel) = Kernel::new(&module, &info, &entry.name, &PipelineConstants::default()) else {
            continue;
        };
        let bindings = kernel.bindings();
        let too_large =
            bindings.iter().any(|b| b.min_size_bytes > 1 << 20) || kernel.workgroup_bytes() > 1 << 20;
        if too_large {
            continue;
        }
        let buffers: Vec<Buffer> = bindings
            .iter()
            .map(|b| {
                let n = b.min_size_bytes as usize + 300;
                Buffer::from_bytes(&(0..n).map(|i| if i % 4 == 0 { i as u8 } else { 0 }).collect::<Vec<_>>())
            })
            .collect();
        use naga::StorageFormat::{R32Float, R32Uint};
        let texture = |format| wgpu_marlin::exec::Texture::new(format, [4, 2, 1], &[1; 32]).unwrap();
        let (floats, uints) = (texture(R32Float), texture(R32Uint));
        let mut bound = Bindings::new();
        for (b, buffer) in bindings.iter().zip(&buffers) {
            bound = match b.space {
                Space::Texture if b.writable && b.name == "s" => bound.texture(b.group, b.binding, &uints),
                Space::Texture => bound.texture(b.group, b.binding, &floats),
                _ => bound.buffer(b.group, b.binding, buffer),
            };
        }
        let options = Options {
            subgroup_size: width,
            sanitize,
            trace: if sanitize { TraceMode::Off } else { TraceMode::Sample(1) },
            max_steps: 3000,
            n_threads: Some(1),
            ..Options::default()
        };
        let _ = kernel.run([2, 1, 1], &bound, &options);
    }
    true
}

#[test]
fn seeds_run() {
    for (i, seed) in SEEDS.iter().enumerate() {
        if let Err(e) = naga::front::wgsl::parse_str(seed) {
            panic!("seed {i}: {}", e.emit_to_string(seed));
        }
        for width in [1, 8, 32, 128] {
            assert!(run(seed, width, false), "seed {i} is valid");
            run(seed, width, true);
        }
    }
}

#[test]
fn mutants_give_a_result_or_an_error() {
    let seeds = seeds();
    let accepted = std::cell::Cell::new(0u32);
    let cases: u32 = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    // Mostly numbers, operators and words: cuts and copies of text rarely stay valid.
    let kind = prop::sample::select(vec![0u8, 0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 6]);
    let mutation = (kind, any::<usize>(), any::<usize>());
    let strategy = (0..4 * seeds.len(), prop::collection::vec(mutation, 1..3), 1u32..129, any::<bool>());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&strategy, |(seed, mutations, width, sanitize)| {
        // Most of the time one of the seeds above, which naga accepts unchanged.
        let seed = seeds.get(seed).map_or(SEEDS[seed % SEEDS.len()], |s| s.as_str());
        let mut tokens = tokens(seed);
        mutations.into_iter().for_each(|(kind, at, with)| mutate(&mut tokens, kind, at, with));
        accepted.set(accepted.get() + u32::from(run(&tokens.concat(), width, sanitize)));
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
    assert!(accepted.get() * 20 > cases, "only {} of {cases} mutants were valid WGSL", accepted.get());
    eprintln!("{} of {cases} mutants were valid WGSL and ran", accepted.get());
}
