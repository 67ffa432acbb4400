// Twin of wgsl/patterns/workgroup.wgsl: output[i] = sum over k < 64 of tile[(lane·STRIDE + k) mod 4096].
// 256 threads and 16 KiB of threadgroup memory per threadgroup.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint n;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const float* input [[buffer(1)]], // [4096]
    device float* output [[buffer(2)]], // [n]
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    const uint i = (group.y * groups.x + group.x) * 256 + lane;
    threadgroup float tile[4096];
    for (uint k = 0; k < 4096; k += 256) {
        tile[k + lane] = input[k + lane];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float sum = 0.0f;
    for (uint k = 0; k < 64; k++) {
        sum += tile[(lane * STRIDE + k) & 4095];
    }
    if (i < params.n) {
        output[i] = sum;
    }
}
