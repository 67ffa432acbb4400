// output[i, h] = Σ_j scores[h, i, j] · v[j, h / group], the second step of the two-step path
//
// A workgroup owns a query of a head, an invocation two neighbouring elements: lane l reads the pair next to
// lane l + 1's of each value row, and all lanes the same score.
#include "common/attention.wgsl"

@group(0) @binding(3) var<storage, read> v: array<Packed>;
@group(0) @binding(4) var<storage, read> scores: array<f32>; // [heads][n_queries][score_stride]
@group(0) @binding(8) var<storage, read_write> output: array<Packed>;

@compute @workgroup_size({{HEAD_DIM / LOAD}})
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = workgroup_id.x;
    let head = workgroup_id.y;
    let n = visible_keys(query);
    let base = (head * params.n_queries + query) * params.score_stride;
    let kv_base = head / params.group * params.kv_head_stride;
    var sum = Unpacked();
    for (var key = 0u; key < n; key++) {
        let value = unpack(v[(kv_base + key * params.kv_token_stride) / {{LOAD}}u + lane]);
        // Of a hidden key nothing is used: 0 times what its value holds could be NaN.
        sum += select(scores[base + key] * value, Unpacked(), hidden_by_mask(query, key));
    }
    output[(query * params.q_token_stride + head * params.q_head_stride) / {{LOAD}}u + lane] = pack(sum);
}
