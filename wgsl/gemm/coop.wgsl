// Matrix product with cooperative matrices: a tile of y in fragments that a subgroup holds together.
//
//   y[i, j] = bias[j] + tensor_scale * sum over k of x[i, k] * value(code (j, k)) * scale(j, k / GROUP)
//
// words   u32  [n, k/8]          8 codes each, along K
// scales  u32  [...]             packed, groups [n, k/GROUP]
// x       8 an element           f16 or f32 [m, k]
// y       f16 or f32 [m, n]
// bias    f32  [n]
//
// A workgroup owns BM x BN elements of y, a subgroup WM x WN of them as fragments of SIDE x SIDE; a step takes BK of K.
// Weights are rounded to AB_ELEM after scaling; products are summed in f32. With AB_ELEM = f16, weights beyond 65504
// overflow.
// 1. Per step an invocation loads runs of 8 activations (16 or 32 bytes; neighbours load neighbouring runs of a row) and
//    runs of W_CODES codes (16 or 32: 8 or 16 bytes, within one group: one scale). Codes become floats by bit placement,
//    once per workgroup.
// 2. Both tiles lie in workgroup memory as [row][k], rows padded by 8 elements against bank conflicts.
// 3. The next step's loads are in flight while this step multiplies: nothing looks at what they bring before it is staged.
// 4. Fragments have names, not indices: an array would be spilled.
// 5. Results leave through workgroup memory, by Y_VEC elements (4 where n is a multiple of 4), so that nothing beyond an edge
//    is written.
// BUFFERS = 2: a step is staged while slower subgroups still multiply the one before: one barrier per step, not two.
// K_EDGE = 1: the last step may be partly beyond K; zeros fill it up.
// SPLIT = 1: workgroup z sums its part of K into partial[z], which sum_splits.wgsl adds up.
// GROUPED = 1: the rows of x come from a list, see expert_gemm.
// TILE_VEC = 8: tiles in runs of 8; 1: in scalars, for Metal, whose matrix loads want a pointer to scalars.
// Needs subgroups of SUBGROUP lanes and cooperative matrices AB_ELEM x AB_ELEM -> f32 of SIDE x SIDE x SIDE; shader-f16
// with f16.
#if X_F16 || Y_F16
enable f16;
#endif
enable wgpu_cooperative_matrix;
#define RUNS {{W_CODES / 8}}
#include "common/weights.wgsl"
#include "common/product.wgsl"

@group(0) @binding(1) var<storage, read> words: array<{{WORDS}}>;
@group(0) @binding(3) var<storage, read> x: array<array<vec4<{{AB_ELEM}}>, 2>>;

#define SUBGROUPS {{BM / WM * (BN / WN)}}
#define THREADS {{SUBGROUPS * SUBGROUP}}
// Runs that an invocation stages per step, and runs per row of a tile.
#define X_RUNS {{BM * BK / 8 / THREADS}}
#define X_PER_ROW {{BK / 8}}
#define W_RUNS {{BN * BK / W_CODES / THREADS}}
#define W_PER_ROW {{BK / W_CODES}}
// Elements of a padded row.
#define STRIDE {{BK + PAD}}
#define FRAGMENTS_M {{WM / SIDE}}
#define FRAGMENTS_N {{WN / SIDE}}

// [buffer][row][k] in runs of TILE_VEC.
#if TILE_VEC == 8
var<workgroup> tile_x: array<array<vec4<{{AB_ELEM}}>, 2>, {{BUFFERS * BM * STRIDE / 8}}>;
var<workgroup> tile_w: array<array<vec4<{{AB_ELEM}}>, 2>, {{BUFFERS * BN * STRIDE / 8}}>;
#define TILE_STRIDE {{STRIDE / 4}}
#define FIRST [0]
#else
var<workgroup> tile_x: array<{{AB_ELEM}}, {{BUFFERS * BM * STRIDE}}>;
var<workgroup> tile_w: array<{{AB_ELEM}}, {{BUFFERS * BN * STRIDE}}>;
#define TILE_STRIDE {{STRIDE}}
#define FIRST
#endif
// A fragment of each subgroup on its way to or from memory.
var<workgroup> staging: array<f32, {{SUBGROUPS * SIDE * SIDE}}>;

// Eight activations.
struct XRun {
    low: vec4<{{AB_ELEM}}>,
    high: vec4<{{AB_ELEM}}>,
}

// Eight activations, of which the first has index `k` in its row and `element` in x.
fn load_x_run(element: u32, k: u32) -> XRun {
#if K_EDGE
    if k >= params.k {
        return XRun();
    }
#endif
    return XRun(x[element >> 3u][0], x[element >> 3u][1]);
}

// `element` is the first's place in the tile.
fn stage_x(element: u32, run: XRun) {
#if TILE_VEC == 8
    tile_x[element >> 3u][0] = run.low;
    tile_x[element >> 3u][1] = run.high;
#else
#for I in 0..4
    tile_x[element + {{I}}u] = run.low[{{I}}];
    tile_x[element + {{I + 4}}u] = run.high[{{I}}];
#endfor
#endif
}

fn stage_w8(element: u32, low: vec4<{{AB_ELEM}}>, high: vec4<{{AB_ELEM}}>) {
#if TILE_VEC == 8
    tile_w[element >> 3u][0] = low;
    tile_w[element >> 3u][1] = high;
#else
#for I in 0..4
    tile_w[element + {{I}}u] = low[{{I}}];
    tile_w[element + {{I + 4}}u] = high[{{I}}];
#endfor
#endif
}

// A run of weights with the words of their scale and zero point, as loaded.
struct PackedRun {
    words: {{CHUNK}},
    scale_word: {{SCALE_WORD}},
    zero_point_word: {{ZERO_WORD}},
}

// A run, of which the first weight has index `k` in its row and `element` in the matrix.
fn load_w_run(element: u32, k: u32) -> PackedRun {
#if K_EDGE
    if k >= params.k {
        return PackedRun();
    }
#endif
    let group_ix = element >> {{GROUP_SHIFT}}u;
#if BITS == 4
    return PackedRun(words[element / {{W_CODES}}u], load_scale_word(group_ix), load_zero_point_word(group_ix));
#else
    return PackedRun(load_chunk(element / {{W_CODES}}u), load_scale_word(group_ix), load_zero_point_word(group_ix));
#endif
}

// Decodes a run of group `group_ix` into the tile.
fn stage_w(element: u32, run: PackedRun, group_ix: u32) {
    let zero_point = zero_point_in_word(run.zero_point_word, group_ix);
    let factor = scale_in_word(run.scale_word, group_ix) * CODE_SCALE / IN_PLACE;
#for I in 0..W_CODES / 8
    let codes{{I}} = decode_eight(run.words[{{I}}], zero_point);
#if OFFSETS
    let low{{I}} = codes{{I}}.low * factor + zero_point;
    let high{{I}} = codes{{I}}.high * factor + zero_point;
    stage_w8(element + {{8 * I}}u, vec4<{{AB_ELEM}}>(low{{I}}), vec4<{{AB_ELEM}}>(high{{I}}));
#else
    stage_w8(element + {{8 * I}}u, vec4<{{AB_ELEM}}>(codes{{I}}.low * factor), vec4<{{AB_ELEM}}>(codes{{I}}.high * factor));
#endif
#endfor
}

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
#include "common/product_tile.wgsl"

    // Which runs this invocation stages. Beyond the edges the last row and column are staged again; what comes of them is
    // not stored.
#for U in 0..X_RUNS
    let x_line{{U}} = (local_index + {{U * THREADS}}u) / {{X_PER_ROW}}u;
    let x_k{{U}} = (local_index + {{U * THREADS}}u) % {{X_PER_ROW}}u * 8u;
#if GROUPED
    let x_row{{U}} = sorted[first_row + min(x_line{{U}}, n_rows - 1u)] / params.pairs_per_x;
#else
    let x_row{{U}} = first_row + min(x_line{{U}}, n_rows - 1u);
#endif
    let x_start{{U}} = x_row{{U}} * params.k;
    let x_tile{{U}} = x_line{{U}} * {{STRIDE}}u + x_k{{U}};
    var x_run{{U}} = load_x_run(x_start{{U}} + k_begin + x_k{{U}}, k_begin + x_k{{U}});
#endfor
#for U in 0..W_RUNS
    let w_line{{U}} = (local_index + {{U * THREADS}}u) / {{W_PER_ROW}}u;
    let w_k{{U}} = (local_index + {{U * THREADS}}u) % {{W_PER_ROW}}u * {{W_CODES}}u;
    let w_start{{U}} = (first_w_row + min(first_column + w_line{{U}}, params.n - 1u)) * params.k;
    let w_tile{{U}} = w_line{{U}} * {{STRIDE}}u + w_k{{U}};
    var w_run{{U}} = load_w_run(w_start{{U}} + k_begin + w_k{{U}}, k_begin + w_k{{U}});
#endfor

    // Fragments start from zeros in memory.
    for (var i = local_index; i < {{SUBGROUPS * SIDE * SIDE}}u; i += {{THREADS}}u) {
        staging[i] = 0.0;
    }
    workgroupBarrier();
    // naga's SPIR-V back end wants the pointer's index and the stride of a store as plain `let`s.
    let slot = subgroup * {{SIDE * SIDE}}u;
    let f_stride = {{SIDE}}u;
    let tile_stride = {{TILE_STRIDE}}u;
#for I in 0..FRAGMENTS_M
#for J in 0..FRAGMENTS_N
    var sum{{I}}_{{J}} = coopLoadT<coop_mat{{SIDE}}x{{SIDE}}<f32, C>>(&staging[slot], f_stride);
#endfor
#endfor
    let subgroup_row = subgroup / {{BN / WN}}u * {{WM}}u;
    let subgroup_column = subgroup % {{BN / WN}}u * {{WN}}u;
    let x_fragments = subgroup_row * {{STRIDE}}u;
    let w_fragments = subgroup_column * {{STRIDE}}u;

    for (var k0 = k_begin; k0 < k_end; k0 += {{BK}}u) {
        // Stage.
#if BUFFERS == 2
        let x_buffer = (k0 / {{BK}}u & 1u) * {{BM * STRIDE}}u;
        let w_buffer = (k0 / {{BK}}u & 1u) * {{BN * STRIDE}}u;
#else
        let x_buffer = 0u;
        let w_buffer = 0u;
#endif
#for U in 0..X_RUNS
        stage_x(x_buffer + x_tile{{U}}, x_run{{U}});
#endfor
#for U in 0..W_RUNS
        stage_w(w_buffer + w_tile{{U}}, w_run{{U}}, (w_start{{U}} + k0 + w_k{{U}}) >> {{GROUP_SHIFT}}u);
#endfor
        workgroupBarrier();

        // Load the next step's; the last step loads its own again.
        let k_next = select(k0, k0 + {{BK}}u, k0 + {{BK}}u < k_end);
#for U in 0..X_RUNS
        x_run{{U}} = load_x_run(x_start{{U}} + k_next + x_k{{U}}, k_next + x_k{{U}});
#endfor
#for U in 0..W_RUNS
        w_run{{U}} = load_w_run(w_start{{U}} + k_next + w_k{{U}}, k_next + w_k{{U}});
#endfor

        // Multiply.
        let x_first = (x_buffer + x_fragments) / {{TILE_VEC}}u;
        let w_first = (w_buffer + w_fragments) / {{TILE_VEC}}u;
#for S in 0..BK / SIDE
#for I in 0..FRAGMENTS_M
        let x{{S}}_{{I}} = coopLoadT<coop_mat{{SIDE}}x{{SIDE}}<{{AB_ELEM}}, A>>(&tile_x[x_first + {{(I * SIDE * STRIDE + S * SIDE) / TILE_VEC}}u]{{FIRST}}, tile_stride);
#endfor
#for J in 0..FRAGMENTS_N
        let w{{S}}_{{J}} = coopLoad<coop_mat{{SIDE}}x{{SIDE}}<{{AB_ELEM}}, B>>(&tile_w[w_first + {{(J * SIDE * STRIDE + S * SIDE) / TILE_VEC}}u]{{FIRST}}, tile_stride);
#for I in 0..FRAGMENTS_M
        sum{{I}}_{{J}} = coopMultiplyAdd(x{{S}}_{{I}}, w{{S}}_{{J}}, sum{{I}}_{{J}});
#endfor
#endfor
#endfor
#if BUFFERS == 1
        workgroupBarrier();
#endif
    }

    // Store.
#if SPLIT
    let first_y = workgroup_id.z * params.m * params.n;
#else
    let first_y = 0u;
#endif
#for I in 0..FRAGMENTS_M
#for J in 0..FRAGMENTS_N
    coopStoreT(sum{{I}}_{{J}}, &staging[slot], f_stride);
    workgroupBarrier();
    for (var i = lane; i < {{SIDE * SIDE / Y_VEC}}u; i += {{SUBGROUP}}u) {
        let line = subgroup_row + {{I * SIDE}}u + i / {{SIDE / Y_VEC}}u;
        let column = first_column + subgroup_column + {{J * SIDE}}u + i % {{SIDE / Y_VEC}}u * {{Y_VEC}}u;
        if line < n_rows && column < params.n {
#if GROUPED
            let row = sorted[first_row + line];
#else
            let row = first_row + line;
#endif
            let first = slot + i * {{Y_VEC}}u;
#if Y_VEC == 4
            var value = vec4(staging[first], staging[first + 1u], staging[first + 2u], staging[first + 3u]);
#else
            var value = staging[first];
#endif
#if !SPLIT
            value *= params.tensor_scale;
#if BIAS && Y_VEC == 4
            value += vec4(bias[column], bias[column + 1u], bias[column + 2u], bias[column + 3u]);
#elif BIAS
            value += bias[column];
#endif
#endif
#if Y_VEC == 4
            y[(first_y + row * params.n + column) / 4u] = vec4<{{Y_ELEM}}>(value);
#else
            y[first_y + row * params.n + column] = {{Y_ELEM}}(value);
#endif
        }
    }
    workgroupBarrier();
#endfor
#endfor
}
