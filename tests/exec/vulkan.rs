//! The executor against an independent implementation: the same shaders through wgpu on Vulkan (Mesa's
//! llvmpipe where there is no GPU), the same bits, or where WGSL leaves freedom, within its bounds.
//!
//! Without an adapter the tests count what they skip and pass; with `MARLIN_REQUIRE_GPU=1` they fail.

use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use wgpu_marlin::exec::{Bindings, Buffer, Kernel, Options};

/// A device with what the shaders here use.
struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    features: wgpu::Features,
}

impl Gpu {
    /// The first Vulkan adapter; `None`, with a line that says so, if there is none.
    fn open(skipped: &str) -> Option<Self> {
        let gpu = pollster::block_on(Self::request());
        if gpu.is_none() {
            assert!(
                std::env::var_os("MARLIN_REQUIRE_GPU").is_none_or(|v| v != "1"),
                "MARLIN_REQUIRE_GPU=1, but there is no Vulkan adapter"
            );
            eprintln!("skipped: {skipped}: no Vulkan adapter");
        }
        gpu
    }

    async fn request() -> Option<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapter = instance.enumerate_adapters(wgpu::Backends::VULKAN).await.into_iter().next()?;
        let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        let features = adapter.features() & wanted;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                required_features: features,
                required_limits: adapter.limits(),
                ..Default::default()
            })
            .await
            .ok()?;
        Some(Self { device, queue, info: adapter.get_info(), features })
    }

    /// Runs `main` with buffers at bindings 0.. of group 0, the last of them written; gives the last.
    fn run(&self, source: &str, workgroups: u32, inputs: &[&[u32]], output_words: usize) -> Vec<u32> {
        use wgpu::BufferUsages as Usage;
        let shader = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &shader,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let new_buffer = |words: usize, usage| {
            let size = 4 * words as u64;
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let mut buffers = Vec::new();
        for input in inputs {
            let buffer = new_buffer(input.len(), Usage::STORAGE | Usage::COPY_DST);
            self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(input));
            buffers.push(buffer);
        }
        buffers.push(new_buffer(output_words, Usage::STORAGE | Usage::COPY_SRC));
        let staging = new_buffer(output_words, Usage::MAP_READ | Usage::COPY_DST);
        let entries: Vec<_> = (0..)
            .zip(&buffers)
            .map(|(binding, b)| wgpu::BindGroupEntry { binding, resource: b.as_entire_binding() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(workgroups, 1, 1);
        }
        encoder.copy_buffer_to_buffer(&buffers[inputs.len()], 0, &staging, 0, 4 * output_words as u64);
        self.queue.submit([encoder.finish()]);
        staging.slice(..).map_async(wgpu::MapMode::Read, |r| r.expect("the buffer can be mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device works");
        let view = staging.slice(..).get_mapped_range().expect("the buffer is mapped");
        bytemuck::pod_collect_to_vec(&view)
    }
}

/// The same on the executor.
fn execute(source: &str, workgroups: u32, inputs: &[&[u32]], output_words: usize, width: u32) -> Vec<u32> {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::all()).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let kernel = Kernel::new(&module, &info, "main", &PipelineConstants::default()).unwrap();
    let buffers: Vec<Buffer> = inputs.iter().map(|words| Buffer::from_slice(words)).collect();
    let output = Buffer::zeroed(4 * output_words);
    let mut bindings = Bindings::new();
    for (binding, buffer) in (0..).zip(buffers.iter().chain([&output])) {
        bindings = bindings.buffer(0, binding, buffer);
    }
    let options = Options { subgroup_size: width, ..Options::default() };
    let _ = kernel.run([workgroups, 1, 1], &bindings, &options).unwrap_or_else(|e| panic!("{e}\n{source}"));
    output.to_vec()
}

/// How far two results may be apart.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// The same bits; any NaN equals any other, zeros of either sign are equal.
    Exact,
    /// Units in the last place of an f32, or a multiple of `abs` for small results.
    Ulp { ulps: f64, abs: f64 },
}

fn agree(bound: Bound, float: bool, a: u32, b: u32) -> bool {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    if a == b || (float && (x.is_nan() && y.is_nan() || x == y)) {
        return true;
    }
    // Subnormal results may be flushed to zero.
    let tiny = |v: f32| v.abs() < f32::MIN_POSITIVE;
    if float && tiny(x) && tiny(y) {
        return true;
    }
    match bound {
        Bound::Exact => false,
        Bound::Ulp { ulps, abs } => {
            let step = f64::from(f32::from_bits(x.abs().to_bits() + 1)) - f64::from(x.abs());
            (f64::from(x) - f64::from(y)).abs() <= (ulps * step).max(abs)
        }
    }
}

/// An expression over `a` and `b` (and `i`, the invocation), its bound.
struct Case {
    text: String,
    bound: Bound,
}

fn exact(text: impl Into<String>) -> Case {
    Case { text: text.into(), bound: Bound::Exact }
}

fn ulp(ulps: f64, abs: f64, text: &str) -> Case {
    Case { text: text.into(), bound: Bound::Ulp { ulps, abs } }
}

/// Evaluates every case on every pair of inputs on both, and compares. `result` turns an expression
/// into the u32 that is stored; `float` says that it is the bits of an f32.
fn compare(gpu: &Gpu, head: &str, lets: &str, result: &str, float: bool, cases: &[Case], pairs: &[[u32; 2]]) {
    let a: Vec<u32> = pairs.iter().map(|p| p[0]).collect();
    let b: Vec<u32> = pairs.iter().map(|p| p[1]).collect();
    let mut failures = Vec::new();
    for cases in cases.chunks(24) {
        let n = cases.len();
        let stores: String = cases
            .iter()
            .enumerate()
            .map(|(k, c)| {
                let value = result.replace('$', &c.text);
                format!("    output[i * {n}u + {k}u] = {value};\n")
            })
            .collect();
        let source = format!(
            "{head}
@group(0) @binding(0) var<storage, read> xs: array<u32>;
@group(0) @binding(1) var<storage, read> ys: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    let i = id.x;
    if i >= {}u {{ return; }}
    {lets}
{stores}}}",
            pairs.len()
        );
        let groups = pairs.len().div_ceil(64) as u32;
        let words = n * pairs.len();
        let theirs = gpu.run(&source, groups, &[&a, &b], words);
        let ours = execute(&source, groups, &[&a, &b], words, 32);
        for (k, case) in cases.iter().enumerate() {
            let differs =
                (0..pairs.len()).find(|i| !agree(case.bound, float, ours[i * n + k], theirs[i * n + k]));
            if let Some(i) = differs {
                let show = |v: u32| {
                    if float { format!("{} ({v:#x})", f32::from_bits(v)) } else { format!("{v:#x}") }
                };
                failures.push(format!(
                    "{} with a = {:#x}, b = {:#x}: executor {}, {} {}",
                    case.text,
                    a[i],
                    b[i],
                    show(ours[i * n + k]),
                    gpu.info.name,
                    show(theirs[i * n + k])
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn pairs(values: &[u32]) -> Vec<[u32; 2]> {
    values.iter().flat_map(|&a| values.iter().map(move |&b| [a, b])).collect()
}

fn int_edges() -> Vec<[u32; 2]> {
    let mut values = vec![0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 127, 128, 255, 65535, 65536];
    values.extend([
        0x7fff_ffff,
        0x8000_0000,
        0x8000_0001,
        0xffff_fffe,
        0xffff_ffff,
        0x1234_5678,
        0xdead_beef,
    ]);
    pairs(&values)
}

fn float_edges() -> Vec<[u32; 2]> {
    let values = [
        0.0f32,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        3.7,
        -3.7,
        0.1,
        1e-3,
        1.0 / 3.0,
        100.25,
        1023.5,
        65504.0,
        65519.0,
        65520.0,
        1e10,
        -1e10,
        16_777_217.0,
        2_147_483_648.0,
        -2_147_483_648.0,
        4_294_967_296.0,
        1e20,
        6e-5,
        6e-8,
    ];
    pairs(&values.map(f32::to_bits))
}

/// A small deterministic generator.
struct Rng(u64);

impl Rng {
    fn next(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn integer_operations() {
    let Some(gpu) = Gpu::open("integer operations") else { return };
    for (ty, cast) in [("i32", "bitcast<u32>($)"), ("u32", "$")] {
        let mut cases = Vec::new();
        for op in ["+", "-", "*", "/", "%", "&", "|", "^"] {
            cases.push(exact(format!("(a {op} b)")));
        }
        for op in ["==", "!=", "<", "<=", ">", ">="] {
            cases.push(exact(format!("{ty}(a {op} b)")));
        }
        for op in ["<<", ">>"] {
            cases.push(exact(format!("(a {op} (bitcast<u32>(b) & 31u))")));
        }
        for call in [
            "min(a, b)",
            "max(a, b)",
            "clamp(a, b, b + 5)",
            "abs(a)",
            "countOneBits(a)",
            "countLeadingZeros(a)",
            "countTrailingZeros(a)",
            "reverseBits(a)",
            "firstLeadingBit(a)",
            "firstTrailingBit(a)",
            "~a",
            "extractBits(a, bitcast<u32>(b) % 32u, bitcast<u32>(a) % 7u)",
            "extractBits(a, 4u, 28u)",
            "extractBits(a, 0u, 32u)",
            "extractBits(a, 5u, 0u)",
            "insertBits(a, b, bitcast<u32>(b) % 32u, bitcast<u32>(a) % 9u)",
            "insertBits(a, b, 0u, 32u)",
            "select(a, b, a > b)",
            "dot(vec3(a, b, a), vec3(b, b, 3))",
            "(vec2(a, b) * b).y",
        ] {
            cases.push(exact(call));
        }
        if ty == "i32" {
            cases.extend(["sign(a)", "-a", "dot4I8Packed(bitcast<u32>(a), bitcast<u32>(b))"].map(exact));
        } else {
            cases.extend(
                ["dot4U8Packed(a, b)", "pack4xU8(unpack4xU8(a))", "pack4xI8(unpack4xI8(a))"].map(exact),
            );
            cases.push(exact("pack4xI8Clamp(vec4(bitcast<i32>(a), bitcast<i32>(b), -200, 100))"));
            cases.push(exact("pack4xU8Clamp(vec4(a, b, 300u, 100u))"));
        }
        let lets = format!("let a = bitcast<{ty}>(xs[i]); let b = bitcast<{ty}>(ys[i]);");
        compare(&gpu, "", &lets, cast, false, &cases, &int_edges());
    }
}

#[test]
fn random_integer_expressions() {
    let Some(gpu) = Gpu::open("random integer expressions") else { return };
    fn tree(rng: &mut Rng, depth: usize) -> String {
        if depth == 0 {
            return ["a", "b", "i", "p", "q", "(a ^ 0xffffu)", "(b | 0x80000000u)"][rng.next(7)].into();
        }
        let (x, y) = (tree(rng, depth - 1), tree(rng, depth - 1));
        match rng.next(14) {
            0 => format!("({x} + {y})"),
            1 => format!("({x} - {y})"),
            2 => format!("({x} * {y})"),
            3 => format!("({x} / {y})"),
            4 => format!("({x} % {y})"),
            5 => format!("({x} & {y})"),
            6 => format!("({x} | {y})"),
            7 => format!("({x} ^ {y})"),
            8 => format!("({x} << ({y} & 31u))"),
            9 => format!("bitcast<u32>(bitcast<i32>({x}) >> ({y} & 31u))"),
            10 => format!("select({x}, {y}, bitcast<i32>({x}) < bitcast<i32>({y}))"),
            11 => format!("bitcast<u32>(bitcast<i32>({x}) / bitcast<i32>({y}))"),
            12 => format!("max({x}, ~{y})"),
            _ => format!("firstLeadingBit({x} ^ {y})"),
        }
    }
    // The seed is fixed: a failure names the expression.
    let mut rng = Rng(20_261_122);
    let cases: Vec<Case> = (0..240).map(|_| exact(tree(&mut rng, 3))).collect();
    let lets = "let a = xs[i]; let b = ys[i]; let p = a % 5u; let q = (b & 1u) + 1u;";
    compare(&gpu, "", lets, "$", false, &cases, &int_edges());
}

#[test]
fn f32_operations() {
    let Some(gpu) = Gpu::open("f32 operations") else { return };
    let mut cases: Vec<Case> = [
        "a + b",
        "a - b",
        "a * b",
        "-a",
        "abs(a)",
        "floor(a)",
        "ceil(a)",
        "trunc(a)",
        "round(a)",
        "sign(a)",
        "min(a, b)",
        "max(a, b)",
        "step(a, b)",
        "saturate(a)",
        "select(a, b, a < b)",
        "quantizeToF16(select(a, 1.0, abs(a) < 6.2e-5))",
        "f32(a <= b)",
        "f32(a == b)",
        "clamp(a, -1.0, 2.0)",
        "f32(bool(a))",
        "ldexp(a, 3)",
        "ldexp(a, -20)",
        "frexp(a).fract",
        "f32(frexp(a).exp)",
        "modf(a).whole",
        "f32(any(vec2(a, b) > vec2(b, a)))",
        "(mat2x2(a, b, b, a) * vec2(1.0, 0.0)).y",
        "transpose(mat2x2(a, b, 1.0, 2.0))[1].x",
        "unpack2x16float(pack2x16float(vec2(a, b))).y",
    ]
    .map(exact)
    .into();
    cases.extend([
        ulp(2.5, 0.0, "a / select(b, 1.0, b == 0.0)"),
        ulp(1.0, 1e-6, "fract(clamp(a, -1000.0, 1000.0))"),
        ulp(1.0, 1e-6, "modf(clamp(a, -1000.0, 1000.0)).fract"),
        ulp(2.5, 0.0, "sqrt(abs(a))"),
        ulp(2.5, 0.0, "inverseSqrt(abs(a) + 0.01)"),
        ulp(0.0, 1.0 / 2048.0, "sin(clamp(a, -3.0, 3.0))"),
        ulp(0.0, 1.0 / 2048.0, "cos(clamp(a, -3.0, 3.0))"),
        // exp: 3 + 2|x| units, log: 3 units or 2^-21 near 1.
        ulp(23.0, 0.0, "exp(clamp(a, -10.0, 10.0))"),
        ulp(23.0, 0.0, "exp2(clamp(a, -10.0, 10.0))"),
        ulp(3.0, 4.8e-7, "log(abs(a) + 0.01)"),
        ulp(3.0, 4.8e-7, "log2(abs(a) + 0.01)"),
        ulp(4096.0, 0.0, "atan(a)"),
        ulp(4096.0, 1e-5, "tanh(clamp(a, -5.0, 5.0))"),
        ulp(8.0, 1e-6, "mix(a, 2.0, 0.25)"),
        ulp(8.0, 1e-6, "fma(a, 0.5, 2.0)"),
        ulp(8.0, 1e-6, "dot(vec2(clamp(a, -9.0, 9.0), 1.0), vec2(0.5, 2.0))"),
        ulp(8.0, 1e-6, "length(vec2(clamp(a, -9.0, 9.0), 1.0))"),
        ulp(8.0, 1e-6, "smoothstep(-4.0, 4.0, a)"),
        ulp(8.0, 1e-6, "degrees(a)"),
        ulp(8.0, 1e-6, "determinant(mat2x2<f32>(3.0, 1.0, 0.5, 2.0)) * clamp(a, 0.0, 1.0)"),
    ]);
    let lets = "let a = bitcast<f32>(xs[i]); let b = bitcast<f32>(ys[i]);";
    compare(&gpu, "", lets, "bitcast<u32>($)", true, &cases, &float_edges());
}

#[test]
fn conversions_and_packing() {
    let Some(gpu) = Gpu::open("conversions and packing") else { return };
    let lets = "let a = bitcast<f32>(xs[i]); let b = bitcast<f32>(ys[i]);";
    let cases = [
        "bitcast<u32>(i32(a))",
        "u32(a)",
        "pack4x8snorm(vec4(a, b, 0.5, -0.25))",
        "pack2x16float(vec2(a, 1.0))",
        "pack4x8unorm(vec4(a, b, 0.5, 0.25))",
        "pack2x16snorm(vec2(a, b))",
        "pack2x16unorm(vec2(a, b))",
        "u32(bool(a))",
        "bitcast<u32>(vec2<i32>(vec2(a, b)).y)",
    ]
    .map(exact);
    compare(&gpu, "", lets, "$", false, &cases, &float_edges());
    let lets = "let a = xs[i]; let b = bitcast<i32>(ys[i]);";
    let cases = [
        "f32(a)",
        "f32(b)",
        "f32(bool(a))",
        "unpack2x16float(a & 0x7bff7bffu).x",
        "unpack2x16float(a & 0x83ff83ffu).y",
    ]
    .map(exact);
    compare(&gpu, "", lets, "bitcast<u32>($)", true, &cases, &int_edges());
    let cases =
        ["unpack4x8snorm(a).w", "unpack4x8unorm(a).y", "unpack2x16snorm(a).y", "unpack2x16unorm(a).x"]
            .map(|text| ulp(1.0, 0.0, text));
    compare(&gpu, "", lets, "bitcast<u32>($)", true, &cases, &int_edges());
}

#[test]
fn f16_operations() {
    let Some(gpu) = Gpu::open("f16 operations") else { return };
    if !gpu.features.contains(wgpu::Features::SHADER_F16) {
        eprintln!("skipped: f16 operations: {} has no shader-f16", gpu.info.name);
        return;
    }
    let mut cases: Vec<Case> = [
        "a + b",
        "a - b",
        "a * b",
        "-a",
        "abs(a)",
        "floor(a)",
        "ceil(a)",
        "trunc(a)",
        "min(a, b)",
        "max(a, b)",
        "select(a, b, a < b)",
        "f16(a <= b)",
        "(a + b) * a - b",
        "a * a * b",
        "vec2(a, b).y + 1.0h",
        "clamp(a, -1.0h, 2.0h)",
        "f16(i32(a))",
        "f16(u32(abs(a)))",
        "step(a, b)",
        "sign(a)",
        "f16(f32(a) + f32(b))",
    ]
    .map(exact)
    .into();
    // Random sums and products: each operation must round. No constants: WGSL lets compilers
    // reassociate, and Mesa does so with constants.
    let mut rng = Rng(7);
    fn tree(rng: &mut Rng, depth: usize) -> String {
        if depth == 0 {
            return ["a", "b", "c", "d", "e"][rng.next(5)].into();
        }
        let (x, y) = (tree(rng, depth - 1), tree(rng, depth - 1));
        match rng.next(5) {
            0 => format!("({x} + {y})"),
            1 => format!("({x} - {y})"),
            2 => format!("({x} * {y})"),
            3 => format!("min({x}, {y})"),
            _ => format!("abs({x} + {y})"),
        }
    }
    cases.extend((0..60).map(|_| exact(tree(&mut rng, 2))));
    let lets = "let a = f16(clamp(bitcast<f32>(xs[i]), -200.0, 200.0)); let b = f16(clamp(bitcast<f32>(ys[i]), -200.0, 200.0)); \
        let c = f16(f32(i % 7u) * 0.333); let d = f16(f32(i % 11u) - 4.7); let e = f16(f32(i % 5u) * 1.01);";
    compare(&gpu, "enable f16;", lets, "bitcast<u32>(f32($))", true, &cases, &float_edges());
}

/// Whole shaders: control flow, workgroup memory, atomics.
#[test]
fn small_shaders() {
    let Some(gpu) = Gpu::open("small shaders") else { return };
    let bodies = [
        (
            "var s = 0u; for (var k = 0u; k < x % 50u; k++) { if k % 3u == 1u { continue; } s += k * x; if s > 5000u { break; } } r = s;",
            "",
        ),
        (
            "switch x % 6u { case 0u: { r = 10u; } case 1u, 2u: { r = 20u + x; } case 5u { r = x; if x > 70u { break; } r += 1u; } default { r = 5u; } }",
            "",
        ),
        (
            "var a = array<u32, 8>(); for (var k = 0u; k < 8u; k++) { a[(x + k * 3u) % 8u] = k * x; } r = a[i % 8u] + a[x % 8u];",
            "",
        ),
        (
            "var m = mat3x3<f32>(); m[x % 3u][i % 3u] = 5.0; m = m * m + m; r = u32(m[0].x + m[1].y * 2.0 + m[x % 3u][i % 3u]);",
            "",
        ),
        (
            "r = fib(x % 20u);",
            "fn fib(n: u32) -> u32 { var a = 0u; var b = 1u; for (var k = 0u; k < n; k++) { let t = a + b; a = b; b = t; if k > 15u { return b; } } return a; }",
        ),
        (
            "var v = vec4(x, i, 3u, 4u); twist(&v, x % 4u); r = v.x * 3u + v.y + v.z * 7u + v.w;",
            "fn twist(v: ptr<function, vec4<u32>>, k: u32) { let t = (*v)[k]; (*v)[k] = (*v).wzyx.y; (*v).x += t; }",
        ),
        (
            "var n = x; var c = 0u; while n != 1u && c < 60u { n = select(3u * n + 1u, n / 2u, n % 2u == 0u); if n == 0u { break; } c++; } r = c;",
            "",
        ),
        (
            "tile[i] = x; workgroupBarrier(); for (var s = 32u; s > 0u; s /= 2u) { if i < s { tile[i] += tile[i + s]; } workgroupBarrier(); } r = tile[0] + tile[i];",
            "var<workgroup> tile: array<u32, 64>;",
        ),
        (
            "if i == 0u { atomicStore(&n, 5u); } workgroupBarrier(); atomicAdd(&n, x); atomicXor(&m[x % 4u], x * 77u); atomicMax(&m[4], x); atomicMin(&m[5], x - 60u); workgroupBarrier(); r = atomicLoad(&n) + atomicLoad(&m[i % 6u]);",
            "var<workgroup> n: atomic<u32>; var<workgroup> m: array<atomic<u32>, 6>;",
        ),
        (
            "let old = atomicOr(&bits, 1u << (i % 32u)); workgroupBarrier(); var tries = 0u; loop { let e = atomicCompareExchangeWeak(&lock, i, i + 1u); if e.exchanged || tries > 0u { break; } tries++; } workgroupBarrier(); r = atomicLoad(&bits) + (old & 0u);",
            "var<workgroup> bits: atomic<u32>; var<workgroup> lock: atomic<u32>;",
        ),
        (
            "let p = Pair(x, vec3(f32(i), 2.0, 3.0)); var q = p; q.v.z = f32(x); let list = array(p, q, p); r = u32(list[x % 3u].v.z) + list[i % 2u].n;",
            "struct Pair { n: u32, v: vec3<f32> }",
        ),
        (
            "r = counter + x; counter += 7u; bump(); r = r * 3u + counter;",
            "var<private> counter: u32 = 11u; fn bump() { counter = counter * 2u; }",
        ),
        (
            "if i == 5u { flag = x; } let f = workgroupUniformLoad(&flag); r = f + i;",
            "var<workgroup> flag: u32;",
        ),
    ];
    let input: Vec<u32> = (0..256u32).map(|i| i * 37 % 101).collect();
    for (body, head) in bodies {
        let source = format!(
            "{head}
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32, @builtin(global_invocation_id) id: vec3<u32>) {{
    let x = input[id.x];
    var r = 0u;
    {body}
    output[id.x] = r;
}}"
        );
        let theirs = gpu.run(&source, 4, &[&input], 256);
        for width in [4, 8, 32] {
            assert_eq!(execute(&source, 4, &[&input], 256, width), theirs, "width {width}\n{source}");
        }
    }
}

#[test]
fn subgroup_operations() {
    let Some(gpu) = Gpu::open("subgroup operations") else { return };
    let width = gpu.info.subgroup_max_size;
    if !gpu.features.contains(wgpu::Features::SUBGROUP) || gpu.info.subgroup_min_size != width {
        eprintln!("skipped: subgroup operations: {} has no subgroups of one size", gpu.info.name);
        return;
    }
    let calls = [
        "subgroupAdd(x)",
        "subgroupMul(x | 1u)",
        "subgroupMin(x)",
        "subgroupMax(x)",
        "subgroupAnd(x)",
        "subgroupOr(x)",
        "subgroupXor(x)",
        "subgroupInclusiveAdd(x)",
        "subgroupExclusiveAdd(x)",
        "subgroupInclusiveMul(x | 1u)",
        "subgroupExclusiveMul(x | 1u)",
        "u32(subgroupAll(x > 3u))",
        "u32(subgroupAny(x > 98u))",
        "subgroupBallot(x % 3u == 0u).x",
        "subgroupBroadcast(x, 2u)",
        "subgroupBroadcastFirst(x)",
        "subgroupShuffle(x, (lane + 3u) % size)",
        "subgroupShuffleXor(x, 1u)",
        "subgroupShuffleXor(x, 2u)",
        "select(0u, subgroupShuffleUp(x, 1u), lane >= 1u)",
        "select(0u, subgroupShuffleDown(x, 1u), lane + 1u < size)",
        "bitcast<u32>(subgroupAdd(f32(x)))",
        "bitcast<u32>(subgroupMax(i32(x) - 50))",
        "size + lane * 100u",
    ];
    let input: Vec<u32> = (0..128u32).map(|i| i * 37 % 101).collect();
    let mut skipped = Vec::new();
    for condition in ["true", "x % 2u == 1u"] {
        for call in calls {
            // A shuffle from an inactive lane has any value.
            if condition != "true" && (call.contains("Shuffle") || call.contains("Broadcast(")) {
                skipped.push(call);
                continue;
            }
            let source = format!(
                "@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) size: u32,
        @builtin(global_invocation_id) id: vec3<u32>) {{
    let x = input[id.x];
    var r = 7u;
    if {condition} {{ r = {call}; }}
    output[id.x] = r;
}}"
            );
            let theirs = gpu.run(&source, 2, &[&input], 128);
            assert_eq!(execute(&source, 2, &[&input], 128, width), theirs, "{}\n{source}", gpu.info.name);
        }
    }
    eprintln!("{} calls in divergent flow not compared: WGSL leaves them undefined", skipped.len());
}
