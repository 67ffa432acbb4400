//! Which shaders run with which defines over how many workgroups.

use std::sync::Arc;

use super::{Rows, Spec};
use crate::gpu::{BufferSpec, Caps, Dispatch, Plan, Prepared};
use crate::kernels::gemm::{
    CoopTile, Params as ProductParams, REGISTER_64, coop_shader, defines, elementwise, register_shader,
};
use crate::kernels::spec::{Elem, Refusal};
use crate::lower::{Defines, Shader};
use crate::{msl, wgsl};

/// Uniform block of `gather`, `vector` and `combine`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    /// Rows of y.
    rows: u32,
    /// Rows of an expert.
    n: u32,
    /// Columns of an expert.
    k: u32,
    /// Pairs that a row of y sums.
    choices: u32,
    /// The factor of all experts.
    tensor_scale: f32,
    /// Pairs that a row of x serves.
    pairs_per_x: u32,
}
const _: () = assert!(size_of::<Params>() == 24);

/// Uniform block of `count`, `scan` and `scatter`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SortParams {
    n_pairs: u32,
    /// Blocks of 256 pairs.
    blocks: u32,
    /// Entries of the list of tiles.
    n_tiles: u32,
}
const _: () = assert!(size_of::<SortParams>() == 12);

/// Pairs per workgroup of the sort.
const BLOCK: u32 = 256;

fn params(spec: &Spec) -> Params {
    Params {
        rows: spec.rows_of(spec.y_rows),
        n: spec.n(),
        k: spec.k(),
        choices: spec.pairs_per(spec.y_rows),
        tensor_scale: spec.tensor_scale,
        pairs_per_x: spec.pairs_per(spec.x_rows),
    }
}

fn experts(spec: &Spec, defines: Defines) -> Defines {
    defines.with("EXPERTS", spec.experts)
}

pub(super) fn gather(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.x, spec.y])?;
    let defines = experts(spec, defines(&spec.weights, spec.x, spec.y, false))
        .with("WEIGHTED", i32::from(spec.y_rows == Rows::Token));
    let shader =
        Shader::new(wgsl!("expert_gemm/gather.wgsl"), defines).with_msl(msl!("expert_gemm/gather.metal"));
    let workgroups = [spec.n().div_ceil(16), spec.rows_of(spec.y_rows).div_ceil(16), 1];
    Ok(Plan::one(Dispatch::new(shader, workgroups, &params(spec))))
}

/// A matrix-vector product per pair; with `subgroups`, teams are subgroups.
pub(super) fn vector(spec: &Spec, caps: &Caps, subgroups: bool) -> Result<Plan, Refusal> {
    const SUBGROUPS: u32 = 4;
    const ROWS: u32 = 4;
    // Choices side by side, not one after the other: a token's experts are read by as many subgroups as there are (see "Measured").
    let teams = spec.pairs_per(spec.y_rows).min(SUBGROUPS);
    let sets = SUBGROUPS / teams;
    elementwise(caps, &[spec.y])?;
    let lanes = match caps.subgroup_size {
        _ if !subgroups => 32,
        Some(size) if caps.subgroups => size,
        _ => return Err(Refusal::needs("a known subgroup size")),
    };
    let defines = experts(spec, defines(&spec.weights, spec.x, spec.y, false))
        .with("WEIGHTED", i32::from(spec.y_rows == Rows::Token))
        .with("SUBGROUPS", i32::from(subgroups))
        .with("LANES", lanes)
        .with("TEAMS", teams)
        .with("SETS", sets)
        .with("ROWS", ROWS);
    let shader =
        Shader::new(wgsl!("expert_gemm/vector.wgsl"), defines).with_msl(msl!("expert_gemm/vector.metal"));
    let workgroups = [spec.n().div_ceil(sets * ROWS), spec.rows_of(spec.y_rows), 1];
    Ok(Plan::one(Dispatch::new(shader, workgroups, &params(spec))))
}

/// The most tiles of `bm` rows that any distribution of the pairs over the experts makes: each expert that has a pair adds at
/// most one tile that is not full.
fn max_tiles(spec: &Spec, bm: u32) -> u32 {
    spec.pairs() / bm + spec.experts.min(spec.pairs())
}

/// The product of each tile, and the sum of each token's pairs where rows of y are tokens.
fn grouped(spec: &Spec, mut shader: Shader, [bm, bn]: [u32; 2]) -> Vec<Dispatch> {
    shader.defines.set("GROUPED", 1);
    let (n, k) = (spec.n(), spec.k());
    let product = ProductParams {
        m: spec.pairs(),
        n,
        k,
        k_split: k,
        tensor_scale: spec.tensor_scale,
        pairs_per_x: spec.pairs_per(spec.x_rows),
    };
    let product = Dispatch::new(shader, [n.div_ceil(bn), max_tiles(spec, bm), 1], &product);
    if spec.y_rows == Rows::Pair {
        return vec![product];
    }
    let elem = spec.y.name();
    let defines =
        experts(spec, Defines::new()).with("Y_F16", i32::from(spec.y == Elem::F16)).with("Y_ELEM", elem);
    let combine =
        Shader::new(wgsl!("expert_gemm/combine.wgsl"), defines).with_msl(msl!("expert_gemm/combine.metal"));
    let combine = Dispatch::new(combine, [n.div_ceil(256), spec.tokens, 1], &params(spec));
    vec![product.rename("y", "expert_outputs"), combine]
}

/// What the product writes and `combine` reads.
fn outputs(spec: &Spec) -> Option<BufferSpec> {
    let elements = u64::from(spec.pairs()) * u64::from(spec.n());
    (spec.y_rows == Rows::Token).then(|| BufferSpec::new("expert_outputs", elements, 4))
}

/// The element type that the product writes.
fn product_elem(spec: &Spec) -> Elem {
    if spec.y_rows == Rows::Pair { spec.y } else { Elem::F32 }
}

/// Count, scan, scatter, product, sum.
fn sorted(spec: &Spec, shader: Shader, [bm, bn]: [u32; 2]) -> Plan {
    let blocks = spec.pairs().div_ceil(BLOCK);
    let n_tiles = max_tiles(spec, bm);
    let params = SortParams { n_pairs: spec.pairs(), blocks, n_tiles };
    let shader_of = |wgsl, msl, defines| Shader::new(wgsl, defines).with_msl(msl);
    let only = experts(spec, Defines::new());
    let tiled = only.clone().with("BM", bm);
    let count = shader_of(wgsl!("expert_gemm/count.wgsl"), msl!("expert_gemm/count.metal"), only.clone());
    let scan = shader_of(wgsl!("expert_gemm/scan.wgsl"), msl!("expert_gemm/scan.metal"), tiled);
    let scatter = shader_of(wgsl!("expert_gemm/scatter.wgsl"), msl!("expert_gemm/scatter.metal"), only);
    let mut dispatches = vec![
        Dispatch::new(count, [blocks, 1, 1], &params),
        Dispatch::new(scan, [1, 1, 1], &params),
        Dispatch::new(scatter, [blocks, 1, 1], &params),
    ];
    dispatches.extend(grouped(spec, shader, [bm, bn]));
    let words = |name, count: u64| BufferSpec::new(name, count, 4);
    let mut scratch = vec![
        words("counts", u64::from(blocks) * u64::from(spec.experts)),
        words("firsts", u64::from(spec.experts)),
        words("tiles", 4 * u64::from(n_tiles)),
        words("sorted", u64::from(spec.pairs())),
    ];
    scratch.extend(outputs(spec));
    Plan { dispatches, scratch, ..Plan::default() }
}

pub(super) fn sorted_register(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.y])?;
    let tile = &REGISTER_64;
    let shader = register_shader(&spec.weights, tile, caps, [spec.x, product_elem(spec)], false)?;
    Ok(sorted(spec, shader, [tile.bm, tile.bn]))
}

pub(super) fn sorted_coop(spec: &Spec, caps: &Caps, tile: &CoopTile) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.y])?;
    let shader = coop_shader(&spec.weights, spec.n(), tile, caps, [spec.x, product_elem(spec)], false)?;
    Ok(sorted(spec, shader, [tile.bm, tile.bn]))
}

/// The sort and the list of tiles as operands that the host makes from `expert_ids`.
pub(super) fn host_sorted(spec: &Spec, caps: &Caps) -> Result<Plan, Refusal> {
    elementwise(caps, &[spec.y])?;
    let tile = &REGISTER_64;
    let shader = register_shader(&spec.weights, tile, caps, [spec.x, product_elem(spec)], false)?;
    let (experts, bm, n_tiles) = (spec.experts, tile.bm, max_tiles(spec, tile.bm) as usize);
    let by_expert = move |ids: &[u8]| -> Vec<Vec<u32>> {
        let mut pairs = vec![Vec::new(); experts as usize];
        for (pair, id) in ids.chunks_exact(4).enumerate() {
            let id = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
            if let Some(list) = pairs.get_mut(id as usize) {
                list.push(pair as u32);
            }
        }
        pairs
    };
    let n_pairs = spec.pairs() as usize;
    let make_sorted = move |from: &[&[u8]]| -> Vec<u8> {
        let mut all = by_expert(from[0]).concat();
        all.resize(n_pairs, 0);
        bytemuck::cast_slice(&all).to_vec()
    };
    let make_tiles = move |from: &[&[u8]]| -> Vec<u8> {
        let mut tiles: Vec<[u32; 4]> = Vec::new();
        let mut first = 0;
        for (expert, pairs) in by_expert(from[0]).iter().enumerate() {
            for run in pairs.chunks(bm as usize) {
                tiles.push([expert as u32, first, run.len() as u32, 0]);
                first += run.len() as u32;
            }
        }
        tiles.resize(n_tiles, [0; 4]);
        bytemuck::cast_slice(&tiles).to_vec()
    };
    let prepared = vec![
        Prepared { name: "sorted", from: vec!["expert_ids"], make: Arc::new(make_sorted) },
        Prepared { name: "tiles", from: vec!["expert_ids"], make: Arc::new(make_tiles) },
    ];
    let dispatches = grouped(spec, shader, [tile.bm, tile.bn]);
    Ok(Plan { dispatches, scratch: outputs(spec).into_iter().collect(), prepared, ..Plan::default() })
}
