//! Dequantization: `dequantized[r, k] = (value(code(r, k)) · scale(r, k / group) + bias(r, k / group)) · tensor_scale`.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `words` | codes `[n, k]`, of 4 to 32 bits | row-major, packed in u32 words along K: see [`crate::quant`] |
//! | `scales` | scales and biases `[n, k/group]` | packed in u32 words; plain weights have none |
//! | `zero_points` | 4 or 5 bits `[n, k/group]` | packed in u32 words, int4-asym and int4-asym5 only |
//! | `dequantized` | f16 or f32 `[n, k]` | row-major |
//!
//! Plain weights have a scale of 1, and the bias is 0 in formats without one. Nothing in it depends on where a row ends, so kernels see one run of `n·k` weights. Per 32 weights of fp4 with
//! groups of 32, 18 bytes are read and 64 (f16) written: a kernel is as good as its stores.
//!
//! | variant | what differs |
//! |---|---|
//! | naive | eight weights per invocation, scalar stores, a scale load per weight |
//! | scales_in_workgroup | naive, with the scales first copied to workgroup memory |
//! | scales_in_texture | naive, with the scales in a texture |
//! | optimized | 16-byte stores by neighbouring lanes, a scale load per 16 bytes, eight codes decoded at a time |
//! | portable | optimized, decoding in f32 alone: for devices that flush f16 subnormals, by [`tuned`] |
//!
//! `optimized` and `portable` write f16 without shader-f16.
//!
//! # Measured
//!
//! NVIDIA H100 80GB, Vulkan, 2026-11-22, unchecked; a copy reaches 3,012 GB/s. fp4 g32 to f16, 256 M weights: naive 1,355 µs,
//! scales_in_workgroup 1,364, scales_in_texture 979, optimized 241 (0.95 of copy), portable 242. Other formats, 64 M weights,
//! optimized: 0.90 to 0.92 of copy; the texture gives 1.2 to 1.6 times naive.

use std::sync::Arc;

use super::op::Operation;
use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Output, Problem, Refusal, Role, Space, Variant, Want,
    completed,
};
use super::weights;
use crate::gpu::{BufferSpec, Caps, Dispatch, Plan, TextureSpec, grid};
use crate::lower::{Defines, Shader};
use crate::quant::{Format, GroupSize, QuantizedMatrix, Shape, WeightSpec};
use crate::{msl, wgsl};

/// Uniform block of every kernel here.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    /// Runs of eight weights in the matrix.
    n_eights: u32,
    /// The factor of the whole tensor.
    tensor_scale: f32,
}
const _: () = assert!(size_of::<Params>() == 8);

/// Invocations per workgroup of the kernels that store element by element.
const THREADS: u32 = 256;
/// The widest row of the texture of scales.
const TEXTURE_WIDTH: u32 = 8192;

/// What to dequantize, and to which element type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    weights: WeightSpec,
    tensor_scale: f32,
    out: Elem,
}

impl Spec {
    /// Weights of a shape and format to f16 or f32. `tensor_scale` is 1 for formats without one.
    ///
    /// # Errors
    /// `out` is no float; `tensor_scale` is not finite. The message names the argument.
    pub fn new(weights: WeightSpec, tensor_scale: f32, out: Elem) -> Result<Self, Refusal> {
        if out == Elem::U32 {
            return Err(Refusal::argument("`out` is u32: results are f16 or f32"));
        }
        if !tensor_scale.is_finite() {
            return Err(Refusal::argument(format!("`tensor_scale` is {tensor_scale}: it must be finite")));
        }
        Ok(Self { weights, tensor_scale, out })
    }

    fn name(&self) -> String {
        let out = self.out.name();
        let w = &self.weights;
        format!("{}-g{}-{}-{out}", w.format(), w.group(), w.shape())
    }
}

impl Buffers for Spec {
    fn buffers(&self) -> Vec<BufferSpec> {
        let mut buffers = weights::buffers(&self.weights);
        let elements = self.weights.shape().elements() as u64;
        buffers.push(BufferSpec::new("dequantized", elements, self.out.size_bytes()));
        buffers
    }

    fn weight_rows(&self) -> Option<u64> {
        Some(self.weights.shape().n() as u64)
    }
}

/// The best variant for a device. Its buffers: [`weight_operands`](super::weight_operands), and the output
/// `dequantized` of `n·k` elements.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, spec, caps)
}

/// Inputs, reference and cost of a matrix.
fn problem(spec: &Spec, matrix: Arc<QuantizedMatrix>) -> Problem {
    let (shape, out) = (spec.weights.shape(), spec.out);
    let inputs = weights::inputs(&matrix);
    let output = Output {
        name: "dequantized",
        elem: out,
        n_rows: shape.n(),
        row_len: shape.k(),
        row_cost: shape.k() as u64,
        row: Arc::new(move |row| (0..shape.k()).map(|col| want(out, &matrix, row, col)).collect()),
    };
    let written = (shape.elements() * out.size_bytes()) as u64;
    let useful_bytes = spec.weights.total_bytes() as u64 + written;
    Problem { inputs, outputs: vec![output], cost: Cost { useful_bytes, flops: 0, space: Space::Storage } }
}

/// One product of a code and a scale, itself a product of two at most: two roundings in f32, one to the output's type,
/// which may truncate. A subnormal result may be flushed.
///
/// A code of 4 bits times an f16, bf16 or Q4_K's scale (11 + 6 bits) is exact in f32, so that adding the bias rounds once. Under
/// an f32 scale or a factor of the tensor the two addends are rounded first: by their own size, not the result's.
fn want(out: Elem, matrix: &QuantizedMatrix, row: usize, col: usize) -> Want {
    let value = matrix.value(row, col);
    let smallest_normal = if out == Elem::F16 { 2f64.powi(-14) } else { f64::from(f32::MIN_POSITIVE) };
    let mut rounding = out.epsilon() * value.abs();
    let format = matrix.format();
    if format == Format::Int4AffineF32 || (format.has_bias() && matrix.tensor_scale() != 1.0) {
        rounding += Elem::F32.epsilon() * matrix.magnitude(row, col);
    }
    let bound = if value.abs() < smallest_normal { value.abs() } else { rounding };
    Want::Near { value, bound }
}

fn defines(spec: &Spec) -> Defines {
    let f16 = spec.out == Elem::F16;
    weights::defines(&spec.weights)
        .with("OUT_F16", i32::from(f16))
        .with("OUT_TYPE", spec.out.name())
        .with("THREADS", THREADS)
        .with("F16_SUBNORMALS", 1)
}

fn dispatch(spec: &Spec, shader: Shader, workgroups: u64) -> Plan {
    let n_eights = spec.weights.run_count() as u32;
    let params = Params { n_eights, tensor_scale: spec.tensor_scale };
    Plan::one(Dispatch::new(shader, grid(workgroups), &params))
}

/// A kernel that stores element by element: f16 elements need the device's f16.
fn elementwise(spec: &Spec, caps: &Caps, shader: Shader) -> Result<Plan, Refusal> {
    if spec.out == Elem::F16 && !caps.f16 {
        return Err(Refusal::needs("shader-f16"));
    }
    let eights = spec.weights.run_count() as u64;
    Ok(dispatch(spec, shader, eights.div_ceil(u64::from(THREADS))))
}

fn naive(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let shader = Shader::new(wgsl!("dequant/naive.wgsl"), defines(spec));
    elementwise(spec, caps, shader.with_msl(msl!("dequant/naive.metal")))
}

fn scales_in_workgroup(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    if spec.weights.format().is_plain() {
        return Err(Refusal::needs("scales: plain weights have none"));
    }
    elementwise(spec, caps, Shader::new(wgsl!("dequant/scales_in_workgroup.wgsl"), defines(spec)))
}

fn scales_in_texture(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let Some(bits) = spec.weights.format().scale_encoding().field_bits() else {
        return Err(Refusal::needs("one scale a group, of 8 or 16 bits"));
    };
    let groups = spec.weights.group_count() as u32;
    // Whole rows of texels, so that no scale is missing and none is made up.
    let most = TEXTURE_WIDTH.min(caps.max_texture_side).min(groups);
    let width = (1..=most).rev().find(|width| groups.is_multiple_of(*width)).unwrap_or(1);
    let height = groups / width;
    if height > caps.max_texture_side {
        let side = caps.max_texture_side;
        return Err(Refusal::needs(format!(
            "a texture of {width}×{height} scales, the device has {side}×{side}"
        )));
    }
    let shader =
        Shader::new(wgsl!("dequant/scales_in_texture.wgsl"), defines(spec).with("TEXTURE_WIDTH", width));
    let mut plan = elementwise(spec, caps, shader)?;
    plan.textures.push(TextureSpec {
        name: "scales",
        from: "scales",
        width,
        height,
        format: if bits == 16 { wgpu::TextureFormat::R16Float } else { wgpu::TextureFormat::R8Unorm },
    });
    Ok(plan)
}

/// How `optimized.wgsl` divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Invocations per workgroup: at least 1.
    pub threads: u32,
    /// 16-byte stores per invocation: at least 1.
    pub steps: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { threads: 256, steps: 4 }
    }
}

/// `optimized` under a tuning of the caller's: see [`operation`] for its buffers. Without `f16_subnormals`, codes are decoded in f32 alone.
///
/// Subnormal f16 are exact where this was tried: NVIDIA, llvmpipe. Verification shows a device that flushes them: codes 1
/// and 9 come out as 0.
///
/// # Errors
/// The device does not allow the tuning.
pub fn tuned(spec: &Spec, caps: &Caps, tuning: Tuning, f16_subnormals: bool) -> Result<Operation, Refusal> {
    let plan = with_tuning(spec, caps, tuning, f16_subnormals)?;
    let name = if f16_subnormals { "optimized" } else { "portable" };
    Ok(Operation::of(name, completed(plan, spec, caps)?))
}

/// Most stores per invocation: each is text of its own.
const MAX_STEPS: u32 = 64;

fn with_tuning(spec: &Spec, caps: &Caps, tuning: Tuning, f16_subnormals: bool) -> Result<Plan, Refusal> {
    let Tuning { threads, steps } = tuning;
    if threads == 0 || threads > caps.max_invocations {
        let most = caps.max_invocations;
        return Err(Refusal::needs(format!("workgroups of {threads} invocations, 1 to {most} are possible")));
    }
    if steps == 0 || steps > MAX_STEPS {
        return Err(Refusal::argument(format!("`steps` is {steps}: it must be 1 to {MAX_STEPS}")));
    }
    let defines = defines(spec)
        .with("THREADS", threads)
        .with("STEPS", steps)
        .with("F16_SUBNORMALS", i32::from(f16_subnormals));
    let shader = Shader::new(wgsl!("dequant/optimized.wgsl"), defines);
    let runs_per_eight = if spec.out == Elem::F16 { 1 } else { 2 };
    let runs = u64::from(threads) * u64::from(steps);
    let runs_needed = spec.weights.run_count() as u64 * runs_per_eight;
    Ok(dispatch(spec, shader.with_msl(msl!("dequant/optimized.metal")), runs_needed.div_ceil(runs)))
}

fn optimized(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    with_tuning(spec, caps, Tuning::default(), true)
}

fn portable(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    with_tuning(spec, caps, Tuning::default(), false)
}

static VARIANTS: &[Variant<Spec>] = &[
    Variant::new(
        "naive",
        Role::Naive,
        true,
        "a word per invocation, scalar stores, a scale load per weight",
        naive,
    ),
    Variant::new(
        "scales_in_workgroup",
        Role::Advised,
        false,
        "naive, scales first copied to workgroup memory",
        scales_in_workgroup,
    ),
    Variant::new("scales_in_texture", Role::Advised, false, "naive, scales in a texture", scales_in_texture),
    Variant::new(
        "optimized",
        Role::Optimized,
        true,
        "16-byte stores by neighbouring lanes, a scale load per store",
        optimized,
    )
    .serves(|_, _| Some(0)),
    Variant::new("portable", Role::Optimized, true, "as optimized, no f16 subnormals", portable),
];

/// A case of random weights.
fn case(class: CaseClass, weights: WeightSpec, out: Elem) -> Case {
    let spec = Spec { weights, tensor_scale: weights::random_tensor_scale(weights.format()), out };
    Case::new(spec.name(), class, spec, VARIANTS, |spec, seed| {
        problem(spec, weights::random(&spec.weights, seed))
    })
}

/// A case of given weights, for example a checkpoint's: [`family`] with this case in place of its own.
pub fn case_of(name: impl Into<String>, matrix: Arc<QuantizedMatrix>, out: Elem) -> Result<Case, Refusal> {
    let spec = Spec::new(matrix.spec(), matrix.tensor_scale(), out)?;
    Ok(Case::new(name, CaseClass::Bench, spec, VARIANTS, move |spec, _| problem(spec, matrix.clone())))
}

fn cases() -> Vec<Case> {
    use CaseClass::{Bench, Edge, Smoke};
    use Elem::{F16, F32};
    use Format::{
        Bf16, Fp4, Int4Affine, Int4AffineBf16, Int4AffineF32, Int4Asym, Int4Asym5, Int4Sym, Int8, Mxfp4,
        Nvfp4, Q4K, Q6K,
    };
    use GroupSize::{G16, G32, G64, G128};
    // Edges: one row; K of one group; a last workgroup of one word, of all but one, of one more; odd numbers of
    // groups, whose scales and zero points share words across rows.
    let table: &[(CaseClass, Format, GroupSize, usize, usize, Elem)] = &[
        (Smoke, Fp4, G32, 96, 1024, F16),
        (Smoke, Fp4, G32, 96, 1024, F32),
        (Smoke, Int4Sym, G64, 96, 1024, F16),
        (Smoke, Int4Asym, G128, 96, 1024, F16),
        (Smoke, Mxfp4, G32, 96, 1024, F16),
        (Smoke, Nvfp4, G16, 96, 1024, F16),
        (Smoke, Int8, G32, 96, 1024, F16),
        (Smoke, Int4Affine, G64, 96, 1024, F16),
        (Smoke, Q4K, G32, 96, 1024, F16),
        (Smoke, Q6K, G16, 96, 1024, F16),
        (Smoke, Format::F16, G16, 96, 1024, F32),
        (Edge, Fp4, G16, 1, 16, F16),
        (Edge, Fp4, G16, 1, 16, F32),
        (Edge, Fp4, G128, 1, 128, F16),
        (Edge, Fp4, G64, 33, 192, F32),
        (Edge, Fp4, G16, 43, 48, F16),
        (Edge, Int4Sym, G16, 1025, 16, F16),
        (Edge, Int4Sym, G128, 3, 384, F32),
        (Edge, Int4Sym, G32, 7, 2336, F32),
        (Edge, Int4Asym, G16, 13, 1264, F16),
        (Edge, Int4Asym, G16, 511, 16, F32),
        (Edge, Int4Asym, G32, 5, 96, F16),
        (Edge, Int4Asym, G64, 3, 2752, F16),
        (Edge, Mxfp4, G32, 1, 32, F32),
        (Edge, Mxfp4, G32, 37, 160, F16),
        (Edge, Nvfp4, G16, 1, 16, F16),
        (Edge, Nvfp4, G16, 31, 272, F32),
        (Edge, Int8, G32, 1, 32, F16),
        (Edge, Int8, G32, 37, 160, F32),
        (Edge, Int4Affine, G16, 1, 16, F32),
        (Edge, Int4Affine, G32, 13, 96, F16),
        (Edge, Int4AffineBf16, G64, 33, 192, F32),
        (Edge, Int4AffineF32, G16, 13, 48, F32),
        (Edge, Int4AffineF32, G128, 3, 384, F16),
        (Edge, Int4Asym5, G16, 13, 1264, F16),
        (Edge, Int4Asym5, G128, 5, 128, F32),
        (Edge, Q4K, G32, 1, 256, F16),
        (Edge, Q4K, G32, 9, 768, F32),
        (Edge, Q6K, G16, 1, 256, F16),
        (Edge, Q6K, G16, 9, 768, F32),
        (Edge, Format::F16, G16, 1, 16, F16),
        (Edge, Bf16, G16, 33, 80, F32),
        (Edge, Bf16, G16, 3, 272, F16),
        (Edge, Format::F32, G16, 1, 16, F16),
        (Edge, Format::F32, G16, 33, 48, F32),
        (Bench, Fp4, G32, 16384, 16384, F16),
        (Bench, Fp4, G32, 8192, 8192, F32),
        (Bench, Fp4, G128, 8192, 8192, F16),
        (Bench, Int4Sym, G32, 8192, 8192, F16),
        (Bench, Int4Asym, G64, 8192, 8192, F16),
        (Bench, Mxfp4, G32, 8192, 8192, F16),
        (Bench, Nvfp4, G16, 8192, 8192, F16),
        (Bench, Int8, G32, 8192, 8192, F16),
        (Bench, Int4Affine, G64, 8192, 8192, F16),
        (Bench, Q4K, G32, 8192, 8192, F16),
        (Bench, Q6K, G16, 8192, 8192, F16),
        (Bench, Bf16, G16, 8192, 8192, F32),
    ];
    let case = |&(class, format, group, n, k, out): &(_, _, _, _, _, _)| {
        let weights = Shape::new(n, k).and_then(|shape| WeightSpec::new(shape, format, group));
        case(class, weights.expect("the table's shapes are whole groups"), out)
    };
    table.iter().map(case).collect()
}

/// The family.
pub fn family() -> Family {
    Family::new("dequant", "weights of 4 to 16 bits to f16 or f32", VARIANTS, cases())
}
