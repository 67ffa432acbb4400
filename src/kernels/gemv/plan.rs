//! Which shader runs with which defines over how many workgroups.

use super::Spec;
use crate::gpu::{Caps, Dispatch, Plan, grid};
use crate::kernels::op::Operation;
use crate::kernels::spec::{Elem, Refusal, completed, needs_coop};
use crate::kernels::{gemm, weights};
use crate::lower::Shader;
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

/// Workgroup memory that every WebGPU device has.
const LEAST_WORKGROUP_BYTES: u64 = 16 << 10;
/// Invocations per workgroup of the naive kernel.
const NAIVE_THREADS: u32 = 64;

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
    /// Runs of eight weights per load: 1, 2 or 4. With 4-bit codes a run is a word.
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
        // Runs of a load of 16 bytes.
        let most = match spec.weights.format().code_encoding().bits() {
            4 | 6 => 4,
            8 => 2,
            _ => 1,
        };
        // Several columns keep so many sums alive that more loads in flight cost more than they hide.
        let vec = most.min(if one_column && k.is_multiple_of(32) { 4 } else { 2 });
        let unroll = if one_column { most / vec } else { 1 };
        let mut tuning = Tuning { lanes, k_split: 1, teams: 2, rows: 4, vec, unroll, scale_sums: one_column };
        // Few rows fill no large device: split K as long as every lane keeps a chunk.
        let sets = n.div_ceil(tuning.rows);
        let chunks = k / (8 * vec);
        while sets * tuning.k_split < 4096 && u64::from(chunks) >= 2 * tuning.span() && tuning.k_split < 4 {
            tuning.k_split *= 2;
        }
        while tuning.workgroup_bytes(spec, subgroups) > LEAST_WORKGROUP_BYTES && tuning.k_split > 1 {
            tuning.k_split /= 2;
        }
        tuning
    }

    /// Workgroup memory: each sum with an addend per who adds to it, and one of padding.
    fn workgroup_bytes(&self, spec: &Spec, subgroups: bool) -> u64 {
        match if subgroups { u64::from(self.k_split) } else { self.span() } {
            1 => 0,
            addends => [self.teams, self.rows, spec.batch]
                .into_iter()
                .fold(4 * addends.saturating_add(1), |bytes, n| bytes.saturating_mul(u64::from(n))),
        }
    }

    /// Invocations that share a row set.
    fn span(&self) -> u64 {
        u64::from(self.lanes) * u64::from(self.k_split)
    }
}

/// `optimized`, or `portable` without `subgroups`, under a tuning of the caller's: see [`operation`](super::operation) for its
/// buffers.
///
/// # Errors
/// The device or the shape does not allow the tuning.
pub fn tuned(spec: &Spec, caps: &Caps, tuning: Tuning, subgroups: bool) -> Result<Operation, Refusal> {
    let plan = with_tuning(spec, caps, tuning, subgroups)?;
    let name = if subgroups { "optimized" } else { "portable" };
    Ok(Operation::of(name, completed(plan, spec, caps)?))
}

/// Most rows of a row set and most loads ahead: each is text of its own.
const MAX_UNROLLED: u32 = 32;

fn with_tuning(spec: &Spec, caps: &Caps, tuning: Tuning, subgroups: bool) -> Result<Plan, Refusal> {
    let (n, k) = (spec.weights.shape().n() as u32, spec.weights.shape().k() as u32);
    let Tuning { lanes, k_split, teams, rows, vec, unroll, scale_sums } = tuning;
    if subgroups && !caps.has_subgroup_size(lanes) {
        return Err(Refusal::needs(format!("subgroups of {lanes} lanes")));
    }
    if !matches!(vec, 1 | 2 | 4) {
        return Err(Refusal::argument(format!(
            "`vec` is {vec}: a load takes 1, 2 or 4 runs of eight weights"
        )));
    }
    if !k.is_multiple_of(8 * vec) {
        return Err(Refusal::needs(format!("k = {k} to be a multiple of {}", 8 * vec)));
    }
    let threads = tuning.span().saturating_mul(u64::from(teams));
    if threads == 0 || threads > u64::from(caps.max_invocations) {
        let most = caps.max_invocations;
        return Err(Refusal::needs(format!("workgroups of {threads} invocations, 1 to {most} are possible")));
    }
    for (name, value) in [("rows", rows), ("unroll", unroll)] {
        if value == 0 || value > MAX_UNROLLED {
            return Err(Refusal::argument(format!("`{name}` is {value}: it must be 1 to {MAX_UNROLLED}")));
        }
    }
    let even = u64::from(k / (8 * vec)).is_multiple_of(u64::from(unroll) * tuning.span());
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

pub(super) fn naive(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let f16 = spec.x == Elem::F16;
    if f16 && !caps.f16 {
        return Err(Refusal::needs("shader-f16"));
    }
    let defines = weights::defines(&spec.weights)
        .with("F16_SUBNORMALS", 1)
        .with("X_F16", i32::from(f16))
        .with("X_TYPE", spec.x.name())
        .with("THREADS", NAIVE_THREADS);
    let shader = Shader::new(wgsl!("gemv/naive.wgsl"), defines).with_msl(msl!("gemv/naive.metal"));
    let outputs = spec.weights.shape().n() as u32 * spec.batch;
    Ok(dispatch(spec, shader, outputs.div_ceil(NAIVE_THREADS)))
}

pub(super) fn optimized(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    match caps.subgroup_size {
        Some(lanes) if caps.subgroups => with_tuning(spec, caps, Tuning::for_shape(spec, lanes, true), true),
        _ => Err(Refusal::needs("subgroups of a known width")),
    }
}

pub(super) fn portable(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    with_tuning(spec, caps, Tuning::for_shape(spec, 32, false), false)
}

/// Rows of the matrix per subgroup of `coop.wgsl`.
const COOP_ROWS: u32 = 32;
/// Its subgroups per workgroup: 24 KB of workgroup memory.
const COOP_SUBGROUPS: u32 = 4;
/// Columns of the matrix per step.
const COOP_STEP: u32 = 256;
/// Workgroups that parts of K aim for: those of 28672 rows, which keep an H100 busy.
const COOP_WORKGROUPS: u32 = 224;

/// The plan of `coop.wgsl` with matrices of `side` × `side`.
pub(super) fn coop(spec: &Spec, caps: &Caps, side: u32) -> Result<Plan, Refusal> {
    let (n, k) = (spec.weights.shape().n() as u32, spec.weights.shape().k() as u32);
    if spec.x != Elem::F16 {
        return Err(Refusal::needs("f16 activations"));
    }
    if !caps.f16 {
        return Err(Refusal::needs("shader-f16"));
    }
    needs_coop(caps, side, Elem::F16)?;
    if !caps.has_subgroup_size(32) {
        return Err(Refusal::needs("subgroups of 32 lanes"));
    }
    if !k.is_multiple_of(32) {
        return Err(Refusal::needs(format!("k = {k} to be a multiple of 32")));
    }
    let workgroups = n.div_ceil(COOP_ROWS * COOP_SUBGROUPS);
    // Few rows fill no large device: K in parts of two steps at least.
    let splits = (COOP_WORKGROUPS / workgroups).clamp(1, k.div_ceil(2 * COOP_STEP));
    let k_split = k.div_ceil(splits).next_multiple_of(COOP_STEP);
    let splits = k.div_ceil(k_split);
    let defines = weights::defines(&spec.weights)
        .with("F16_SUBNORMALS", 1)
        .with("SIDE", side)
        .with("ROWS", COOP_ROWS)
        .with("SUBGROUPS", COOP_SUBGROUPS)
        // Metal's matrix loads take pointers to scalars.
        .with("TILE_VEC", if side == 8 { 1 } else { 4 })
        .with("K_EDGE", i32::from(!k.is_multiple_of(COOP_STEP)))
        .with("SPLIT", i32::from(splits > 1));
    let shader = Shader::new(wgsl!("gemv/coop.wgsl"), defines);
    let shader = if side == 8 { shader.with_msl(msl!("gemv/coop.metal")) } else { shader };
    let (m, tensor_scale) = (spec.batch, spec.tensor_scale);
    let params = gemm::Params { m, n, k, k_split, tensor_scale, pairs_per_x: 1 };
    let product = Dispatch::new(shader, [workgroups, 1, splits], &params);
    if splits == 1 {
        return Ok(Plan::one(product));
    }
    gemm::sum_of_splits(product, [m, n, splits], tensor_scale, Elem::F32, false)
}
