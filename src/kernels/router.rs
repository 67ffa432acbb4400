//! Router of a mixture of experts: `p = softmax(h·Wᵣᵀ)`, the `top_k` largest of each token, renormalized on request.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `activations` | f16 or f32 `[n_tokens, hidden]` | row-major |
//! | `weights` | as activations, `[experts, hidden]` | row-major, as checkpoints have it |
//! | `expert_ids` | u32 `[n_tokens, top_k]` | by falling probability, equal ones by rising index |
//! | `probabilities` | f32 `[n_tokens, top_k]` | in the order of `expert_ids` |
//!
//! | variant | weights | what it shows |
//! |---|---|---|
//! | naive | `[hidden, experts]` | a thread per expert: neighbours read neighbouring elements |
//! | row_per_thread | `[experts, hidden]` | the advice to transpose, followed by one thread per row |
//! | subgroup | `[experts, hidden]` | a subgroup per expert, for few tokens |
//! | tiled | `[experts, hidden]` | both operands through workgroup memory, for many tokens |
//! | tiled_coop | `[experts, hidden]` | the same with cooperative matrices |
//!
//! # Why the advice loses
//!
//! "Stride = experts" is the distance between two loads of *one* thread, in time. What the memory system sees is one
//! load of *all* lanes: `w[d·experts + lane]` is 32 neighbours, 64 bytes of f16, one line of 128. After the transpose,
//! `w[lane·hidden + d]` is 32 rows, so 32 lines for the same 64 bytes; what the other 126 bytes of each line are worth
//! depends on whether they survive in the cache until the loop gets there. The transpose pays only together with the
//! other half of the change: let the lanes of a subgroup share a row (`subgroup`).
//!
//! # How logits become ids
//!
//! All variants rank by counting: an expert's rank is the number of experts that beat it. Ranks are distinct, so that
//! ties need no rule beyond "an equal logit of lower index beats", and any `top_k` costs the same. A logit that is NaN beats
//! every number and equals other NaN: ids stay distinct and in range, and all of that token's probabilities are NaN. Variants for which a
//! token's logits come from several workgroups write them, and the `select` kernel ranks.
//!
//! # What was measured
//!
//! 22 November 2026, H100 (Vulkan, driver 580), unchecked WGSL, hidden 4096, 128 experts, top 8, f16; PyTorch takes 95 µs at
//! 4096 tokens, 31 of them for the product.
//!
//! | variant | 4096 tokens | 1 token |
//! |---|---|---|
//! | naive | 1,700 µs | 451 µs |
//! | row_per_thread | 8,840 µs | 338 µs |
//! | subgroup | 397 µs | 11.5 µs |
//! | tiled | 190 µs | 28.7 µs |
//! | tiled_coop, 128 experts a tile, tiles fetched in a loop | 278 µs | |
//! | tiled_coop, 64 experts a tile, tiles fetched in a loop | 164 µs | |
//! | tiled_coop, 64 experts a tile, unrolled and fetched one step ahead | 98 µs | |
//!
//! The last by workgroups wanted: 128: 144 µs · 256: **98** · 528: 103 · 1024: 111. With 2880 by 32 experts, top 4, 4096 tokens:
//! naive 656 µs, row_per_thread 1,790, subgroup 80, tiled 64, tiled_coop 33.

mod plan;

use std::cmp::Ordering;
use std::sync::Arc;

use half::f16;

use super::op::Operation;
use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Operand, Output, Problem, Refusal, Rng, Role, Space,
    Variant, Want,
};
use crate::gpu::{BufferSpec, Caps};

/// Experts that fit a workgroup's logits.
pub const MAX_EXPERTS: u32 = 512;

/// Sizes of the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Tokens to route.
    pub n_tokens: u32,
    /// Elements of a token.
    pub hidden: u32,
    /// Experts to choose from: 1 to [`MAX_EXPERTS`].
    pub experts: u32,
    /// Experts of a token: 1 to `experts`.
    pub top_k: u32,
}

/// What to compute: validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    n_tokens: u32,
    hidden: u32,
    experts: u32,
    top_k: u32,
    elem: Elem,
    renormalize: bool,
    values: Values,
}

/// What the problem's inputs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// Random, such that logits are about 1 in size.
    Random,
    /// Small integers: every sum is exact in any order, and equal logits abound.
    Ties,
    /// Logits in the thousands.
    Large,
    /// Every third token has one NaN: all its logits are NaN.
    NanTokens,
    /// An expert's weights have one NaN: one logit of every token is.
    NanExpert,
}

impl Spec {
    /// A router over a shape with f16 or f32 elements. With `renormalize`, the chosen probabilities of a token sum to 1.
    ///
    /// # Errors
    /// Names the argument that is out of range.
    pub fn new(shape: Shape, elem: Elem, renormalize: bool) -> Result<Self, Refusal> {
        let Shape { n_tokens, hidden, experts, top_k } = shape;
        if n_tokens == 0 || hidden == 0 {
            return Err(Refusal::needs(format!(
                "`n_tokens` ({n_tokens}) and `hidden` ({hidden}) of at least 1"
            )));
        }
        if experts == 0 || experts > MAX_EXPERTS {
            return Err(Refusal::needs(format!("`experts` of 1 to {MAX_EXPERTS}, got {experts}")));
        }
        if top_k == 0 || top_k > experts {
            return Err(Refusal::needs(format!("`top_k` of 1 to `experts` = {experts}, got {top_k}")));
        }
        if elem == Elem::U32 {
            return Err(Refusal::needs("`elem` to be f16 or f32"));
        }
        if u64::from(experts) * u64::from(hidden) >= 1 << 32 {
            return Err(Refusal::needs(format!(
                "fewer than 2^32 elements in `weights`, `experts` ({experts}) times `hidden` ({hidden})"
            )));
        }
        let elements = u64::from(n_tokens) * u64::from(hidden.max(MAX_EXPERTS));
        if elements > 1 << 31 {
            let most = (1u64 << 31) / u64::from(hidden.max(MAX_EXPERTS));
            return Err(Refusal::needs(format!(
                "`n_tokens` of at most {most} at this `hidden`, got {n_tokens}"
            )));
        }
        Ok(Self { n_tokens, hidden, experts, top_k, elem, renormalize, values: Values::Random })
    }

    fn name(&self) -> String {
        let elem = self.elem.name();
        let values = match self.values {
            Values::Random => "",
            Values::Ties => "-ties",
            Values::Large => "-large",
            Values::NanTokens => "-nan-tokens",
            Values::NanExpert => "-nan-expert",
        };
        let raw = if self.renormalize { "" } else { "-raw" };
        let Self { n_tokens, hidden, experts, top_k, .. } = self;
        format!("t{n_tokens}-h{hidden}-e{experts}-k{top_k}-{elem}{values}{raw}")
    }
}

impl Buffers for Spec {
    fn buffers(&self) -> Vec<BufferSpec> {
        let [tokens, hidden, experts, top_k] =
            [self.n_tokens, self.hidden, self.experts, self.top_k].map(u64::from);
        let elem_bytes = self.elem.size_bytes();
        vec![
            BufferSpec::new("activations", tokens * hidden, elem_bytes),
            BufferSpec::new("weights", experts * hidden, elem_bytes),
            BufferSpec::new("expert_ids", tokens * top_k, Elem::U32.size_bytes()),
            BufferSpec::new("probabilities", tokens * top_k, Elem::F32.size_bytes()),
        ]
    }
}

/// Most tokens that `subgroup` is preferred for.
///
/// | tokens | capabilities | choice | why |
/// |---|---|---|---|
/// | to 16 | subgroups of known width | subgroup | bound by reading the weights once; a tile would be mostly edge |
/// | any | f16 matrices, `hidden` a multiple of 4 | tiled_coop | bound by multiply-adds |
/// | any | any | tiled | the same without matrices, f16 or subgroups |
const FEW_TOKENS: u32 = 16;

/// The best variant for a device. Its buffers: `activations` and `weights`, and the outputs `expert_ids` and
/// `probabilities`.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, spec, caps)
}

// ---- problem and reference ----

fn values(elem: Elem, n: u64, mut next: impl FnMut(u64) -> f32) -> (Arc<[f32]>, Arc<[u8]>) {
    match elem {
        Elem::F16 => {
            let halves: Vec<f16> = (0..n).map(|i| f16::from_f32(next(i))).collect();
            (halves.iter().map(|h| h.to_f32()).collect(), bytemuck::cast_slice(&halves).into())
        }
        _ => {
            let floats: Vec<f32> = (0..n).map(&mut next).collect();
            (floats.as_slice().into(), bytemuck::cast_slice(&floats).into())
        }
    }
}

fn problem(spec: &Spec, seed: u64) -> Problem {
    let spec = *spec;
    let mut rng = Rng(seed ^ 0x726f_7574);
    // Random logits have a deviation of about 1: each factor's is 1/√3.
    let scale = 3.0 / (spec.hidden as f32).sqrt();
    let mut draw = |factor: f32| match spec.values {
        Values::Random | Values::NanTokens | Values::NanExpert => rng.unit() * factor,
        Values::Large => rng.unit() * factor * 60.0,
        Values::Ties => rng.below(3) as f32 - 1.0,
    };
    let hidden = u64::from(spec.hidden);
    let nan_at = |values: Values, i: u64, row: fn(u64) -> bool| {
        spec.values == values && i % hidden == hidden / 2 && row(i / hidden)
    };
    let (activations, activation_bytes) = values(spec.elem, u64::from(spec.n_tokens) * hidden, |i| {
        if nan_at(Values::NanTokens, i, |token| token % 3 == 1) { f32::NAN } else { draw(1.0) }
    });
    let (weights, weight_bytes) = values(spec.elem, u64::from(spec.experts) * hidden, |i| {
        if nan_at(Values::NanExpert, i, |expert| expert == 2) { f32::NAN } else { draw(scale) }
    });
    let (n_tokens, top_k) = (spec.n_tokens as usize, spec.top_k as usize);
    let row = {
        let (activations, weights) = (activations.clone(), weights.clone());
        move |token: usize| reference(&spec, &activations[token * spec.hidden as usize..], &weights)
    };
    let row = Arc::new(row);
    let output = |name, elem, pick: fn(Chosen) -> Vec<Want>| {
        let row = row.clone();
        Output {
            name,
            elem,
            n_rows: n_tokens,
            row_len: top_k,
            row_cost: u64::from(spec.hidden) * u64::from(spec.experts),
            row: Arc::new(move |token| pick(row(token))),
        }
    };
    let outputs = vec![
        output("expert_ids", Elem::U32, |c| c.ids),
        output("probabilities", Elem::F32, |c| c.probabilities),
    ];
    let written: usize = outputs.iter().map(Output::size_bytes).sum();
    let cost = Cost {
        useful_bytes: (activation_bytes.len() + weight_bytes.len() + written) as u64,
        flops: 2 * u64::from(spec.n_tokens) * u64::from(spec.hidden) * u64::from(spec.experts),
        space: Space::Storage,
    };
    let inputs = vec![
        Operand { name: "activations", bytes: activation_bytes },
        Operand { name: "weights", bytes: weight_bytes },
    ];
    Problem { inputs, outputs, cost }
}

/// One token's row of both outputs.
struct Chosen {
    ids: Vec<Want>,
    probabilities: Vec<Want>,
}

/// One token: all logits, sorted, the best `top_k`.
///
/// Bounds. A logit is a sum of `hidden` products in f32; its roundings add up like a random walk (Higham and Mary,
/// 2019): δ = 4·√hidden·u·Σ|terms|, the largest over experts, at least one rounding of the sum itself. Sorted
/// values move by no more than the unsorted, so the logit at each rank is within δ of the reference's; an expert may
/// stand at a rank if its logit is within 2δ of the one that stands there. Small integers have δ = 0.
///
/// A probability is a quotient of exponentials, each off by the factor e^{2δ} (its own logit and the greatest), and by
/// WGSL's own allowance for `exp`, 3 + 2·|x| ulp; sums and the division add a few ulp more.
fn reference(spec: &Spec, token: &[f32], weights: &[f32]) -> Chosen {
    let hidden = spec.hidden as usize;
    let u = Elem::F32.epsilon() / 2.0;
    let mut delta: f64 = 0.0;
    let mut logits = Vec::new();
    for expert in weights.chunks_exact(hidden) {
        let (mut sum, mut magnitudes) = (0.0, 0.0);
        for (&h, &w) in token.iter().zip(expert) {
            let term = f64::from(h) * f64::from(w);
            sum += term;
            magnitudes += term.abs();
        }
        logits.push(sum);
        delta = delta.max(4.0 * (hidden as f64).sqrt().max(1.0) * u * magnitudes);
    }
    if spec.values == Values::Ties {
        delta = 0.0;
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Stable: equal logits keep the order of their indices. All NaN are equal and come first.
    order.sort_by(|&a, &b| {
        let (a, b) = (logits[a], logits[b]);
        b.is_nan().cmp(&a.is_nan()).then(b.partial_cmp(&a).unwrap_or(Ordering::Equal))
    });
    let greatest = logits[order[0]];
    let top_k = spec.top_k as usize;
    let n_summed = if spec.renormalize { top_k } else { logits.len() };
    let sum: f64 = order[..n_summed].iter().map(|&e| (logits[e] - greatest).exp()).sum();
    let mut chosen = Chosen { ids: Vec::new(), probabilities: Vec::new() };
    for (rank, &expert) in order[..top_k].iter().enumerate() {
        let near = |&e: &usize| (logits[e] - logits[expert]).abs() <= 2.0 * delta;
        chosen.ids.push(Want::OneOf(if delta == 0.0 || logits[expert].is_nan() {
            vec![order[rank] as u32]
        } else {
            (0..logits.len()).filter(near).map(|e| e as u32).collect()
        }));
        if greatest.is_nan() {
            chosen.probabilities.push(Want::Nan);
            continue;
        }
        let x = logits[expert] - greatest;
        let value = x.exp() / sum;
        let ulps = 2.0 * (3.0 + 2.0 * x.abs()) + (n_summed as f64).sqrt() + 8.0;
        let relative = (4.0 * delta).exp_m1() + ulps * 2.0 * u;
        // Below the normal range, devices may flush to zero.
        let bound = value * relative + f64::from(f32::MIN_POSITIVE);
        chosen.probabilities.push(Want::Near { value, bound });
    }
    chosen
}

static VARIANTS: &[Variant<Spec>] = &[
    Variant::new("naive", Role::Naive, true, "weights [hidden, experts], a thread per expert", plan::naive),
    Variant::new(
        "row_per_thread",
        Role::Advised,
        false,
        "weights [experts, hidden], a thread per expert row",
        plan::row_per_thread,
    ),
    Variant::new(
        "subgroup",
        Role::Optimized,
        true,
        "weights [experts, hidden], a subgroup per expert and 4 tokens",
        plan::subgroup,
    )
    .serves(|s, _| (s.n_tokens <= FEW_TOKENS).then_some(0)),
    Variant::new(
        "tiled",
        Role::Optimized,
        true,
        "64 tokens × 64 experts through workgroup memory, hidden split",
        plan::tiled,
    )
    .serves(|_, _| Some(1)),
    Variant::new(
        "tiled_coop",
        Role::Optimized,
        true,
        "64 tokens × up to 64 experts by cooperative matrices, hidden split",
        plan::tiled_coop,
    )
    .serves(|s, _| (s.n_tokens > FEW_TOKENS).then_some(0)),
];

fn cases() -> Vec<Case> {
    use CaseClass::{Bench, Edge, Smoke};
    use Elem::{F16, F32};
    use Values::{Large, NanExpert, NanTokens, Random, Ties};
    let rows: [(CaseClass, [u32; 4], Elem, bool, Values); 26] = [
        (Smoke, [65, 256, 64, 8], F16, true, Random),
        (Smoke, [5, 128, 8, 2], F32, true, Random),
        (Edge, [1, 1, 1, 1], F32, true, Random),
        (Edge, [1, 128, 8, 2], F16, true, Random),
        (Edge, [3, 127, 9, 3], F16, true, Random),
        (Edge, [4, 129, 15, 15], F32, false, Random),
        (Edge, [63, 64, 16, 4], F16, false, Random),
        (Edge, [64, 68, 17, 17], F16, true, Random),
        (Edge, [65, 60, 63, 1], F32, true, Random),
        (Edge, [16, 516, 65, 6], F16, true, Random),
        (Edge, [17, 1030, 127, 8], F16, true, Random),
        (Edge, [33, 96, 129, 10], F16, true, Random),
        (Edge, [7, 64, 511, 511], F32, true, Random),
        (Edge, [6, 64, 512, 512], F16, false, Random),
        (Edge, [66, 128, 64, 8], F16, true, Ties),
        (Edge, [9, 33, 40, 40], F32, true, Ties),
        (Edge, [20, 256, 32, 4], F16, true, Large),
        (Edge, [20, 255, 32, 32], F32, false, Large),
        (Edge, [2, 64, 8, 4], F32, true, NanTokens),
        (Edge, [67, 128, 64, 8], F16, true, NanTokens),
        (Edge, [5, 33, 130, 130], F32, false, NanTokens),
        (Edge, [3, 64, 16, 4], F16, true, NanExpert),
        (Edge, [66, 100, 40, 6], F16, false, NanExpert),
        (Bench, [4096, 4096, 128, 8], F16, true, Random),
        (Bench, [1, 4096, 128, 8], F16, true, Random),
        (Bench, [4096, 2880, 32, 4], F16, true, Random),
    ];
    rows.into_iter()
        .map(|(class, [n_tokens, hidden, experts, top_k], elem, renormalize, values)| {
            let spec = Spec { n_tokens, hidden, experts, top_k, elem, renormalize, values };
            Case::new(spec.name(), class, spec, VARIANTS, problem)
        })
        .collect()
}

/// The family.
pub fn family() -> Family {
    Family::new("router", "mixture-of-experts router: softmax(h·W), top-k, renormalize", VARIANTS, cases())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_out_of_range_are_named() {
        let refused = |n_tokens, hidden, experts, top_k, elem| {
            Spec::new(Shape { n_tokens, hidden, experts, top_k }, elem, true).unwrap_err().to_string()
        };
        assert!(refused(0, 64, 8, 2, Elem::F16).contains("`n_tokens` (0)"));
        assert!(refused(1, 0, 8, 2, Elem::F16).contains("`hidden` (0)"));
        assert!(refused(1, 64, 513, 2, Elem::F16).contains("`experts` of 1 to 512, got 513"));
        assert!(refused(1, 64, 8, 9, Elem::F16).contains("`top_k` of 1 to `experts` = 8, got 9"));
        assert!(refused(1, 64, 8, 0, Elem::F16).contains("`top_k`"));
        assert!(refused(1, 64, 8, 2, Elem::U32).contains("`elem`"));
        assert!(refused(1 << 20, 4096, 8, 2, Elem::F16).contains("`n_tokens` of at most 524288"));
    }

    #[test]
    fn equal_logits_go_to_the_lower_index() {
        let shape = Shape { n_tokens: 1, hidden: 2, experts: 4, top_k: 3 };
        let spec = Spec { values: Values::Ties, ..Spec::new(shape, Elem::F32, true).unwrap() };
        let c = reference(&spec, &[1.0, 1.0], &[0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 2.0, 0.0]);
        assert_eq!(c.ids, [1, 3, 0].map(|e| Want::OneOf(vec![e])));
        let Want::Near { value, .. } = c.probabilities[2] else { panic!("a probability is near something") };
        // Logits 2, 2, 1: e^-1 / (2 + e^-1).
        assert!((value - 0.155_362).abs() < 1e-6, "{value}");
    }
}
