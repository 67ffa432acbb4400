// scores[h, i, j] = softmax_j(q[i, h] · k[j, h / group] · scale + mask[i, j]), through memory
//
// A workgroup owns a query of a head, an invocation a key (and every THREADS-th after it): lane l reads
// k[j + l] two elements at a time, so that neighbours are a whole key row apart. Raw scores are written to
// memory, read for the maximum, rewritten as exponentials, and rewritten normalized.
#include "common/attention.wgsl"

@group(0) @binding(1) var<storage, read> q: array<Packed>;
@group(0) @binding(2) var<storage, read> k: array<Packed>;
#include "common/score_row.wgsl"

@compute @workgroup_size({{THREADS}})
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = workgroup_id.x;
    let head = workgroup_id.y;
    let n = visible_keys(query);
    let base = (head * params.n_queries + query) * params.score_stride;
    let kv_base = head / params.group * params.kv_head_stride;
    load_query(query, head, lane);
    for (var key = lane; key < n; key += {{THREADS}}u) {
        let row = (kv_base + key * params.kv_token_stride) / {{LOAD}}u;
        var score = 0.0;
        for (var d = 0u; d < {{HEAD_DIM / LOAD}}u; d++) {
            score += dot(query_row[d], unpack(k[row + d]));
        }
        scores[base + key] = masked_score(score * params.scale, query, key);
    }
    softmax_row(base, n, lane);
}
