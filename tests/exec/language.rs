//! The language on the CPU executor: operations, control flow, functions, memory, subgroups.
//!
//! Every test runs at several subgroup widths with the sanitizer on; expectations are computed here in
//! plain Rust.

use naga::back::PipelineConstants;
use wgpu_marlin::exec::{Bindings, Buffer, CompileError, ExecError, Kernel, Options, TraceMode};

const WIDTHS: [u32; 6] = [1, 4, 8, 13, 32, 128];

fn kernel(source: &str) -> Result<Kernel, CompileError> {
    kernel_with(source, &PipelineConstants::default())
}

fn kernel_with(source: &str, constants: &PipelineConstants) -> Result<Kernel, CompileError> {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let info =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
            .subgroup_stages(naga::valid::ShaderStages::all())
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let name = module.entry_points[0].name.clone();
    Kernel::new(&module, &info, &name, constants)
}

fn options(subgroup_size: u32) -> Options {
    Options { subgroup_size, sanitize: true, trace: TraceMode::All, ..Options::default() }
}

/// Runs `body` once per element of `input`, with `x` the element and `i` its index, and gives what it returns.
fn map<I: bytemuck::NoUninit, O: bytemuck::AnyBitPattern + PartialEq + std::fmt::Debug>(
    head: &str,
    [from, to]: [&str; 2],
    body: &str,
    input: &[I],
) -> Vec<O> {
    let n = input.len() as u32;
    let source = format!(
        "{head}
        @group(0) @binding(0) var<storage, read> input: array<{from}>;
        @group(0) @binding(1) var<storage, read_write> output: array<{to}>;
        fn f(x: {from}, i: u32) -> {to} {{ {body} }}
        @compute @workgroup_size(24)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            if id.x < {n}u {{ output[id.x] = f(input[id.x], id.x); }}
        }}"
    );
    let kernel = kernel(&source).unwrap_or_else(|e| panic!("{e}\n{source}"));
    let input = Buffer::from_slice(input);
    let mut all = WIDTHS.map(|width| {
        let output = Buffer::zeroed(n as usize * size_of::<O>());
        let bindings = Bindings::new().buffer(0, 0, &input).buffer(0, 1, &output);
        let run = kernel.run([n.div_ceil(24), 1, 1], &bindings, &options(width));
        let run = run.unwrap_or_else(|e| panic!("width {width}: {e}\n{source}"));
        assert_eq!(run.workgroups, u64::from(n.div_ceil(24)));
        output.to_bytes()
    });
    all.iter().for_each(|bytes| assert_eq!(bytes, &all[0], "the width changes the result of\n{source}"));
    let bytes = std::mem::take(&mut all[0]);
    bytes.chunks_exact(size_of::<O>()).map(bytemuck::pod_read_unaligned).collect()
}

#[test]
fn integers_wrap_and_divide_by_zero() {
    let edge = [0, 1, -1, 2, 7, -7, 31, 32, 33, i32::MAX, i32::MIN, 123_456_789];
    for a in edge {
        let expect = |op: &str, f: fn(i32, i32) -> i32| {
            let body = format!("return i32({a}i) {op} x;").replace("-2147483648i", "i32(-2147483647 - 1)");
            let want: Vec<i32> = edge.iter().map(|&b| f(a, b)).collect();
            assert_eq!(map::<i32, i32>("", ["i32", "i32"], &body, &edge), want, "{a} {op} {edge:?}");
        };
        expect("+", i32::wrapping_add);
        expect("*", i32::wrapping_mul);
        expect("/", |a, b| if b == 0 { a } else { a.wrapping_div(b) });
        expect("%", |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) });
    }
    let shifted =
        map::<u32, u32>("", ["u32", "u32"], "return (0x80000001u << x) ^ (0x80000001u >> x);", &[0, 1, 31]);
    assert_eq!(shifted, [0, 0x4000_0002, 0x8000_0001]);
}

#[test]
fn loops_break_continue_and_return_per_lane() {
    let body = "
        var sum = 0u;
        for (var k = 0u; k < 40u; k++) {
            if k % 3u == x % 3u { continue; }
            if k > x { break; }
            if k == 30u { return 1000u + sum; }
            var m = k;
            loop { sum += m & 1u; m /= 2u; continuing { sum += 1u; break if m == 0u; } }
        }
        while sum > 1000u { sum -= 7u; }
        switch x % 5u { case 0u, 3u: { sum += 1u; } case 1u: { if x > 10u { break; } sum += 2u; } default: { sum *= 2u; } }
        return sum;";
    let want = |x: u32| {
        let mut sum = 0;
        for k in 0..40 {
            if k % 3 == x % 3 {
                continue;
            }
            if k > x {
                break;
            }
            if k == 30 {
                return 1000 + sum;
            }
            let mut m = k;
            loop {
                sum += m & 1;
                m /= 2;
                sum += 1;
                if m == 0 {
                    break;
                }
            }
        }
        while sum > 1000 {
            sum -= 7;
        }
        match x % 5 {
            0 | 3 => sum + 1,
            1 => {
                if x > 10 {
                    sum
                } else {
                    sum + 2
                }
            }
            _ => sum * 2,
        }
    };
    let input: Vec<u32> = (0..60).collect();
    assert_eq!(
        map::<u32, u32>("", ["u32", "u32"], body, &input),
        input.iter().map(|&x| want(x)).collect::<Vec<_>>()
    );
}

#[test]
fn a_value_read_before_a_store_keeps_what_it_read() {
    let head = "
        var<private> p: array<u32, 4> = array(1u, 2u, 3u, 4u);
        fn bump(v: ptr<function, u32>) -> u32 { let old = *v; *v += 10u; return old; }
        fn swap(a: ptr<function, array<u32, 3>>, i: u32, j: u32) { let t = (*a)[i]; (*a)[i] = (*a)[j]; (*a)[j] = t; }";
    let body = "
        var v = x;
        let before = v;
        let pair = vec2(v, v + 1u);
        v = v * 2u;
        let old = bump(&v);
        var a = array(x, 20u, 30u);
        let copy = a;
        var k = x % 3u;
        let q = &a[k];
        k = 2u;
        *q += 100u;
        swap(&a, 0u, k);
        p[i % 4u] += 5u;
        var m = mat2x2<f32>(1.0, 2.0, 3.0, 4.0);
        m[x % 2u][1] = 9.0;
        return before + pair.y + old + v + a[0] * 3u + a[1] + copy[x % 3u] + p[i % 4u] + u32(m[0].y + m[1][1]);";
    let want = |x: u32, i: u32| {
        let old = 2 * x;
        let v = old + 10;
        let mut a = [x, 20, 30];
        let copy = a;
        a[x as usize % 3] += 100;
        a.swap(0, 2);
        let p = i % 4 + 1 + 5;
        let m = if x.is_multiple_of(2) { 13 } else { 11 };
        x + x + 1 + old + v + a[0] * 3 + a[1] + copy[x as usize % 3] + p + m
    };
    let input: Vec<u32> = (0..30).map(|i| i * 7 % 11).collect();
    let got = map::<u32, u32>(head, ["u32", "u32"], body, &input);
    assert_eq!(got, input.iter().zip(0..).map(|(&x, i)| want(x, i)).collect::<Vec<_>>());
}

#[test]
fn structs_vectors_and_matrices_lie_in_memory_as_wgsl_says() {
    let source = "
        struct Inner { a: f32, v: vec3<f32>, m: mat3x2<f32> }
        struct Outer { n: u32, inner: array<Inner, 2>, tail: array<vec2<u32>> }
        @group(0) @binding(0) var<storage, read_write> data: Outer;
        @group(0) @binding(1) var<uniform> u: vec4<u32>;
        @compute @workgroup_size(2)
        fn main(@builtin(local_invocation_index) i: u32) {
            let whole = data.inner[i];
            data.inner[i].v = whole.v * 2.0;
            data.inner[i].m[1].y = whole.a + whole.m[u.x].x;
            data.tail[arrayLength(&data.tail) - 1u - i].y = data.n + u[i];
        }";
    let kernel = kernel(source).unwrap();
    // Outer: n at 0, inner at 16 with stride 64 (a 0, v 16, m 32 with column stride 8), tail at 144.
    let mut words: Vec<f32> = (0..42).map(|i| i as f32).collect();
    words[0] = f32::from_bits(100);
    for width in WIDTHS {
        let data = Buffer::from_slice(&words);
        let uniform = Buffer::from_slice(&[2u32, 7, 8, 9]);
        let bindings = Bindings::new().buffer(0, 0, &data).buffer(0, 1, &uniform);
        let _ = kernel.run([1, 1, 1], &bindings, &options(width)).unwrap();
        let got = data.to_vec::<f32>();
        let mut want = words.clone();
        for i in 0..2 {
            let at = 4 + 16 * i;
            for k in 0..3 {
                want[at + 4 + k] *= 2.0;
            }
            want[at + 8 + 3] = words[at] + words[at + 8 + 4];
            want[36 + 2 * (2 - i) + 1] = f32::from_bits(100 + [2, 7][i]);
        }
        assert_eq!(got, want, "width {width}");
    }
}

#[test]
fn f16_rounds_after_each_operation() {
    let input: Vec<f32> = vec![1.0, 1.0 / 3.0, 1000.5, 65504.0, 6e-8, 1e-5, -2048.0, 0.1];
    let body = "let h = f16(x); return f32((h + f16(1.0)) * h - h / f16(3.0));";
    let r = |x: f32| half::f16::from_f32(x).to_f32();
    let want: Vec<f32> = input
        .iter()
        .map(|&x| {
            let h = r(x);
            r(r(r(h + 1.0) * h) - r(h / 3.0))
        })
        .collect();
    assert_eq!(map::<f32, f32>("enable f16;", ["f32", "f32"], body, &input), want);
    // In memory, two to a word.
    let halves: Vec<u16> = (0..40u16).map(|i| half::f16::from_f32(f32::from(i) * 0.3).to_bits()).collect();
    let want: Vec<u16> = halves
        .iter()
        .map(|&h| half::f16::from_f32(half::f16::from_bits(h).to_f32() * 2.0).to_bits())
        .collect();
    assert_eq!(map::<u16, u16>("enable f16;", ["f16", "f16"], "return x * 2.0h;", &halves), want);
}

#[test]
fn workgroup_memory_barriers_and_atomics() {
    let source = "
        override N: u32 = 8u;
        const M = 64u;
        var<workgroup> tile: array<u32, M>;
        var<workgroup> total: atomic<u32>;
        var<workgroup> flag: bool;
        @group(0) @binding(0) var<storage, read_write> out: array<u32>;
        @group(0) @binding(1) var<storage, read_write> count: atomic<u32>;
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) w: vec3<u32>) {
            tile[i] = i * N + w.x;
            if i == 0u { atomicStore(&total, 0u); flag = w.x == 1u; }
            workgroupBarrier();
            var step = 32u;
            while step > 0u {
                if i < step { tile[i] += tile[i + step]; }
                workgroupBarrier();
                step /= 2u;
            }
            atomicAdd(&total, i);
            atomicMax(&count, i + w.x);
            let all = workgroupUniformLoad(&flag);
            workgroupBarrier();
            out[w.x * 64u + i] = tile[0] + atomicLoad(&total) + select(0u, 1000000u, all);
        }";
    let mut constants = PipelineConstants::default();
    constants.insert("N".into(), 3.0);
    let kernel = kernel_with(source, &constants).unwrap();
    for width in WIDTHS {
        let (out, count) = (Buffer::zeroed(4 * 64 * 3), Buffer::zeroed(4));
        let bindings = Bindings::new().buffer(0, 0, &out).buffer(0, 1, &count);
        let _ = kernel.run([3, 1, 1], &bindings, &options(width)).unwrap_or_else(|e| panic!("{width}: {e}"));
        let want: Vec<u32> = (0..3u32)
            .flat_map(|w| {
                let sum = (0..64).map(|i| i * 3 + w).sum::<u32>() + 2016 + if w == 1 { 1_000_000 } else { 0 };
                [sum; 64]
            })
            .collect();
        assert_eq!(out.to_vec::<u32>(), want, "width {width}");
        assert_eq!(count.to_vec::<u32>(), [65]);
    }
}

#[test]
fn many_threads_give_the_same_bytes_trace_and_fault() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> out: array<atomic<u32>>;
        @compute @workgroup_size(32)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            atomicAdd(&out[id.x % 7u], id.x);
            if id.x > 5000u { loop { if id.x == 0u { break; } } }
        }";
    let kernel = kernel(source).unwrap();
    let run = |n_threads, groups: u32| {
        let out = Buffer::zeroed(28);
        let bindings = Bindings::new().buffer(0, 0, &out);
        let options = Options { n_threads, trace: TraceMode::All, max_steps: 1000, ..Options::default() };
        (kernel.run([groups, 1, 1], &bindings, &options), out.to_vec::<u32>())
    };
    let (one, bytes) = run(Some(1), 150);
    let (four, bytes4) = run(Some(4), 150);
    assert_eq!((one.unwrap(), bytes), (four.unwrap(), bytes4));
    let fault = |r: Result<_, ExecError>| r.unwrap_err().fault().unwrap().clone();
    let (one, four) = (fault(run(Some(1), 400).0), fault(run(Some(4), 400).0));
    assert_eq!(one.invocation, four.invocation);
    assert_eq!(one.invocation.workgroup[0], 156);
    assert!(matches!(one.kind, wgpu_marlin::exec::FaultKind::StepLimit(1000)));
}
