// Twin of wgsl/attention/weighted_sum.wgsl: output = scores · v; a threadgroup per query and head, a thread
// per two neighbouring elements. HEAD_DIM / 2 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/attention.metal"

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* v [[buffer(1)]],
    device const float* scores [[buffer(2)]], // [heads][n_queries][score_stride]
    device elem* output [[buffer(3)]],
#if MASK
    device const float* mask [[buffer(4)]], // [n_queries, n_keys]
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    const uint query = group.x;
    const uint head = group.y;
    const uint n = visible_keys(params, query);
    device const float* row_scores = scores + (head * params.n_queries + query) * params.score_stride;
    device const elem* column = v + head / params.group * params.kv_head_stride + 2 * lane;
    float2 sum = float2(0.0f);
    for (uint key = 0; key < n; key++) {
#if MASK
        // Of a hidden key nothing is used: 0 times what its value holds could be NaN.
        if (hides(mask[query * params.n_keys + key])) {
            continue;
        }
#endif
        sum += row_scores[key] * float2(*(device const elem2*)(column + key * params.kv_token_stride));
    }
    device elem* out = output + query * params.q_token_stride + head * params.q_head_stride + 2 * lane;
    *(device elem2*)out = elem2(sum);
}
