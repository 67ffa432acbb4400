// expect: words 0=2016
// Partial sums by simdgroup leaders, read by all: y[0] = 2016.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup uint sh[32]; if (sg == 0) sh[sl] = 0; uint s = simd_sum(x[lane]); threadgroup_barrier(mem_flags::mem_threadgroup); if (sl == 0) sh[sg] = s; threadgroup_barrier(mem_flags::mem_threadgroup); s = sh[sl]; s = simd_sum(s); if (lane == 0) y[0] = s;
}
