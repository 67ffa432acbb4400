// Twin of wgsl/expert_gemm/count.wgsl: counts[b, e] = number of pairs of block b (256 pairs) that chose expert e.
// A threadgroup of 256 threads per block.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint n_pairs;
    uint blocks;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* expert_ids [[buffer(1)]],
    device uint* counts [[buffer(2)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    threadgroup uint ids[256];
    const uint pair = group.x * 256 + lane;
    ids[lane] = pair < params.n_pairs ? expert_ids[pair] : 0xffffffffu;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint expert = lane; expert < EXPERTS; expert += 256) {
        uint count = 0;
#pragma unroll(8)
        for (uint i = 0; i < 256; i++) {
            count += ids[i] == expert ? 1 : 0;
        }
        counts[group.x * EXPERTS + expert] = count;
    }
}
