//! The layer in f64, all tokens at once, no cache; each value with what f32 arithmetic may be off by.
//!
//! Bounds are carried from value to value. Roundings are taken as independent: a sum of n products in f32 is off by
//! 4·√n·u of the sum of their magnitudes at most (Higham and Mary, 2019: a random walk; u = ε/2), and errors that come from
//! different values add up as squares. Exponentials are off by WGSL's allowance of 3 + 2·|x| ulp. Where elements are f16,
//! one is off by up to 2⁻¹¹ of itself when it is stored, a weight when a cooperative matrix takes it, and a share of
//! attention when it multiplies values; five deviations of that are allowed, as some 30,000 values are looked at. No
//! factor in here was fitted to results. (Worst cases that add up linearly come to nothing: after the four sums in a row of
//! this layer they are larger than the values.)

use half::f16;
use wgpu_marlin::kernels::spec::Elem;
use wgpu_marlin::quant::{Format, GroupSize, QuantError, QuantizedMatrix, Shape, WeightSpec, quantize};

use super::device::Result;
use super::{EXPERTS, HEAD_DIM, HEADS, HIDDEN, INNER, KV_HEADS};

/// Spacing of f32 near 1: covers rounding to nearest and truncation.
const EPSILON: f64 = f32::EPSILON as f64;

/// Five deviations of rounding to f16, relative to the value: one is 2⁻¹¹/√3, as the error is spread evenly.
const EPSILON_16: f64 = 2.886_751 / 2048.0;

/// A value with the bound of what f32 may give for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Num {
    pub(crate) value: f64,
    pub(crate) bound: f64,
}

/// Weights of the layer.
pub(crate) struct Weights {
    /// Wq, Wk, Wv, Wo, each `[n, k]`.
    pub(crate) projections: [QuantizedMatrix; 4],
    /// `[experts, hidden]`.
    pub(crate) router: Vec<f32>,
    /// `[experts, 2·inner, hidden]`: the gate's rows of an expert, then the other factor's.
    pub(crate) up: QuantizedMatrix,
    /// `[experts, hidden, inner]`.
    pub(crate) down: QuantizedMatrix,
}

/// Pseudo-random numbers (Numerical Recipes' LCG), about as spread as a normal deviate: the sum of four uniform ones.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        (uniform() + uniform() + uniform() + uniform()) * 1.732
    }
}

impl Weights {
    pub(crate) fn random() -> Result<Self> {
        let mut random = Random(7);
        let mut matrix = |n: u32, k: u32, rows: u32, format| -> Result<QuantizedMatrix, QuantError> {
            // Products of rows of size 1 per element are of size 1 per element.
            let scale = 1.0 / (k as f32).sqrt();
            let values: Vec<f32> = (0..n * rows * k).map(|_| random.next() * scale).collect();
            quantize(&values, Shape::new((n * rows) as usize, k as usize)?, format, GroupSize::G32)
        };
        let (q, kv) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM);
        let projections = [
            matrix(q, HIDDEN, 1, Format::Int4Sym)?,
            matrix(kv, HIDDEN, 1, Format::Int4Sym)?,
            matrix(kv, HIDDEN, 1, Format::Int4Sym)?,
            matrix(HIDDEN, q, 1, Format::Int4Asym)?,
        ];
        let up = matrix(2 * INNER, HIDDEN, EXPERTS, Format::Mxfp4)?;
        let down = matrix(HIDDEN, INNER, EXPERTS, Format::Mxfp4)?;
        // Values that f16 has, so that both element types have the same router.
        let exact = |value: f32| f16::from_f32(value).to_f32();
        let router = (0..EXPERTS * HIDDEN).map(|_| exact(random.next() / (HIDDEN as f32).sqrt())).collect();
        Ok(Self { projections, router, up, down })
    }

    /// `[tokens, hidden]`: what would come from the layer before.
    pub(crate) fn embeddings(&self, tokens: u32) -> Vec<f32> {
        let mut random = Random(11);
        (0..tokens * HIDDEN).map(|_| random.next()).collect()
    }
}

/// One expert's part of a matrix of all of them.
pub(crate) fn expert_spec(all: &QuantizedMatrix) -> Result<WeightSpec, QuantError> {
    let shape = Shape::new(all.shape().n() / EXPERTS as usize, all.shape().k())?;
    WeightSpec::new(shape, all.format(), all.group())
}

/// A row per token of what does not depend on the choice of experts.
pub(crate) struct Reference<'a> {
    weights: &'a Weights,
    elem: Elem,
    pub(crate) attention: Vec<Vec<Num>>,
    pub(crate) hidden: Vec<Vec<Num>>,
    normed: Vec<Vec<Num>>,
    logits: Vec<Vec<Num>>,
}

impl<'a> Reference<'a> {
    pub(crate) fn new(weights: &'a Weights, inputs: &[f32], elem: Elem) -> Self {
        let [wq, wk, wv, wo] = weights.projections.each_ref().map(|m| decode(m, 0, m.shape().n()));
        let exact = |v: &f32| Num { value: f64::from(*v), bound: 0.0 };
        let x: Vec<Vec<Num>> =
            inputs.chunks(HIDDEN as usize).map(|r| r.iter().map(exact).collect()).collect();
        let router: Vec<Vec<f64>> = weights
            .router
            .chunks(HIDDEN as usize)
            .map(|r| r.iter().map(|w| f64::from(*w)).collect())
            .collect();
        let mut all = Self {
            weights,
            elem,
            attention: Vec::new(),
            hidden: Vec::new(),
            normed: Vec::new(),
            logits: Vec::new(),
        };
        let normed: Vec<Vec<Num>> = x.iter().map(|row| all.stored(norm(row))).collect();
        let project = |w: &[Vec<f64>]| -> Vec<Vec<Num>> {
            normed.iter().map(|row| all.stored(all.product(w, row))).collect()
        };
        let (q, k, v) = (project(&wq), project(&wk), project(&wv));
        for (token, x) in x.iter().enumerate() {
            let attended = (0..HEADS as usize)
                .flat_map(|head| all.attend(&q[token], &k[..=token], &v[..=token], head))
                .collect();
            let attended = all.stored(attended);
            let hidden = add(x, &all.product(&wo, &attended));
            let normed = all.stored(norm(&hidden));
            let logits = all.product(&router, &normed);
            all.attention.push(attended);
            all.hidden.push(hidden);
            all.normed.push(normed);
            all.logits.push(logits);
        }
        all
    }

    /// Probabilities and output of a token whose experts, from the best, are these.
    ///
    /// # Errors
    /// They are not the best, not even within the bounds of their logits.
    pub(crate) fn finish(&self, token: usize, ids: &[u32]) -> Result<(Vec<Num>, Vec<Num>)> {
        let logits = &self.logits[token];
        let mut left: Vec<usize> = (0..logits.len()).collect();
        let mut chosen = Vec::new();
        for &id in ids {
            let Some(at) = left.iter().position(|e| *e == id as usize) else {
                return Err(format!("token {token}: experts {ids:?}").into());
            };
            left.remove(at);
            let own = logits[id as usize];
            let beaten = |e: &&usize| logits[**e].value - own.value > logits[**e].bound + own.bound;
            if let Some(better) = left.iter().find(beaten) {
                return Err(format!("token {token}: expert {better} is better than {id} of {ids:?}").into());
            }
            chosen.push(own);
        }
        let probabilities = normalized(&exponentials(&chosen));
        let normed = &self.normed[token];
        let outputs: Vec<Vec<Num>> = ids.iter().map(|&id| self.expert(id as usize, normed)).collect();
        let mixed: Vec<Num> = (0..HIDDEN as usize)
            .map(|j| sum_of_products(probabilities.iter().copied().zip(outputs.iter().map(|o| o[j]))))
            .collect();
        Ok((probabilities, add(&self.hidden[token], &mixed)))
    }

    /// Rounding to an element type, relative to what is rounded.
    fn rounding(&self) -> f64 {
        if self.elem == Elem::F16 { EPSILON_16 } else { 0.0 }
    }

    /// Values as they come back from memory.
    fn stored(&self, row: Vec<Num>) -> Vec<Num> {
        let store = |n: Num| Num { bound: n.bound.hypot(self.rounding() * n.value), ..n };
        row.into_iter().map(store).collect()
    }

    fn product(&self, w: &[Vec<f64>], x: &[Num]) -> Vec<Num> {
        let weight = |w: &f64| Num { value: *w, bound: self.rounding() * w.abs() };
        w.iter().map(|row| sum_of_products(row.iter().map(weight).zip(x.iter().copied()))).collect()
    }

    /// One query head over the keys so far.
    fn attend(&self, q: &[Num], k: &[Vec<Num>], v: &[Vec<Num>], head: usize) -> Vec<Num> {
        let dim = HEAD_DIM as usize;
        let own = head * dim..(head + 1) * dim;
        let shared = head / (HEADS / KV_HEADS) as usize;
        let shared = shared * dim..(shared + 1) * dim;
        let scale = 1.0 / f64::from(HEAD_DIM).sqrt();
        let score = |k: &Vec<Num>| {
            let dot = sum_of_products(q[own.clone()].iter().copied().zip(k[shared.clone()].iter().copied()));
            let value = dot.value * scale;
            Num { value, bound: dot.bound * scale + 4.0 * EPSILON * value.abs() }
        };
        let scores: Vec<Num> = k.iter().map(score).collect();
        let weights = self.stored(normalized(&exponentials(&scores)));
        shared.map(|d| sum_of_products(weights.iter().copied().zip(v.iter().map(|v| v[d])))).collect()
    }

    /// What one expert makes of a token.
    fn expert(&self, id: usize, x: &[Num]) -> Vec<Num> {
        let (inner, hidden) = (INNER as usize, HIDDEN as usize);
        let up = self.product(&decode(&self.weights.up, id * 2 * inner, 2 * inner), x);
        let (gate, factor) = up.split_at(inner);
        let activate = |(g, u): (&Num, &Num)| {
            // The slope of silu is 1.1 at most.
            let silu = g.value / (1.0 + (-g.value).exp());
            let off = 1.1 * g.bound + silu.abs() * (16.0 + 4.0 * g.value.abs()) * EPSILON;
            let value = silu * u.value;
            let bound = off * (u.value.abs() + u.bound) + silu.abs() * u.bound;
            Num { value, bound: bound + EPSILON * value.abs() }
        };
        let activated = self.stored(gate.iter().zip(factor).map(activate).collect());
        self.product(&decode(&self.weights.down, id * hidden, hidden), &activated)
    }
}

/// Rows of a matrix.
fn decode(matrix: &QuantizedMatrix, first: usize, rows: usize) -> Vec<Vec<f64>> {
    (first..first + rows).map(|r| (0..matrix.shape().k()).map(|c| matrix.value(r, c)).collect()).collect()
}

fn sum_of_products(terms: impl Iterator<Item = (Num, Num)>) -> Num {
    let (mut n, mut value, mut bound, mut magnitudes) = (0.0, 0.0, 0.0, 0.0);
    for (a, b) in terms {
        n += 1.0;
        value += a.value * b.value;
        bound += (a.bound * b.value).powi(2) + (b.bound * a.value).powi(2) + (a.bound * b.bound).powi(2);
        magnitudes += (a.value.abs() + a.bound) * (b.value.abs() + b.bound);
    }
    // Four roundings more for decoding weights and their scales.
    let rounded = 2.0 * (f64::sqrt(n) + 4.0) * EPSILON * magnitudes;
    Num { value, bound: bound.sqrt().hypot(rounded) }
}

fn add(a: &[Num], b: &[Num]) -> Vec<Num> {
    let sum = |(a, b): (&Num, &Num)| {
        let value = a.value + b.value;
        let bound = a.bound.hypot(b.bound);
        Num { value, bound: bound + EPSILON * (value.abs() + bound) }
    };
    a.iter().zip(b).map(sum).collect()
}

fn norm(x: &[Num]) -> Vec<Num> {
    let n = x.len() as f64;
    let squares = sum_of_products(x.iter().map(|v| (*v, *v)));
    let mean = squares.value / n + 1e-6;
    // |1/√(1 + d) − 1| ≤ |d| for |d| ≤ 1/2.
    let relative = squares.bound / n / mean + 8.0 * EPSILON;
    assert!(relative < 0.5, "the norm's bound is out of hand");
    let factor = 1.0 / mean.sqrt();
    x.iter()
        .map(|v| Num {
            value: v.value * factor,
            bound: factor * (v.bound * (1.0 + relative) + v.value.abs() * relative),
        })
        .collect()
}

/// exp(x − the greatest x), each with a bound for its error relative to itself. What the greatest is off by is the same
/// factor in all, and goes when they are divided by their sum.
fn exponentials(x: &[Num]) -> Vec<(f64, f64)> {
    let greatest = x.iter().map(|x| x.value).fold(f64::NEG_INFINITY, f64::max);
    let least = x.iter().map(|x| x.value).fold(f64::INFINITY, f64::min);
    // Its own exponential, and a rescaling per key at most, which together span the range.
    let ulps = 16.0 + 4.0 * x.len() as f64 + 8.0 * (greatest - least);
    x.iter().map(|x| ((x.value - greatest).exp(), x.bound.exp_m1() + ulps * EPSILON)).collect()
}

/// Exponentials over their sum: off by their own errors and by the sum's, to which each contributes its share.
fn normalized(exponentials: &[(f64, f64)]) -> Vec<Num> {
    let total: f64 = exponentials.iter().map(|e| e.0).sum();
    let of_total = exponentials.iter().map(|e| (e.0 / total * e.1).powi(2)).sum::<f64>().sqrt();
    let rounded = (exponentials.len() as f64 + 8.0) * EPSILON;
    let share = |&(value, relative): &(f64, f64)| {
        let value = value / total;
        Num { value, bound: value * (relative.hypot(of_total) + rounded) }
    };
    exponentials.iter().map(share).collect()
}
