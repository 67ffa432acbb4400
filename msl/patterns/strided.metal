// Twin of wgsl/patterns/strided.wgsl: output[i] = input[(i mod R)·STRIDE + i / R], R = n / STRIDE.
// 256 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint n;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const float* input [[buffer(1)]], // [n]
    device float* output [[buffer(2)]], // [n]
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    const uint i = (group.y * groups.x + group.x) * 256 + lane;
    if (i < params.n) {
        const uint n_rows = params.n / STRIDE;
        output[i] = input[(i % n_rows) * STRIDE + i / n_rows];
    }
}
