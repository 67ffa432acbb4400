// scores[h, i, j] = softmax_j(q[i, h] · k[j, h / group] · scale + mask[i, j]), K transposed between registers
//
// As `naive`, with the subgroup transpose that advice recommends: WIDTH lanes read WIDTH key rows, one after
// the other, lane l the pair next to lane l + 1's; then log2(WIDTH) exchanges give each lane a row of its own.
// Coalesced without workgroup memory, at WIDTH/2 · log2(WIDTH) shuffles per WIDTH·WIDTH pairs.
// Needs subgroups of WIDTH lanes.
#include "common/attention.wgsl"

@group(0) @binding(1) var<storage, read> q: array<Packed>;
@group(0) @binding(2) var<storage, read> k: array<Packed>;
#include "common/score_row.wgsl"

const ROW = {{HEAD_DIM / LOAD}}u;

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(subgroup_invocation_id) sub_lane: u32,
) {
    let query = workgroup_id.x;
    let head = workgroup_id.y;
    let n = visible_keys(query);
    let base = (head * params.n_queries + query) * params.score_stride;
    let kv_base = head / params.group * params.kv_head_stride;
    load_query(query, head, lane);
    for (var first = 0u; first < n; first += {{THREADS}}u) {
        let own = first + subgroup_id * {{WIDTH}}u;
        var score = 0.0;
        for (var d = 0u; d < ROW; d += {{WIDTH}}u) {
            // Beyond the edges a lane repeats the last row and the last pair; neither is used.
            let column = min(d + sub_lane, ROW - 1u);
#for R in 0..WIDTH
            var r_{{R}} = k[(kv_base + min(own + {{R}}u, n - 1u) * params.kv_token_stride) / {{LOAD}}u + column];
#endfor
#for S in 0..STAGES
            {
                let upper = (sub_lane & {{1 << S}}u) != 0u;
#for R in 0..WIDTH
#if (R & (1 << S)) == 0
                let got_{{R}} = subgroupShuffleXor(select(r_{{R + (1 << S)}}, r_{{R}}, upper), {{1 << S}}u);
                r_{{R + (1 << S)}} = select(got_{{R}}, r_{{R + (1 << S)}}, upper);
                r_{{R}} = select(r_{{R}}, got_{{R}}, upper);
#endif
#endfor
            }
#endfor
#for R in 0..WIDTH
            if d + {{R}}u < ROW {
                score += dot(query_row[d + {{R}}u], unpack(r_{{R}}));
            }
#endfor
        }
        let key = own + sub_lane;
        if key < n {
            scores[base + key] = masked_score(score * params.scale, query, key);
        }
    }
    softmax_row(base, n, lane);
}
