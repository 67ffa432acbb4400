// scores[h, i, j] = softmax_j(q[i, h] · k[j, h / group] · scale + mask[i, j]), keys stored [kv_heads, head_dim, keys]
//
// As `naive`, with keys transposed in memory: an invocation owns two neighbouring keys, and at each step over
// head_dim lane l reads the pair next to lane l + 1's: 128 consecutive bytes of f16 at 32 lanes.
#include "common/attention.wgsl"

@group(0) @binding(1) var<storage, read> q: array<Packed>;
@group(0) @binding(2) var<storage, read> k: array<Packed>; // [kv_heads][HEAD_DIM][score_stride / 2]
#include "common/score_row.wgsl"

@compute @workgroup_size({{THREADS}})
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = workgroup_id.x;
    let head = workgroup_id.y;
    let n = visible_keys(query);
    let base = (head * params.n_queries + query) * params.score_stride;
    let row = params.score_stride >> 1u;
    let kv_base = head / params.group * {{HEAD_DIM}}u * row;
    load_query(query, head, lane);
    for (var key = lane * 2u; key < n; key += {{2 * THREADS}}u) {
        var pair = vec2<f32>();
        for (var d = 0u; d < {{HEAD_DIM / 2}}u; d++) {
            let at = kv_base + d * 2u * row + (key >> 1u);
            pair += query_row[d].x * unpack(k[at]) + query_row[d].y * unpack(k[at + row]);
        }
        scores[base + key] = masked_score(pair.x * params.scale, query, key);
        if key + 1u < n {
            scores[base + key + 1u] = masked_score(pair.y * params.scale, query, key + 1u);
        }
    }
    softmax_row(base, n, lane);
}
