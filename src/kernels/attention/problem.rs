//! Inputs of attention, and its reference: softmax by its definition, in f64, one query of one head at a time.

use std::sync::Arc;

use half::f16;

use super::{Layout, Shape, Spec};
use crate::kernels::spec::{Cost, Elem, Operand, Output, Problem, Rng, Space, Want};

/// What the inputs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Values {
    /// Scores with a deviation of about 1.
    Random,
    /// Products beyond f16's range before scaling.
    Large,
    /// Scores that grow from key to key, so that the greatest so far is always the last.
    Rising,
    /// Random, but for keys that some queries do not see, or none does: K and V hold NaN and infinities there. What they
    /// hold counts where it is seen and nowhere else.
    Strays,
}

/// Elements as the reference sees them, and as bytes.
fn values(elem: Elem, n: u64, mut next: impl FnMut(u64) -> f32) -> (Arc<[f32]>, Arc<[u8]>) {
    if elem == Elem::F16 {
        let halves: Vec<f16> = (0..n).map(|i| f16::from_f32(next(i))).collect();
        (halves.iter().map(|h| h.to_f32()).collect(), bytemuck::cast_slice(&halves).into())
    } else {
        let floats: Vec<f32> = (0..n).map(&mut next).collect();
        (floats.as_slice().into(), bytemuck::cast_slice(&floats).into())
    }
}

/// A mask with hidden keys, penalties, and some queries that see nothing.
fn mask(spec: &Spec, rng: &mut Rng) -> Vec<f32> {
    let Shape { n_queries, n_keys, .. } = spec.shape;
    let mut mask = Vec::with_capacity(n_queries as usize * n_keys as usize);
    for query in 0..n_queries {
        for key in 0..n_keys {
            mask.push(match (query % 5, rng.below(10)) {
                _ if spec.values == Values::Strays && key % 7 == 5 => f32::NEG_INFINITY,
                (3, _) | (_, 0..3) => f32::NEG_INFINITY,
                (_, 3) => f32::MIN,
                _ => 2.0 * rng.unit(),
            });
        }
    }
    mask
}

/// Inputs, reference and cost.
pub(super) fn problem(spec: &Spec, seed: u64) -> Problem {
    let Shape { n_queries, n_keys, heads, kv_heads, head_dim } = spec.shape;
    let mut rng = Rng(seed ^ 0x6174_746e);
    let n_q = u64::from(n_queries) * u64::from(heads) * u64::from(head_dim);
    let n_kv = u64::from(spec.capacity()) * u64::from(kv_heads) * u64::from(head_dim);
    let (q_size, k_size) = match spec.values {
        Values::Random | Values::Strays => (3.0, 1.0),
        Values::Large => (120.0, 120.0),
        Values::Rising => (0.0, 0.0),
    };
    let [kv_token_stride, _] = spec.strides(spec.capacity(), kv_heads).map(u64::from);
    let rising = spec.values == Values::Rising;
    let (q, q_bytes) = values(spec.elem, n_q, |_| if rising { 0.5 } else { q_size * rng.unit() });
    let token_of = |i: u64| match spec.options.layout {
        Layout::TokenMajor => i / kv_token_stride,
        Layout::HeadMajor => i / u64::from(head_dim) % u64::from(spec.capacity()),
    };
    // What lies in a cache's spare room is nobody's business: NaN shows whether it counts.
    let spare = |i: u64| token_of(i) >= u64::from(n_keys);
    let strays = spec.values == Values::Strays;
    // A key that the mask hides from all; and one that causality hides from all queries but the last.
    let masked = |i: u64| strays && spec.options.mask && token_of(i) % 7 == 5;
    let last = |i: u64| strays && spec.options.causal && token_of(i) + 1 == u64::from(n_keys);
    // Seen by later queries, or by those that the mask shows it to: in some columns.
    let late = |i: u64| strays && token_of(i) % 7 == 3 && token_of(i) > u64::from(n_keys) / 2 && i % 5 == 1;
    let (k, k_bytes) = values(spec.elem, n_kv, |i| match spec.values {
        _ if spare(i) || last(i) => f32::NAN,
        _ if masked(i) => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][i as usize % 3],
        Values::Rising => (i / kv_token_stride % u64::from(n_keys)) as f32 / 16.0,
        _ => k_size * rng.unit(),
    });
    let (v, v_bytes) = values(spec.elem, n_kv, |i| match () {
        () if spare(i) || late(i) => f32::NAN,
        () if masked(i) => [f32::INFINITY, f32::NAN][i as usize % 2],
        () => rng.unit(),
    });
    let mask: Option<Arc<[f32]>> = spec.options.mask.then(|| mask(spec, &mut rng).into());
    let mut inputs = vec![
        Operand { name: "q", bytes: q_bytes },
        Operand { name: "k", bytes: k_bytes },
        Operand { name: "v", bytes: v_bytes },
    ];
    if let Some(mask) = &mask {
        inputs.push(Operand { name: "mask", bytes: bytemuck::cast_slice(mask).into() });
    }
    let visible: u64 = (0..n_queries).map(|i| u64::from(spec.visible_keys(i))).sum();
    let elem_bytes = spec.elem.size_bytes() as u64;
    let filled = u64::from(n_keys) * u64::from(kv_heads) * u64::from(head_dim);
    let mask_bytes = mask.as_ref().map_or(0, |m| 4 * m.len() as u64);
    let cost = Cost {
        useful_bytes: elem_bytes * (2 * n_q + 2 * filled) + mask_bytes,
        flops: 4 * visible * u64::from(heads) * u64::from(head_dim),
        space: Space::Storage,
    };
    let spec = *spec;
    let output = Output {
        name: "output",
        elem: spec.elem,
        n_rows: n_queries as usize * heads as usize,
        row_len: head_dim as usize,
        row_cost: 2 * u64::from(n_keys) * u64::from(head_dim),
        row: Arc::new(move |row| reference(&spec, row as u32, &q, &k, &v, mask.as_deref())),
    };
    Problem { inputs, outputs: vec![output], cost }
}

/// One query of one head: the `row`-th row of the output in memory.
///
/// Bounds, u being f32's unit roundoff and e the element type's spacing at 1:
/// - a score is a sum of head_dim products, whose roundings add up like a random walk (Higham and Mary, 2019):
///   4·√head_dim·u·Σ|terms|, and is rounded when it is scaled, masked and compared: 4·u·|score|;
/// - an exponential is off by that as a factor, by WGSL's allowance for `exp2`, 3 + 2·|x| ulp, and by as much
///   again for each rescaling of what was summed before: in random order the maximum grows about ln n times,
///   in rising order n/16 times, each by part of the whole range;
/// - it enters the second product as an element (e, and half a subnormal's spacing where it is f16);
/// - that product's sum of n terms again adds 4·√n·u·Σ|terms|, and the result is stored as an element.
fn reference(spec: &Spec, row: u32, q: &[f32], k: &[f32], v: &[f32], mask: Option<&[f32]>) -> Vec<Want> {
    let Shape { n_queries, n_keys, heads, kv_heads, head_dim } = spec.shape;
    let (query, head) = match spec.options.layout {
        Layout::TokenMajor => (row / heads, row % heads),
        Layout::HeadMajor => (row % n_queries, row / n_queries),
    };
    let dim = head_dim as usize;
    let [token_stride, head_stride] = spec.strides(spec.capacity(), kv_heads).map(|s| s as usize);
    let q_row = &q[row as usize * dim..][..dim];
    let kv_row = |key: u32| key as usize * token_stride + (head / spec.group()) as usize * head_stride;
    let u = Elem::F32.epsilon() / 2.0;
    let scale = 1.0 / f64::from(head_dim).sqrt();

    // Score and its bound, of each key that counts.
    let mut scores: Vec<(u32, f64, f64)> = Vec::new();
    for key in 0..spec.visible_keys(query) {
        let bias = mask.map_or(0.0, |m| m[query as usize * n_keys as usize + key as usize]);
        if bias <= -1e30 {
            continue;
        }
        let (mut dot, mut magnitudes) = (0.0, 0.0);
        for (&a, &b) in q_row.iter().zip(&k[kv_row(key)..][..dim]) {
            let term = f64::from(a) * f64::from(b);
            dot += term;
            magnitudes += term.abs();
        }
        let score = dot * scale + f64::from(bias);
        let size = (dot * scale).abs() + f64::from(bias).abs();
        let delta = 4.0 * f64::from(head_dim).sqrt() * u * magnitudes * scale + 4.0 * u * size;
        scores.push((key, score, delta));
    }
    let n = scores.len() as f64;
    let greatest = scores.iter().map(|s| s.1).fold(f64::NEG_INFINITY, f64::max);
    let least = scores.iter().map(|s| s.1).fold(f64::INFINITY, f64::min);
    let range = if scores.is_empty() { 0.0 } else { (greatest - least) * std::f64::consts::LOG2_E };
    let rescalings = if spec.values == Values::Rising { n / 16.0 } else { n.max(1.0).ln() + 1.0 };
    let e = spec.elem.epsilon();
    let smallest = if spec.elem == Elem::F16 { 2f64.powi(-24) } else { f64::from(f32::MIN_POSITIVE) };

    let total: f64 = scores.iter().map(|s| (s.1 - greatest).exp()).sum();
    let mut sums = vec![[0.0; 3]; dim];
    let mut sum_error = 0.0;
    for &(key, score, delta) in &scores {
        let weight = (score - greatest).exp() / total;
        let x = (greatest - score) * std::f64::consts::LOG2_E;
        let ulps = 3.0 + 2.0 * x + 3.0 * rescalings + 2.0 * range.min(200.0);
        let relative = delta.exp_m1() + 2.0 * u * ulps;
        sum_error += weight * relative;
        let value_row = &v[kv_row(key)..][..dim];
        for (sum, &value) in sums.iter_mut().zip(value_row) {
            let value = f64::from(value);
            sum[0] += weight * value;
            sum[1] += (weight * (relative + e) + smallest / total) * value.abs();
            sum[2] += weight * value.abs();
        }
    }
    let accumulated = 4.0 * n.sqrt() * u;
    let want = |[value, error, size]: [f64; 3]| {
        if value.is_nan() {
            return Want::Nan;
        }
        let bound = error + (sum_error + accumulated) * (size + value.abs()) + e * value.abs() + smallest;
        Want::Near { value, bound }
    };
    sums.into_iter().map(want).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Spec};
    use super::*;

    #[test]
    fn two_keys_by_hand() {
        let shape = Shape { n_queries: 1, n_keys: 2, heads: 1, kv_heads: 1, head_dim: 64 };
        let spec = Spec::new(shape, Elem::F32, Options { mask: true, ..Options::default() }).unwrap();
        let mut q = vec![0.0; 64];
        q[0] = 8.0;
        let mut k = vec![0.0; 128];
        k[64] = 2.0;
        let v: Vec<f32> = (0..128).map(|i| if i < 64 { 1.0 } else { 3.0 }).collect();
        let first = |mask: [f32; 2]| match &reference(&spec, 0, &q, &k, &v, Some(&mask))[0] {
            Want::Near { value, .. } => *value,
            other => panic!("a float is near something: {other:?}"),
        };
        // Scores 0 and 8·2/√64 = 2.
        let weight = 1.0 / (1.0 + (-2f64).exp());
        assert!((first([0.0, 0.0]) - (1.0 + 2.0 * weight)).abs() < 1e-12);
        assert!((first([2.0, 0.0]) - 2.0).abs() < 1e-12);
        assert_eq!(first([0.0, f32::NEG_INFINITY]), 1.0);
        assert_eq!(first([f32::NEG_INFINITY, f32::MIN]), 0.0);
    }
}
