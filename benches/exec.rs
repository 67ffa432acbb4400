//! Speed of the CPU executor on a tiled f32 GEMM, in lane operations per second on one core.
//!
//! A lane operation is one instruction of the executor for one lane. The aims: 100 million a second
//! untraced, at most 5 times slower traced, a small kernel compiled and run within 50 ms.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu_marlin::exec::{Bindings, Buffer, Kernel, Options, TraceMode};

/// C = A·B with 16×16 tiles in workgroup memory, one element per invocation.
const GEMM: &str = "
    const N = 64u;
    @group(0) @binding(0) var<storage, read> a: array<f32>;
    @group(0) @binding(1) var<storage, read> b: array<f32>;
    @group(0) @binding(2) var<storage, read_write> c: array<f32>;
    var<workgroup> tile_a: array<f32, 256>;
    var<workgroup> tile_b: array<f32, 256>;
    @compute @workgroup_size(16, 16)
    fn gemm(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>) {
        var sum = 0.0;
        for (var k = 0u; k < N; k += 16u) {
            tile_a[at.y * 16u + at.x] = a[id.y * N + k + at.x];
            tile_b[at.y * 16u + at.x] = b[(k + at.y) * N + id.x];
            workgroupBarrier();
            for (var i = 0u; i < 16u; i++) {
                sum += tile_a[at.y * 16u + i] * tile_b[i * 16u + at.x];
            }
            workgroupBarrier();
        }
        c[id.y * N + id.x] = sum;
    }";

const N: usize = 64;

fn compile(source: &str) -> Kernel {
    let module = naga::front::wgsl::parse_str(source).expect("the kernel parses");
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .expect("the kernel is valid");
    Kernel::new(&module, &info, "gemm", &PipelineConstants::default()).expect("the kernel is supported")
}

fn gemm(criterion: &mut Criterion) {
    let kernel = compile(GEMM);
    let a = Buffer::from_slice(&(0..N * N).map(|i| (i % 13) as f32 - 6.0).collect::<Vec<_>>());
    let b = Buffer::from_slice(&(0..N * N).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>());
    let c = Buffer::zeroed(4 * N * N);
    let bindings = Bindings::new().buffer(0, 0, &a).buffer(0, 1, &b).buffer(0, 2, &c);
    let run = |options: &Options| kernel.run([4, 4, 1], &bindings, options).expect("the kernel runs");

    let mut group = criterion.benchmark_group("exec/gemm64");
    for width in [8, 32] {
        let plain = Options { subgroup_size: width, n_threads: Some(1), ..Options::default() };
        group.throughput(Throughput::Elements(run(&plain).steps * u64::from(width)));
        group.bench_function(format!("untraced/{width}"), |bench| bench.iter(|| run(&plain)));
        let traced = Options { trace: TraceMode::All, ..plain.clone() };
        group.bench_function(format!("traced/{width}"), |bench| bench.iter(|| run(&traced)));
        let sanitized = Options { sanitize: true, ..plain.clone() };
        group.bench_function(format!("sanitized/{width}"), |bench| bench.iter(|| run(&sanitized)));
    }
    group.finish();

    // A benchmark is a test first.
    let (a, b, c) = (a.to_vec::<f32>(), b.to_vec::<f32>(), c.to_vec::<f32>());
    for (i, &got) in c.iter().enumerate() {
        let want: f32 = (0..N).map(|k| a[i / N * N + k] * b[k * N + i % N]).sum();
        assert_eq!(got, want, "element {i}");
    }

    // Parse, validate, compile and run.
    criterion.bench_function("exec/startup", |bench| bench.iter(|| compile(GEMM)));
}

criterion_group!(benches, gemm);
criterion_main!(benches);
