//! One decoder layer of a mixture-of-experts model out of this crate's operations: a prompt, then decoding with a KV cache.
//!
//! `cargo run --example moe_block [auto|cpu|vulkan|metal|dx12|INDEX] [portable]`; `portable` leaves out f16, subgroups and
//! cooperative matrices. Ends with 1 if anything is beyond its tolerance.
//!
//! ```text
//! n = norm(x)        q, k, v = n·Wq, n·Wk, n·Wv       k and v are appended to the cache
//! h = x + attention(q, cache)·Wo                      causal, query heads grouped
//! m = norm(h)        experts, p = router(m)           softmax, top-k, renormalized
//! y = h + Σ p · (swiglu(m·Wup[expert])·Wdown[expert])
//! ```
//!
//! All products, attention and the router are operations of the crate. What it has no operation for (`norm`, `swiglu`, the two
//! sums) is WGSL of the app, run in the same encoder: see `app.wgsl`. Appending to the cache is a copy. Nothing waits
//! between the first kernel of a step and its last.
//!
//! `reference.rs` computes the same in f64, by plain loops over all tokens and without a cache; and how far f32 may be from it.

mod device;
mod reference;

use device::{CpuDevice, Device, GpuDevice, Result};
use reference::{Num, Reference, Weights};
use wgpu_marlin::gpu::{Caps, DeviceChoice, Gpu};
use wgpu_marlin::kernels::{
    attention, expert_gemm, gemm, gemv, op::Operation, router, spec::Elem, weight_operands,
};
use wgpu_marlin::measure::Cpu;
use wgpu_marlin::quant::QuantizedMatrix;

const HIDDEN: u32 = 256;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const HEAD_DIM: u32 = 64;
const EXPERTS: u32 = 8;
const TOP_K: u32 = 2;
/// Columns between an expert's two products.
const INNER: u32 = 128;
/// Tokens of the prompt, and steps of one token after it.
const PROMPT: u32 = 37;
const STEPS: u32 = 5;
/// Tokens that the cache has room for.
const CAPACITY: u32 = 64;
/// Bytes of an f32.
const F32: u64 = 4;

fn main() -> Result<()> {
    let mut choice = DeviceChoice::Auto;
    let mut portable = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "portable" => portable = true,
            device => choice = device.parse()?,
        }
    }
    let restrict = |caps: &mut Caps| {
        if portable {
            *caps = Caps { f16: false, int16: false, subgroups: false, coop: vec![], ..caps.clone() };
        }
    };
    let no_gpu = || pollster::block_on(wgpu_marlin::gpu::adapters()).is_empty();
    let worst = if choice == DeviceChoice::Cpu || choice == DeviceChoice::Auto && no_gpu() {
        let mut cpu = Cpu { trace: wgpu_marlin::exec::TraceMode::Off, ..Cpu::default() };
        restrict(&mut cpu.caps);
        println!("on the CPU executor");
        run(CpuDevice::new(cpu)?)?
    } else {
        let mut gpu = pollster::block_on(Gpu::open(&choice))?;
        restrict(&mut gpu.caps);
        println!("on {}", gpu.info.name);
        run(GpuDevice::new(gpu)?)?
    };
    println!("worst error: {worst:.3} of its tolerance");
    if worst > 1.0 { Err("the block is wrong".into()) } else { Ok(()) }
}

/// The prompt, then each step, checked; the worst error over tolerance.
fn run<D: Device>(device: D) -> Result<f64> {
    let weights = Weights::random()?;
    let inputs = weights.embeddings(PROMPT + STEPS);
    let wanted = Reference::new(&weights, &inputs);
    let mut block = Block::new(device, &weights)?;
    let mut worst: f64 = 0.0;
    let mut done = 0;
    for tokens in std::iter::once(PROMPT).chain((0..STEPS).map(|_| 1)) {
        let rows = done as usize * HIDDEN as usize..(done + tokens) as usize * HIDDEN as usize;
        let got = block.forward(&inputs[rows], tokens)?;
        let kind = if tokens > 1 { "prompt" } else { "decode" };
        println!("{kind}: {tokens} new, {} in the cache; {}", done + tokens, block.chosen.join(", "));
        let token_range = done as usize..(done + tokens) as usize;
        for (name, got, want) in [
            ("attention", &got.attention, &wanted.attention),
            ("hidden", &got.hidden, &wanted.hidden),
            ("probabilities", &got.probabilities, &wanted.probabilities),
            ("output", &got.output, &wanted.output),
        ] {
            worst = worst.max(judge(name, got, &want[token_range.clone()].concat())?);
        }
        if got.expert_ids != wanted.expert_ids[token_range].concat() {
            return Err("other experts were chosen".into());
        }
        done += tokens;
    }
    Ok(worst)
}

/// The greatest error over its bound. NaN is an error.
fn judge(name: &str, got: &[f32], want: &[Num]) -> Result<f64> {
    if got.len() != want.len() {
        return Err(format!("{name}: {} values, {} are expected", got.len(), want.len()).into());
    }
    let size = (want.iter().map(|w| w.value * w.value).sum::<f64>() / want.len() as f64).sqrt();
    let (mut error, mut bound, mut worst) = (0.0f64, 0.0f64, 0.0f64);
    for (&got, want) in got.iter().zip(want) {
        let e = (f64::from(got) - want.value).abs();
        if e.is_nan() {
            return Err(format!("{name}: a value is NaN").into());
        }
        (error, bound, worst) = (error.max(e), bound.max(want.bound), worst.max(e / want.bound));
    }
    println!(
        "  {name:13} of size {size:.2}: off by {error:.1e} at most, tolerance up to {bound:.1e}, {worst:.3} of it"
    );
    // A tolerance near the values themselves would prove nothing.
    if bound > 0.02 * size {
        return Err(format!("{name}: the tolerance is too wide to tell right from wrong").into());
    }
    Ok(worst)
}

/// What a step is checked by.
struct Step {
    attention: Vec<f32>,
    hidden: Vec<f32>,
    expert_ids: Vec<u32>,
    probabilities: Vec<f32>,
    output: Vec<f32>,
}

/// The layer on a device: weights, and the cache of what it has seen.
struct Block<'a, D: Device> {
    device: D,
    weights: &'a Weights,
    /// Uploaded once, by the operations of the first call that needs them; those of other shapes bind the same.
    uploaded: [Option<D::Operands>; 7],
    k_cache: D::Buffer,
    v_cache: D::Buffer,
    cached: u32,
    /// The variants that the last call ran.
    chosen: Vec<String>,
}

/// Places of weights in [`Block::uploaded`].
const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const ROUTER: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

impl<'a, D: Device> Block<'a, D> {
    fn new(device: D, weights: &'a Weights) -> Result<Self> {
        let cache_bytes = u64::from(CAPACITY * KV_HEADS * HEAD_DIM) * F32;
        let (k_cache, v_cache) = (device.buffer(cache_bytes)?, device.buffer(cache_bytes)?);
        let uploaded = Default::default();
        Ok(Self { device, weights, uploaded, k_cache, v_cache, cached: 0, chosen: Vec::new() })
    }

    /// `tokens` new rows of x through the layer. Records everything, submits once, reads back.
    fn forward(&mut self, x: &[f32], tokens: u32) -> Result<Step> {
        let n_keys = self.cached + tokens;
        self.chosen.clear();
        let rows = |columns: u32| self.device.buffer(u64::from(tokens * columns) * F32);
        let pairs = |columns: u32| self.device.buffer(u64::from(tokens * TOP_K * columns) * F32);
        let (q_columns, kv_columns) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
        let input = rows(HIDDEN)?;
        let normed = rows(HIDDEN)?;
        let (q, k, v) = (rows(q_columns)?, rows(kv_columns)?, rows(kv_columns)?);
        let (attended, projected, hidden) = (rows(q_columns)?, rows(HIDDEN)?, rows(HIDDEN)?);
        let (expert_ids, probabilities) = (rows(TOP_K)?, rows(TOP_K)?);
        let (up, inner) = (pairs(2 * INNER)?, pairs(INNER)?);
        let (down, output) = (rows(HIDDEN)?, rows(HIDDEN)?);
        self.device.write(&input, bytemuck::cast_slice(x));

        let mut step = self.device.begin();
        self.device.app(&mut step, "norm", &[&input, &normed], tokens, HIDDEN)?;
        for (ix, to) in [(Q, &q), (K, &k), (V, &v)] {
            self.project(&mut step, ix, tokens, &normed, to)?;
        }
        let (at, appended) =
            (u64::from(self.cached * kv_columns) * F32, u64::from(tokens * kv_columns) * F32);
        self.device.copy(&mut step, &k, &self.k_cache, at, appended);
        self.device.copy(&mut step, &v, &self.v_cache, at, appended);
        let shape = attention::Shape {
            n_queries: tokens,
            n_keys,
            heads: HEADS,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
        };
        let layout = attention::Layout::TokenMajor;
        let options = attention::Options { causal: true, mask: false, layout, kv_capacity: Some(CAPACITY) };
        let spec = attention::Spec::new(shape, Elem::F32, options)?;
        let attention = attention::operation(&spec, self.device.caps())?;
        let cache = [("q", &q), ("k", &self.k_cache), ("v", &self.v_cache), ("output", &attended)];
        self.device.run(&mut step, &attention, None, &cache)?;
        self.chosen.push(format!("attention {}", attention.variant()));
        self.project(&mut step, O, tokens, &attended, &projected)?;
        self.device.app(&mut step, "add", &[&input, &projected, &hidden], tokens, HIDDEN)?;

        self.device.app(&mut step, "norm", &[&hidden, &normed], tokens, HIDDEN)?;
        let shape = router::Shape { n_tokens: tokens, hidden: HIDDEN, experts: EXPERTS, top_k: TOP_K };
        let spec = router::Spec::new(shape, Elem::F32, true)?;
        let router = router::operation(&spec, self.device.caps())?;
        let gate = [("weights", bytemuck::cast_slice(&self.weights.router))];
        let buffers =
            [("activations", &normed), ("expert_ids", &expert_ids), ("probabilities", &probabilities)];
        self.operate(&mut step, ROUTER, "router", &router, &gate, &buffers)?;
        self.expert_product(
            &mut step,
            UP,
            tokens,
            &[("x", &normed), ("expert_ids", &expert_ids), ("y", &up)],
        )?;
        self.device.app(&mut step, "swiglu", &[&up, &inner], tokens * TOP_K, INNER)?;
        self.expert_product(
            &mut step,
            DOWN,
            tokens,
            &[("x", &inner), ("expert_ids", &expert_ids), ("probabilities", &probabilities), ("y", &down)],
        )?;
        self.device.app(&mut step, "add", &[&hidden, &down, &output], tokens, HIDDEN)?;
        self.device.submit(step)?;
        self.cached = n_keys;

        let floats = |b: &D::Buffer| {
            Ok::<Vec<f32>, device::Error>(bytemuck::pod_collect_to_vec(&self.device.read(b)?))
        };
        Ok(Step {
            attention: floats(&attended)?,
            hidden: floats(&hidden)?,
            expert_ids: bytemuck::pod_collect_to_vec(&self.device.read(&expert_ids)?),
            probabilities: floats(&probabilities)?,
            output: floats(&output)?,
        })
    }

    /// A row of `x` per token times one of the four matrices: matrix-vector for few tokens, else matrix-matrix.
    fn project(
        &mut self,
        step: &mut D::Step,
        ix: usize,
        tokens: u32,
        x: &D::Buffer,
        y: &D::Buffer,
    ) -> Result<()> {
        let matrix: &QuantizedMatrix = &self.weights.projections[ix];
        let (caps, spec, scale) = (self.device.caps(), matrix.spec(), matrix.tensor_scale());
        let (name, operation) = if tokens <= gemv::MAX_BATCH {
            ("gemv", gemv::operation(&gemv::Spec::new(spec, scale, tokens, Elem::F32)?, caps)?)
        } else {
            ("gemm", gemm::operation(&gemm::Spec::new(tokens, spec, scale, Elem::F32, Elem::F32)?, caps)?)
        };
        self.operate(step, ix, name, &operation, &weight_operands(matrix), &[("x", x), ("y", y)])
    }

    /// The first or the second product of the chosen experts.
    fn expert_product(
        &mut self,
        step: &mut D::Step,
        ix: usize,
        tokens: u32,
        buffers: &[(&str, &D::Buffer)],
    ) -> Result<()> {
        use expert_gemm::Rows::{Pair, Token};
        let (matrix, [x, y]) = match ix {
            UP => (&self.weights.up, [Token, Pair]),
            _ => (&self.weights.down, [Pair, Token]),
        };
        let expert = reference::expert_spec(matrix)?;
        let scale = matrix.tensor_scale();
        let mixture = expert_gemm::Mixture { n_tokens: tokens, top_k: TOP_K, experts: EXPERTS };
        let spec = expert_gemm::Spec::new(mixture, expert, scale, Elem::F32, Elem::F32)?;
        let operation = expert_gemm::operation(&spec.with_rows(x, y)?, self.device.caps())?;
        self.operate(step, ix, "expert_gemm", &operation, &weight_operands(matrix), buffers)
    }

    /// Runs an operation with weights that are uploaded when they are first needed.
    fn operate(
        &mut self,
        step: &mut D::Step,
        ix: usize,
        family: &str,
        operation: &Operation,
        operands: &[(&'static str, &[u8])],
        buffers: &[(&str, &D::Buffer)],
    ) -> Result<()> {
        if self.uploaded[ix].is_none() {
            self.uploaded[ix] = Some(self.device.upload(operation, operands)?);
        }
        let chosen = format!("{family} {}", operation.variant());
        if !self.chosen.contains(&chosen) {
            self.chosen.push(chosen);
        }
        self.device.run(step, operation, self.uploaded[ix].as_ref(), buffers)
    }
}
