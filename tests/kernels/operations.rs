//! The public operations of all rooms: the same manner, the same refusals, before anything is encoded.
//!
//! One operation of each room; every check runs over every buffer of each. On each GPU adapter and on the executor.

use wgpu_marlin::exec;
use wgpu_marlin::gpu::{self, Caps, DeviceChoice, Gpu, GpuError};
use wgpu_marlin::kernels::op::Operation;
use wgpu_marlin::kernels::spec::{Elem, Refusal};
use wgpu_marlin::kernels::{self, attention, dequant, expert_gemm, gemm, gemv, router, weight_operands};
use wgpu_marlin::measure::{Cpu, RunError};
use wgpu_marlin::quant::{Format, GroupSize, QuantizedMatrix, Shape, WeightSpec};

/// Every adapter, or none with a word about it.
fn gpus() -> Vec<Gpu> {
    let n = pollster::block_on(gpu::adapters()).len();
    assert!(
        n > 0 || std::env::var_os("MARLIN_REQUIRE_GPU").is_none(),
        "MARLIN_REQUIRE_GPU is set, but there is no GPU adapter"
    );
    if n == 0 {
        println!("skipped: no GPU adapter");
    }
    (0..n).map(|i| pollster::block_on(Gpu::open(&DeviceChoice::Index(i))).expect("adapter opens")).collect()
}

fn weights(n: usize, k: usize, format: Format) -> WeightSpec {
    WeightSpec::new(Shape::new(n, k).unwrap(), format, GroupSize::G32).unwrap()
}

fn routes(n_tokens: u32, experts: u32, top_k: u32) -> router::Shape {
    router::Shape { n_tokens, hidden: 64, experts, top_k }
}

fn mixture(n_tokens: u32, experts: u32, top_k: u32) -> expert_gemm::Mixture {
    expert_gemm::Mixture { n_tokens, top_k, experts }
}

/// One operation of each room, with several where options add buffers.
fn operations(caps: &Caps) -> Vec<(&'static str, Operation)> {
    let asym = weights(48, 96, Format::Int4Asym);
    let expert = weights(40, 64, Format::Mxfp4);
    let dequant = dequant::Spec::new(asym, 1.0, Elem::F32).unwrap();
    let gemv = gemv::Spec::new(asym, 1.0, 3, Elem::F32).unwrap();
    let gemm = gemm::Spec::new(33, asym, 1.0, Elem::F32, Elem::F32).unwrap().with_bias();
    let shape = attention::Shape { n_queries: 5, n_keys: 70, heads: 4, kv_heads: 2, head_dim: 64 };
    let options = attention::Options {
        causal: true,
        mask: true,
        kv_capacity: Some(80),
        ..attention::Options::default()
    };
    let attention = attention::Spec::new(shape, Elem::F32, options).unwrap();
    let router = router::Spec::new(routes(20, 8, 2), Elem::F32, true).unwrap();
    let experts =
        |tokens| expert_gemm::Spec::new(mixture(tokens, 4, 2), expert, 1.0, Elem::F32, Elem::F32).unwrap();
    let rows = |x, y| experts(40).with_rows(x, y).unwrap();
    use expert_gemm::Rows::{Pair, Token};
    vec![
        ("dequant", dequant::operation(&dequant, caps).unwrap()),
        ("gemv", gemv::operation(&gemv, caps).unwrap()),
        ("gemm", gemm::operation(&gemm, caps).unwrap()),
        ("attention", attention::operation(&attention, caps).unwrap()),
        ("router", router::operation(&router, caps).unwrap()),
        ("expert_gemm, few tokens", expert_gemm::operation(&experts(3), caps).unwrap()),
        ("expert_gemm, sorted", expert_gemm::operation(&experts(40), caps).unwrap()),
        ("expert_gemm, up", expert_gemm::operation(&rows(Token, Pair), caps).unwrap()),
        ("expert_gemm, down", expert_gemm::operation(&rows(Pair, Token), caps).unwrap()),
    ]
}

/// Names and least sizes of all that an operation binds.
fn sizes(operation: &Operation) -> Vec<(&'static str, u64)> {
    operation.buffers().iter().chain(operation.scratch()).map(|b| (b.name, b.binding_bytes())).collect()
}

#[test]
fn each_wrong_buffer_is_refused_by_name_on_every_gpu() {
    for gpu in gpus() {
        for (label, operation) in operations(&gpu.caps) {
            let sizes = sizes(&operation);
            // Room for an offset, and for being a little too large.
            let buffers: Vec<wgpu::Buffer> =
                sizes.iter().map(|(name, size)| gpu.create_buffer(name, size + 1024).unwrap()).collect();
            let whole = |ix: usize, size: u64| wgpu::BufferBinding {
                buffer: &buffers[ix],
                offset: 0,
                size: wgpu::BufferSize::new(size),
            };
            let exact: Vec<(&str, wgpu::BufferBinding<'_>)> =
                sizes.iter().enumerate().map(|(ix, (name, size))| (*name, whole(ix, *size))).collect();
            let bind = |buffers: &[(&str, wgpu::BufferBinding<'_>)]| operation.bind(&gpu, &[], buffers);
            assert!(bind(&exact).is_ok(), "{label}: buffers of exactly the sizes that it asks for");

            for (ix, (name, size)) in sizes.iter().enumerate() {
                let mut small = exact.clone();
                small[ix].1 = whole(ix, size - 4);
                match bind(&small) {
                    Err(GpuError::Size { buffer, needed_bytes, given_bytes }) => {
                        assert_eq!(
                            (buffer.as_str(), needed_bytes, given_bytes),
                            (*name, *size, size - 4),
                            "{label}"
                        );
                    }
                    other => panic!("{label}: `{name}` 4 B too small: {other:?}"),
                }

                let mut beyond = exact.clone();
                beyond[ix].1 = wgpu::BufferBinding { offset: size + 2048, ..whole(ix, *size) };
                let refusal = bind(&beyond);
                assert!(
                    matches!(&refusal, Err(GpuError::Size { buffer, given_bytes: 0, .. }) if buffer == name),
                    "{label}: `{name}` from beyond its end: {refusal:?}"
                );

                let mut missing = exact.clone();
                missing.remove(ix);
                let refusal = bind(&missing);
                assert!(
                    matches!(&refusal, Err(GpuError::Unbound { buffer, .. }) if buffer == name),
                    "{label}: without `{name}`: {refusal:?}"
                );

                let mut odd = exact.clone();
                odd[ix].1 = wgpu::BufferBinding { offset: 4, ..whole(ix, *size) };
                let refusal = bind(&odd);
                assert!(
                    matches!(&refusal, Err(GpuError::Limit { what, .. }) if what.contains(name)),
                    "{label}: `{name}` at an offset of 4: {refusal:?}"
                );
            }

            let mut unknown = exact.clone();
            unknown.push(("outptu", whole(0, sizes[0].1)));
            let refusal = bind(&unknown).unwrap_err().to_string();
            assert!(refusal.contains("`outptu`") && refusal.contains(sizes[0].0), "{label}: {refusal}");
        }
    }
}

#[test]
fn a_buffer_that_is_read_and_written_at_once_is_refused() {
    for gpu in gpus() {
        let spec = gemv::Spec::new(weights(64, 64, Format::Fp4), 1.0, 1, Elem::F32).unwrap();
        let operation = gemv::operation(&spec, &gpu.caps).unwrap();
        let buffers: Vec<(&str, wgpu::Buffer)> = sizes(&operation)
            .iter()
            .map(|(name, _)| (*name, gpu.create_buffer(name, 4096).unwrap()))
            .collect();
        let mut bindings: Vec<_> = buffers.iter().map(|(n, b)| (*n, b.as_entire_buffer_binding())).collect();
        let x = bindings.iter().position(|(n, _)| *n == "x").unwrap();
        let y = bindings.iter().position(|(n, _)| *n == "y").unwrap();
        bindings[x].1 = bindings[y].1.clone();
        match operation.bind(&gpu, &[], &bindings) {
            Err(GpuError::Aliased { written, other, .. }) => {
                assert_eq!((&written[..], &other[..]), ("y", "x"))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn operands_of_another_shape_are_refused_at_upload() {
    let matrix =
        QuantizedMatrix::random(Shape::new(48, 96).unwrap(), Format::Int4Asym, GroupSize::G32, 1).unwrap();
    let other =
        QuantizedMatrix::random(Shape::new(48, 128).unwrap(), Format::Int4Asym, GroupSize::G32, 1).unwrap();
    let smaller =
        QuantizedMatrix::random(Shape::new(16, 96).unwrap(), Format::Int4Asym, GroupSize::G32, 1).unwrap();
    let cpu = Cpu::default();
    let spec = gemm::Spec::new(9, matrix.spec(), 1.0, Elem::F32, Elem::F32).unwrap();
    let operation = gemm::operation(&spec, &cpu.caps).unwrap();
    assert!(cpu.upload(&operation, &weight_operands(&matrix)).is_ok());
    for wrong in [&other, &smaller] {
        match cpu.upload(&operation, &weight_operands(wrong)) {
            Err(RunError::Gpu(GpuError::Size { buffer, needed_bytes, given_bytes })) => {
                assert_eq!(buffer, "words");
                assert_eq!((needed_bytes, given_bytes), (48 * 96 / 2, wrong.shape().elements() as u64 / 2));
            }
            other => panic!("{other:?}"),
        }
    }
    let refusal = cpu.upload(&operation, &[("wrods", &[0; 16])]).unwrap_err().to_string();
    assert!(refusal.contains("`wrods`") && refusal.contains("`words`"), "{refusal}");
    for gpu in gpus() {
        let operation = gemm::operation(&spec, &gpu.caps).unwrap();
        assert!(operation.upload(&gpu, &weight_operands(&matrix)).is_ok());
        let refusal = operation.upload(&gpu, &weight_operands(&other));
        assert!(matches!(&refusal, Err(GpuError::Size { buffer, .. }) if buffer == "words"), "{refusal:?}");
        let refusal = operation.upload(&gpu, &[("wrods", &[0; 16])]);
        assert!(matches!(&refusal, Err(GpuError::UnknownBuffer { .. })), "{refusal:?}");
    }
}

#[test]
fn the_executor_refuses_the_same_buffers() {
    let cpu = Cpu::default();
    for (label, operation) in operations(&cpu.caps) {
        let sizes = sizes(&operation);
        let run = |sizes: &[(&'static str, u64)]| {
            let buffers: Vec<(&str, exec::Buffer)> =
                sizes.iter().map(|(name, size)| (*name, exec::Buffer::zeroed(*size as usize))).collect();
            let bound: Vec<(&str, &exec::Buffer)> = buffers.iter().map(|(n, b)| (*n, b)).collect();
            cpu.run_operation(&operation, &[], &bound).map(|_| ())
        };
        assert!(run(&sizes).is_ok(), "{label}");
        for ix in 0..sizes.len() {
            let mut small = sizes.clone();
            small[ix].1 -= 4;
            let refusal = run(&small);
            assert!(
                matches!(&refusal, Err(RunError::Gpu(GpuError::Size { buffer, .. })) if buffer == sizes[ix].0),
                "{label}: `{}`: {refusal:?}",
                sizes[ix].0
            );
        }
        let mut unknown = sizes.clone();
        unknown.push(("outptu", 64));
        let refusal = run(&unknown);
        assert!(
            matches!(&refusal, Err(RunError::Gpu(GpuError::UnknownBuffer { .. }))),
            "{label}: {refusal:?}"
        );
    }
}

/// What only rooms know of their arguments is tested there; here that all of them refuse in words that name the argument.
#[test]
fn specs_name_the_argument_that_is_wrong() {
    let fp4 = weights(64, 64, Format::Fp4);
    let (f16, f32, u32) = (Elem::F16, Elem::F32, Elem::U32);
    let shape = attention::Shape { n_queries: 1, n_keys: 9, heads: 4, kv_heads: 2, head_dim: 64 };
    let plain = attention::Options::default();
    let experts =
        |tokens, top_k, x| expert_gemm::Spec::new(mixture(tokens, 8, top_k), fp4, 1.0, x, f32).map(|_| ());
    let refused: Vec<(&str, Result<(), Refusal>)> = vec![
        ("`out` is u32", dequant::Spec::new(fp4, 1.0, u32).map(|_| ())),
        ("`tensor_scale`", dequant::Spec::new(fp4, f32::NAN, f16).map(|_| ())),
        ("batch", gemv::Spec::new(fp4, 1.0, 0, f16).map(|_| ())),
        ("batch", gemv::Spec::new(fp4, 1.0, gemv::MAX_BATCH + 1, f16).map(|_| ())),
        ("activations", gemv::Spec::new(fp4, 1.0, 1, u32).map(|_| ())),
        ("`m` is 0", gemm::Spec::new(0, fp4, 1.0, f16, f32).map(|_| ())),
        (
            "`head_dim`",
            attention::Spec::new(attention::Shape { head_dim: 96, ..shape }, f16, plain).map(|_| ()),
        ),
        (
            "`kv_heads`",
            attention::Spec::new(attention::Shape { kv_heads: 3, ..shape }, f16, plain).map(|_| ()),
        ),
        ("`top_k`", router::Spec::new(routes(1, 8, 9), f16, true).map(|_| ())),
        ("`experts`", router::Spec::new(routes(1, router::MAX_EXPERTS + 1, 1), f16, true).map(|_| ())),
        ("`top_k`", experts(1, 9, f16)),
        ("`n_tokens`", experts(0, 1, f16)),
        ("`x` is u32", experts(1, 1, u32)),
    ];
    for (argument, result) in refused {
        let message = result.expect_err(argument).to_string();
        assert!(message.contains(argument), "{argument} is not in: {message}");
    }
    // Rows of pairs are `top_k` times as many.
    let spec =
        expert_gemm::Spec::new(mixture(1 << 25, 8, 2), weights(32, 64, Format::Fp4), 1.0, f16, f32).unwrap();
    let pairs = spec.with_rows(expert_gemm::Rows::Pair, expert_gemm::Rows::Pair);
    assert!(pairs.unwrap_err().to_string().starts_with("`x` has"));
}

/// What a device cannot bind or start is refused when a variant is chosen, so that another may serve.
#[test]
fn devices_limits_are_part_of_the_choice() {
    let apple = Caps::apple();
    let shape = attention::Shape { n_queries: 70_000, n_keys: 64, heads: 1, kv_heads: 1, head_dim: 64 };
    let spec = attention::Spec::new(shape, Elem::F16, attention::Options::default()).unwrap();
    assert!(attention::operation(&spec, &apple).is_ok());
    let family = kernels::select(kernels::families(), &["attention/naive".into()]).unwrap().remove(0);
    let (variant, case) =
        (&family.variants[0], family.cases.iter().find(|c| c.name.starts_with("q4096")).unwrap());
    assert!(case.plan(variant.ix, &apple).is_ok(), "2 GiB of scores");
    let small = Caps { max_binding_bytes: 1 << 30, ..apple.clone() };
    let refusal = case.plan(variant.ix, &small).unwrap_err().to_string();
    assert!(refusal.contains("`scores`"), "{refusal}");
    let few = Caps { max_workgroups: 100, ..apple };
    let refusal = attention::operation(&spec, &few).unwrap_err().to_string();
    assert!(refusal.contains("workgroups in one dimension"), "{refusal}");
}
