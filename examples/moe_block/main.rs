//! One decoder layer of a mixture-of-experts model out of this crate's operations: a prompt, then decoding with a KV cache.
//!
//! `cargo run --example moe_block [auto|cpu|vulkan|metal|dx12|INDEX] [f16] [portable]`; with `f16`, what products and attention
//! read and the cache holds is f16; `portable` leaves out shader-f16, subgroups and cooperative matrices. Ends with 1 if
//! anything is beyond its tolerance.
//!
//! ```text
//! n = norm(x)        q, k, v = n·Wq, n·Wk, n·Wv       k and v are appended to the cache
//! h = x + attention(q, cache)·Wo                      causal, query heads grouped
//! m = norm(h)        experts, p = router(m)           softmax, top-k, renormalized
//! y = h + Σ p · (swiglu(m·Wup[expert])·Wdown[expert])
//! ```
//!
//! All products, attention and the router are operations of the crate. What it has no operation for (`norm`, `swiglu`, the two
//! sums, f32 to f16) is WGSL of the app, run in the same encoder: see `app.wgsl`. Appending to the cache is a copy. Nothing
//! waits between the first kernel of a step and its last.
//!
//! `block.rs` is the layer. `reference.rs` computes the same in f64, by plain loops over all tokens and without a cache; and
//! how far f32 or f16 may be from it.

mod block;
mod device;
mod reference;

use block::Block;
use device::{CpuDevice, Device, GpuDevice, Result};
use reference::{Num, Reference, Weights};
use wgpu_marlin::gpu::{Caps, DeviceChoice, Gpu};
use wgpu_marlin::kernels::spec::Elem;
use wgpu_marlin::measure::Cpu;

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
fn main() -> Result<()> {
    let mut choice = DeviceChoice::Auto;
    let mut portable = false;
    let mut elem = Elem::F32;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "portable" => portable = true,
            "f16" => elem = Elem::F16,
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
        run(CpuDevice::new(cpu)?, elem)?
    } else {
        let mut gpu = pollster::block_on(Gpu::open(&choice))?;
        restrict(&mut gpu.caps);
        println!("on {}", gpu.info.name);
        run(GpuDevice::new(gpu)?, elem)?
    };
    println!("worst error: {worst:.3} of its tolerance");
    if worst > 1.0 { Err("the block is wrong".into()) } else { Ok(()) }
}

/// The prompt, then each step, checked; the worst error over tolerance.
fn run<D: Device>(device: D, elem: Elem) -> Result<f64> {
    let weights = Weights::random()?;
    let inputs = weights.embeddings(PROMPT + STEPS);
    let reference = Reference::new(&weights, &inputs, elem);
    let mut block = Block::new(device, &weights, elem)?;
    let mut worst: f64 = 0.0;
    let mut done = 0;
    for tokens in std::iter::once(PROMPT).chain((0..STEPS).map(|_| 1)) {
        let rows = done as usize * HIDDEN as usize..(done + tokens) as usize * HIDDEN as usize;
        let got = block.forward(&inputs[rows], tokens)?;
        let kind = if tokens > 1 { "prompt" } else { "decode" };
        println!("{kind}: {tokens} new, {} in the cache; {}", done + tokens, block.chosen.join(", "));
        let new = done as usize..(done + tokens) as usize;
        worst = worst.max(judge("attention", &got.attention, &reference.attention[new.clone()].concat())?);
        worst = worst.max(judge("hidden", &got.hidden, &reference.hidden[new.clone()].concat())?);
        let (mut probabilities, mut output) = (Vec::new(), Vec::new());
        for (token, ids) in new.zip(got.expert_ids.chunks(TOP_K as usize)) {
            let (p, y) = reference.finish(token, ids)?;
            probabilities.extend(p);
            output.extend(y);
        }
        worst = worst.max(judge("probabilities", &got.probabilities, &probabilities)?);
        worst = worst.max(judge("output", &got.output, &output)?);
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
    if bound > 0.05 * size {
        return Err(format!("{name}: the tolerance is too wide to tell right from wrong").into());
    }
    Ok(worst)
}
