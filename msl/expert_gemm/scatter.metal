// Twin of wgsl/expert_gemm/scatter.wgsl: sorted[firsts[e] + counts[b, e] + rank] = pair. Stable.
// A threadgroup of 256 threads per block of 256 pairs.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint n_pairs;
    uint blocks;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* expert_ids [[buffer(1)]],
    device const uint* counts [[buffer(2)]],
    device const uint* firsts [[buffer(3)]],
    device uint* sorted [[buffer(4)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    threadgroup uint ids[256];
    const uint pair = group.x * 256 + lane;
    const uint id = pair < params.n_pairs ? expert_ids[pair] : 0xffffffffu;
    ids[lane] = id;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (id >= EXPERTS) {
        return;
    }
    uint rank = 0;
#pragma unroll(8)
    for (uint i = 0; i < 256; i++) {
        rank += ids[i] == id && i < lane ? 1 : 0;
    }
    sorted[firsts[id] + counts[group.x * EXPERTS + id] + rank] = pair;
}
