//! Matrix product with quantized or plain weights: `y[i, j] = bias[j] + Σ_k x[i, k] · W[j, k]`, for prompts and batches.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `words`, `scales`, `zero_points` | W `[n, k]` in 4 to 32 bits | row-major: see [`crate::quant`] |
//! | `x` | f16 or f32 `[m, k]` | row-major |
//! | `bias` | f32 `[n]` | optional |
//! | `y` | f16 or f32 `[m, n]` | row-major |
//!
//! Sums are f32. Every kernel takes any m and n, and any k that the format allows: edges are handled inside. A product of
//! up to 8 rows is better served by a matrix-vector kernel.
//!
//! | variant | what differs |
//! |---|---|
//! | naive | an invocation per element |
//! | tiled | 16 × 16 tiles of x and W in workgroup memory |
//! | scales_cached | tiled, the scales staged too |
//! | double_buffered | tiled, the next tiles staged while this step computes |
//! | register_tile, register_tile_128 | 64 × 64 (128 × 128) of y in registers, codes decoded eight at a time, loads one step ahead |
//! | split_k | register_tile over parts of K, then a sum, for products of few tiles |
//! | coop_8x8 | 64 × 64 in cooperative matrices of 8 × 8 (Apple) |
//! | coop_16x16 | 128 × 128 in cooperative matrices of 16 × 16 (NVIDIA, AMD) |
//! | coop_16x16_small | the same with tiles of 64 × 64 |
//! | coop_16x16_split_k | coop_16x16 over parts of K, then a sum |
//!
//! Cooperative matrices of f16 take x as it is and W rounded to f16 after scaling: scaled weights beyond 65504 overflow
//! there, those below 2⁻²⁴ vanish. They are not used for f32 activations unless the device has f32 ones.
//!
//! # What was tried
//!
//! NVIDIA H100 80GB, Vulkan, 2026-11-22, fp4 in groups of 32, f16 to f16, 4096³, unchecked; cuBLAS in f16: 751 TFLOPS.
//!
//! | cooperative matrices of 16 × 16: tile, subgroup's tile, step of K | TFLOPS |
//! |---|---|
//! | 128 × 128, 64 × 64, 32 (`coop_16x16`) | 200 (int4 213, nvfp4 183 to 189) |
//! | … runs of 16 codes, results stored element by element | 182 to 184 |
//! | … either of the two mended | 192 |
//! | 128 × 128, 64 × 64, 64 (16) | 155 (149) |
//! | 128 × 128, 64 × 32, 64 (32) | 176 (122) |
//! | 256 × 128 (128 × 256), 64 × 64, 32 | 172 (171) |
//! | 128 × 128, 64 × 64, 32, two buffers | 120 |
//! | 128 × 64, 64 × 32, 32 | 139 |
//! | 64 × 128, 64 × 64, 32 | 97 |
//! | 64 × 64, 32 × 32, 32 (`coop_16x16_small`) | 111 |
//! | 128 × 128, 64 × 32, 32, rows of the tiles not padded | 81 |
//! | `register_tile`, `register_tile_128` | 34, 35 |
//!
//! Where the time goes, by leaving parts out (of 743 µs, runs of 16): without staging x 525, without staging W 569, without
//! either 286, that without storing y 231 (595 TFLOPS), without barriers 642, without storing y 688. So the matrices wait:
//! loads, decoding and multiplication of a step follow each other though the source issues loads a step ahead. `@volatile`
//! operands keep the compiler from moving the loads: 8 subgroups of 64 × 32 with steps of 64 go from 177 to 191 TFLOPS, the
//! variant from 182 to 178. Loading before the barrier, all fragments before the first product: no change.
//!
//! Dropped: fragments stored straight to y (51 TFLOPS at 64 × 64: spilled); weights scaled as f16 through 16-bit integers
//! (nvfp4: 119 against 185), with two buffers and steps of 16 besides (47). At 64 × 4096 × 4096, `coop_16x16_split_k` takes
//! 38 µs, `split_k` 78, `coop_16x16_small` 100, `coop_16x16` 149, cuBLAS 26.

mod plan;

use std::sync::{Arc, OnceLock};

use half::f16;

use super::op::Operation;
use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Operand, Output, Problem, Refusal, Rng, Role, Space,
    Variant, Want,
};
use super::weights;
use crate::gpu::{BufferSpec, Caps};
use crate::quant::{Format, GroupSize, QuantizedMatrix, Shape, WeightSpec};
pub(super) use plan::{
    COOP_8, COOP_16, COOP_16_SMALL, CoopTile, Params, REGISTER_64, coop_shader, defines, elementwise,
    register_shader, sum_of_splits,
};
use plan::{REGISTER_128, coop, naive, register_tile, tiled};

/// A product's shapes, format and element types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    m: u32,
    weights: WeightSpec,
    tensor_scale: f32,
    x: Elem,
    y: Elem,
    bias: bool,
}

impl Spec {
    /// `m` rows of activations of type `x`, times weights, to results of type `y`. `tensor_scale` is 1 for formats
    /// without one.
    ///
    /// # Errors
    /// `m` is 0; x or y has 2³² elements or more; `x` or `y` is no float; `tensor_scale` is not finite.
    pub fn new(m: u32, weights: WeightSpec, tensor_scale: f32, x: Elem, y: Elem) -> Result<Self, Refusal> {
        let shape = weights.shape();
        if m == 0 {
            return Err(Refusal::argument("`m` is 0: a product has at least one row"));
        }
        for (name, width, columns) in [("x", "k", shape.k()), ("y", "n", shape.n())] {
            if u64::from(m) * columns as u64 > u64::from(u32::MAX) {
                return Err(Refusal::argument(format!(
                    "`{name}` has {m}×{columns} elements (m × {width}): at most 2^32 - 1 can be indexed"
                )));
            }
        }
        for (name, elem) in [("x", x), ("y", y)] {
            if elem == Elem::U32 {
                return Err(Refusal::argument(format!(
                    "`{name}` is u32: activations and results are f16 or f32"
                )));
            }
        }
        if !tensor_scale.is_finite() {
            return Err(Refusal::argument(format!("`tensor_scale` is {tensor_scale}: it must be finite")));
        }
        Ok(Self { m, weights, tensor_scale, x, y, bias: false })
    }

    /// With a bias per column, bound as `bias`.
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }

    fn n(&self) -> u32 {
        self.weights.shape().n() as u32
    }

    fn k(&self) -> u32 {
        self.weights.shape().k() as u32
    }

    fn name(&self) -> String {
        let (w, elem) = (&self.weights, Elem::name);
        let bias = if self.bias { "-bias" } else { "" };
        let (m, n, k) = (self.m, self.n(), self.k());
        format!("{}-g{}-{m}x{n}x{k}-{}-{}{bias}", w.format(), w.group(), elem(self.x), elem(self.y))
    }
}

impl Buffers for Spec {
    fn buffers(&self) -> Vec<BufferSpec> {
        let (m, n, k) = (u64::from(self.m), u64::from(self.n()), u64::from(self.k()));
        let mut buffers = weights::buffers(&self.weights);
        buffers.push(BufferSpec::new("x", m * k, self.x.size_bytes()));
        buffers.push(BufferSpec::new("y", m * n, self.y.size_bytes()));
        if self.bias {
            buffers.push(BufferSpec::new("bias", n, Elem::F32.size_bytes()));
        }
        buffers
    }

    fn weight_rows(&self) -> Option<u64> {
        Some(self.weights.shape().n() as u64)
    }
}

impl Spec {
    fn tiles(&self, side: u32) -> u64 {
        u64::from(self.m.div_ceil(side)) * u64::from(self.n().div_ceil(side))
    }
}

/// The best variant for a device. Its buffers: [`weight_operands`](super::weight_operands), `x`, `y`, `bias` if the spec has
/// it, and the operation's scratch.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, spec, caps)
}

/// Bytes of f32 values as elements of a type.
pub(super) fn encode(values: &[f32], elem: Elem) -> Arc<[u8]> {
    match elem {
        Elem::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(values).into(),
    }
}

/// Random activations in −1 .. 1 that their element type holds exactly.
pub(super) fn random_activations(count: usize, elem: Elem, rng: &mut Rng) -> Vec<f32> {
    let exact = |v: f32| if elem == Elem::F16 { f16::from_f32(v).to_f32() } else { v };
    (0..count).map(|_| exact(rng.unit())).collect()
}

/// What a sum of products `terms` of an activation and a weight may differ by: the tolerance of every matrix product here.
///
/// Let S bound every partial sum: Σ|aᵢwᵢ| always does, and as signs are random, 8·√Σ(aᵢwᵢ)² does but with a
/// probability of 2·e⁻³² (Hoeffding). Then
/// - each of k additions rounds by at most ε₃₂ = 2⁻²³ of a partial sum, also where the unit truncates: k·ε₃₂·S; the weight's
///   own decoding, of at most four roundings, adds 4·ε₃₂·S;
/// - with f16 activations, weights may be rounded to f16: each product changes by at most 2⁻¹¹ of itself, independently
///   of the others, so that their sum changes by at most 2⁻¹¹·S by the same argument;
/// - the result is rounded once to its own type, a subnormal f16 as coarsely as the smallest normal one, 2⁻¹⁴.
pub(super) fn near(terms: impl Iterator<Item = f64>, x: Elem, y: Elem, offset: f64) -> Want {
    let (mut k, mut sum, mut size, mut squares) = (0u32, 0.0, 0.0, 0.0);
    for term in terms {
        k += 1;
        sum += term;
        size += term.abs();
        squares += term * term;
    }
    let s = f64::min(size, 8.0 * f64::sqrt(squares));
    let rounded = if x == Elem::F16 { 2f64.powi(-11) } else { 0.0 };
    let value = sum + offset;
    let smallest = if y == Elem::F16 { 2f64.powi(-14) } else { 0.0 };
    let bound = s * (rounded + f64::from(k + 4) * Elem::F32.epsilon())
        + Elem::F32.epsilon() * offset.abs()
        + y.epsilon() * value.abs().max(smallest);
    Want::Near { value, bound }
}

/// Inputs, reference and cost.
fn problem(spec: &Spec, seed: u64) -> Problem {
    let matrix = weights::random(&spec.weights, seed);
    problem_of(spec, matrix, seed)
}

fn problem_of(spec: &Spec, matrix: Arc<QuantizedMatrix>, seed: u64) -> Problem {
    let (m, n, k) = (spec.m as usize, spec.n() as usize, spec.k() as usize);
    let mut rng = Rng(seed ^ 0x6765_6d6d);
    let x: Arc<[f32]> = random_activations(m * k, spec.x, &mut rng).into();
    let bias: Arc<[f32]> = if spec.bias { (0..n).map(|_| rng.unit()).collect() } else { Arc::new([]) };
    let mut inputs = weights::inputs(&matrix);
    inputs.push(Operand { name: "x", bytes: encode(&x, spec.x) });
    if spec.bias {
        inputs.push(Operand { name: "bias", bytes: encode(&bias, Elem::F32) });
    }
    // Decoded once, when the first row is asked for: exact but for one rounding to f32. Rows are asked for by rayon's
    // threads, and one that waits for a parallel loop would take up another row, which waits for this.
    let decoded: OnceLock<Vec<f32>> = OnceLock::new();
    let (x_elem, y_elem) = (spec.x, spec.y);
    let row = move |i: usize| -> Vec<Want> {
        let w = decoded.get_or_init(|| matrix.dequantize_serial());
        let x = &x[i * k..(i + 1) * k];
        let column = |j: usize| {
            let terms = x.iter().zip(&w[j * k..(j + 1) * k]).map(|(a, b)| f64::from(*a) * f64::from(*b));
            near(terms, x_elem, y_elem, bias.get(j).map_or(0.0, |b| f64::from(*b)))
                .wider(weights::bias_error(&matrix, j, x))
        };
        (0..n).map(column).collect()
    };
    let output = Output {
        name: "y",
        elem: spec.y,
        n_rows: m,
        row_len: n,
        row_cost: (n * k) as u64,
        row: Arc::new(row),
    };
    let moved = spec.weights.total_bytes()
        + m * k * spec.x.size_bytes()
        + m * n * spec.y.size_bytes()
        + if spec.bias { 4 * n } else { 0 };
    let cost = Cost { useful_bytes: moved as u64, flops: 2 * (m * n * k) as u64, space: Space::Storage };
    Problem { inputs, outputs: vec![output], cost }
}

// Fewer tiles of 128 × 128 than an H100 has multiprocessors (132) leave some idle; parts of K fill them. Without matrices:
// the most that an Apple GPU has is 80 cores (Ultra); a tile of 64 × 64 per core and two in flight.
static VARIANTS: &[Variant<Spec>] = &[
    Variant::new("naive", Role::Naive, true, "an invocation per element", naive),
    Variant::new("tiled", Role::Advised, false, "16x16 tiles in workgroup memory", |s, c| {
        tiled(s, c, false, 1)
    }),
    Variant::new("scales_cached", Role::Advised, false, "tiled, scales staged too", |s, c| {
        tiled(s, c, true, 1)
    }),
    Variant::new(
        "double_buffered",
        Role::Advised,
        false,
        "tiled, next tiles staged while computing",
        |s, c| tiled(s, c, false, 2),
    ),
    Variant::new(
        "register_tile",
        Role::Optimized,
        true,
        "64x64 tile in registers, 8x4 an invocation",
        |s, c| register_tile(s, c, &REGISTER_64, false),
    )
    .serves(|_, _| Some(5)),
    Variant::new(
        "register_tile_128",
        Role::Optimized,
        true,
        "128x128 tile in registers, 8x8 an invocation",
        |s, c| register_tile(s, c, &REGISTER_128, false),
    ),
    Variant::new("split_k", Role::Optimized, true, "register_tile over parts of K, then a sum", |s, c| {
        register_tile(s, c, &REGISTER_64, true)
    })
    .serves(|s, _| (s.tiles(64) < 80 && s.k() >= 1024).then_some(4)),
    Variant::new("coop_8x8", Role::Optimized, true, "64x64 tile in 8x8 cooperative matrices", |s, c| {
        coop(s, c, &COOP_8, false)
    })
    .serves(|_, _| Some(3)),
    Variant::new(
        "coop_16x16",
        Role::Optimized,
        false,
        "128x128 tile in 16x16 cooperative matrices",
        |s, c| coop(s, c, &COOP_16, false),
    )
    .serves(|_, _| Some(2)),
    Variant::new(
        "coop_16x16_small",
        Role::Optimized,
        false,
        "64x64 tile in 16x16 cooperative matrices",
        |s, c| coop(s, c, &COOP_16_SMALL, false),
    )
    .serves(|s, _| (s.tiles(128) < 132).then_some(1)),
    Variant::new(
        "coop_16x16_split_k",
        Role::Optimized,
        false,
        "coop_16x16 over parts of K, then a sum",
        |s, c| coop(s, c, &COOP_16, true),
    )
    .serves(|s, _| (s.tiles(128) < 66 && s.k() >= 1024).then_some(0)),
];

/// A case of random weights.
fn case(class: CaseClass, spec: Spec) -> Case {
    Case::new(spec.name(), class, spec, VARIANTS, problem)
}

/// A case of `m` rows of random activations and given weights, for example a checkpoint's.
pub fn case_of(
    name: impl Into<String>,
    matrix: Arc<QuantizedMatrix>,
    m: u32,
    x: Elem,
    y: Elem,
) -> Result<Case, Refusal> {
    let spec = Spec::new(m, matrix.spec(), matrix.tensor_scale(), x, y)?;
    Ok(Case::new(name, CaseClass::Bench, spec, VARIANTS, move |spec, seed| {
        problem_of(spec, matrix.clone(), seed)
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
    // Edges: m, n, k at −1, 0, +1 of the tiles of 16, 64 and 128 and of steps of 16 and 32; one row; n < 8; K of one group;
    // more parts of K than fit evenly; odd numbers of groups, whose scales and zero points share words across rows.
    const PLAIN: bool = false;
    const BIAS: bool = true;
    type Row = (CaseClass, Format, GroupSize, [usize; 3], Elem, Elem, bool);
    let table: &[Row] = &[
        (Smoke, Fp4, G32, [96, 160, 256], F16, F16, PLAIN),
        (Smoke, Fp4, G32, [96, 160, 256], F32, F32, PLAIN),
        (Smoke, Int4Sym, G64, [96, 160, 256], F16, F32, BIAS),
        (Smoke, Int4Asym, G128, [96, 160, 256], F32, F32, PLAIN),
        (Smoke, Mxfp4, G32, [96, 160, 256], F16, F16, PLAIN),
        (Smoke, Nvfp4, G16, [96, 160, 256], F16, F16, PLAIN),
        (Smoke, Int8, G32, [96, 160, 256], F16, F16, PLAIN),
        (Smoke, Int4Affine, G64, [96, 160, 256], F16, F16, PLAIN),
        (Smoke, Q4K, G32, [96, 160, 256], F16, F32, PLAIN),
        (Smoke, Q6K, G16, [96, 160, 256], F16, F32, PLAIN),
        (Smoke, Format::F16, G16, [96, 160, 256], F16, F16, PLAIN),
        (Edge, Fp4, G16, [1, 1, 16], F16, F32, PLAIN),
        (Edge, Fp4, G16, [1, 7, 16], F32, F32, BIAS),
        (Edge, Fp4, G16, [15, 17, 48], F16, F16, BIAS),
        (Edge, Fp4, G32, [16, 15, 32], F32, F16, PLAIN),
        (Edge, Fp4, G64, [17, 16, 64], F16, F32, PLAIN),
        (Edge, Fp4, G128, [63, 65, 128], F16, F32, PLAIN),
        (Edge, Fp4, G32, [64, 64, 96], F16, F32, PLAIN),
        (Edge, Fp4, G32, [65, 63, 160], F32, F32, BIAS),
        (Edge, Fp4, G32, [128, 128, 64], F16, F32, PLAIN),
        (Edge, Fp4, G32, [127, 129, 288], F16, F16, PLAIN),
        (Edge, Fp4, G16, [129, 132, 1040], F16, F32, PLAIN),
        (Edge, Fp4, G16, [3, 260, 2064], F32, F32, BIAS),
        (Edge, Int4Sym, G16, [33, 6, 80], F16, F32, PLAIN),
        (Edge, Int4Sym, G32, [5, 130, 672], F16, F16, BIAS),
        (Edge, Int4Sym, G128, [130, 31, 384], F32, F32, PLAIN),
        (Edge, Int4Asym, G16, [31, 43, 48], F16, F32, PLAIN),
        (Edge, Int4Asym, G16, [2, 129, 1008], F32, F32, PLAIN),
        (Edge, Int4Asym, G32, [65, 66, 96], F16, F16, PLAIN),
        (Edge, Int4Asym, G64, [1, 5, 2752], F16, F32, BIAS),
        (Edge, Mxfp4, G32, [66, 67, 1056], F16, F32, BIAS),
        (Edge, Mxfp4, G32, [1, 3, 32], F32, F32, PLAIN),
        (Edge, Nvfp4, G16, [40, 72, 272], F16, F32, PLAIN),
        (Edge, Nvfp4, G16, [4, 65, 1296], F32, F32, BIAS),
        (Edge, Int8, G32, [1, 3, 32], F32, F32, PLAIN),
        (Edge, Int8, G32, [66, 67, 1056], F16, F32, BIAS),
        (Edge, Int4Affine, G16, [31, 43, 48], F16, F32, PLAIN),
        (Edge, Int4Affine, G32, [65, 66, 96], F16, F16, BIAS),
        (Edge, Int4AffineBf16, G64, [1, 5, 2112], F32, F32, PLAIN),
        (Edge, Int4AffineF32, G16, [5, 33, 80], F32, F32, PLAIN),
        (Edge, Int4AffineF32, G128, [17, 16, 384], F16, F32, BIAS),
        (Edge, Int4Asym5, G16, [2, 129, 1008], F32, F32, PLAIN),
        (Edge, Q4K, G32, [1, 5, 256], F32, F32, PLAIN),
        (Edge, Q4K, G32, [65, 63, 1280], F16, F16, BIAS),
        (Edge, Q6K, G16, [1, 7, 256], F32, F32, BIAS),
        (Edge, Q6K, G16, [33, 130, 1280], F16, F32, PLAIN),
        (Edge, Format::F16, G16, [15, 17, 48], F16, F16, PLAIN),
        (Edge, Bf16, G16, [3, 65, 1040], F32, F32, BIAS),
        (Edge, Bf16, G16, [64, 66, 80], F16, F32, PLAIN),
        (Edge, Format::F32, G16, [33, 6, 80], F32, F32, PLAIN),
        (Edge, Format::F32, G16, [2, 129, 1008], F16, F32, PLAIN),
        (Bench, Fp4, G32, [4096, 4096, 4096], F16, F16, PLAIN),
        (Bench, Fp4, G32, [4096, 4096, 4096], F16, F32, PLAIN),
        (Bench, Fp4, G32, [4096, 4096, 4096], F32, F32, PLAIN),
        (Bench, Fp4, G32, [64, 4096, 4096], F16, F16, PLAIN),
        (Bench, Fp4, G32, [512, 28672, 8192], F16, F16, PLAIN),
        (Bench, Int4Sym, G128, [4096, 4096, 4096], F16, F16, PLAIN),
        (Bench, Int4Asym, G128, [4096, 4096, 4096], F16, F16, PLAIN),
        (Bench, Mxfp4, G32, [4096, 4096, 4096], F16, F16, PLAIN),
        (Bench, Nvfp4, G16, [4096, 4096, 4096], F16, F16, PLAIN),
    ];
    let case = |&(class, format, group, [m, n, k], x, y, bias): &Row| {
        let weights = Shape::new(n, k).and_then(|shape| WeightSpec::new(shape, format, group));
        let weights = weights.expect("the table's shapes are whole groups");
        let tensor_scale = weights::random_tensor_scale(format);
        case(class, Spec { m: m as u32, weights, tensor_scale, x, y, bias })
    };
    table.iter().map(case).collect()
}

/// The family.
pub fn family() -> Family {
    Family::new("gemm", "y = x·W, W in 4 to 32 bits", VARIANTS, cases())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(n: usize, k: usize) -> WeightSpec {
        WeightSpec::new(Shape::new(n, k).unwrap(), Format::Fp4, GroupSize::G32).unwrap()
    }

    #[test]
    fn wrong_specs_name_the_argument() {
        let new = |m, w, t, x, y| Spec::new(m, w, t, x, y).unwrap_err().to_string();
        let (f16, f32) = (Elem::F16, Elem::F32);
        assert!(new(0, weights(8, 32), 1.0, f16, f32).starts_with("`m` is 0"));
        assert!(new(1 << 27, weights(1, 32), 1.0, f16, f32).starts_with("`x` has"));
        assert!(new(1 << 27, weights(32, 16 * 2), 1.0, f16, f32).starts_with("`x` has"));
        assert!(new(1 << 26, weights(64, 32), 1.0, f16, f32).starts_with("`y` has"));
        assert!(new(1, weights(8, 32), 1.0, Elem::U32, f32).starts_with("`x` is u32"));
        assert!(new(1, weights(8, 32), 1.0, f16, Elem::U32).starts_with("`y` is u32"));
        assert!(new(1, weights(8, 32), f32::NAN, f16, f32).starts_with("`tensor_scale` is NaN"));
    }

    /// A term that is missing from a sum of 64 is beyond the bound: the tolerance tells such kernels apart.
    #[test]
    fn the_bound_is_below_a_missing_term() {
        let terms: Vec<f64> = (0..64).map(|i| f64::from(i * 37 % 64 - 32) / 64.0).collect();
        let full = near(terms.iter().copied(), Elem::F16, Elem::F32, 0.0);
        let Want::Near { bound, .. } = full else { panic!("sums are floats") };
        let median = 0.25;
        assert!(bound < median / 10.0, "{bound}");
    }
}
