//! Subgroup operations at every width, and cooperative matrices.

use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use wgpu_marlin::exec::{Bindings, Buffer, Kernel, Options, TraceMode};

fn kernel(source: &str) -> Kernel {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::all()).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    Kernel::new(&module, &info, "main", &PipelineConstants::default()).unwrap()
}

const INVOCATIONS: usize = 80;

/// One workgroup of 80, each invocation with `x`, its element of `input`; what `body` stores to `r`.
fn invoke(body: &str, input: &[u32], width: u32) -> Vec<u32> {
    let source = format!(
        "@group(0) @binding(0) var<storage, read> input: array<u32>;
        @group(0) @binding(1) var<storage, read_write> output: array<u32>;
        @compute @workgroup_size({INVOCATIONS})
        fn main(@builtin(local_invocation_index) i: u32, @builtin(subgroup_invocation_id) lane: u32,
                @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) size: u32,
                @builtin(num_subgroups) count: u32) {{
            let x = input[i];
            var r = 0u;
            {body}
            output[i] = r;
        }}"
    );
    let (input, output) = (Buffer::from_slice(input), Buffer::zeroed(4 * INVOCATIONS));
    let bindings = Bindings::new().buffer(0, 0, &input).buffer(0, 1, &output);
    let options = Options { subgroup_size: width, sanitize: true, ..Options::default() };
    let _ = kernel(&source).run([1, 1, 1], &bindings, &options).unwrap_or_else(|e| panic!("{e}\n{source}"));
    output.to_vec()
}

/// Compares each invocation's result with `want(values of its subgroup's active lanes, its lane)`;
/// `None` stands for an inactive lane.
fn check(body: &str, active: fn(u32) -> bool, want: impl Fn(&[Option<u32>], usize) -> u32) {
    let input: Vec<u32> = (0..INVOCATIONS as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 7).collect();
    for width in [1u32, 2, 4, 8, 16, 20, 32, 64, 128] {
        let got = invoke(body, &input, width);
        for (s, values) in input.chunks(width as usize).enumerate() {
            let values: Vec<Option<u32>> = values.iter().map(|&x| active(x).then_some(x)).collect();
            for lane in 0..values.len() {
                let want = if values[lane].is_some() { want(&values, lane) } else { 0 };
                assert_eq!(
                    got[s * width as usize + lane],
                    want,
                    "width {width}, subgroup {s}, lane {lane}: {body}"
                );
            }
        }
    }
}

fn all(_: u32) -> bool {
    true
}

fn odd(x: u32) -> bool {
    x % 2 == 1
}

fn values(lanes: &[Option<u32>]) -> impl DoubleEndedIterator<Item = u32> {
    lanes.iter().flatten().copied()
}

#[test]
fn builtins_number_the_lanes() {
    for width in [1u32, 4, 8, 13, 32, 128] {
        let got = invoke("r = lane | subgroup << 8u | size << 16u | count << 24u;", &[0; INVOCATIONS], width);
        for (i, &r) in got.iter().enumerate() {
            let i = i as u32;
            assert_eq!(r, (i % width) | ((i / width) << 8) | (width << 16) | (80u32.div_ceil(width) << 24));
        }
    }
}

#[test]
fn reductions_and_scans_see_the_active_lanes() {
    for (active, condition) in [(all as fn(u32) -> bool, "true"), (odd, "x % 2u == 1u")] {
        let body = |call: &str| format!("if {condition} {{ r = {call}; }}");
        let sum = |v: &mut dyn Iterator<Item = u32>| v.fold(0u32, u32::wrapping_add);
        check(&body("subgroupAdd(x)"), active, |lanes, _| sum(&mut values(lanes)));
        check(&body("subgroupInclusiveAdd(x)"), active, |l, lane| sum(&mut values(&l[..=lane])));
        check(&body("subgroupExclusiveAdd(x)"), active, |l, lane| sum(&mut values(&l[..lane])));
        let product = |v: &mut dyn Iterator<Item = u32>| v.fold(1u32, u32::wrapping_mul);
        check(&body("subgroupMul(x | 1u)"), active, |l, _| product(&mut values(l).map(|x| x | 1)));
        check(&body("subgroupExclusiveMul(x | 1u)"), active, |l, lane| {
            product(&mut values(&l[..lane]).map(|x| x | 1))
        });
        check(&body("subgroupMin(x)"), active, |l, _| values(l).min().unwrap());
        check(&body("u32(subgroupMax(i32(x) - 1000) + 1000)"), active, |l, _| values(l).max().unwrap());
        check(&body("subgroupAnd(x)"), active, |l, _| values(l).fold(!0, |a, b| a & b));
        check(&body("subgroupOr(x)"), active, |l, _| values(l).fold(0, |a, b| a | b));
        check(&body("subgroupXor(x)"), active, |l, _| values(l).fold(0, |a, b| a ^ b));
        check(&body("u32(subgroupAll(x % 3u != 0u))"), active, |l, _| {
            u32::from(values(l).all(|x| x % 3 != 0))
        });
        check(&body("u32(subgroupAny(x % 3u == 0u))"), active, |l, _| {
            u32::from(values(l).any(|x| x % 3 == 0))
        });
        check(&body("u32(subgroupAdd(vec2<f32>(f32(x % 9u), 1.0)).y)"), active, |l, _| {
            values(l).count() as u32
        });
        for word in 0..4 {
            check(&body(&format!("subgroupBallot(x % 5u < 3u)[{word}]")), active, |lanes, _| {
                let bit = |l: usize| lanes.get(l).copied().flatten().is_some_and(|x| x % 5 < 3);
                (0..32).map(|b| u32::from(bit(32 * word + b)) << b).sum()
            });
        }
        check(&body("subgroupBroadcastFirst(x)"), active, |l, _| {
            let first = l.iter().position(Option::is_some).unwrap();
            l[first].unwrap()
        });
    }
}

#[test]
fn gathers_read_other_lanes() {
    // From lanes that don't exist or aren't active the executor gives 0.
    let at = |l: &[Option<u32>], lane: usize| l.get(lane).copied().flatten().unwrap_or(0);
    for (active, condition) in [(all as fn(u32) -> bool, "true"), (odd, "x % 2u == 1u")] {
        let body = |call: &str| format!("if {condition} {{ r = {call}; }}");
        check(&body("subgroupShuffle(x, (lane * 7u + 3u) % 8u)"), active, |l, lane| {
            at(l, (lane * 7 + 3) % 8)
        });
        check(&body("subgroupShuffleXor(x, 5u)"), active, |l, lane| at(l, lane ^ 5));
        check(&body("subgroupShuffleUp(x, 3u)"), active, |l, lane| at(l, lane.wrapping_sub(3)));
        check(&body("subgroupShuffleDown(x, 2u)"), active, |l, lane| at(l, lane + 2));
        check(&body("subgroupBroadcast(x, 0u)"), active, |l, _| at(l, 0));
        check(&body("quadSwapX(x)"), active, |l, lane| at(l, lane ^ 1));
        check(&body("quadSwapY(x)"), active, |l, lane| at(l, lane ^ 2));
        check(&body("quadSwapDiagonal(x)"), active, |l, lane| at(l, lane ^ 3));
        check(&body("quadBroadcast(x, 1u)"), active, |l, lane| at(l, (lane & !3) + 1));
        check(&body("subgroupShuffle(vec2(x, x + 1u), lane).y - 1u"), active, |l, lane| at(l, lane));
    }
}

/// `d = a * b + c` through memory, with every layout that loads and stores have.
fn multiply(size: usize, ab: &str, cd: &str, t: [bool; 4], space: &str) {
    let letter = |t: bool| if t { "T" } else { "" };
    let n2 = size * size;
    let half = ab == "f16";
    let source = format!(
        "enable f16; enable wgpu_cooperative_matrix;
        @group(0) @binding(0) var<storage, read> a: array<{ab}>;
        @group(0) @binding(1) var<storage, read> b: array<{ab}>;
        @group(0) @binding(2) var<storage, read> c: array<{cd}>;
        @group(0) @binding(3) var<storage, read_write> d: array<{cd}>;
        var<workgroup> shared_a: array<{ab}, {words}>;
        @compute @workgroup_size(32)
        fn main(@builtin(local_invocation_index) i: u32) {{
            let stride = {stride}u;
            for (var k = i; k < {words}u; k += 32u) {{ shared_a[k] = a[k]; }}
            workgroupBarrier();
            let first = 2u;
            let ma = coopLoad{ta}<coop_mat{size}x{size}<{ab}, A>>(&{a}[first], stride);
            let mb = coopLoad{tb}<coop_mat{size}x{size}<{ab}, B>>(&b[first], stride);
            var mc = coopLoad{tc}<coop_mat{size}x{size}<{cd}, C>>(&c[first], stride);
            mc = coopMultiplyAdd(ma, mb, mc);
            coopStore{td}(mc, &d[first], stride);
        }}",
        words = 2 + (size + 3) * size,
        stride = size + 3,
        a = if space == "workgroup" { "shared_a" } else { "a" },
        ta = letter(t[0]),
        tb = letter(t[1]),
        tc = letter(t[2]),
        td = letter(t[3]),
    );
    // Element (row, column) as the layout puts it in memory; T is row-major.
    let place = |t: bool, row: usize, column: usize| {
        2 + if t { row * (size + 3) + column } else { column * (size + 3) + row }
    };
    let len = 2 + (size + 3) * size;
    let value = |seed: usize, i: usize| ((i * seed) % 17) as f32 - 8.0;
    let buffer = |seed: usize, kind: &str| {
        let values: Vec<f32> = (0..len).map(|i| value(seed, i)).collect();
        if kind == "f16" {
            Buffer::from_slice(&values.iter().map(|&v| half::f16::from_f32(v)).collect::<Vec<_>>())
        } else {
            Buffer::from_slice(&values)
        }
    };
    let (a, b, c) = (buffer(5, ab), buffer(7, ab), buffer(11, cd));
    let d = Buffer::zeroed(len * if cd == "f16" { 2 } else { 4 });
    let bindings = Bindings::new().buffer(0, 0, &a).buffer(0, 1, &b).buffer(0, 2, &c).buffer(0, 3, &d);
    let options = Options { sanitize: true, trace: TraceMode::All, ..Options::default() };
    let run = kernel(&source).run([1, 1, 1], &bindings, &options).unwrap_or_else(|e| panic!("{e}\n{source}"));
    let d: Vec<f32> = if cd == "f16" {
        d.to_vec::<half::f16>().into_iter().map(half::f16::to_f32).collect()
    } else {
        d.to_vec()
    };
    for row in 0..size {
        for column in 0..size {
            // Small integers: exact in f16, whatever the order of the sum.
            let products =
                (0..size).map(|k| value(5, place(t[0], row, k)) * value(7, place(t[1], k, column)));
            let want = products.sum::<f32>() + value(11, place(t[2], row, column));
            assert_eq!(d[place(t[3], row, column)], want, "({row}, {column})\n{source}");
        }
    }
    let store = run.sites.iter().find(|s| s.buffer == "d").unwrap();
    assert_eq!(store.traffic.requests, 1);
    assert_eq!(store.traffic.useful_bytes as usize, n2 * if cd == "f16" { 2 } else { 4 });
    assert!(half || ab == "f32");
}

#[test]
fn cooperative_matrices_multiply() {
    for size in [8, 16] {
        for (ab, cd) in [("f32", "f32"), ("f16", "f16"), ("f16", "f32")] {
            for layout in 0..16u32 {
                multiply(size, ab, cd, std::array::from_fn(|i| layout >> i & 1 == 1), "storage");
            }
            multiply(size, ab, cd, [true, false, true, false], "workgroup");
        }
    }
}
