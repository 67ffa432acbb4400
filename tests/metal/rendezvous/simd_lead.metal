// expect: words 0=2016
// Each simdgroup's lane 0 stores its sum, barrier, lane 0 of the threadgroup adds: y[0] = 2016.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]]) {
    threadgroup uint part[2];
    uint s = simd_sum(x[lane]);
    if (sl == 0) part[sg] = s;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (sl == 0) { if (sg == 0) y[0] = part[0] + part[1]; }
}
