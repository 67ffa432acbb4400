//! Which shaders run with which defines over how many workgroups.

use std::sync::Arc;

use super::Spec;
use crate::gpu::{BufferSpec, Caps, DeviceClass, Dispatch, Plan, Prepared, grid};
use crate::kernels::spec::{Elem, Refusal, coop_side};
use crate::lower::{Defines, Shader};
use crate::{msl, wgsl};

/// Uniform block of every kernel here.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n_tokens: u32,
    hidden: u32,
    experts: u32,
    top_k: u32,
    /// Experts, from the best, whose weights the denominator sums.
    n_summed: u32,
    /// Partial logits: `[n_splits][logit_rows][logit_stride]`, each over `split_len` of `hidden`.
    n_splits: u32,
    split_len: u32,
    logit_rows: u32,
    logit_stride: u32,
}
const _: () = assert!(size_of::<Params>() == 36);

fn params(spec: &Spec) -> Params {
    Params {
        n_tokens: spec.n_tokens,
        hidden: spec.hidden,
        experts: spec.experts,
        top_k: spec.top_k,
        n_summed: if spec.renormalize { spec.top_k } else { spec.experts },
        n_splits: 1,
        split_len: spec.hidden,
        logit_rows: spec.n_tokens,
        logit_stride: spec.experts,
    }
}

/// Invocations that rank a token's experts.
fn rank_threads(spec: &Spec) -> u32 {
    spec.experts.next_power_of_two().clamp(32, 128)
}

fn defines(spec: &Spec, vec: bool) -> Defines {
    Defines::new()
        .with("F16", i32::from(spec.elem == Elem::F16))
        .with("VEC", i32::from(vec))
        .with("THREADS", rank_threads(spec))
}

/// Whether rows can be read four elements at a time.
fn vectors(spec: &Spec) -> bool {
    spec.hidden.is_multiple_of(4)
}

pub(super) fn naive(spec: &Spec, _: &Caps) -> Result<Plan, Refusal> {
    let shader =
        Shader::new(wgsl!("router/naive.wgsl"), defines(spec, false)).with_msl(msl!("router/naive.metal"));
    let dispatch = Dispatch::new(shader, grid(u64::from(spec.n_tokens)), &params(spec));
    let (hidden, experts, elem_bytes) = (spec.hidden as usize, spec.experts as usize, spec.elem.size_bytes());
    let transpose = move |from: &[&[u8]]| {
        let mut columns = Vec::with_capacity(from[0].len());
        for d in 0..hidden {
            for e in 0..experts {
                columns.extend_from_slice(&from[0][(e * hidden + d) * elem_bytes..][..elem_bytes]);
            }
        }
        columns
    };
    Ok(Plan {
        dispatches: vec![dispatch.rename("weights", "weight_columns")],
        prepared: vec![Prepared { name: "weight_columns", from: vec!["weights"], make: Arc::new(transpose) }],
        ..Plan::default()
    })
}

pub(super) fn row_per_thread(spec: &Spec, _: &Caps) -> Result<Plan, Refusal> {
    let shader = Shader::new(wgsl!("router/row_per_thread.wgsl"), defines(spec, false));
    Ok(Plan::one(Dispatch::new(shader, grid(u64::from(spec.n_tokens)), &params(spec))))
}

/// `logits` and then `select`, over scratch for partial logits.
fn with_select(spec: &Spec, params: Params, logits: Dispatch) -> Plan {
    let shader =
        Shader::new(wgsl!("router/select.wgsl"), defines(spec, true)).with_msl(msl!("router/select.metal"));
    let select = Dispatch::new(shader, grid(u64::from(spec.n_tokens)), &params);
    let size_bytes =
        4 * u64::from(params.n_splits) * u64::from(params.logit_rows) * u64::from(params.logit_stride);
    Plan {
        dispatches: vec![logits, select],
        scratch: vec![BufferSpec { name: "logits", size_bytes }],
        ..Plan::default()
    }
}

pub(super) fn subgroup(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    const THREADS: u32 = 128;
    let width = match caps.subgroup_size {
        Some(width) if caps.subgroups && width <= THREADS => width,
        _ => return Err(Refusal::needs(format!("subgroups of one known width, at most {THREADS}"))),
    };
    let tokens = spec.n_tokens.min(4);
    let defines =
        defines(spec, vectors(spec)).with("THREADS", THREADS).with("WIDTH", width).with("TOKENS", tokens);
    let shader = Shader::new(wgsl!("router/subgroup.wgsl"), defines).with_msl(msl!("router/subgroup.metal"));
    let rows = spec.n_tokens.div_ceil(tokens);
    if rows > caps.max_workgroups {
        return Err(Refusal::needs(format!("at most {} tokens", tokens * caps.max_workgroups)));
    }
    let params = params(spec);
    let workgroups = [spec.experts.div_ceil(THREADS / width), rows, 1];
    Ok(with_select(spec, params, Dispatch::new(shader, workgroups, &params)))
}

/// Workgroups that keep a device busy: twice the cores of the largest known (H100: 132 SMs, four groups of 128
/// invocations each; Apple's Ultra chips: 80 cores).
fn wanted_workgroups(class: DeviceClass) -> u32 {
    match class {
        DeviceClass::DiscreteGpu => 528,
        DeviceClass::IntegratedGpu | DeviceClass::OtherGpu => 160,
        DeviceClass::Software | DeviceClass::Executor => 8,
    }
}

/// How `hidden` is split into about `wanted` parts: (number of splits, elements of each).
fn splits(spec: &Spec, wanted: u32, step: u32) -> (u32, u32) {
    let steps = spec.hidden.div_ceil(step);
    // A split shorter than 4 steps costs more in partial sums than it gains.
    let n = wanted.clamp(1, (steps / 4).clamp(1, 16));
    let len = steps.div_ceil(n) * step;
    (spec.hidden.div_ceil(len), len)
}

pub(super) fn tiled(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let columns = if spec.experts <= 16 { 1 } else { 4 };
    let (x, y) = (spec.experts.div_ceil(16 * columns), spec.n_tokens.div_ceil(64));
    let (n_splits, split_len) = splits(spec, wanted_workgroups(caps.class) / (x * y), 16);
    let params = Params { n_splits, split_len, ..params(spec) };
    let defines = defines(spec, vectors(spec)).with("COLUMNS", columns);
    let shader = Shader::new(wgsl!("router/tiled.wgsl"), defines).with_msl(msl!("router/tiled.metal"));
    Ok(with_select(spec, params, Dispatch::new(shader, [x, y, n_splits], &params)))
}

pub(super) fn tiled_coop(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    if spec.elem != Elem::F16 || !vectors(spec) {
        return Err(Refusal::needs("f16 elements and `hidden` to be a multiple of 4"));
    }
    if !caps.f16 || !caps.has_subgroup_size(32) {
        return Err(Refusal::needs("shader-f16 and subgroups of 32 lanes"));
    }
    let tile = coop_side(caps)?;
    let width = spec.experts.next_multiple_of(16).min(64);
    let (x, y) = (spec.experts.div_ceil(width), spec.n_tokens.div_ceil(64));
    // Its workgroups do more in flight: half as many are enough.
    let (n_splits, split_len) = splits(spec, wanted_workgroups(caps.class) / 2 / (x * y), 64);
    let params = Params { n_splits, split_len, logit_rows: y * 64, logit_stride: x * width, ..params(spec) };
    let defines = Defines::new().with("TILE", tile).with("EXPERTS", width);
    let shader =
        Shader::new(wgsl!("router/tiled_coop.wgsl"), defines).with_msl(msl!("router/tiled_coop.metal"));
    Ok(with_select(spec, params, Dispatch::new(shader, [x, y, n_splits], &params)))
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;

    #[test]
    fn splits_cover_hidden_in_whole_steps() {
        for hidden in [1, 15, 16, 17, 63, 64, 1030, 4096] {
            for wanted in [1, 7, 64, 1000] {
                let shape = Shape { n_tokens: 1, hidden, experts: 8, top_k: 1 };
                let spec = Spec::new(shape, Elem::F32, true).unwrap();
                let (n, len) = splits(&spec, wanted, 16);
                assert!(n >= 1 && len % 16 == 0 && n * len >= hidden && (n - 1) * len < hidden);
            }
        }
    }
}
