//! Product with the experts that a router chose: `y[t] = Σ_c probabilities[t, c] · x[t]·W[expert_ids[t, c]]`, for mixtures of experts.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `words`, `scales`, `zero_points` | W `[experts, n, k]` in 4 to 32 bits | as one matrix of `experts·n` rows: see [`crate::quant`] |
//! | `x` | f16 or f32 `[tokens, k]`, or `[tokens·top_k, k]` | row-major |
//! | `expert_ids` | u32 `[tokens, top_k]` | row-major; an id of `experts` or more chooses nothing |
//! | `probabilities` | f32 `[tokens, top_k]` | row-major |
//! | `y` | f16 or f32 `[tokens, n]`, or `[tokens·top_k, n]` | row-major |
//!
//! A *pair* is a (token, choice), numbered `t·top_k + c`. A feed-forward block is two of these products with an activation
//! between: the first has a row of x per token and a row of y per *pair*, unweighted, `y[p] = x[t]·W[expert_ids[p]]`; the
//! second has a row of x per pair and sums each token's: `y[t] = Σ_c probabilities[p] · x[p]·W[expert_ids[p]]`. See [`Rows`]. All experts share one tensor scale; where a checkpoint has one per
//! expert, multiply `probabilities` by them. Sums are f32 and in a fixed order: no kernel has atomics, every run gives the same bits.
//! Experts without a token, all tokens on one expert, and any `top_k` up to the number of experts are cases like others.
//!
//! | variant | what differs |
//! |---|---|
//! | gather | an invocation per element, which looks its weights up by expert id |
//! | host_sorted | pairs sorted by expert on the host, then 64 × 64 tiles of one expert's rows |
//! | sorted | the same, sorted on the GPU by a counting sort |
//! | sorted_coop_8x8, sorted_coop_16x16, sorted_coop_16x16_small | sorted, with cooperative matrices as in [`gemm`](super::gemm) |
//! | vector, vector_portable | a matrix-vector product per pair, for few tokens; portable: without subgroups |
//!
//! The sorted variants run five dispatches: count, scan and scatter (the sort, and the list of tiles), the product, whose rows
//! go to `expert_outputs[pair]`, and the weighted sum of each token's pairs. The number of tiles is not known on the
//! host: as many workgroups start as any distribution can need, and those without a tile leave at once.
//!
//! # Measured
//!
//! NVIDIA H100 80GB, Vulkan, 2026-11-22, f16 to f16, unchecked. 512 tokens per expert, 8 experts of 4096 × 4096, fp4: gather
//! 511 ms, host_sorted 4.21, sorted 4.23, sorted_coop_16x16_small 1.37, sorted_coop_16x16 0.97 (142 TFLOPS, 0.71 of the dense
//! product's 200; 1.04 with runs of 16 codes and scalar stores). One token, 4 of 32 experts of 2880 × 2880, mxfp4: gather
//! 828 µs, sorted 199, sorted_coop_16x16_small 71, vector_portable 47, vector 41.
//!
//! NVIDIA H200, 2026-11-26, `vector`, mxfp4, 32 experts of 2880 × 2880, top 4: choices one after the other 37.7 µs at one token
//! and 178 at 16, shared by the subgroups of a workgroup (as it is) 17.7 and 167. With 2 rows a subgroup 17.2, with 1 16.1; two steps
//! loaded before the first is used change nothing (17.6).

mod plan;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::gemm::{encode, near, random_activations};
use super::op::Operation;
use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Operand, Output, Problem, Refusal, Rng, Role, Space,
    Variant, Want,
};
use super::weights;
use crate::gpu::{BufferSpec, Caps};
use crate::quant::{Format, GroupSize, Shape, WeightSpec};
use plan::{gather, host_sorted, sorted_coop, sorted_register, vector};

/// What a row of x or of y stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// A token. As a row of x it serves all of the token's pairs; as a row of y it is their sum, weighted by `probabilities`.
    Token,
    /// A pair of a token and a choice. As a row of y it is one expert's output, not weighted: `probabilities` is not bound, and rows
    /// of pairs that choose nothing are zeros or not written.
    Pair,
}

/// Who chooses among what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mixture {
    /// Tokens.
    pub n_tokens: u32,
    /// Experts of a token: 1 to `experts`.
    pub top_k: u32,
    /// Experts to choose from: 1 to [`MAX_EXPERTS`].
    pub experts: u32,
}

/// A product's shapes, format and element types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    tokens: u32,
    top_k: u32,
    experts: u32,
    /// Of all experts: `experts·n` rows.
    weights: WeightSpec,
    tensor_scale: f32,
    x: Elem,
    y: Elem,
    x_rows: Rows,
    y_rows: Rows,
}

/// Most experts that the sort has workgroup memory and registers for.
pub const MAX_EXPERTS: u32 = 2048;

impl Spec {
    /// Activations of type `x`, each token's times `top_k` of `experts` matrices like `expert`, to results of type `y`.
    /// `tensor_scale` is 1 for formats without one.
    ///
    /// # Errors
    /// A count of 0; `top_k` beyond `experts`; `experts` beyond [`MAX_EXPERTS`]; an operand of 2³² elements or more; `x` or
    /// `y` no float; `tensor_scale` not finite. The message names the argument.
    pub fn new(
        mixture: Mixture,
        expert: WeightSpec,
        tensor_scale: f32,
        x: Elem,
        y: Elem,
    ) -> Result<Self, Refusal> {
        let Mixture { n_tokens: tokens, top_k, experts } = mixture;
        for (name, value) in [("n_tokens", tokens), ("top_k", top_k), ("experts", experts)] {
            if value == 0 {
                return Err(Refusal::argument(format!("`{name}` is 0: there is at least one")));
            }
        }
        if experts > MAX_EXPERTS {
            return Err(Refusal::argument(format!(
                "`experts` is {experts}: at most {MAX_EXPERTS} are supported"
            )));
        }
        if top_k > experts {
            return Err(Refusal::argument(format!(
                "`top_k` is {top_k}, but there are only {experts} experts"
            )));
        }
        let shape = expert.shape();
        let pairs = u64::from(tokens) * u64::from(top_k);
        for (name, elements) in [
            ("x", u64::from(tokens) * shape.k() as u64),
            ("expert_outputs", pairs.saturating_mul(shape.n() as u64)),
        ] {
            if elements > u64::from(u32::MAX) {
                return Err(Refusal::argument(format!(
                    "`{name}` has {elements} elements: at most 2^32 - 1 can be indexed"
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
        let rows = (experts as usize).saturating_mul(shape.n());
        let weights = Shape::new(rows, shape.k())
            .and_then(|all| WeightSpec::new(all, expert.format(), expert.group()))
            .map_err(|e| Refusal::argument(format!("`experts`: {e}")))?;
        let (x_rows, y_rows) = (Rows::Token, Rows::Token);
        Ok(Self { tokens, top_k, experts, weights, tensor_scale, x, y, x_rows, y_rows })
    }

    /// With rows of x and y that stand for tokens or for pairs; both stand for tokens otherwise.
    ///
    /// # Errors
    /// x has 2³² elements or more.
    pub fn with_rows(self, x_rows: Rows, y_rows: Rows) -> Result<Self, Refusal> {
        let elements = u64::from(self.rows_of(x_rows)) * u64::from(self.k());
        if elements > u64::from(u32::MAX) {
            return Err(Refusal::argument(format!(
                "`x` has {elements} elements: at most 2^32 - 1 can be indexed"
            )));
        }
        Ok(Self { x_rows, y_rows, ..self })
    }

    fn n(&self) -> u32 {
        self.weights.shape().n() as u32 / self.experts
    }

    fn k(&self) -> u32 {
        self.weights.shape().k() as u32
    }

    /// Pairs of a token and a choice.
    fn pairs(&self) -> u32 {
        self.tokens * self.top_k
    }

    /// The number of rows that stand for this.
    fn rows_of(&self, rows: Rows) -> u32 {
        if rows == Rows::Pair { self.pairs() } else { self.tokens }
    }

    /// Pairs that such a row belongs to.
    fn pairs_per(&self, rows: Rows) -> u32 {
        if rows == Rows::Pair { 1 } else { self.top_k }
    }
}

impl Buffers for Spec {
    fn buffers(&self) -> Vec<BufferSpec> {
        let pairs = u64::from(self.pairs());
        let (x_rows, y_rows) = (self.rows_of(self.x_rows), self.rows_of(self.y_rows));
        let mut buffers = weights::buffers(&self.weights);
        buffers.push(BufferSpec::new("x", u64::from(x_rows) * u64::from(self.k()), self.x.size_bytes()));
        buffers.push(BufferSpec::new("expert_ids", pairs, Elem::U32.size_bytes()));
        if self.y_rows == Rows::Token {
            buffers.push(BufferSpec::new("probabilities", pairs, Elem::F32.size_bytes()));
        }
        buffers.push(BufferSpec::new("y", u64::from(y_rows) * u64::from(self.n()), self.y.size_bytes()));
        buffers
    }

    fn weight_rows(&self) -> Option<u64> {
        Some(self.weights.shape().n() as u64)
    }
}

/// The best variant for a device. Its buffers: [`weight_operands`](super::weight_operands) of the matrix of all experts'
/// rows, `x`, `expert_ids`, `probabilities` where rows of y are tokens, `y`, and the operation's scratch.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, spec, caps)
}

/// How a case's tokens choose their experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routing {
    /// Each token `top_k` different ones, all alike.
    Even,
    /// Low ids far more often than high ones: most experts have few tokens or none.
    Skewed,
    /// Every token the same ones, the last.
    Same,
    /// Every third pair an id that is no expert's.
    Holes,
}

/// Expert ids of all pairs.
fn route(spec: &Spec, routing: Routing, rng: &mut Rng) -> Vec<u32> {
    let experts = u64::from(spec.experts);
    let mut ids = Vec::with_capacity(spec.pairs() as usize);
    for _ in 0..spec.tokens {
        let mut free: Vec<u32> = (0..spec.experts).collect();
        for choice in 0..spec.top_k {
            let left = experts - u64::from(choice);
            let at = match routing {
                Routing::Same => left - 1,
                Routing::Skewed => {
                    rng.below(left).min(rng.below(left)).min(rng.below(left)).min(rng.below(left))
                }
                Routing::Even | Routing::Holes => rng.below(left),
            };
            ids.push(free.swap_remove(at as usize));
        }
    }
    if routing == Routing::Holes {
        for (pair, id) in ids.iter_mut().enumerate().filter(|(pair, _)| pair % 3 == 1) {
            *id = if pair % 2 == 0 { spec.experts } else { u32::MAX };
        }
    }
    ids
}

/// Inputs, reference and cost.
fn problem(spec: &Spec, routing: Routing, seed: u64) -> Problem {
    let matrix = weights::random(&spec.weights, seed);
    let (n, k, experts) = (spec.n() as usize, spec.k() as usize, spec.experts);
    let [x_rows, y_rows] = [spec.x_rows, spec.y_rows].map(|rows| spec.rows_of(rows) as usize);
    let [pairs_per_x, choices] = [spec.x_rows, spec.y_rows].map(|rows| spec.pairs_per(rows) as usize);
    let weighted = spec.y_rows == Rows::Token;
    let mut rng = Rng(seed ^ 0x6578_7065);
    let x = random_activations(x_rows * k, spec.x, &mut rng);
    let ids = route(spec, routing, &mut rng);
    let probabilities: Vec<f32> = ids.iter().map(|_| if weighted { rng.unit().abs() } else { 1.0 }).collect();
    let mut inputs = weights::inputs(&matrix);
    inputs.push(Operand { name: "x", bytes: encode(&x, spec.x) });
    inputs.push(Operand { name: "expert_ids", bytes: bytemuck::cast_slice(&ids).into() });
    if weighted {
        inputs.push(Operand { name: "probabilities", bytes: encode(&probabilities, Elem::F32) });
    }
    let chosen: Vec<u32> = ids.iter().copied().filter(|id| *id < experts).collect();
    let hit = chosen.iter().collect::<BTreeSet<_>>().len();
    let moved = spec.weights.total_bytes() / experts as usize * hit
        + x_rows * k * spec.x.size_bytes()
        + if weighted { 8 } else { 4 } * ids.len()
        + y_rows * n * spec.y.size_bytes();
    let cost =
        Cost { useful_bytes: moved as u64, flops: 2 * (chosen.len() * n * k) as u64, space: Space::Storage };
    // Decoded once, when the first row is asked for: exact but for one rounding to f32. Rows are asked for by rayon's
    // threads, and one that waits for a parallel loop would take up another row, which waits for this.
    let decoded: OnceLock<Vec<f32>> = OnceLock::new();
    let (x_elem, y_elem) = (spec.x, spec.y);
    let row = move |row: usize| -> Vec<Want> {
        let w = decoded.get_or_init(|| matrix.dequantize_serial());
        let column = |j: usize| {
            let pairs = row * choices..(row + 1) * choices;
            let chosen = pairs.filter(|&pair| ids[pair] < experts);
            let bias_error = |pair: usize| {
                let x = &x[pair / pairs_per_x * k..][..k];
                let row = ids[pair] as usize * n + j;
                f64::from(probabilities[pair].abs()) * weights::bias_error(&matrix, row, x)
            };
            let bias_error = chosen.clone().map(bias_error).sum();
            let terms = chosen.flat_map(|pair| {
                let x = &x[pair / pairs_per_x * k..][..k];
                let row = ids[pair] as usize * n + j;
                let (p, w) = (f64::from(probabilities[pair]), &w[row * k..(row + 1) * k]);
                x.iter().zip(w).map(move |(a, b)| p * f64::from(*a) * f64::from(*b))
            });
            near(terms, x_elem, y_elem, 0.0).wider(bias_error)
        };
        (0..n).map(column).collect()
    };
    let output = Output {
        name: "y",
        elem: spec.y,
        n_rows: y_rows,
        row_len: n,
        row_cost: (choices * n * k) as u64,
        row: Arc::new(row),
    };
    Problem { inputs, outputs: vec![output], cost }
}

// Below about 32 tokens an expert has too few rows to fill a tile (MLX draws the line there too). Tiles of 128 rows want
// experts with at least that many pairs on average.
static VARIANTS: &[Variant<Spec>] = &[
    Variant::new(
        "gather",
        Role::Naive,
        true,
        "an invocation per element, weights looked up by expert id",
        gather,
    ),
    Variant::new(
        "host_sorted",
        Role::Advised,
        true,
        "pairs sorted on the host, 64x64 register tiles",
        host_sorted,
    ),
    Variant::new(
        "sorted",
        Role::Optimized,
        true,
        "pairs sorted on the GPU, 64x64 register tiles",
        sorted_register,
    )
    .serves(|_, _| Some(5)),
    Variant::new("sorted_coop_8x8", Role::Optimized, true, "sorted, 8x8 cooperative matrices", |s, c| {
        sorted_coop(s, c, &super::gemm::COOP_8)
    })
    .serves(|_, _| Some(4)),
    Variant::new(
        "sorted_coop_16x16",
        Role::Optimized,
        false,
        "sorted, 128x128 tiles of 16x16 matrices",
        |s, c| sorted_coop(s, c, &super::gemm::COOP_16),
    )
    .serves(|s, _| (s.pairs() / s.experts >= 96).then_some(2)),
    Variant::new(
        "sorted_coop_16x16_small",
        Role::Optimized,
        false,
        "sorted, 64x64 tiles of 16x16 matrices",
        |s, c| sorted_coop(s, c, &super::gemm::COOP_16_SMALL),
    )
    .serves(|_, _| Some(3)),
    Variant::new("vector", Role::Optimized, true, "a matrix-vector product per token and choice", |s, c| {
        vector(s, c, true)
    })
    .serves(|s, _| (s.tokens <= 32).then_some(0)),
    Variant::new("vector_portable", Role::Optimized, true, "vector, sums in workgroup memory", |s, c| {
        vector(s, c, false)
    })
    .serves(|s, _| (s.tokens <= 32).then_some(1)),
];

fn cases() -> Vec<Case> {
    use CaseClass::{Bench, Edge, Smoke};
    use Elem::{F16, F32};
    use Format::{
        Bf16, Fp4, Int4Affine, Int4AffineF32, Int4Asym, Int4Asym5, Int4Sym, Int8, Mxfp4, Nvfp4, Q4K, Q6K,
    };
    use GroupSize::{G16, G32, G64, G128};
    use Routing::{Even, Holes, Same, Skewed};
    // tokens, top_k, experts, n, k. Edges: one token, one expert, all experts chosen, experts with no token, all tokens on one,
    // ids that are no expert's; tiles of 64 and 128 rows at −1, 0, +1; blocks of 256 pairs at −1, 0, +1; more experts than the
    // 256 invocations of the sort; n < 8; K of one group.
    const T: [Rows; 2] = [Rows::Token, Rows::Token];
    const UP: [Rows; 2] = [Rows::Token, Rows::Pair];
    const DOWN: [Rows; 2] = [Rows::Pair, Rows::Token];
    const PAIRS: [Rows; 2] = [Rows::Pair, Rows::Pair];
    type Row = (CaseClass, Format, GroupSize, [usize; 5], Elem, Elem, Routing, [Rows; 2]);
    let table: &[Row] = &[
        (Smoke, Fp4, G32, [75, 2, 8, 96, 128], F16, F16, Even, T),
        (Smoke, Fp4, G32, [75, 2, 8, 96, 128], F32, F32, Even, T),
        (Smoke, Mxfp4, G32, [33, 4, 32, 72, 96], F16, F32, Skewed, T),
        (Smoke, Int4Asym, G64, [33, 2, 4, 72, 192], F16, F16, Even, T),
        (Smoke, Int8, G32, [33, 2, 4, 72, 192], F16, F16, Even, T),
        (Smoke, Q4K, G32, [33, 2, 4, 72, 256], F16, F32, Even, T),
        (Edge, Fp4, G16, [1, 1, 1, 1, 16], F16, F32, Even, T),
        (Edge, Fp4, G16, [1, 3, 3, 7, 16], F32, F32, Even, T),
        (Edge, Fp4, G16, [5, 8, 8, 17, 48], F16, F16, Even, T),
        (Edge, Fp4, G32, [63, 1, 5, 65, 64], F16, F32, Same, T),
        (Edge, Fp4, G32, [64, 1, 2, 63, 96], F32, F32, Same, T),
        (Edge, Fp4, G32, [65, 1, 3, 64, 32], F16, F32, Same, T),
        (Edge, Fp4, G32, [129, 2, 7, 40, 64], F16, F32, Same, T),
        (Edge, Fp4, G64, [255, 1, 16, 33, 64], F32, F16, Skewed, T),
        (Edge, Fp4, G128, [128, 2, 16, 12, 128], F16, F32, Skewed, T),
        (Edge, Fp4, G16, [257, 1, 300, 8, 32], F32, F32, Even, T),
        (Edge, Fp4, G16, [40, 6, 512, 5, 16], F16, F32, Even, T),
        (Edge, Int4Sym, G32, [37, 3, 6, 31, 96], F16, F32, Holes, T),
        (Edge, Int4Sym, G16, [2, 2, 4, 130, 80], F32, F32, Holes, T),
        (Edge, Int4Asym, G16, [43, 2, 3, 43, 48], F16, F32, Even, T),
        (Edge, Mxfp4, G32, [9, 4, 32, 66, 160], F32, F32, Even, T),
        (Edge, Nvfp4, G16, [70, 2, 5, 34, 144], F16, F16, Skewed, T),
        (Edge, Mxfp4, G32, [33, 4, 8, 72, 96], F32, F32, Skewed, UP),
        (Edge, Nvfp4, G16, [1, 4, 8, 33, 32], F16, F32, Even, UP),
        (Edge, Fp4, G32, [65, 2, 4, 63, 64], F16, F16, Even, UP),
        (Edge, Fp4, G32, [65, 2, 4, 63, 64], F16, F16, Even, DOWN),
        (Edge, Int4Sym, G32, [37, 3, 6, 31, 96], F32, F32, Holes, DOWN),
        (Edge, Int4Asym, G16, [3, 3, 5, 17, 48], F32, F16, Even, PAIRS),
        (Edge, Int8, G32, [9, 4, 32, 66, 160], F32, F32, Even, T),
        (Edge, Int8, G32, [37, 3, 6, 31, 96], F16, F32, Even, UP),
        (Edge, Int4Affine, G16, [43, 2, 3, 43, 48], F16, F32, Even, T),
        (Edge, Int4Affine, G64, [65, 2, 4, 63, 64], F16, F16, Even, DOWN),
        (Edge, Int4AffineF32, G32, [5, 2, 3, 17, 96], F32, F32, Even, T),
        (Edge, Int4Asym5, G16, [3, 3, 5, 17, 48], F32, F16, Even, PAIRS),
        (Edge, Q4K, G32, [33, 2, 5, 34, 512], F32, F32, Skewed, T),
        (Edge, Q6K, G16, [1, 3, 4, 7, 256], F32, F32, Even, T),
        (Edge, Q6K, G16, [70, 2, 5, 34, 256], F16, F16, Skewed, T),
        (Edge, Format::F16, G16, [5, 8, 9, 17, 48], F16, F16, Even, T),
        (Edge, Bf16, G16, [70, 2, 5, 34, 144], F16, F32, Skewed, DOWN),
        (Edge, Format::F32, G16, [2, 2, 4, 130, 80], F32, F32, Holes, T),
        // 512 tokens per expert; gpt-oss-20b's shape; its decode step.
        (Bench, Fp4, G32, [4096, 1, 8, 4096, 4096], F16, F16, Even, T),
        (Bench, Mxfp4, G32, [4096, 4, 32, 2880, 2880], F16, F16, Even, T),
        (Bench, Mxfp4, G32, [512, 4, 32, 2880, 2880], F16, F16, Skewed, T),
        (Bench, Mxfp4, G32, [1, 4, 32, 2880, 2880], F16, F16, Even, T),
        (Bench, Mxfp4, G32, [16, 4, 32, 2880, 2880], F16, F16, Even, T),
    ];
    let case = |&(class, format, group, [tokens, top_k, experts, n, k], x, y, routing, rows): &Row| {
        let expert = Shape::new(n, k).and_then(|shape| WeightSpec::new(shape, format, group));
        let expert = expert.expect("the table's shapes are whole groups");
        let tensor_scale = weights::random_tensor_scale(format);
        let [n_tokens, top_k, experts] = [tokens, top_k, experts].map(|n| n as u32);
        let spec = Spec::new(Mixture { n_tokens, top_k, experts }, expert, tensor_scale, x, y)
            .and_then(|spec| spec.with_rows(rows[0], rows[1]))
            .expect("a sound row");
        let rows = match rows {
            T => "",
            UP => "-up",
            DOWN => "-down",
            PAIRS => "-pairs",
        };
        let elem = Elem::name;
        let shapes = format!("t{tokens}-k{top_k}of{experts}-{n}x{k}");
        let kind = format!("{routing:?}").to_lowercase();
        let name = format!("{format}-g{group}-{shapes}-{}-{}-{kind}{rows}", elem(x), elem(y));
        Case::new(name, class, spec, VARIANTS, move |spec, seed| problem(spec, routing, seed))
    };
    table.iter().map(case).collect()
}

/// The family.
pub fn family() -> Family {
    Family::new(
        "expert_gemm",
        "y[t] = sum of p·(x[t]·W[e]) over the experts of t, W in 4 to 32 bits",
        VARIANTS,
        cases(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_specs_name_the_argument() {
        let expert = WeightSpec::new(Shape::new(64, 32).unwrap(), Format::Fp4, GroupSize::G32).unwrap();
        let (f16, f32) = (Elem::F16, Elem::F32);
        let new = |n_tokens, top_k, experts, x, y| {
            Spec::new(Mixture { n_tokens, top_k, experts }, expert, 1.0, x, y).unwrap_err().to_string()
        };
        assert!(new(0, 1, 1, f16, f32).starts_with("`n_tokens` is 0"));
        assert!(new(1, 0, 1, f16, f32).starts_with("`top_k` is 0"));
        assert!(new(1, 1, 0, f16, f32).starts_with("`experts` is 0"));
        assert!(new(1, 9, 8, f16, f32).starts_with("`top_k` is 9, but there are only 8"));
        assert!(new(1, 1, MAX_EXPERTS + 1, f16, f32).starts_with("`experts` is 2049"));
        assert!(new(1 << 27, 1, 8, f16, f32).starts_with("`x` has"));
        assert!(new(1 << 26, 2, 8, f16, f32).starts_with("`expert_outputs` has"));
        assert!(new(1, 1, 1, Elem::U32, f32).starts_with("`x` is u32"));
        assert!(new(1, 1, 1, f16, Elem::U32).starts_with("`y` is u32"));
    }
}
