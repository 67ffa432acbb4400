// Twin of wgsl/router/subgroup.wgsl: a simdgroup per expert row and TOKENS tokens.
// 128 threads per threadgroup, simdgroups of WIDTH lanes.
#include <metal_stdlib>
using namespace metal;
#include "common/router.metal"

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* activations [[buffer(1)]], // [n_tokens, hidden]
    device const elem* weights [[buffer(2)]], // [experts, hidden]
    device float* logits [[buffer(3)]], // [logit_rows][logit_stride]
    uint3 group [[threadgroup_position_in_grid]],
    uint subgroup_id [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]
) {
    const uint expert = group.x * (THREADS / WIDTH) + subgroup_id;
    const uint first_token = group.y * TOKENS;
    const uint row = min(expert, params.experts - 1);
    float sums[TOKENS] = {};
    for (uint d = lane * 4; d < params.hidden; d += 4 * WIDTH) {
        const float4 w = load4(weights, params.hidden, row, d);
        for (uint t = 0; t < TOKENS; t++) {
            const uint token = min(first_token + t, params.n_tokens - 1);
            sums[t] += dot(w, load4(activations, params.hidden, token, d));
        }
    }
    for (uint t = 0; t < TOKENS; t++) {
        const float total = simd_sum(sums[t]);
        if (lane == 0 && expert < params.experts && first_token + t < params.n_tokens) {
            logits[(first_token + t) * params.logit_stride + expert] = total;
        }
    }
}
