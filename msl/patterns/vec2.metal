// Twin of wgsl/patterns/vec2.wgsl: output[i] = input[i], 2 elements per thread. 256 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint n;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const float2* input [[buffer(1)]], // [n / 2]
    device float2* output [[buffer(2)]], // [n / 2]
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    const uint i = (group.y * groups.x + group.x) * 256 + lane;
    if (i < params.n / 2) {
        output[i] = input[i];
    }
}
