// Expert product as commonly written: one invocation per element of y, weights gathered by the token's expert ids.
//
//   y[r, j] = tensor_scale * sum over c of probabilities[p] * sum over k of x[p / pairs_per_x, k] * W[expert_ids[p]][j, k]
//   with p = r * choices + c
//
// A pair p is a (token, choice). A row of y is a token and sums its `choices` pairs, or it is a pair (choices = 1); likewise
// a row of x serves `pairs_per_x` pairs.
//
// words       u32  [experts, n, k/8]   8 codes each, along K
// scales      u32  [...]               packed, groups [experts, n, k/GROUP]
// x           f16 or f32 [pairs / pairs_per_x, k]
// expert_ids  u32  [pairs]             an id of EXPERTS or more chooses nothing
// probabilities       f32  [pairs]             1 if not WEIGHTED
// y           f16 or f32 [rows, n]
//
// A workgroup owns 16 x 16 elements. Lanes 0 to 15 and 16 to 31 of a subgroup hold two rows, whose experts differ: each
// load touches 32 rows k/2 bytes apart, and no weight is used twice. f32 accumulation.
// Needs shader-f16 where x or y is f16.
#if X_F16 || Y_F16
enable f16;
#endif
#define BY_CODE
#include "common/weights.wgsl"

struct Params {
    rows: u32,
    n: u32,
    k: u32,
    choices: u32,
    tensor_scale: f32,
    pairs_per_x: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
@group(0) @binding(3) var<storage, read> x: array<{{X_ELEM}}>;
@group(0) @binding(4) var<storage, read> expert_ids: array<u32>;
#if WEIGHTED
@group(0) @binding(5) var<storage, read> probabilities: array<f32>;
#endif
@group(0) @binding(6) var<storage, read_write> y: array<{{Y_ELEM}}>;
#if ZERO_POINTS
@group(0) @binding(7) var<storage, read> zero_points: array<u32>;
#endif

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    let row = id.y;
    if row >= params.rows || column >= params.n {
        return;
    }
    var total = 0.0;
    for (var choice = 0u; choice < params.choices; choice++) {
        let pair = row * params.choices + choice;
        let expert = expert_ids[pair];
        if expert < {{EXPERTS}}u {
            let x_row = pair / params.pairs_per_x;
            var sum = 0.0;
            for (var k = 0u; k < params.k; k++) {
                let element = (expert * params.n + column) * params.k + k;
                let group_ix = element / {{GROUP}}u;
#if BITS == 4
                let code = (words[element / 8u] >> (4u * (k % 8u))) & 15u;
#else
                let code = load_code(element);
#endif
#if OFFSETS
                let weight = code_value(code, 0.0) * load_scale(group_ix) + load_zero_point(group_ix);
#else
                let weight = code_value(code, load_zero_point(group_ix)) * load_scale(group_ix);
#endif
                sum += weight * f32(x[x_row * params.k + k]);
            }
#if WEIGHTED
            sum *= probabilities[pair];
#endif
            total += sum;
        }
    }
    y[row * params.n + column] = {{Y_ELEM}}(total * params.tensor_scale);
}
