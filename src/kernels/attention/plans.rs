//! What each variant runs: shaders, defines, workgroups, scratch; and the choices that depend on the device.

use std::sync::Arc;

use super::{Shape, Spec};
use crate::gpu::{BufferSpec, Caps, DeviceClass, Dispatch, Plan, Prepared};
use crate::kernels::spec::{Elem, Refusal, coop_side};
use crate::lower::{Defines, Shader, Source};
use crate::{msl, wgsl};

/// Uniform block of every kernel here; fields as in `wgsl/common/attention.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n_queries: u32,
    n_keys: u32,
    heads: u32,
    group: u32,
    q_token_stride: u32,
    q_head_stride: u32,
    kv_token_stride: u32,
    kv_head_stride: u32,
    diagonal: i32,
    scale: f32,
    score_stride: u32,
    n_splits: u32,
    split_len: u32,
}
const _: () = assert!(size_of::<Params>() == 52);

fn params(spec: &Spec) -> Params {
    let Shape { n_queries, n_keys, heads, kv_heads, head_dim } = spec.shape;
    let [q_token_stride, q_head_stride] = spec.strides(n_queries, heads);
    let [kv_token_stride, kv_head_stride] = spec.strides(spec.capacity(), kv_heads);
    Params {
        n_queries,
        n_keys,
        heads,
        group: spec.group(),
        q_token_stride,
        q_head_stride,
        kv_token_stride,
        kv_head_stride,
        diagonal: spec.diagonal(),
        scale: (std::f64::consts::LOG2_E / f64::from(head_dim).sqrt()) as f32,
        score_stride: n_keys.next_multiple_of(2),
        n_splits: 1,
        split_len: n_keys,
    }
}

/// Names that every kernel needs; `load` is the number of elements that it loads at once.
fn defines(spec: &Spec, load: u32) -> Defines {
    Defines::new()
        .with("F16", i32::from(spec.elem == Elem::F16))
        .with("MASK", i32::from(spec.options.mask))
        .with("HEAD_DIM", spec.shape.head_dim)
        .with("LOAD", load)
}

// ---- two steps ----

/// Invocations that share a row of scores.
const ROW_THREADS: u32 = 128;

/// Scores and their softmax by one kernel, through memory, then the sum over values.
fn two_steps(spec: &Spec, scores: Source, twin: Option<Source>, defines: Defines) -> Result<Plan, Refusal> {
    let Shape { n_queries, heads, .. } = spec.shape;
    let params = params(spec);
    let n_scores = u64::from(heads) * u64::from(n_queries) * u64::from(params.score_stride);
    if n_scores >= 1 << 32 {
        return Err(Refusal::needs(format!("fewer than 2^32 scores, these are {n_scores}")));
    }
    let mut score_shader = Shader::new(scores, defines.with("THREADS", ROW_THREADS));
    let sum_defines = self::defines(spec, 2);
    let mut sum_shader = Shader::new(wgsl!("attention/weighted_sum.wgsl"), sum_defines);
    if let Some(twin) = twin {
        score_shader = score_shader.with_msl(twin);
        sum_shader = sum_shader.with_msl(msl!("attention/weighted_sum.metal"));
    }
    let workgroups = [n_queries, heads, 1];
    Ok(Plan {
        dispatches: vec![
            Dispatch::new(score_shader, workgroups, &params),
            Dispatch::new(sum_shader, workgroups, &params),
        ],
        scratch: vec![BufferSpec { name: "scores", size_bytes: 4 * n_scores }],
        ..Plan::default()
    })
}

pub(super) fn naive(spec: &Spec, _: &Caps) -> Result<Plan, Refusal> {
    let twin = Some(msl!("attention/naive.metal"));
    two_steps(spec, wgsl!("attention/naive.wgsl"), twin, defines(spec, 2))
}

pub(super) fn tiled(spec: &Spec, _: &Caps) -> Result<Plan, Refusal> {
    // 16 KiB of key rows.
    let row_bytes = spec.shape.head_dim * spec.elem.size_bytes() as u32;
    let keys = ((16 << 10) / row_bytes).min(ROW_THREADS);
    two_steps(spec, wgsl!("attention/tiled.wgsl"), None, defines(spec, 2).with("KEYS", keys))
}

pub(super) fn transposed(spec: &Spec, _: &Caps) -> Result<Plan, Refusal> {
    let mut plan = two_steps(spec, wgsl!("attention/transposed.wgsl"), None, defines(spec, 2))?;
    let scores = plan.dispatches.remove(0).rename("k", "k_transposed");
    plan.dispatches.insert(0, scores);
    let spec = *spec;
    let make = move |from: &[&[u8]]| {
        let Shape { n_keys, kv_heads, head_dim, .. } = spec.shape;
        let [token_stride, head_stride] = spec.strides(spec.capacity(), kv_heads);
        let elem_bytes = spec.elem.size_bytes();
        let stride = n_keys.next_multiple_of(2);
        let mut bytes = vec![0; kv_heads as usize * head_dim as usize * stride as usize * elem_bytes];
        for head in 0..kv_heads {
            for d in 0..head_dim {
                for key in 0..n_keys {
                    let source = (key * token_stride + head * head_stride + d) as usize * elem_bytes;
                    let target =
                        ((head * head_dim + d) as usize * stride as usize + key as usize) * elem_bytes;
                    bytes[target..target + elem_bytes].copy_from_slice(&from[0][source..source + elem_bytes]);
                }
            }
        }
        bytes
    };
    plan.prepared = vec![Prepared { name: "k_transposed", from: vec!["k"], make: Arc::new(make) }];
    Ok(plan)
}

pub(super) fn shuffle(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let width = match caps.subgroup_size {
        Some(width @ 4..=32) if caps.subgroups => width,
        _ => return Err(Refusal::needs("subgroups of one known width, 4 to 32")),
    };
    let defines = defines(spec, 2).with("WIDTH", width).with("STAGES", width.ilog2());
    two_steps(spec, wgsl!("attention/shuffle.wgsl"), None, defines)
}

// ---- one pass ----

/// How `flash` divides its work for so much workgroup memory: (elements of Q and K, and sixteenths of V's columns, staged at
/// once). The first that fits is the fastest; where none does, the last.
fn flash_tile(head_dim: u32, memory_bytes: u32) -> (u32, u32) {
    let chunk = if head_dim.is_multiple_of(32) { 32 } else { 16 };
    let columns = head_dim / 16;
    let tiles = [(chunk, columns.min(8)), (16, columns.min(8)), (16, 4), (16, 2), (16, 1)];
    let fits = |&(chunk, staged): &(u32, u32)| {
        let bytes = 2 * 32 * (chunk / 4 + 1) * 16 + 32 * 33 * 4 + 32 * 16 * staged * 4;
        columns.is_multiple_of(staged) && bytes <= memory_bytes
    };
    tiles.into_iter().find(fits).unwrap_or((16, 1))
}

pub(super) fn flash(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    let Shape { n_queries, heads, head_dim, .. } = spec.shape;
    let (chunk, columns) = flash_tile(head_dim, caps.max_workgroup_memory);
    let defines = defines(spec, 4).with("CHUNK", chunk).with("COLUMNS", columns);
    let shader = Shader::new(wgsl!("attention/flash.wgsl"), defines).with_msl(msl!("attention/flash.metal"));
    Ok(Plan::one(Dispatch::new(shader, [n_queries.div_ceil(32), heads, 1], &params(spec))))
}

/// How `flash_coop` divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CoopTile {
    /// Keys per tile: 16 or 32.
    pub(super) keys: u32,
    /// Tiles of K and V in workgroup memory: 1 or 2.
    pub(super) buffers: u32,
}

impl CoopTile {
    /// Bytes of workgroup memory.
    fn memory(self, head_dim: u32) -> u32 {
        let Self { keys, buffers } = self;
        buffers * 2 * keys * (head_dim + 8) * 2 + 64 * ((keys + 4) * 4 + (keys + 8) * 2) + 16
    }
}

pub(super) fn flash_coop(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    // Measured: see the room's table.
    flash_coop_tuned(spec, caps, CoopTile { keys: 16, buffers: 1 })
}

/// `flash_coop` with chosen tiles.
pub(super) fn flash_coop_tuned(spec: &Spec, caps: &Caps, tile: CoopTile) -> Result<Plan, Refusal> {
    let Shape { n_queries, heads, head_dim, .. } = spec.shape;
    let CoopTile { keys, buffers } = tile;
    if spec.elem != Elem::F16 {
        return Err(Refusal::needs("f16 elements"));
    }
    if !caps.f16 || !caps.has_subgroup_size(32) {
        return Err(Refusal::needs("shader-f16 and subgroups of 32 lanes"));
    }
    let side = coop_side(caps)?;
    let memory = tile.memory(head_dim);
    // Queries pass through the tiles of K and V, KEYS elements at a time.
    let room = buffers * 2 * keys * (head_dim + 8);
    if memory > 32 << 10 || !head_dim.is_multiple_of(keys) || 64 * (keys + 8) > room {
        return Err(Refusal::needs(format!(
            "other tiles: {tile:?} takes {memory} B for `head_dim` {head_dim}"
        )));
    }
    let defines = defines(spec, 4).with("TILE", side).with("KEYS", keys).with("BUFFERS", buffers);
    let shader =
        Shader::new(wgsl!("attention/flash_coop.wgsl"), defines).with_msl(msl!("attention/flash_coop.metal"));
    Ok(Plan::one(Dispatch::new(shader, [n_queries.div_ceil(64), heads, 1], &params(spec))))
}

// ---- split keys ----

/// Invocations of a workgroup of `split`.
const SPLIT_THREADS: u32 = 128;
/// Parts that `combine` can join.
const MAX_SPLITS: u32 = 256;
/// A part shorter than this costs more to join than it saves.
const MIN_SPLIT_KEYS: u32 = 64;

/// Workgroups of 128 invocations that keep a device's memory busy.
///
/// H100, 132 cores: 4 groups for each (32,768 keys, 8 key heads: 2.34 TB/s; with 2, 8 and 16 for each 2.00, 2.16 and 1.91).
/// Apple's Ultra chips have 80 cores; not measured.
fn wanted_workgroups(class: DeviceClass) -> u32 {
    match class {
        DeviceClass::DiscreteGpu => 528,
        DeviceClass::IntegratedGpu | DeviceClass::OtherGpu => 320,
        DeviceClass::Software | DeviceClass::Executor => 16,
    }
}

pub(super) fn split(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    split_tuned(spec, caps, wanted_workgroups(caps.class), 4)
}

/// `split` into about `wanted` workgroups, with `rows` rows of K and V fetched ahead by each set of lanes.
pub(super) fn split_tuned(spec: &Spec, caps: &Caps, wanted: u32, rows: u32) -> Result<Plan, Refusal> {
    let Shape { n_queries, n_keys, heads, head_dim, .. } = spec.shape;
    let width = match caps.subgroup_size {
        Some(width @ 4..=64) if caps.subgroups => width,
        _ => return Err(Refusal::needs("subgroups of one known width, 4 to 64")),
    };
    let per_vec = 16 / spec.elem.size_bytes() as u32;
    let vecs = head_dim / per_vec;
    let lanes = vecs.next_power_of_two().min(width);
    let vecs_per_lane = vecs.div_ceil(lanes);
    // A lane keeps query and output of its heads in registers: at most 64 + 64 numbers, if any choice allows.
    let fits = |n: &u32| spec.group().is_multiple_of(*n) && n * vecs_per_lane * per_vec <= 64;
    let heads_shared = (1..=8).rev().find(fits).unwrap_or(1);
    let streams = SPLIT_THREADS / lanes;
    let memory = streams * head_dim * 4 + streams * 8;
    if memory > 32 << 10 {
        return Err(Refusal::needs(format!("{memory} B of workgroup memory to join {streams} streams")));
    }
    let units = n_queries.saturating_mul(heads / heads_shared);
    let wanted = (wanted / units).clamp(1, MAX_SPLITS);
    let split_len = n_keys.div_ceil(wanted).max(MIN_SPLIT_KEYS).next_multiple_of(32);
    let n_splits = n_keys.div_ceil(split_len);
    let params = Params { n_splits, split_len, ..params(spec) };
    let part_defines = defines(spec, 4)
        .with("THREADS", SPLIT_THREADS)
        .with("WIDTH", width)
        .with("LANES", lanes)
        .with("STAGES", lanes.ilog2())
        .with("NV", vecs_per_lane)
        .with("PER_VEC", per_vec)
        .with("HEADS", heads_shared)
        .with("ROWS", rows);
    let part =
        Shader::new(wgsl!("attention/split.wgsl"), part_defines).with_msl(msl!("attention/split.metal"));
    let combine_defines =
        defines(spec, 4).with("MASK", 0).with("GROUPS", 128 / (head_dim / 4).next_power_of_two());
    let combine = Shader::new(wgsl!("attention/combine.wgsl"), combine_defines)
        .with_msl(msl!("attention/combine.metal"));
    let parts = u64::from(n_queries) * u64::from(heads) * u64::from(n_splits);
    if parts * u64::from(head_dim) >= 1 << 32 {
        return Err(Refusal::needs(format!("fewer than 2^32 partial outputs, these are {parts} rows")));
    }
    Ok(Plan {
        dispatches: vec![
            Dispatch::new(part, [n_splits, heads / heads_shared, n_queries], &params),
            Dispatch::new(combine, [n_queries, heads, 1], &params),
        ],
        scratch: vec![
            BufferSpec { name: "partial", size_bytes: 4 * parts * u64::from(head_dim) },
            BufferSpec { name: "partial_sums", size_bytes: 8 * parts },
        ],
        ..Plan::default()
    })
}
