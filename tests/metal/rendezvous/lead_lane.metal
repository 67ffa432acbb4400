// expect: words 0=3 1=0
// One lane fills threadgroup memory, all pass one barrier, the same lane reads it back: y[0] = 0+1+2 = 3, y[1] = 0. No divergence.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]]) {
    threadgroup uint a[4];
    if (lane == 0) { for (uint i = 0; i < 3; i++) a[i] = x[i]; }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane == 0) { uint t = 0; for (uint i = 0; i < 3; i++) t += a[i]; y[0] = t; y[1] = a[0]; }
}
