// output[i, h] = softmax_j(q[i, h] · k[j, h / group] · scale + mask[i, j]) · v, in one pass
//
// Online softmax (Dao et al. 2022): a workgroup of 16 × 8 invocations owns 32 queries of a head and walks the
// keys in tiles of 32, keeping for each query the greatest score so far, the sum of exponentials, and the
// unnormalized output, all rescaled when the greatest score grows. Scores never leave the workgroup. Tiles
// beyond the last visible key are skipped.
//
// An invocation owns 4 consecutive queries: of scores 2 keys 16 apart, of the output HEAD_DIM / 16 columns 16
// apart; it keeps maxima and sums of its 4 queries, the same in 16 lanes, so that no reduction is needed.
// Q and K pass through workgroup memory in steps of CHUNK elements, V in tiles of 32 × 16·COLUMNS; each lane
// fetches 4 neighbouring elements, CHUNK / 4 lanes cover a row's step.
// Needs neither f16 nor subgroups.
#include "common/attention.wgsl"

@group(0) @binding(1) var<storage, read> q: array<Packed>;
@group(0) @binding(2) var<storage, read> k: array<Packed>;
@group(0) @binding(3) var<storage, read> v: array<Packed>;
@group(0) @binding(8) var<storage, read_write> output: array<Packed>;

// Stands for the exponential of a key that a query does not see: true ones are not negative.
const HIDDEN = -1.0;
const STEPS = {{CHUNK / 4}}u;
// Padded by one vec4 against bank conflicts between rows.
const STRIDE = {{CHUNK / 4 + 1}}u;
var<workgroup> q_tile: array<vec4<f32>, {{32 * (CHUNK / 4 + 1)}}>;
var<workgroup> k_tile: array<vec4<f32>, {{32 * (CHUNK / 4 + 1)}}>;
var<workgroup> p_tile: array<f32, {{32 * 33}}>;
var<workgroup> v_tile: array<f32, {{32 * 16 * COLUMNS}}>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    // The last queries see the most keys: they start first.
    let first_query = (params.n_queries - 1u) / 32u * 32u - workgroup_id.x * 32u;
    let head = workgroup_id.y;
    let last_query = min(first_query + 31u, params.n_queries - 1u);
    let n_tiles = (visible_keys(last_query) + 31u) / 32u;
    let n_first = visible_keys(first_query);
    let q_base = head * params.q_head_stride;
    let kv_base = head / params.group * params.kv_head_stride;
    let column = lane & 15u;
    let row = (lane >> 4u) * 4u;
#for R in 0..4
    let query_{{R}} = min(first_query + row + {{R}}u, last_query);
    let n_{{R}} = visible_keys(query_{{R}});
    var greatest_{{R}} = LOWEST;
    var sum_{{R}} = 0.0;
#for J in 0..HEAD_DIM / 16
    var o_{{R}}_{{J}} = 0.0;
#endfor
#endfor
    for (var tile = 0u; tile < n_tiles; tile++) {
        let first_key = tile * 32u;
#for R in 0..4
        var s_{{R}}_0 = 0.0;
        var s_{{R}}_1 = 0.0;
#endfor
        for (var d = 0u; d < {{HEAD_DIM / 4}}u; d += STEPS) {
            // All loads before the first store: a loop would wait for each.
#for I in 0..CHUNK / 16
            let r_{{I}} = (lane + {{128 * I}}u) / STEPS;
            let step_{{I}} = (lane + {{128 * I}}u) % STEPS;
            let key_{{I}} = min(first_key + r_{{I}}, params.n_keys - 1u);
            let q_row_{{I}} = q_base + min(first_query + r_{{I}}, last_query) * params.q_token_stride;
            let q_loaded_{{I}} = q[q_row_{{I}} / 4u + d + step_{{I}}];
            let k_loaded_{{I}} = k[(kv_base + key_{{I}} * params.kv_token_stride) / 4u + d + step_{{I}}];
#endfor
#for I in 0..CHUNK / 16
            q_tile[r_{{I}} * STRIDE + step_{{I}}] = unpack(q_loaded_{{I}});
            k_tile[r_{{I}} * STRIDE + step_{{I}}] = unpack(k_loaded_{{I}});
#endfor
            workgroupBarrier();
            for (var step = 0u; step < STEPS; step++) {
                let k_0 = k_tile[column * STRIDE + step];
                let k_1 = k_tile[(column + 16u) * STRIDE + step];
#for R in 0..4
                let q_{{R}} = q_tile[(row + {{R}}u) * STRIDE + step];
                s_{{R}}_0 += dot(q_{{R}}, k_0);
                s_{{R}}_1 += dot(q_{{R}}, k_1);
#endfor
            }
            workgroupBarrier();
        }
#for R in 0..4
#for J in 0..2
        {
            let key = first_key + column + {{16 * J}}u;
            if key < n_{{R}} {
                s_{{R}}_{{J}} = masked_score(s_{{R}}_{{J}} * params.scale, query_{{R}}, key);
            } else {
                s_{{R}}_{{J}} = MASKED;
            }
            p_tile[(row + {{R}}u) * 33u + column + {{16 * J}}u] = s_{{R}}_{{J}};
        }
#endfor
#endfor
        workgroupBarrier();
#for R in 0..4
        {
            var greatest = greatest_{{R}};
            for (var i = 0u; i < 32u; i++) {
                greatest = max(greatest, p_tile[(row + {{R}}u) * 33u + i]);
            }
            let factor = exp2(greatest_{{R}} - greatest);
            greatest_{{R}} = greatest;
            sum_{{R}} *= factor;
#for J in 0..HEAD_DIM / 16
            o_{{R}}_{{J}} *= factor;
#endfor
        }
#endfor
        workgroupBarrier();
#for R in 0..4
#for J in 0..2
        p_tile[(row + {{R}}u) * 33u + column + {{16 * J}}u] =
            select(exp2(s_{{R}}_{{J}} - greatest_{{R}}), HIDDEN, s_{{R}}_{{J}} == MASKED);
#endfor
#endfor
#for V in 0..HEAD_DIM / 16 / COLUMNS
#for I in 0..COLUMNS
        let v_key_{{V}}_{{I}} = min(first_key + (lane + {{128 * I}}u) / {{4 * COLUMNS}}u, params.n_keys - 1u);
        let v_step_{{V}}_{{I}} = {{V * 4 * COLUMNS}}u + (lane + {{128 * I}}u) % {{4 * COLUMNS}}u;
        let v_loaded_{{V}}_{{I}} = v[(kv_base + v_key_{{V}}_{{I}} * params.kv_token_stride) / 4u + v_step_{{V}}_{{I}}];
#endfor
#for I in 0..COLUMNS
        let v_{{V}}_{{I}} = unpack(v_loaded_{{V}}_{{I}});
#for J in 0..4
        v_tile[(lane + {{128 * I}}u) * 4u + {{J}}u] = v_{{V}}_{{I}}[{{J}}];
#endfor
#endfor
        workgroupBarrier();
#if !MASK
        if first_key + 32u <= n_first {
            for (var key = 0u; key < 32u; key++) {
#for R in 0..4
                let p_{{R}} = p_tile[(row + {{R}}u) * 33u + key];
#if V == 0
                sum_{{R}} += p_{{R}};
#endif
#endfor
#for J in 0..COLUMNS
                {
                    let value = v_tile[key * {{16 * COLUMNS}}u + {{16 * J}}u + column];
#for R in 0..4
                    o_{{R}}_{{V * COLUMNS + J}} += p_{{R}} * value;
#endfor
                }
#endfor
            }
        } else
#endif
        {
            // Some key is hidden from some query: 0 times what its value holds could be NaN.
            for (var key = 0u; key < 32u; key++) {
#for R in 0..4
                let p_{{R}} = p_tile[(row + {{R}}u) * 33u + key];
                let hidden_{{R}} = p_{{R}} == HIDDEN;
#if V == 0
                sum_{{R}} += select(p_{{R}}, 0.0, hidden_{{R}});
#endif
#endfor
#for J in 0..COLUMNS
                {
                    let value = v_tile[key * {{16 * COLUMNS}}u + {{16 * J}}u + column];
#for R in 0..4
                    o_{{R}}_{{V * COLUMNS + J}} += select(p_{{R}} * value, 0.0, hidden_{{R}});
#endfor
                }
#endfor
            }
        }
        workgroupBarrier();
#endfor
    }
#for R in 0..4
    let factor_{{R}} = select(0.0, 1.0 / sum_{{R}}, sum_{{R}} > 0.0);
#endfor
    // Through workgroup memory, so that a lane stores 4 neighbouring elements.
#for V in 0..HEAD_DIM / 16 / COLUMNS
#for J in 0..COLUMNS
#for R in 0..4
    v_tile[(row + {{R}}u) * {{16 * COLUMNS}}u + {{16 * J}}u + column] = o_{{R}}_{{V * COLUMNS + J}} * factor_{{R}};
#endfor
#endfor
    workgroupBarrier();
    for (var i = lane; i < {{32 * 4 * COLUMNS}}u; i += 128u) {
        let query = first_query + i / {{4 * COLUMNS}}u;
        let step = i % {{4 * COLUMNS}}u;
        if query <= last_query {
            let values = vec4<f32>(v_tile[i * 4u], v_tile[i * 4u + 1u], v_tile[i * 4u + 2u], v_tile[i * 4u + 3u]);
            output[(q_base + query * params.q_token_stride) / 4u + {{V * 4 * COLUMNS}}u + step] = pack(values);
        }
    }
    workgroupBarrier();
#endfor
}
