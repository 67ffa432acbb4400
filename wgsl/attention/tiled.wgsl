// scores[h, i, j] = softmax_j(q[i, h] · k[j, h / group] · scale + mask[i, j]), K tiles in workgroup memory
//
// As `naive`, with the tiles that advice recommends: THREADS invocations fetch KEYS key rows together (lane l
// reads LOAD elements next to lane l + 1's) into workgroup memory, rows padded by one load; then each of KEYS
// invocations walks its own row there. The fetch is coalesced; but the workgroup has one query, so that each
// staged element is used once.
#include "common/attention.wgsl"

@group(0) @binding(1) var<storage, read> q: array<Packed>;
@group(0) @binding(2) var<storage, read> k: array<Packed>;
#include "common/score_row.wgsl"

const ROW = {{HEAD_DIM / LOAD}}u;
const STRIDE = {{HEAD_DIM / LOAD + 1}}u;
var<workgroup> tile: array<Packed, {{KEYS * (HEAD_DIM / LOAD + 1)}}>;

@compute @workgroup_size({{THREADS}})
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = workgroup_id.x;
    let head = workgroup_id.y;
    let n = visible_keys(query);
    let base = (head * params.n_queries + query) * params.score_stride;
    let kv_base = head / params.group * params.kv_head_stride;
    load_query(query, head, lane);
    for (var first = 0u; first < n; first += {{KEYS}}u) {
        let n_tile = min({{KEYS}}u, n - first);
        for (var i = lane; i < n_tile * ROW; i += {{THREADS}}u) {
            let row = i / ROW;
            let d = i % ROW;
            tile[row * STRIDE + d] = k[(kv_base + (first + row) * params.kv_token_stride) / {{LOAD}}u + d];
        }
        workgroupBarrier();
        if lane < n_tile {
            var score = 0.0;
            for (var d = 0u; d < ROW; d++) {
                score += dot(query_row[d], unpack(tile[lane * STRIDE + d]));
            }
            scores[base + first + lane] = masked_score(score * params.scale, query, first + lane);
        }
        workgroupBarrier();
    }
    softmax_row(base, n, lane);
}
