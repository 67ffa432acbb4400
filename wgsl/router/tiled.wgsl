// Partial logits[s, t, e] = activations[t, d] · weights[e, d] over the s-th part of d, for many tokens
//
// A workgroup of 16 × 8 invocations owns 64 tokens × 16·COLUMNS experts of one split of `hidden`; an
// invocation owns 8 consecutive tokens × COLUMNS experts 16 apart. Both operands pass through workgroup
// memory in steps of 16 elements, transposed to [element][row], so that a weight row is read once per 64
// tokens. Each lane fetches 4 consecutive elements; 4 lanes cover a row's step.
// In the inner loop a lane reads two vec4 of activations, which 16 lanes share, and COLUMNS words of weights
// that are neighbours across lanes: 8·COLUMNS multiply-adds for 2 + COLUMNS reads.
// Needs neither f16 nor subgroups.
#include "common/router.wgsl"

@group(0) @binding(3) var<storage, read_write> logits: array<f32>; // [n_splits][logit_rows][logit_stride]

// A row of 64 tokens, padded by one vec4 against bank conflicts of the transposing stores.
const A_STRIDE = 17u;
const W_STRIDE = {{16 * COLUMNS + 1}}u;
var<workgroup> activation_tile: array<vec4<f32>, {{16 * 17}}>; // [16][64 + 4]
var<workgroup> weight_tile: array<f32, {{16 * (16 * COLUMNS + 1)}}>; // [16][16·COLUMNS + 1]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_expert = workgroup_id.x * {{16 * COLUMNS}}u;
    let first_token = workgroup_id.y * 64u;
    let split = workgroup_id.z;
    let column = lane & 15u;
    let row = lane >> 4u;
    // What this invocation stages: 4 elements from `step` on, of every 32nd row from `staged_row` on.
    let step = (lane & 3u) * 4u;
    let staged_row = lane >> 2u;
    let begin = split * params.split_len;
    let end = min(begin + params.split_len, params.hidden);

#for R in 0..8
#for J in 0..COLUMNS
    var sum_{{R}}_{{J}} = 0.0;
#endfor
#endfor
    for (var d = begin; d < end; d += 16u) {
        let source = d + step;
#for I in 0..2
        {
            let r = staged_row + {{32 * I}}u;
            var loaded = vec4<f32>();
            if first_token + r < params.n_tokens && source < end {
                loaded = activation4(first_token + r, source);
            }
#for J in 0..4
            activation_tile[(step + {{J}}u) * A_STRIDE + (r >> 2u)][r & 3u] = loaded[{{J}}];
#endfor
        }
#endfor
        for (var r = staged_row; r < {{16 * COLUMNS}}u; r += 32u) {
            var loaded = vec4<f32>();
            if first_expert + r < params.experts && source < end {
                loaded = weight4(first_expert + r, source);
            }
#for J in 0..4
            weight_tile[(step + {{J}}u) * W_STRIDE + r] = loaded[{{J}}];
#endfor
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            let a_0 = activation_tile[k * A_STRIDE + row * 2u];
            let a_1 = activation_tile[k * A_STRIDE + row * 2u + 1u];
#for J in 0..COLUMNS
            let w_{{J}} = weight_tile[k * W_STRIDE + column + {{16 * J}}u];
#endfor
#for R in 0..8
#for J in 0..COLUMNS
            sum_{{R}}_{{J}} += a_{{R / 4}}[{{R % 4}}] * w_{{J}};
#endfor
#endfor
        }
        workgroupBarrier();
    }
#for R in 0..8
    {
        let token = first_token + row * 8u + {{R}}u;
        if token < params.n_tokens {
            let base = (split * params.logit_rows + token) * params.logit_stride + first_expert + column;
#for J in 0..COLUMNS
            if first_expert + column + {{16 * J}}u < params.experts {
                logits[base + {{16 * J}}u] = sum_{{R}}_{{J}};
            }
#endfor
        }
    }
#endfor
}
