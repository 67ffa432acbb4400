// expect: words 0=6
// Lane 0 refills a tile each turn: y[0] = 0+1+2+3 = 6.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup uint s; uint t = 0; for (uint i = 0; i < 4; i++) { if (lane == 0) s = x[i]; threadgroup_barrier(mem_flags::mem_threadgroup); t += s; threadgroup_barrier(mem_flags::mem_threadgroup); } if (lane == 0) y[0] = t;
}
