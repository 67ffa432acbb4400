// Twin of wgsl/router/naive.wgsl: a threadgroup per token, a thread per expert, weights [hidden, experts].
#include <metal_stdlib>
using namespace metal;
#include "common/router.metal"
#include "common/top_k.metal"

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* activations [[buffer(1)]], // [n_tokens, hidden]
    device const elem* weights [[buffer(2)]], // [hidden, experts]
    device uint* expert_ids [[buffer(3)]], // [n_tokens, top_k]
    device float* probabilities [[buffer(4)]], // [n_tokens, top_k]
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    threadgroup uint row_keys[512];
    threadgroup float ranked[512];
    const uint token = group.y * groups.x + group.x;
    if (token >= params.n_tokens) {
        return;
    }
    for (uint expert = lane; expert < params.experts; expert += THREADS) {
        float sum = 0.0f;
        for (uint d = 0; d < params.hidden; d++) {
            sum += float(activations[token * params.hidden + d]) * float(weights[d * params.experts + expert]);
        }
        row_keys[expert] = order_key(sum);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    select_experts(params, expert_ids, probabilities, row_keys, ranked, token, lane);
}
