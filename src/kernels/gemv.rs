//! Matrix-vector product of decoding: `y[c, r] = tensor_scale · Σ_k value(code(r, k)) · scale(r, k / group) · x[c, k]`.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `words` | u32 `[n, k/8]` | row-major, eight codes a word along K: see [`crate::quant`] |
//! | `scales` | f16, E8M0 or E4M3 `[n, k/group]` | packed in u32 words |
//! | `zero_points` | nibbles `[n, k/group]` | packed in u32 words, int4-asym only |
//! | `x` | f16 or f32 `[batch, k]` | row-major, batch 1 to 8 |
//! | `y` | f32 `[batch, n]` | row-major |
//!
//! Each weight is used `batch` times, so the product is bound by reading the weights once, if decoding keeps up: a card
//! of 3 TB/s reads five weights while one lane multiplies.
//!
//! | variant | what differs |
//! |---|---|
//! | naive | an invocation per row and column |
//! | optimized | a subgroup per few rows, 16-byte loads, one pass over the weights for all columns |
//! | portable | optimized, sums through workgroup memory, decoding in f32: for devices without subgroups or f16 |
//!
//! # Measured
//!
//! NVIDIA H100 80GB, Vulkan, 2026-11-22, unchecked, 28672 × 8192, f16 activations; a copy reaches 3,012 GB/s.
//!
//! | format, batch | naive | optimized | portable |
//! |---|---|---|---|
//! | fp4 g32, 1 | 2,277 µs | 57.4 µs, 0.76 of copy | 87.6 µs |
//! | int4 g32, 1 | 2,174 | 56.8, 0.77 | 61.4 |
//! | int4-asym g64, 1 | 2,779 | 53.8, 0.78 | 60.2 |
//! | mxfp4, 1 | 2,247 | 54.9, 0.76 | 87.3 |
//! | nvfp4, 1 | 2,294 | 60.4, 0.73 | 97.9 |
//! | fp4 g32, 8 | 15,143 | 160, 0.29 | |
//!
//! Batch 8 takes 2.8 times batch 1, not the twice that was aimed at. Of 235 M weights, reading alone takes 57 µs; one
//! fused multiply-add per weight and column takes 56 µs at 1.98 GHz, and decoding, scaling and converting activations
//! about 5 more instructions per weight: 94 µs if every issue slot of the card were used. What was tried at batch 8,
//! each verified (best of its sweep):
//!
//! | how | µs |
//! |---|---|
//! | 2 words a load, 4 rows a subgroup, scales on weights (`optimized`) | 160 |
//! | 1 word and two steps in flight, scales on sums | 166 |
//! | 4 words a load | 168 |
//! | 8 rows a subgroup | 204 |
//! | 1 row a subgroup | 237 |
//! | activations as f32 in workgroup memory, 8 rows, 4 subgroups | 167 |
//! | cooperative matrices: `gemm/coop.wgsl` with 16 × 64 tiles, steps of 64, K in 4 parts | 149 |
//! | cooperative matrices: 16 × 128, activations of 8 rows, two fragments a subgroup | 149 |
//! | the same, loads and staging only, nothing multiplied | 130 to 155 |
//! | the same, loads and decoding only, nothing staged | 78 |
//!
//! Cooperative matrices spend their time on staging decoded weights, not on multiplying (624 TFLOPS by themselves);
//! starting workgroups at different parts of K or loading two steps ahead changed nothing. They round weights to f16 for
//! 7 %, so there is no such variant. A next step: weights re-laid so that a code is decoded with fewer instructions.
//!
//! None of them accumulates in less than f32; `optimized` and `portable` take f16 activations without shader-f16.

use std::sync::Arc;

use half::f16;

use super::op::Operation;
use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Operand, Output, Problem, Refusal, Rng, Role, Space,
    Variant, Want,
};
use super::weights;
use crate::gpu::{BufferSpec, Caps, Dispatch, Plan, grid};
use crate::lower::Shader;
use crate::quant::{Format, GroupSize, QuantizedMatrix, Shape, WeightSpec};
use crate::{msl, wgsl};

/// Uniform block of every kernel here.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    /// Rows.
    n: u32,
    /// Columns of the matrix.
    k: u32,
    /// Columns of `x` and `y`.
    batch: u32,
    /// The factor of the whole tensor.
    tensor_scale: f32,
}
const _: () = assert!(size_of::<Params>() == 16);

/// The largest batch: beyond it, weights are used often enough for `gemm`.
pub const MAX_BATCH: u32 = 8;
/// Workgroup memory that every WebGPU device has.
const LEAST_WORKGROUP_BYTES: u32 = 16 << 10;
/// Invocations per workgroup of the naive kernel.
const NAIVE_THREADS: u32 = 64;

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
    pub fn new(weights: WeightSpec, tensor_scale: f32, batch: u32, x: Elem) -> Result<Self, Refusal> {
        if batch == 0 || batch > MAX_BATCH {
            return Err(Refusal::needs(format!("a batch of 1 to {MAX_BATCH}, got {batch}")));
        }
        match x {
            Elem::F16 | Elem::F32 => Ok(Self { weights, tensor_scale, batch, x }),
            Elem::U32 => Err(Refusal::needs("f16 or f32 activations")),
        }
    }

    fn name(&self) -> String {
        let x = if self.x == Elem::F16 { "f16" } else { "f32" };
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
}

/// The best variant for a device. Its buffers: [`weight_operands`](super::weight_operands), `x`, and the output `y`.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, &["optimized", "portable"], spec, caps)
}

/// Inputs, reference and cost of a matrix, with random activations.
fn problem(spec: &Spec, matrix: Arc<QuantizedMatrix>, seed: u64) -> Problem {
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
        row: Arc::new(move |i| vec![want(&matrix, i % n, &x[i / n * k..][..k])]),
    };
    let moved = spec.weights.total_bytes() + x_bytes.len() + output.size_bytes();
    let cost = Cost {
        useful_bytes: moved as u64,
        flops: 2 * (batch * spec.weights.shape().elements()) as u64,
        space: Space::Storage,
    };
    Problem { inputs, outputs: vec![output], cost }
}

/// One element: the sum in order, in f64.
///
/// The bound: rounding errors of a sum of K terms, each at most u = 2^-24 of a partial sum, add up like a random walk
/// (Higham and Mary, 2019) of standard deviation √(K/3)·u at most, in units of the sum of magnitudes. The bound is seven of
/// them, 4·√K·u: for K = 8192 a fifth of the average term, so that one wrong code shows.
fn want(matrix: &QuantizedMatrix, row: usize, x: &[f32]) -> Want {
    let (mut value, mut magnitudes) = (0.0, 0.0);
    for (col, &x) in x.iter().enumerate() {
        let term = matrix.value(row, col) * f64::from(x);
        value += term;
        magnitudes += term.abs();
    }
    let u = Elem::F32.epsilon() / 2.0;
    Want::Near { value, bound: 4.0 * (x.len() as f64).sqrt() * u * magnitudes }
}

/// How `optimized.wgsl` divides its work. What the fields mean is in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Invocations that share a row set: the subgroup width, or any number without subgroups.
    pub lanes: u32,
    /// Lane sets that share a row set, each with a part of K.
    pub k_split: u32,
    /// Row sets per workgroup.
    pub teams: u32,
    /// Rows per row set.
    pub rows: u32,
    /// Words per load: 1, 2 or 4.
    pub vec: u32,
    /// Loads per row before the first use.
    pub unroll: u32,
    /// Scales multiply sums, not weights.
    pub scale_sums: bool,
}

impl Tuning {
    /// What was best where it was measured, for a shape; `subgroups` as in [`tuned`].
    pub fn for_shape(spec: &Spec, lanes: u32, subgroups: bool) -> Self {
        let (n, k) = (spec.weights.shape().n() as u32, spec.weights.shape().k() as u32);
        let one_column = spec.batch <= 2;
        // Several columns keep so many sums alive that more loads in flight cost more than they hide.
        let vec = if one_column && k.is_multiple_of(32) { 4 } else { 2 };
        let unroll = if one_column { 4 / vec } else { 1 };
        let mut tuning = Tuning { lanes, k_split: 1, teams: 2, rows: 4, vec, unroll, scale_sums: one_column };
        // Few rows fill no large device: split K as long as every lane keeps a chunk.
        let sets = n.div_ceil(tuning.rows);
        let chunks = k / (8 * vec);
        while sets * tuning.k_split < 4096 && chunks >= 2 * tuning.span() && tuning.k_split < 4 {
            tuning.k_split *= 2;
        }
        while tuning.workgroup_bytes(spec, subgroups) > LEAST_WORKGROUP_BYTES && tuning.k_split > 1 {
            tuning.k_split /= 2;
        }
        tuning
    }

    /// Workgroup memory: each sum with an addend per who adds to it, and one of padding.
    fn workgroup_bytes(&self, spec: &Spec, subgroups: bool) -> u32 {
        match if subgroups { self.k_split } else { self.span() } {
            1 => 0,
            addends => 4 * self.teams * self.rows * spec.batch * (addends + 1),
        }
    }

    /// Invocations that share a row set.
    fn span(&self) -> u32 {
        self.lanes * self.k_split
    }
}

/// The plan of `optimized.wgsl` under a tuning.
///
/// # Errors
/// The device or the shape does not allow the tuning.
pub fn tuned(spec: &Spec, caps: &Caps, tuning: Tuning, subgroups: bool) -> Result<Plan, Refusal> {
    let (n, k) = (spec.weights.shape().n() as u32, spec.weights.shape().k() as u32);
    let Tuning { lanes, k_split, teams, rows, vec, unroll, scale_sums } = tuning;
    if subgroups && !caps.has_subgroup_size(lanes) {
        return Err(Refusal::needs(format!("subgroups of {lanes} lanes")));
    }
    if !matches!(vec, 1 | 2 | 4) || !k.is_multiple_of(8 * vec) {
        return Err(Refusal::needs(format!("k = {k} to be a multiple of {}", 8 * vec)));
    }
    let threads = teams * tuning.span();
    if threads == 0 || rows == 0 || unroll == 0 || threads > caps.max_invocations {
        let most = caps.max_invocations;
        return Err(Refusal::needs(format!("workgroups of {threads} invocations, 1 to {most} are possible")));
    }
    let even = (k / (8 * vec)).is_multiple_of(unroll * tuning.span());
    let defines = weights::defines(&spec.weights)
        // Without subgroups: for any device, also one that flushes subnormals.
        .with("F16_SUBNORMALS", i32::from(subgroups))
        .with("X_F16", i32::from(spec.x == Elem::F16))
        .with("COLS", spec.batch)
        .with("SUBGROUPS", i32::from(subgroups))
        .with("LANES", lanes)
        .with("KSPLIT", k_split)
        .with("TEAMS", teams)
        .with("ROWS", rows)
        .with("VEC", vec)
        .with("UNROLL", unroll)
        .with("SCALE_SUMS", i32::from(scale_sums))
        .with("EVEN", i32::from(even));
    let shader = Shader::new(wgsl!("gemv/optimized.wgsl"), defines).with_msl(msl!("gemv/optimized.metal"));
    Ok(dispatch(spec, shader, n.div_ceil(teams * rows)))
}

fn dispatch(spec: &Spec, shader: Shader, workgroups: u32) -> Plan {
    let shape = spec.weights.shape();
    let params = Params {
        n: shape.n() as u32,
        k: shape.k() as u32,
        batch: spec.batch,
        tensor_scale: spec.tensor_scale,
    };
    Plan::one(Dispatch::new(shader, grid(u64::from(workgroups)), &params))
}

fn naive(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let f16 = spec.x == Elem::F16;
    if f16 && !caps.f16 {
        return Err(Refusal::needs("shader-f16"));
    }
    let defines = weights::defines(&spec.weights)
        .with("F16_SUBNORMALS", 1)
        .with("X_F16", i32::from(f16))
        .with("X_TYPE", if f16 { "f16" } else { "f32" })
        .with("THREADS", NAIVE_THREADS);
    let shader = Shader::new(wgsl!("gemv/naive.wgsl"), defines).with_msl(msl!("gemv/naive.metal"));
    let outputs = spec.weights.shape().n() as u32 * spec.batch;
    Ok(dispatch(spec, shader, outputs.div_ceil(NAIVE_THREADS)))
}

fn optimized(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    match caps.subgroup_size {
        Some(lanes) if caps.subgroups => tuned(spec, caps, Tuning::for_shape(spec, lanes, true), true),
        _ => Err(Refusal::needs("subgroups of a known width")),
    }
}

fn portable(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    tuned(spec, caps, Tuning::for_shape(spec, 32, false), false)
}

static VARIANTS: &[Variant<Spec>] = &[
    Variant {
        name: "naive",
        role: Role::Naive,
        about: "an invocation per row and column",
        plan: naive,
        twin: true,
        problem: None,
    },
    Variant {
        name: "optimized",
        role: Role::Optimized,
        about: "a subgroup per few rows, one pass over the weights for all columns",
        plan: optimized,
        twin: true,
        problem: None,
    },
    Variant {
        name: "portable",
        role: Role::Optimized,
        about: "as optimized, sums through workgroup memory, no f16 subnormals",
        plan: portable,
        twin: true,
        problem: None,
    },
];

/// A case of random weights.
fn case(class: CaseClass, weights: WeightSpec, batch: u32, x: Elem) -> Case {
    let spec = Spec { weights, tensor_scale: weights::random_tensor_scale(weights.format()), batch, x };
    Case::new(spec.name(), class, spec, VARIANTS, |spec, seed| {
        problem(spec, weights::random(&spec.weights, seed), seed)
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
    Ok(Case::new(name, CaseClass::Bench, spec, VARIANTS, move |spec, seed| {
        problem(spec, matrix.clone(), seed)
    }))
}

fn cases() -> Vec<Case> {
    use CaseClass::{Bench, Edge, Smoke};
    use Elem::{F16, F32};
    use Format::{Fp4, Int4Asym, Int4Sym, Mxfp4, Nvfp4};
    use GroupSize::{G16, G32, G64, G128};
    // Edges: one row; K of one group; rows one short of and one beyond a row set and a workgroup; K that no unrolled
    // step, no subgroup and no 16-byte load divides; two groups in a 16-byte load; every batch.
    type Row = (CaseClass, Format, GroupSize, usize, usize, u32, Elem);
    let table: &[Row] = &[
        (Smoke, Fp4, G32, 192, 1024, 1, F16),
        (Smoke, Fp4, G32, 192, 1024, 8, F16),
        (Smoke, Int4Sym, G64, 192, 1024, 1, F32),
        (Smoke, Int4Asym, G128, 192, 1024, 1, F16),
        (Smoke, Mxfp4, G32, 192, 1024, 1, F16),
        (Smoke, Nvfp4, G16, 192, 1024, 4, F16),
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
        (Bench, Fp4, G32, 28672, 8192, 1, F16),
        (Bench, Fp4, G32, 28672, 8192, 8, F16),
        (Bench, Fp4, G32, 4096, 4096, 1, F16),
        (Bench, Int4Sym, G32, 28672, 8192, 1, F16),
        (Bench, Int4Asym, G64, 28672, 8192, 1, F16),
        (Bench, Mxfp4, G32, 28672, 8192, 1, F16),
        (Bench, Nvfp4, G16, 28672, 8192, 1, F16),
    ];
    let case = |&(class, format, group, n, k, batch, x): &Row| {
        let weights = Shape::new(n, k).and_then(|shape| WeightSpec::new(shape, format, group));
        case(class, weights.expect("the table's shapes are whole groups"), batch, x)
    };
    table.iter().map(case).collect()
}

/// The family.
pub fn family() -> Family {
    Family::new("gemv", "y = W·x, 4-bit weights, batch 1 to 8", VARIANTS, cases())
}
