//! Matrix-vector product of decoding: `y[c, r] = tensor_scale · Σ_k value(code(r, k)) · scale(r, k / group) · x[c, k]`.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `words` | codes `[n, k]`, of 4 to 32 bits | row-major, packed in u32 words along K: see [`crate::quant`] |
//! | `scales` | scales and biases `[n, k/group]` | packed in u32 words; plain weights have none |
//! | `zero_points` | 4 or 5 bits `[n, k/group]` | packed in u32 words, int4-asym and int4-asym5 only |
//! | `x` | f16 or f32 `[batch, k]` | row-major, batch 1 to 8 |
//! | `y` | f32 `[batch, n]` | row-major |
//!
//! Formats with a bias per group add `bias(r, k / group)` to the scaled code: `optimized` multiplies it by the group's sum of x.
//!
//! Each weight is used `batch` times, so the product is bound by reading the weights once, if decoding keeps up: a card
//! of 3 TB/s reads five weights while one lane multiplies.
//!
//! | variant | what differs |
//! |---|---|
//! | naive | an invocation per row and column |
//! | optimized | a subgroup per few rows, 16-byte loads, one pass over the weights for all columns |
//! | portable | optimized, sums through workgroup memory, decoding in f32: for devices without subgroups or f16 |
//! | coop_8x8, coop_16x16 | weights rounded to f16 in workgroup memory, columns in cooperative matrices: for a batch of 4 to 8 |
//!
//! # Measured
//!
//! NVIDIA H100 80GB, Vulkan, 2026-11-22, unchecked, 28672 × 8192, f16 activations; a copy reaches 3,012 GB/s.
//!
//! | format, batch | naive | optimized | portable | coop_16x16 |
//! |---|---|---|---|---|
//! | fp4 g32, 1 | 2,220 µs | 57.6 µs, 0.76 of copy | 87.5 µs | 102 µs |
//! | int4 g32, 1 | 2,198 | 56.8, 0.77 | 61.6 | 97 |
//! | int4-asym g64, 1 | 2,805 | 53.9, 0.78 | 60.4 | 103 |
//! | mxfp4, 1 | 2,255 | 55.0, 0.75 | 87.9 | 102 |
//! | nvfp4, 1 | 2,288 | 60.5, 0.73 | 98.5 | 108 |
//! | fp4 g32, 4 | 7,616 | 107 | 163 | 104 |
//! | fp4 g32, 8 | 15,253 | 164 | 213 | 109, 1.9 times batch 1 |
//! | fp4 g32, 8, 4096 × 4096 | 1,112 | 22.2 | 19.3 | 17.2 |
//!
//! What was tried at batch 8, each verified, the best of its sweep:
//!
//! | how | µs |
//! |---|---|
//! | `optimized`: 2 words a load, 4 rows a subgroup, scales on weights | 160 |
//! | … 1 word and two steps in flight, scales on sums | 166 |
//! | … 4 words a load; 8 rows a subgroup; 1 row a subgroup | 168; 204; 237 |
//! | … activations as f32 in workgroup memory, 8 rows | 167 |
//! | `gemm/coop.wgsl` with 16 × 64 tiles, steps of 64, K in 4 parts | 149 |
//! | activations of 8 rows, not 16; a step of 64; a lane loads 16 bytes of a row | 149 |
//! | … 1 KB of staging per workgroup, not per subgroup: 12 KB in all, not 15 | 129 |
//! | … a step of 256 in four turns, so that 8 lanes load 128 bytes of a row | 100, and a second pass |
//! | … as it is: staging per subgroup, 4 subgroups, no second pass | 106 |
//! | … weights staged one by one, not in vectors of four | 119 |
//!
//! Multiplying is not what takes the time (624 TFLOPS by themselves): it is requests to memory and how many workgroups share
//! a core. Starting workgroups at different parts of K, loading two steps ahead and two buffers changed nothing or cost time.
//!
//! None of them accumulates in less than f32. `optimized` and `portable` take f16 activations without shader-f16; the `coop`
//! variants round scaled weights to f16, those beyond 65504 overflow.

mod plan;

use std::sync::Arc;

use half::f16;

use super::op::Operation;
use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Operand, Output, Problem, Refusal, Rng, Role, Space,
    Variant, Want,
};
use super::weights;
use crate::gpu::{BufferSpec, Caps};
use crate::quant::{Format, GroupSize, QuantizedMatrix, Shape, WeightSpec};
pub use plan::{Tuning, tuned};
use plan::{coop, naive, optimized, portable};

/// The largest batch: beyond it, weights are used often enough for `gemm`.
pub const MAX_BATCH: u32 = 8;
/// What to multiply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    weights: WeightSpec,
    tensor_scale: f32,
    batch: u32,
    x: Elem,
}

impl Spec {
    /// Weights of a shape and format by `batch` vectors of f16 or f32. `tensor_scale` is 1 for formats without one.
    ///
    /// # Errors
    /// `batch` is not 1 to 8; `tensor_scale` is not finite; `x` is no float.
    pub fn new(weights: WeightSpec, tensor_scale: f32, batch: u32, x: Elem) -> Result<Self, Refusal> {
        if batch == 0 || batch > MAX_BATCH {
            return Err(Refusal::argument(format!("`batch` is {batch}: it must be 1 to {MAX_BATCH}")));
        }
        if !tensor_scale.is_finite() {
            return Err(Refusal::argument(format!("`tensor_scale` is {tensor_scale}: it must be finite")));
        }
        match x {
            Elem::F16 | Elem::F32 => Ok(Self { weights, tensor_scale, batch, x }),
            Elem::U32 => Err(Refusal::argument("`x` is u32: activations are f16 or f32")),
        }
    }

    fn name(&self) -> String {
        let x = self.x.name();
        let w = &self.weights;
        format!("{}-g{}-{}-b{}-{x}", w.format(), w.group(), w.shape(), self.batch)
    }
}

impl Buffers for Spec {
    fn buffers(&self) -> Vec<BufferSpec> {
        let (shape, batch) = (self.weights.shape(), u64::from(self.batch));
        let mut buffers = weights::buffers(&self.weights);
        buffers.push(BufferSpec::new("x", batch * shape.k() as u64, self.x.size_bytes()));
        buffers.push(BufferSpec::new("y", batch * shape.n() as u64, Elem::F32.size_bytes()));
        buffers
    }

    fn weight_rows(&self) -> Option<u64> {
        Some(self.weights.shape().n() as u64)
    }
}

/// The best variant for a device. Its buffers: [`weight_operands`](super::weight_operands), `x`, and the output `y`.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, spec, caps)
}

/// Inputs, reference and cost of a matrix, with random activations. `rounded`: for variants that round weights to f16.
fn problem(spec: &Spec, matrix: Arc<QuantizedMatrix>, seed: u64, rounded: bool) -> Problem {
    let (n, k, batch) = (spec.weights.shape().n(), spec.weights.shape().k(), spec.batch as usize);
    let mut rng = Rng(seed ^ 0x6765_6d76);
    let x: Arc<[f32]> = (0..batch * k)
        .map(|_| rng.unit())
        .map(|x| if spec.x == Elem::F16 { f16::from_f32(x).to_f32() } else { x })
        .collect();
    let x_bytes: Arc<[u8]> = match spec.x {
        Elem::F16 => x.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(&x).into(),
    };
    let mut inputs = weights::inputs(&matrix);
    inputs.push(Operand { name: "x", bytes: x_bytes.clone() });
    let output = Output {
        name: "y",
        elem: Elem::F32,
        n_rows: batch * n,
        row_len: 1,
        row_cost: k as u64,
        row: Arc::new(move |i| vec![want(&matrix, i % n, &x[i / n * k..][..k], rounded)]),
    };
    let moved = spec.weights.total_bytes() + x_bytes.len() + output.size_bytes();
    let cost = Cost {
        useful_bytes: moved as u64,
        flops: 2 * (batch * spec.weights.shape().elements()) as u64,
        space: Space::Storage,
    };
    Problem { inputs, outputs: vec![output], cost }
}

/// The problem of the variants that round weights to f16, with random weights.
fn rounded_problem(spec: &Spec, seed: u64) -> Problem {
    problem(spec, weights::random(&spec.weights, seed), seed, true)
}

/// One element: the sum in order, in f64.
///
/// The bound: rounding errors of a sum of K terms, each at most u = 2^-24 of a partial sum, add up like a random walk
/// (Higham and Mary, 2019) of standard deviation √(K/3)·u at most, in units of the sum of magnitudes. The bound is seven of
/// them, 4·√K·u: for K = 8192 a fifth of the average term, so that one wrong code shows. Weights rounded to f16 have the
/// bound of [`gemm`](super::gemm) with f16 activations. Scaled codes and biases are summed apart: both count as terms.
fn want(matrix: &QuantizedMatrix, row: usize, x: &[f32], rounded: bool) -> Want {
    let terms = x.iter().enumerate().map(|(col, &x)| matrix.value(row, col) * f64::from(x));
    if rounded {
        return super::gemm::near(terms, Elem::F16, Elem::F32, 0.0);
    }
    let (mut value, mut magnitudes) = (0.0, 0.0);
    for (col, term) in terms.enumerate() {
        value += term;
        magnitudes += match matrix.format().has_bias() {
            false => term.abs(),
            true => matrix.magnitude(row, col) * f64::from(x[col]).abs(),
        };
    }
    let u = Elem::F32.epsilon() / 2.0;
    Want::Near { value, bound: 4.0 * (x.len() as f64).sqrt() * u * magnitudes }
}

// Cooperative matrices take the same time for any batch; a pass without them takes as long at a batch of 4 (H100, see above).
static VARIANTS: &[Variant<Spec>] = &[
    Variant::new("naive", Role::Naive, true, "an invocation per row and column", naive),
    Variant::new(
        "optimized",
        Role::Optimized,
        true,
        "a subgroup per few rows, one pass over the weights for all columns",
        optimized,
    )
    .serves(|_, _| Some(2)),
    Variant::new(
        "portable",
        Role::Optimized,
        true,
        "as optimized, sums through workgroup memory, no f16 subnormals",
        portable,
    )
    .serves(|_, _| Some(3)),
    Variant::new(
        "coop_8x8",
        Role::Optimized,
        true,
        "weights decoded to f16 in workgroup memory, columns in 8x8 cooperative matrices",
        |spec, caps| coop(spec, caps, 8),
    )
    .serves(|s, _| (s.batch >= 4).then_some(1))
    .problem(rounded_problem),
    Variant::new(
        "coop_16x16",
        Role::Optimized,
        false,
        "the same in 16x16 cooperative matrices",
        |spec, caps| coop(spec, caps, 16),
    )
    .serves(|s, _| (s.batch >= 4).then_some(0))
    .problem(rounded_problem),
];

/// A case of random weights.
fn case(class: CaseClass, weights: WeightSpec, batch: u32, x: Elem) -> Case {
    let spec = Spec { weights, tensor_scale: weights::random_tensor_scale(weights.format()), batch, x };
    Case::new(spec.name(), class, spec, VARIANTS, |spec, seed| {
        problem(spec, weights::random(&spec.weights, seed), seed, false)
    })
}

/// A case of given weights, for example a checkpoint's: [`family`] with this case in place of its own.
pub fn case_of(
    name: impl Into<String>,
    matrix: Arc<QuantizedMatrix>,
    batch: u32,
    x: Elem,
) -> Result<Case, Refusal> {
    let spec = Spec::new(matrix.spec(), matrix.tensor_scale(), batch, x)?;
    Ok(Case::per_variant(name, CaseClass::Bench, spec, VARIANTS, move |spec, variant, seed| {
        problem(spec, matrix.clone(), seed, variant.problem.is_some())
    }))
}

fn cases() -> Vec<Case> {
    use CaseClass::{Bench, Edge, Smoke};
    use Elem::{F16, F32};
    use Format::{
        Bf16, Fp4, Int4Affine, Int4AffineBf16, Int4AffineF32, Int4Asym, Int4Asym5, Int4Sym, Int8, Mxfp4,
        Nvfp4, Q4K, Q6K,
    };
    use GroupSize::{G16, G32, G64, G128};
    // Edges: one row; K of one group; rows one short of and one beyond a row set and a workgroup; K that no unrolled
    // step, no subgroup and no 16-byte load divides; two groups in a 16-byte load; every batch; K in parts of which the last
    // is no whole step, rows one short of and beyond a workgroup of cooperative matrices.
    type Row = (CaseClass, Format, GroupSize, usize, usize, u32, Elem);
    let table: &[Row] = &[
        (Smoke, Fp4, G32, 192, 1024, 1, F16),
        (Smoke, Fp4, G32, 192, 1024, 8, F16),
        (Smoke, Int4Sym, G64, 192, 1024, 1, F32),
        (Smoke, Int4Asym, G128, 192, 1024, 1, F16),
        (Smoke, Mxfp4, G32, 192, 1024, 1, F16),
        (Smoke, Nvfp4, G16, 192, 1024, 4, F16),
        (Smoke, Int8, G32, 192, 1024, 1, F16),
        (Smoke, Int4Affine, G64, 192, 1024, 1, F16),
        (Smoke, Q4K, G32, 192, 1024, 1, F16),
        (Smoke, Q6K, G16, 192, 1024, 1, F16),
        (Smoke, Format::F16, G16, 192, 1024, 1, F16),
        (Edge, Fp4, G16, 1, 16, 1, F16),
        (Edge, Fp4, G16, 1, 16, 8, F32),
        (Edge, Fp4, G128, 7, 128, 1, F32),
        (Edge, Fp4, G64, 9, 2112, 2, F16),
        (Edge, Fp4, G16, 15, 1040, 3, F16),
        (Edge, Int4Sym, G16, 17, 528, 1, F16),
        (Edge, Int4Sym, G32, 3, 4128, 5, F16),
        (Edge, Int4Sym, G128, 31, 384, 7, F32),
        (Edge, Int4Asym, G16, 5, 272, 1, F32),
        (Edge, Int4Asym, G32, 33, 96, 6, F16),
        (Edge, Int4Asym, G64, 4, 8256, 1, F16),
        (Edge, Int4Asym, G16, 11, 48, 4, F32),
        (Edge, Mxfp4, G32, 1, 32, 1, F16),
        (Edge, Mxfp4, G32, 65, 736, 2, F32),
        (Edge, Int4Asym, G16, 10, 2048, 2, F32),
        (Edge, Nvfp4, G16, 1, 16, 1, F16),
        (Edge, Nvfp4, G16, 6, 352, 1, F16),
        (Edge, Nvfp4, G16, 63, 304, 8, F16),
        (Edge, Nvfp4, G16, 129, 800, 5, F16),
        (Edge, Int4Asym, G64, 127, 1600, 8, F16),
        (Edge, Int4Sym, G128, 130, 1152, 3, F16),
        (Edge, Int8, G32, 1, 32, 1, F16),
        (Edge, Int8, G32, 65, 736, 3, F32),
        (Edge, Int8, G32, 129, 800, 5, F16),
        (Edge, Int4Affine, G16, 5, 272, 1, F32),
        (Edge, Int4Affine, G32, 33, 96, 6, F16),
        (Edge, Int4Affine, G128, 31, 384, 2, F16),
        (Edge, Int4AffineBf16, G64, 9, 2112, 2, F16),
        (Edge, Int4AffineF32, G16, 11, 48, 4, F32),
        (Edge, Int4AffineF32, G32, 6, 352, 1, F16),
        (Edge, Int4Asym5, G16, 10, 2048, 2, F32),
        (Edge, Int4Asym5, G64, 4, 8256, 1, F16),
        (Edge, Q4K, G32, 1, 256, 1, F32),
        (Edge, Q4K, G32, 33, 768, 7, F16),
        (Edge, Q6K, G16, 1, 256, 1, F16),
        (Edge, Q6K, G16, 33, 768, 7, F16),
        (Edge, Q6K, G16, 5, 2304, 2, F32),
        (Edge, Format::F16, G16, 1, 16, 1, F32),
        (Edge, Format::F16, G16, 65, 736, 5, F16),
        (Edge, Bf16, G16, 17, 528, 1, F16),
        (Edge, Bf16, G16, 7, 4128, 3, F16),
        (Edge, Format::F32, G16, 15, 1040, 1, F32),
        (Edge, Format::F32, G16, 63, 352, 4, F16),
        (Bench, Fp4, G32, 28672, 8192, 1, F16),
        (Bench, Fp4, G32, 28672, 8192, 4, F16),
        (Bench, Fp4, G32, 28672, 8192, 8, F16),
        (Bench, Fp4, G32, 4096, 4096, 8, F16),
        (Bench, Fp4, G32, 4096, 4096, 1, F16),
        (Bench, Int4Sym, G32, 28672, 8192, 1, F16),
        (Bench, Int4Asym, G64, 28672, 8192, 1, F16),
        (Bench, Mxfp4, G32, 28672, 8192, 1, F16),
        (Bench, Nvfp4, G16, 28672, 8192, 1, F16),
        (Bench, Int8, G32, 28672, 8192, 1, F16),
        (Bench, Int4Affine, G32, 28672, 8192, 1, F16),
        (Bench, Q4K, G32, 28672, 8192, 1, F16),
        (Bench, Q6K, G16, 28672, 8192, 1, F16),
        (Bench, Format::F16, G16, 28672, 8192, 1, F16),
    ];
    let case = |&(class, format, group, n, k, batch, x): &Row| {
        let weights = Shape::new(n, k).and_then(|shape| WeightSpec::new(shape, format, group));
        case(class, weights.expect("the table's shapes are whole groups"), batch, x)
    };
    table.iter().map(case).collect()
}

/// The family.
pub fn family() -> Family {
    Family::new("gemv", "y = W·x, quantized weights, batch 1 to 8", VARIANTS, cases())
}
