// Twin of wgsl/attention/naive.wgsl: softmaxed scores through memory; a threadgroup per query and head, a
// thread per key row, two elements at a time. THREADS threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/attention.metal"

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* q [[buffer(1)]],
    device const elem* k [[buffer(2)]],
    device float* scores [[buffer(3)]], // [heads][n_queries][score_stride]
#if MASK
    device const float* mask [[buffer(4)]], // [n_queries, n_keys]
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    threadgroup float2 query_row[HEAD_DIM / 2];
    threadgroup float reduced[THREADS];
    const uint query = group.x;
    const uint head = group.y;
    const uint n = visible_keys(params, query);
    device float* row_scores = scores + (head * params.n_queries + query) * params.score_stride;
    device const elem2* q_row =
        (device const elem2*)(q + query * params.q_token_stride + head * params.q_head_stride);
    for (uint d = lane; d < HEAD_DIM / 2; d += THREADS) {
        query_row[d] = float2(q_row[d]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint key = lane; key < n; key += THREADS) {
        const uint base = head / params.group * params.kv_head_stride + key * params.kv_token_stride;
        device const elem2* row = (device const elem2*)(k + base);
        float score = 0.0f;
        for (uint d = 0; d < HEAD_DIM / 2; d++) {
            score += dot(query_row[d], float2(row[d]));
        }
        score *= params.scale;
#if MASK
        score = biased(score, mask[query * params.n_keys + key]);
#endif
        row_scores[key] = score;
    }
    threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup);
    float greatest = LOWEST;
    for (uint key = lane; key < n; key += THREADS) {
        greatest = max(greatest, row_scores[key]);
    }
    reduced[lane] = greatest;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint width = THREADS / 2; width > 0; width >>= 1) {
        if (lane < width) {
            reduced[lane] = max(reduced[lane], reduced[lane + width]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    greatest = reduced[0];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float sum = 0.0f;
    for (uint key = lane; key < n; key += THREADS) {
        const float p = exp2(row_scores[key] - greatest);
        row_scores[key] = p;
        sum += p;
    }
    reduced[lane] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint width = THREADS / 2; width > 0; width >>= 1) {
        if (lane < width) {
            reduced[lane] += reduced[lane + width];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const float total = reduced[0];
    const float factor = total > 0.0f ? 1.0f / total : 0.0f;
    for (uint key = lane; key < n; key += THREADS) {
        row_scores[key] *= factor;
    }
}
