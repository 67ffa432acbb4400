// Matrix-vector products of up to 8 columns with cooperative matrices: each weight is decoded once, and multiplied by all
// columns in matrix units.
//
//   y[c, r] = tensor_scale * sum over k of value(code (r, k)) * scale(r, k / GROUP) * x[c, k]
//
// words   4 words an element     [n, k/32], k is a multiple of 32
// scales  u32  [...]             packed, groups [n, k/GROUP]
// x       8 f16 an element       [m, k/8], m up to 8
// y       f32  [m, n]
//
// A workgroup owns ROWS rows per subgroup as fragments of SIDE; a step takes 256 of K.
// 1. Lane l loads 16 bytes, a chunk of 32 codes: chunk l % 8 of row l / 8 + 4u for each u, so that a request covers 4 rows
//    of 128 contiguous bytes.
// 2. A step has four turns of 64 of K, one per word of the chunks. In which order K is summed is free: turn t takes word t of
//    each chunk, so that all lanes decode as much. Within a word, weights i and i + 4 lie side by side, as they are decoded.
// 3. A turn's weights, scaled and rounded to f16, lie in workgroup memory as [row][64], padded against bank conflicts; its
//    activations as [64 / SIDE][8][SIDE] in the same order of K. Little workgroup memory: more workgroups at a time.
// 4. The next step is loaded while the last turn is multiplied. Fragments and loads have names, not indices: an array would
//    be spilled.
// With SIDE = 16, rows 8 to 15 of the activations' fragments are whatever lies there; nothing of them is stored.
// TILE_VEC = 4: decoded weights in vectors, 18 % faster on an H100; 1: in scalars, for Metal, whose matrix loads want a pointer
// to scalars.
// K_EDGE = 1: the last step may be partly beyond K; activations of 0 fill it up.
// SPLIT = 1: workgroup z sums its part of K into partial[z], which gemm/sum_splits.wgsl adds up.
// Needs shader-f16, subgroups of 32 lanes and cooperative matrices f16 x f16 -> f32 of SIDE x SIDE x SIDE.
enable f16;
enable wgpu_cooperative_matrix;
#define RUNS 4
#include "common/weights.wgsl"

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_split: u32, // of K, per split: a multiple of 256
    tensor_scale: f32,
    pairs_per_x: u32, // of expert_gemm
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<{{WORDS}}>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
@group(0) @binding(3) var<storage, read> x: array<array<vec4<f16>, 2>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
#if ZERO_POINTS
@group(0) @binding(5) var<storage, read> zero_points: array<u32>;
#endif

#define THREADS {{SUBGROUPS * 32}}
#define FRAGMENTS {{ROWS / SIDE}}
#define LOADS {{ROWS / 4}}
// Words of a chunk that share a scale.
#if GROUP < 32
#define PART_WORDS {{GROUP / 8}}
#else
#define PART_WORDS 4
#endif
#define PARTS {{4 / PART_WORDS}}
// Elements of a padded row.
#define W_STRIDE 72
#define X_STRIDE {{SIDE + 8}}
// Runs of 8 activations that an invocation stages per turn, of 64.
#define X_RUNS {{(64 + THREADS - 1) / THREADS}}

// [subgroup][row][64]
#if TILE_VEC == 4
var<workgroup> tile_w: array<vec4<f16>, {{SUBGROUPS * ROWS * W_STRIDE / 4}}>;
#else
var<workgroup> tile_w: array<f16, {{SUBGROUPS * ROWS * W_STRIDE}}>;
#endif
// [64 / SIDE][8][SIDE], and what a fragment's other rows reach beyond.
var<workgroup> tile_x: array<f16, {{(64 / SIDE * 8 + SIDE - 8) * X_STRIDE}}>;
// A fragment of each subgroup on its way to or from memory.
var<workgroup> staging: array<f32, {{SUBGROUPS * SIDE * SIDE}}>;

// Stages a word of a chunk: `element` is its first place in the tile.
fn stage_w(element: u32, word: {{CODES}}, factor: vec4<f32>, zero_point: f32) {
    let codes = decode_eight(word, zero_point);
#if OFFSETS
    let low = vec4<f16>(codes.low * factor + zero_point);
    let high = vec4<f16>(codes.high * factor + zero_point);
#else
    let low = vec4<f16>(codes.low * factor);
    let high = vec4<f16>(codes.high * factor);
#endif
#if TILE_VEC == 4
    tile_w[element >> 2u] = vec4<f16>(low.x, high.x, low.y, high.y);
    tile_w[(element >> 2u) + 1u] = vec4<f16>(low.z, high.z, low.w, high.w);
#else
#for I in 0..4
    tile_w[element + {{2 * I}}u] = low[{{I}}];
    tile_w[element + {{2 * I + 1}}u] = high[{{I}}];
#endfor
#endif
}

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first_row = (workgroup_id.x * {{SUBGROUPS}}u + subgroup) * {{ROWS}}u;
#if SPLIT
    let k_begin = workgroup_id.z * params.k_split;
    let k_end = min(k_begin + params.k_split, params.k);
#else
    let k_begin = 0u;
    let k_end = params.k;
#endif

    // Weights: rows beyond the end read the last row, chunks beyond the end the last chunk; nothing comes of them.
    let chunk = lane % 8u * 32u;
#if K_EDGE
    let w_k = min(k_begin + chunk, params.k - 32u);
#else
    let w_k = k_begin + chunk;
#endif
#for U in 0..LOADS
    let w_line{{U}} = lane / 8u + {{4 * U}}u;
    let w_row{{U}} = min(first_row + w_line{{U}}, params.n - 1u) * params.k;
    let w_tile{{U}} = (subgroup * {{ROWS}}u + w_line{{U}}) * {{W_STRIDE}}u + lane % 8u * 8u;
#if BITS == 4
    var chunk{{U}} = words[(w_row{{U}} + w_k) >> 5u];
#else
    var chunk{{U}} = load_chunk((w_row{{U}} + w_k) >> 5u);
#endif
#for P in 0..PARTS
    var scale_word{{U}}_{{P}} = load_scale_word((w_row{{U}} + w_k + {{8 * PART_WORDS * P}}u) >> {{GROUP_SHIFT}}u);
    var zero_word{{U}}_{{P}} = load_zero_point_word((w_row{{U}} + w_k + {{8 * PART_WORDS * P}}u) >> {{GROUP_SHIFT}}u);
#endfor
#endfor
    // Activations: columns beyond the end read the last column.
#for R in 0..X_RUNS
    let x_run{{R}} = local_index + {{R * THREADS}}u;
    let x_column{{R}} = x_run{{R}} / 8u;
    let x_chunk{{R}} = x_run{{R}} % 8u * 32u;
    let x_start{{R}} = min(x_column{{R}}, params.m - 1u) * params.k;
    // Of the turn's 64, the run has 8: from 8 · (x_run % 8).
    let x_tile{{R}} = (x_run{{R}} % 8u * 8u / {{SIDE}}u * 8u + x_column{{R}}) * {{X_STRIDE}}u + x_run{{R}} % 8u * 8u % {{SIDE}}u;
#for T in 0..4
    var x{{R}}_{{T}} = array<vec4<f16>, 2>();
#endfor
#if K_EDGE
    if k_begin + x_chunk{{R}} < k_end {
#else
    {
#endif
#for T in 0..4
        x{{R}}_{{T}} = x[((x_start{{R}} + k_begin + x_chunk{{R}}) >> 3u) + {{T}}u];
#endfor
    }
#endfor

    // Fragments start from zeros in memory.
    for (var i = local_index; i < {{SUBGROUPS * SIDE * SIDE}}u; i += {{THREADS}}u) {
        staging[i] = 0.0;
    }
#if SIDE > 8
    for (var i = local_index; i < {{(SIDE - 8) * X_STRIDE}}u; i += {{THREADS}}u) {
        tile_x[{{64 / SIDE * 8 * X_STRIDE}}u + i] = 0.0h;
    }
#endif
    workgroupBarrier();
    // naga's SPIR-V back end wants the pointer's index and the stride as plain `let`s.
    let slot = subgroup * {{SIDE * SIDE}}u;
    let f_stride = {{SIDE}}u;
    let w_stride = {{W_STRIDE / TILE_VEC}}u;
    let x_stride = {{X_STRIDE}}u;
#for F in 0..FRAGMENTS
    var sum{{F}} = coopLoadT<coop_mat{{SIDE}}x{{SIDE}}<f32, C>>(&staging[slot], f_stride);
#endfor
    let w_fragments = subgroup * {{ROWS * W_STRIDE / TILE_VEC}}u;

    for (var k0 = k_begin; k0 < k_end; k0 += 256u) {
        let k_next = select(k0, k0 + 256u, k0 + 256u < k_end);
#if K_EDGE
        let w_now = min(k0 + chunk, params.k - 32u);
        let w_next = min(k_next + chunk, params.k - 32u);
#else
        let w_now = k0 + chunk;
        let w_next = k_next + chunk;
#endif
#for U in 0..LOADS
#for P in 0..PARTS
        let group{{U}}_{{P}} = (w_row{{U}} + w_now + {{8 * PART_WORDS * P}}u) >> {{GROUP_SHIFT}}u;
        let factor{{U}}_{{P}} = scale_in_word(scale_word{{U}}_{{P}}, group{{U}}_{{P}}) * CODE_SCALE / IN_PLACE;
        let zero{{U}}_{{P}} = zero_point_in_word(zero_word{{U}}_{{P}}, group{{U}}_{{P}});
#endfor
#endfor
#for T in 0..4
        // Stage turn {{T}}.
#for R in 0..X_RUNS
        if x_run{{R}} < 64u {
#for I in 0..4
            tile_x[x_tile{{R}} + {{2 * I}}u] = x{{R}}_{{T}}[0][{{I}}];
            tile_x[x_tile{{R}} + {{2 * I + 1}}u] = x{{R}}_{{T}}[1][{{I}}];
#endfor
        }
#endfor
#for U in 0..LOADS
        stage_w(w_tile{{U}}, chunk{{U}}[{{T}}], factor{{U}}_{{T / PART_WORDS}}, zero{{U}}_{{T / PART_WORDS}});
#endfor
        workgroupBarrier();
#if T == 3
        // Load the next step; the last step loads its own again.
#for U in 0..LOADS
#if BITS == 4
        chunk{{U}} = words[(w_row{{U}} + w_next) >> 5u];
#else
        chunk{{U}} = load_chunk((w_row{{U}} + w_next) >> 5u);
#endif
#for P in 0..PARTS
        scale_word{{U}}_{{P}} = load_scale_word((w_row{{U}} + w_next + {{8 * PART_WORDS * P}}u) >> {{GROUP_SHIFT}}u);
        zero_word{{U}}_{{P}} = load_zero_point_word((w_row{{U}} + w_next + {{8 * PART_WORDS * P}}u) >> {{GROUP_SHIFT}}u);
#endfor
#endfor
#for R in 0..X_RUNS
#if K_EDGE
#for V in 0..4
        x{{R}}_{{V}} = array<vec4<f16>, 2>();
#endfor
        if k_next + x_chunk{{R}} < k_end {
#else
        {
#endif
#for V in 0..4
            x{{R}}_{{V}} = x[((x_start{{R}} + k_next + x_chunk{{R}}) >> 3u) + {{V}}u];
#endfor
        }
#endfor
#endif
        // Multiply.
#for S in 0..64 / SIDE
        let a{{T}}_{{S}} = coopLoadT<coop_mat{{SIDE}}x{{SIDE}}<f16, A>>(&tile_x[{{S * 8 * X_STRIDE}}u], x_stride);
#for F in 0..FRAGMENTS
        let b{{T}}_{{S}}_{{F}} = coopLoad<coop_mat{{SIDE}}x{{SIDE}}<f16, B>>(&tile_w[w_fragments + {{(F * SIDE * W_STRIDE + S * SIDE) / TILE_VEC}}u], w_stride);
        sum{{F}} = coopMultiplyAdd(a{{T}}_{{S}}, b{{T}}_{{S}}_{{F}}, sum{{F}});
#endfor
#endfor
        workgroupBarrier();
#endfor
    }

    // Store.
#if SPLIT
    let first_y = workgroup_id.z * params.m * params.n;
    let factor = 1.0;
#else
    let first_y = 0u;
    let factor = params.tensor_scale;
#endif
#for F in 0..FRAGMENTS
    coopStoreT(sum{{F}}, &staging[slot], f_stride);
    workgroupBarrier();
    for (var i = lane; i < {{8 * SIDE}}u; i += 32u) {
        let column = i / {{SIDE}}u;
        let row = first_row + {{F * SIDE}}u + i % {{SIDE}}u;
        if column < params.m && row < params.n {
            y[first_y + column * params.n + row] = staging[slot + i] * factor;
        }
    }
    workgroupBarrier();
#endfor
}
