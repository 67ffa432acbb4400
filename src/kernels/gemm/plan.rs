//! Which shader runs with which defines over how many workgroups.

use super::Spec;
use crate::gpu::{BufferSpec, Caps, Dispatch, Plan, grid};
use crate::kernels::spec::{Elem, Refusal, needs_coop};
use crate::kernels::weights;
use crate::lower::{Defines, Shader};
use crate::quant::WeightSpec;
use crate::{msl, wgsl};

/// Uniform block of the products, here and in `expert_gemm`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(in crate::kernels) struct Params {
    /// Rows of x and y.
    pub(in crate::kernels) m: u32,
    /// Columns of y: rows of W, of one expert.
    pub(in crate::kernels) n: u32,
    /// Columns of x and W.
    pub(in crate::kernels) k: u32,
    /// Columns per split.
    pub(in crate::kernels) k_split: u32,
    /// The factor of the whole tensor.
    pub(in crate::kernels) tensor_scale: f32,
    /// Pairs that a row of x serves; 1 where rows come from no list.
    pub(in crate::kernels) pairs_per_x: u32,
}
const _: () = assert!(size_of::<Params>() == 24);

/// Uniform block of `sum_splits`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SumParams {
    m: u32,
    n: u32,
    splits: u32,
    tensor_scale: f32,
}
const _: () = assert!(size_of::<SumParams>() == 16);

/// The tile of a workgroup and of an invocation of `register_tile`.
pub(in crate::kernels) struct RegisterTile {
    /// Rows of y per workgroup.
    pub(in crate::kernels) bm: u32,
    /// Columns of y per workgroup.
    pub(in crate::kernels) bn: u32,
    tm: u32,
    tn: u32,
}

/// 128 invocations, 8.8 KB of workgroup memory.
pub(in crate::kernels) const REGISTER_64: RegisterTile = RegisterTile { bm: 64, bn: 64, tm: 8, tn: 4 };
/// 256 invocations, 16.9 KB of workgroup memory.
pub(super) const REGISTER_128: RegisterTile = RegisterTile { bm: 128, bn: 128, tm: 8, tn: 8 };

/// How `coop.wgsl` divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) struct CoopTile {
    /// Side of a cooperative matrix: 8 or 16.
    side: u32,
    /// Rows of y per workgroup.
    pub(in crate::kernels) bm: u32,
    /// Columns of y per workgroup.
    pub(in crate::kernels) bn: u32,
    /// Columns of x per step.
    bk: u32,
    /// Rows of y per subgroup.
    wm: u32,
    /// Columns of y per subgroup.
    wn: u32,
    /// Tiles in workgroup memory: 2 for one barrier per step.
    buffers: u32,
}

/// 4 subgroups of 32 × 32.
pub(in crate::kernels) const COOP_8: CoopTile =
    CoopTile { side: 8, bm: 64, bn: 64, bk: 32, wm: 32, wn: 32, buffers: 1 };
/// 4 subgroups of 64 × 64.
pub(in crate::kernels) const COOP_16: CoopTile =
    CoopTile { side: 16, bm: 128, bn: 128, bk: 32, wm: 64, wn: 64, buffers: 1 };
/// 4 subgroups of 32 × 32.
pub(in crate::kernels) const COOP_16_SMALL: CoopTile =
    CoopTile { side: 16, bm: 64, bn: 64, bk: 32, wm: 32, wn: 32, buffers: 1 };

/// Workgroups that parts of K aim for: a few per core of the largest GPUs.
const SPLIT_TARGET: u64 = 512;
/// A part of K is at least this long.
const SPLIT_LEAST: u32 = 128;

/// Whether elements of a type can be read or written one by one.
pub(in crate::kernels) fn elementwise(caps: &Caps, elems: &[Elem]) -> Result<(), Refusal> {
    if elems.contains(&Elem::F16) && !caps.f16 {
        return Err(Refusal::needs("shader-f16"));
    }
    Ok(())
}

/// Defines of every product.
pub(in crate::kernels) fn defines(weights: &WeightSpec, x: Elem, y: Elem, bias: bool) -> Defines {
    weights::defines(weights)
        // Subnormal f16 are exact where they were tried: NVIDIA, llvmpipe. Verification would show a device that
        // flushes them: codes 1 and 9 would come out as 0.
        .with("F16_SUBNORMALS", 1)
        .with("X_F16", i32::from(x == Elem::F16))
        .with("X_ELEM", x.name())
        .with("Y_F16", i32::from(y == Elem::F16))
        .with("Y_ELEM", y.name())
        .with("BIAS", i32::from(bias))
}

fn params(spec: &Spec, k_split: u32) -> Params {
    let (n, k) = (spec.n(), spec.k());
    Params { m: spec.m, n, k, k_split, tensor_scale: spec.tensor_scale, pairs_per_x: 1 }
}

pub(super) fn naive(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.x, spec.y])?;
    let shader = Shader::new(wgsl!("gemm/naive.wgsl"), defines(&spec.weights, spec.x, spec.y, spec.bias));
    let workgroups = [spec.n().div_ceil(16), spec.m.div_ceil(16), 1];
    Ok(Plan::one(Dispatch::new(shader.with_msl(msl!("gemm/naive.metal")), workgroups, &params(spec, 0))))
}

pub(super) fn tiled(spec: &Spec, caps: &Caps, scales_cached: bool, buffers: u32) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.x, spec.y])?;
    if scales_cached && spec.weights.format().is_plain() {
        return Err(Refusal::needs("scales: plain weights have none"));
    }
    let defines = defines(&spec.weights, spec.x, spec.y, spec.bias)
        .with("SCALES_CACHED", i32::from(scales_cached))
        .with("BUFFERS", buffers);
    let workgroups = [spec.n().div_ceil(16), spec.m.div_ceil(16), 1];
    Ok(Plan::one(Dispatch::new(Shader::new(wgsl!("gemm/tiled.wgsl"), defines), workgroups, &params(spec, 0))))
}

/// The shader of `register_tile`. Reads x of either type without shader-f16.
pub(in crate::kernels) fn register_shader(
    weights: &WeightSpec,
    tile: &RegisterTile,
    caps: &Caps,
    [x, y]: [Elem; 2],
    bias: bool,
) -> Result<Shader, Refusal> {
    elementwise(caps, &[y])?;
    let defines = defines(weights, x, y, bias)
        .with("BM", tile.bm)
        .with("BN", tile.bn)
        .with("TM", tile.tm)
        .with("TN", tile.tn)
        .with("SPLIT", 0)
        .with("GROUPED", 0);
    Ok(Shader::new(wgsl!("gemm/register_tile.wgsl"), defines).with_msl(msl!("gemm/register_tile.metal")))
}

/// The shader of `coop` for a y of `n` columns, with f16 matrices for f16 activations and f32 ones for f32.
pub(in crate::kernels) fn coop_shader(
    weights: &WeightSpec,
    n: u32,
    tile: &CoopTile,
    caps: &Caps,
    [x, y]: [Elem; 2],
    bias: bool,
) -> Result<Shader, Refusal> {
    elementwise(caps, &[x, y])?;
    let f = tile.side;
    if f == 16 && x == Elem::F32 {
        // No GPU is known to have them, and tiles of f32 would need more than 32 KiB.
        return Err(Refusal::needs("f16 activations"));
    }
    needs_coop(caps, f, x)?;
    let Some(subgroup) = caps.subgroup_size.filter(|_| caps.subgroups) else {
        return Err(Refusal::needs("a known subgroup size"));
    };
    let threads = tile.bm / tile.wm * (tile.bn / tile.wn) * subgroup;
    // Every invocation stages at least one run of 16 weights and one of 4 activations per step.
    if threads > caps.max_invocations || tile.bn * tile.bk / 16 < threads {
        return Err(Refusal::needs(format!("subgroups of another size than {subgroup}")));
    }
    // Runs of 32 codes have one scale, begin at multiples of 16 bytes, and there is one for each invocation.
    let wide = weights.group().get() >= 32
        && weights.shape().k().is_multiple_of(32)
        && tile.bn * tile.bk / 32 >= threads;
    // Metal's matrix loads take pointers to scalars.
    let tile_vec = if f == 8 { 1 } else { 8 };
    let defines = defines(weights, x, y, bias)
        .with("AB_ELEM", x.name())
        .with("SIDE", f)
        .with("BM", tile.bm)
        .with("BN", tile.bn)
        .with("BK", tile.bk)
        .with("WM", tile.wm)
        .with("WN", tile.wn)
        .with("PAD", 8)
        .with("SUBGROUP", subgroup)
        .with("TILE_VEC", tile_vec)
        .with("W_CODES", if wide { 32 } else { 16 })
        .with("Y_VEC", if n.is_multiple_of(4) { 4 } else { 1 })
        .with("K_EDGE", i32::from(!weights.shape().k().is_multiple_of(tile.bk as usize)))
        .with("SPLIT", 0)
        .with("GROUPED", 0)
        .with("BUFFERS", tile.buffers);
    let shader = Shader::new(wgsl!("gemm/coop.wgsl"), defines);
    Ok(if f == 8 { shader.with_msl(msl!("gemm/coop.metal")) } else { shader })
}

pub(super) fn register_tile(
    spec: &Spec,
    caps: &Caps,
    tile: &RegisterTile,
    split: bool,
) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.y])?;
    let y = if split { Elem::F32 } else { spec.y };
    let shader = register_shader(&spec.weights, tile, caps, [spec.x, y], spec.bias && !split)?;
    tiles(spec, shader, [tile.bm, tile.bn], split)
}

pub(super) fn coop(spec: &Spec, caps: &Caps, tile: &CoopTile, split: bool) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.y])?;
    let y = if split { Elem::F32 } else { spec.y };
    let bias = spec.bias && !split;
    let shader = coop_shader(&spec.weights, spec.n(), tile, caps, [spec.x, y], bias)?;
    tiles(spec, shader, [tile.bm, tile.bn], split)
}

/// A workgroup per tile; with `split`, per tile and part of K, and a second dispatch that adds the parts up.
fn tiles(spec: &Spec, mut shader: Shader, [bm, bn]: [u32; 2], split: bool) -> Result<Plan, Refusal> {
    let (n, k) = (spec.n(), spec.k());
    let [x, y] = [n.div_ceil(bn), spec.m.div_ceil(bm)];
    if !split {
        return Ok(Plan::one(Dispatch::new(shader, [x, y, 1], &params(spec, k))));
    }
    let wanted = SPLIT_TARGET.div_ceil(u64::from(x) * u64::from(y)).max(2);
    let splits = wanted.min(u64::from(k / SPLIT_LEAST)) as u32;
    if splits < 2 {
        return Err(Refusal::needs(format!("k of at least {} to split", 2 * SPLIT_LEAST)));
    }
    // Whole steps of either kernel, and whole groups of 16 or 32; no part is empty.
    let k_split = k.div_ceil(splits).next_multiple_of(32);
    let splits = k.div_ceil(k_split);
    shader.defines.set("SPLIT", 1);
    let product = Dispatch::new(shader, [x, y, splits], &params(spec, k_split));
    sum_of_splits(product, [spec.m, n, splits], spec.tensor_scale, spec.y, spec.bias)
}

/// A product whose `y` holds a part of the sum per split, `[splits][m][n]` of f32, and the dispatch that adds them up.
pub(in crate::kernels) fn sum_of_splits(
    product: Dispatch,
    [m, n, splits]: [u32; 3],
    tensor_scale: f32,
    y: Elem,
    bias: bool,
) -> Result<Plan, Refusal> {
    let n_sums = u64::from(m) * u64::from(n);
    let n_parts = u64::from(splits) * n_sums;
    if n_parts > u64::from(u32::MAX) {
        return Err(Refusal::needs("fewer than 2^32 partial sums"));
    }
    let elem = Defines::new()
        .with("Y_F16", i32::from(y == Elem::F16))
        .with("Y_ELEM", y.name())
        .with("BIAS", i32::from(bias));
    let sum = Shader::new(wgsl!("gemm/sum_splits.wgsl"), elem).with_msl(msl!("gemm/sum_splits.metal"));
    let sum = Dispatch::new(sum, grid(n_sums.div_ceil(256)), &SumParams { m, n, splits, tensor_scale });
    let scratch = vec![BufferSpec { name: "partial", size_bytes: 4 * n_parts }];
    Ok(Plan { dispatches: vec![product.rename("y", "partial"), sum], scratch, ..Plan::default() })
}
