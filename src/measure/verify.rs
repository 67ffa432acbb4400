//! Judging outputs by the reference: NaN first, then each element against its own bound.

use half::f16;
use rayon::prelude::*;

use crate::kernels::spec::{Elem, Output, Problem, Rng, Want};

/// Multiply-adds that one verification may spend on the reference; beyond it, rows are sampled.
const REFERENCE_BUDGET: u64 = if cfg!(debug_assertions) { 200_000_000 } else { 4_000_000_000 };

/// What verification found.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The first thing wrong, in words: output, index, values, bound.
    pub failure: Option<String>,
    /// Elements compared with the reference.
    pub checked_elements: u64,
    /// Elements of all outputs.
    pub elements: u64,
    /// |got − reference| of the element that came closest to its bound, and that bound.
    pub worst: Option<(f64, f64)>,
}

/// Checks outputs, given in the problem's order. Every element is checked for having been written with a
/// number; rows are compared with the reference up to a budget: all of them where it suffices, else the
/// first, the last and a seeded sample.
pub fn verify(problem: &Problem, outputs: &[Vec<u8>], seed: u64) -> Verdict {
    let mut verdict = Verdict { failure: None, checked_elements: 0, elements: 0, worst: None };
    for (output, bytes) in problem.outputs.iter().zip(outputs) {
        verdict.elements += (output.n_rows * output.row_len) as u64;
        if verdict.failure.is_some() {
            continue;
        }
        if let Some(index) = first_unwritten(output, bytes) {
            let (row, column) = (index / output.row_len, index % output.row_len);
            verdict.failure = Some(format!("`{}`[{row}, {column}] is NaN or was never written", output.name));
            continue;
        }
        let rows = chosen_rows(output, seed);
        verdict.checked_elements += (rows.len() * output.row_len) as u64;
        let row_bytes = output.row_len * output.elem.size_bytes();
        let judged: Vec<Judged> = rows
            .par_iter()
            .map(|&r| judge_row(output, r, &bytes[r * row_bytes..(r + 1) * row_bytes]))
            .collect();
        for j in judged {
            verdict.failure = verdict.failure.or(j.failure);
            verdict.worst = closer(verdict.worst, j.worst);
        }
    }
    verdict
}

struct Judged {
    failure: Option<String>,
    worst: Option<(f64, f64)>,
}

/// The pair (error, bound) that came closer to its bound.
fn closer(a: Option<(f64, f64)>, b: Option<(f64, f64)>) -> Option<(f64, f64)> {
    let share = |(err, bound): (f64, f64)| if err == 0.0 { 0.0 } else { err / bound };
    match (a, b) {
        (Some(a), Some(b)) => Some(if share(b) > share(a) || (share(a) == 0.0 && b.1 > a.1) { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn judge_row(output: &Output, row_ix: usize, bytes: &[u8]) -> Judged {
    let wants = (output.row)(row_ix);
    let mut judged = Judged { failure: None, worst: None };
    let place = |column: usize| format!("`{}`[{row_ix}, {column}]", output.name);
    if wants.len() != output.row_len {
        let n = wants.len();
        judged.failure = Some(format!("{} has a reference of {n} elements", place(0)));
        return judged;
    }
    for (column, (want, bytes)) in wants.iter().zip(bytes.chunks_exact(output.elem.size_bytes())).enumerate()
    {
        match want {
            Want::Near { value, bound } => {
                let got = number(output.elem, bytes);
                let err = (got - value).abs();
                // NaN on either side fails; equal infinities have no difference.
                let within = err <= *bound || got == *value;
                if !within && judged.failure.is_none() {
                    let place = place(column);
                    judged.failure =
                        Some(format!("{place} is {got}, expected {value} ± {bound:.3e} (off by {err:.3e})"));
                }
                judged.worst = closer(judged.worst, Some((err, *bound)));
            }
            Want::Nan => {
                let got = number(output.elem, bytes);
                if !got.is_nan() && judged.failure.is_none() {
                    judged.failure = Some(format!("{} is {got}, expected NaN", place(column)));
                }
            }
            Want::OneOf(allowed) => {
                let got = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                if !allowed.contains(&got) && judged.failure.is_none() {
                    judged.failure = Some(format!("{} is {got}, expected one of {allowed:?}", place(column)));
                }
            }
        }
    }
    judged
}

fn number(elem: Elem, bytes: &[u8]) -> f64 {
    match elem {
        Elem::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f64(),
        Elem::F32 => f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        Elem::U32 => f64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
    }
}

/// The index of the first element that is as outputs are before a run, all ones, or NaN where the reference is a number.
fn first_unwritten(output: &Output, bytes: &[u8]) -> Option<usize> {
    let wants_nan = |ix: usize| {
        let row = (output.row)(ix / output.row_len);
        row.get(ix % output.row_len) == Some(&Want::Nan)
    };
    let elem_bytes = output.elem.size_bytes();
    bytes.par_chunks_exact(elem_bytes).enumerate().position_first(|(ix, b)| {
        b.iter().all(|&byte| byte == 0xFF) || (number(output.elem, b).is_nan() && !wants_nan(ix))
    })
}

/// All rows if the budget covers them; else the first, the last and seeded ones between, one per stratum.
fn chosen_rows(output: &Output, seed: u64) -> Vec<usize> {
    let n = output.n_rows as u64;
    let affordable = (REFERENCE_BUDGET / output.row_cost.max(1)).max(8);
    if n <= affordable {
        return (0..output.n_rows).collect();
    }
    let mut rng = Rng(seed);
    let mut rows: Vec<usize> = (0..affordable)
        .map(|k| {
            let (from, to) = (k * n / affordable, (k + 1) * n / affordable);
            (from + rng.below(to - from)) as usize
        })
        .collect();
    rows[0] = 0;
    rows[affordable as usize - 1] = output.n_rows - 1;
    rows
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::spec::{Cost, Space};

    fn problem(elem: Elem, n_rows: usize, want: impl Fn(usize) -> Want + Send + Sync + 'static) -> Problem {
        let output = Output {
            name: "y",
            elem,
            n_rows,
            row_len: 1,
            row_cost: 1,
            row: Arc::new(move |r| vec![want(r)]),
        };
        let cost = Cost { useful_bytes: 0, flops: 0, space: Space::Storage };
        Problem { inputs: vec![], outputs: vec![output], cost }
    }

    fn f32s(values: &[f32]) -> Vec<Vec<u8>> {
        vec![bytemuck::cast_slice(values).to_vec()]
    }

    #[test]
    fn one_wrong_element_fails_and_is_named() {
        let p = problem(Elem::F32, 3, |r| Want::Near { value: r as f64, bound: 0.25 });
        assert_eq!(verify(&p, &f32s(&[0.0, 1.25, 2.0]), 1).failure, None);
        let v = verify(&p, &f32s(&[0.0, 1.5, 2.0]), 1);
        assert!(v.failure.unwrap().starts_with("`y`[1, 0] is 1.5, expected 1 ± 2.500e-1"));
        assert_eq!(v.worst, Some((0.5, 0.25)));
    }

    #[test]
    fn nan_fails_before_any_bound() {
        let p = problem(Elem::F32, 2, |_| Want::Near { value: 0.0, bound: f64::INFINITY });
        let v = verify(&p, &f32s(&[0.0, f32::NAN]), 1);
        assert!(v.failure.unwrap().contains("`y`[1, 0] is NaN"));
    }

    #[test]
    fn a_reference_of_nan_accepts_nothing() {
        let p = problem(Elem::F32, 1, |_| Want::Near { value: f64::NAN, bound: 1.0 });
        assert!(verify(&p, &f32s(&[0.0]), 1).failure.is_some());
    }

    #[test]
    fn integers_may_be_one_of_several() {
        let p = problem(Elem::U32, 2, |_| Want::OneOf(vec![3, 5]));
        let bytes = |v: [u32; 2]| vec![bytemuck::cast_slice(&v).to_vec()];
        assert_eq!(verify(&p, &bytes([5, 3]), 1).failure, None);
        assert!(verify(&p, &bytes([5, 4]), 1).failure.unwrap().contains("is 4"));
    }

    #[test]
    fn samples_have_both_ends_and_grow_with_the_budget() {
        let mut p = problem(Elem::F32, 1000, |_| Want::Near { value: 0.0, bound: 0.0 });
        p.outputs[0].row_cost = REFERENCE_BUDGET / 10;
        let rows = chosen_rows(&p.outputs[0], 7);
        assert_eq!((rows.len(), rows[0], rows[9]), (10, 0, 999));
        assert!(rows.windows(2).all(|w| w[0] < w[1]));
    }

    /// References keep what their rows share. Whoever computes that must not run other rows meanwhile, as a worker
    /// of rayon does that waits for its own parallel loop: they would wait for what is not there yet, for ever.
    #[test]
    fn references_of_many_rows_at_once_never_wait_for_themselves() {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(16).build().unwrap();
            let families = crate::kernels::families();
            for family in &families {
                let case = &family.cases[0];
                for round in 0..200 {
                    let problem = case.problem(0, round);
                    let zeros: Vec<_> = problem
                        .outputs
                        .iter()
                        .map(|o| vec![0; o.n_rows * o.row_len * o.elem.size_bytes()])
                        .collect();
                    drop(pool.install(|| verify(&problem, &zeros, round)));
                }
                send.send(family.name).unwrap();
            }
        });
        for family in crate::kernels::families() {
            let done = receive.recv_timeout(std::time::Duration::from_secs(120));
            assert_eq!(done.ok(), Some(family.name), "no end of {}", family.name);
        }
    }
}
