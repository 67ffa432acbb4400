// expect: words 0=5
// A barrier in a branch that all take: y[0] = 5.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup uint s; if (x[1] == 1) { if (lane == 0) s = 5; threadgroup_barrier(mem_flags::mem_threadgroup); } if (lane == 0) y[0] = s;
}
