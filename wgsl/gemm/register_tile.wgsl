// Matrix product without cooperative matrices: a tile of y in registers.
//
//   y[i, j] = bias[j] + tensor_scale * sum over k of x[i, k] * value(code (j, k)) * scale(j, k / GROUP)
//
// words   u32  [n, k/8]          8 codes each, along K
// scales  u32  [...]             packed, groups [n, k/GROUP]
// x       16-byte elements       8 f16 or 4 f32 each [m, k]
// y       f16 or f32 [m, n]
// bias    f32  [n]
//
// A workgroup owns BM x BN elements of y, an invocation TM x TN of them. A step takes 16 of K, which no format's rows
// split, so that K has no edge.
// 1. An invocation loads 8 activations (16 or 32 bytes) and a word of 8 codes at a time; codes become floats by bit
//    placement, once per workgroup (`decode_eight`).
// 2. Both tiles lie in workgroup memory with K as the slow axis, so that an invocation reads its TM + TN operands of a k
//    as vectors: TM*TN multiply-adds for (TM + TN) / 4 reads.
// 3. The next step's loads are in flight while this step computes.
// 4. Sums have names, not indices: an array would be spilled.
// SPLIT = 1: workgroup z sums its part of K into partial[z], which sum_splits.wgsl adds up.
// GROUPED = 1: the rows of x come from a list, see expert_gemm.
// f32 accumulation; needs neither subgroups nor, where y is f32, shader-f16.
#if Y_F16
enable f16;
#endif
#define RUNS 1
#include "common/activations.wgsl"
#include "common/product.wgsl"

@group(0) @binding(1) var<storage, read> words: array<{{WORDS}}>;
#if X_F16
@group(0) @binding(3) var<storage, read> x: array<vec4<u32>>;
#else
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
#endif

#define THREADS {{BM / TM * (BN / TN)}}
// Units of 8 elements that an invocation stages per step.
#define X_UNITS {{BM * 2 / THREADS}}
#define W_UNITS {{BN * 2 / THREADS}}
// Vectors of 4 rows or columns, one of padding.
#define X_STRIDE {{BM / 4 + 1}}
#define W_STRIDE {{BN / 4 + 1}}

var<workgroup> tile_x: array<vec4<f32>, {{16 * X_STRIDE}}>; // [k][rows / 4]
var<workgroup> tile_w: array<vec4<f32>, {{16 * W_STRIDE}}>; // [k][columns / 4]

// A packed word with the words of its scale and zero point, as loaded: nothing waits for a load before it is staged.
struct PackedEight {
    word: {{CODES}},
    scale_word: {{SCALE_WORD}},
    zero_point_word: {{ZERO_WORD}},
}

// Weights 8·index to 8·index + 7 of the matrix, row after row. Eight weights lie within one group.
fn load_w8(index: u32) -> PackedEight {
    let group_ix = index >> {{GROUP_SHIFT - 3}}u;
#if BITS == 4
    return PackedEight(words[index], load_scale_word(group_ix), load_zero_point_word(group_ix));
#else
    return PackedEight(load_chunk(index), load_scale_word(group_ix), load_zero_point_word(group_ix));
#endif
}

fn decode_w8(packed: PackedEight, index: u32) -> Eight {
    let group_ix = index >> {{GROUP_SHIFT - 3}}u;
    let factor = scale_in_word(packed.scale_word, group_ix) * CODE_SCALE / IN_PLACE;
    let codes = decode_eight(packed.word, zero_point_in_word(packed.zero_point_word, group_ix));
#if OFFSETS
    let offset = zero_point_in_word(packed.zero_point_word, group_ix);
    return Eight(codes.low * factor + offset, codes.high * factor + offset);
#else
    return Eight(codes.low * factor, codes.high * factor);
#endif
}

@compute @workgroup_size({{THREADS}})
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local_index: u32) {
#include "common/product_tile.wgsl"

    // Which units this invocation stages: half `unit % 2` of the 16 of K, of row or column `unit / 2`. Beyond the edges
    // the last row and column are staged again; what comes of them is not stored.
#for U in 0..X_UNITS
    let x_line{{U}} = (local_index + {{U * THREADS}}u) >> 1u;
    let x_half{{U}} = (local_index + {{U * THREADS}}u) & 1u;
#if GROUPED
    let x_row{{U}} = sorted[first_row + min(x_line{{U}}, n_rows - 1u)] / params.pairs_per_x;
#else
    let x_row{{U}} = first_row + min(x_line{{U}}, n_rows - 1u);
#endif
    let x_start{{U}} = ((x_row{{U}} * params.k) >> 3u) + x_half{{U}};
    var x_unit{{U}} = load_x8(x_start{{U}} + (k_begin >> 3u));
#endfor
#for U in 0..W_UNITS
    let w_line{{U}} = (local_index + {{U * THREADS}}u) >> 1u;
    let w_half{{U}} = (local_index + {{U * THREADS}}u) & 1u;
    let w_row{{U}} = first_w_row + min(first_column + w_line{{U}}, params.n - 1u);
    let w_start{{U}} = ((w_row{{U}} * params.k) >> 3u) + w_half{{U}};
    var w_unit{{U}} = load_w8(w_start{{U}} + (k_begin >> 3u));
#endfor

    // The sums of TM x TN elements: rows TM·thread_row.., columns TN·thread_column...
    let thread_row = local_index / {{BN / TN}}u;
    let thread_column = local_index % {{BN / TN}}u;
#for I in 0..TM
#for J in 0..TN / 4
    var sum{{I}}_{{J}} = vec4<f32>();
#endfor
#endfor

    for (var k0 = k_begin; k0 < k_end; k0 += 16u) {
        // Stage, K becoming the slow axis.
#for U in 0..X_UNITS
#for I in 0..4
        tile_x[(x_half{{U}} * 8u + {{I}}u) * {{X_STRIDE}}u + (x_line{{U}} >> 2u)][x_line{{U}} & 3u] = x_unit{{U}}.low[{{I}}];
        tile_x[(x_half{{U}} * 8u + {{I + 4}}u) * {{X_STRIDE}}u + (x_line{{U}} >> 2u)][x_line{{U}} & 3u] = x_unit{{U}}.high[{{I}}];
#endfor
#endfor
#for U in 0..W_UNITS
        let weights{{U}} = decode_w8(w_unit{{U}}, w_start{{U}} + (k0 >> 3u));
#for I in 0..4
        tile_w[(w_half{{U}} * 8u + {{I}}u) * {{W_STRIDE}}u + (w_line{{U}} >> 2u)][w_line{{U}} & 3u] = weights{{U}}.low[{{I}}];
        tile_w[(w_half{{U}} * 8u + {{I + 4}}u) * {{W_STRIDE}}u + (w_line{{U}} >> 2u)][w_line{{U}} & 3u] = weights{{U}}.high[{{I}}];
#endfor
#endfor
        workgroupBarrier();

        // Load the next step's; the last step loads its own again.
        let k_next = min(k0 + 16u, k_end - 16u) >> 3u;
#for U in 0..X_UNITS
        x_unit{{U}} = load_x8(x_start{{U}} + k_next);
#endfor
#for U in 0..W_UNITS
        w_unit{{U}} = load_w8(w_start{{U}} + k_next);
#endfor

        // Multiply.
        for (var k = 0u; k < 16u; k++) {
#for I in 0..TM / 4
            let x{{I}} = tile_x[k * {{X_STRIDE}}u + thread_row * {{TM / 4}}u + {{I}}u];
#endfor
#for J in 0..TN / 4
            let w{{J}} = tile_w[k * {{W_STRIDE}}u + thread_column * {{TN / 4}}u + {{J}}u];
#endfor
#for I in 0..TM
#for J in 0..TN / 4
            sum{{I}}_{{J}} = fma(vec4(x{{I / 4}}[{{I % 4}}]), w{{J}}, sum{{I}}_{{J}});
#endfor
#endfor
        }
        workgroupBarrier();
    }

    // Store.
#for I in 0..TM
    {
        let line = thread_row * {{TM}}u + {{I}}u;
        if line < n_rows {
#if GROUPED
            let row = sorted[first_row + line];
#else
            let row = first_row + line;
#endif
#for J in 0..TN / 4
#for L in 0..4
            {
                let column = first_column + thread_column * {{TN}}u + {{J * 4 + L}}u;
                if column < params.n {
#if SPLIT
                    y[(workgroup_id.z * params.m + row) * params.n + column] = sum{{I}}_{{J}}[{{L}}];
#else
                    var value = sum{{I}}_{{J}}[{{L}}] * params.tensor_scale;
#if BIAS
                    value += bias[column];
#endif
                    y[row * params.n + column] = {{Y_ELEM}}(value);
#endif
                }
            }
#endfor
#endfor
        }
    }
#endfor
}
