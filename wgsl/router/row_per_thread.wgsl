// expert_ids, probabilities = top_k(softmax(activations · weightsᵀ)), weights [experts, hidden]
//
// As `naive`, with the transposed weights that advice recommends: a workgroup owns a token, an invocation an
// expert row. In each step over `hidden`, lane l reads weights[l·hidden + d]: neighbours are a whole row
// apart, and each lane's request touches a line of its own.
#include "common/grid.wgsl"
#include "common/router.wgsl"
#include "common/top_k.wgsl"

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let token = workgroup_index(workgroup_id, num_workgroups);
    if token >= params.n_tokens {
        return;
    }
    for (var expert = lane; expert < params.experts; expert += {{THREADS}}u) {
        var sum = 0.0;
        for (var d = 0u; d < params.hidden; d++) {
            sum += activation(token * params.hidden + d) * weight(expert * params.hidden + d);
        }
        row_keys[expert] = order_key(sum);
    }
    workgroupBarrier();
    select_experts(token, lane);
}
