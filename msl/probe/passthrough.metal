// Twin of wgsl/probe/passthrough.wgsl: slots count buffers in the order of their bindings, gaps left out.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint mark;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* input [[buffer(1)]], // [128]
    device uint* first [[buffer(2)]], // [128]
    device uint* second [[buffer(3)]], // [128]
    uint i [[thread_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    threadgroup uint values[64];
    values[lane] = input[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    first[i] = values[63 - lane] + params.mark + 1000;
    second[i] = values[63 - lane] + params.mark + 2000;
}
