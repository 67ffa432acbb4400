// Twin of wgsl/attention/combine.wgsl: joins the parts that `split` made; a threadgroup per query and head.
// 128 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/attention.metal"

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const float4* partial [[buffer(1)]], // [n_queries][heads][n_splits][HEAD_DIM / 4]
    device const float2* partial_sums [[buffer(2)]], // [n_queries][heads][n_splits]
    device elem* output [[buffer(3)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    constexpr uint LANES = 128 / GROUPS;
    threadgroup float weights[256];
    threadgroup float reduced[128];
    threadgroup float4 sets[128];
    const uint query = group.x;
    const uint head = group.y;
    const uint base = (query * params.heads + head) * params.n_splits;
    float greatest = LOWEST;
    for (uint s = lane; s < params.n_splits; s += 128) {
        greatest = max(greatest, partial_sums[base + s].x);
    }
    reduced[lane] = greatest;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint width = 64; width > 0; width >>= 1) {
        if (lane < width) {
            reduced[lane] = max(reduced[lane], reduced[lane + width]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    greatest = reduced[0];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float sum = 0.0f;
    for (uint s = lane; s < params.n_splits; s += 128) {
        const float2 part = partial_sums[base + s];
        const float weight = exp2(part.x - greatest);
        weights[s] = weight;
        sum += weight * part.y;
    }
    reduced[lane] = sum;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint width = 64; width > 0; width >>= 1) {
        if (lane < width) {
            reduced[lane] += reduced[lane + width];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const float total = reduced[0];
    const float factor = total > 0.0f ? 1.0f / total : 0.0f;
    const uint d = lane % LANES;
    float4 joined = float4(0.0f);
    if (d < HEAD_DIM / 4) {
        for (uint s = lane / LANES; s < params.n_splits; s += GROUPS) {
            joined += weights[s] * partial[(base + s) * (HEAD_DIM / 4) + d];
        }
    }
    sets[lane] = joined;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane < HEAD_DIM / 4) {
        float4 all = sets[lane];
        for (uint g = 1; g < GROUPS; g++) {
            all += sets[g * LANES + lane];
        }
        device elem* out = output + query * params.q_token_stride + head * params.q_head_stride;
        ((device elem4*)out)[lane] = elem4(all * factor);
    }
}
