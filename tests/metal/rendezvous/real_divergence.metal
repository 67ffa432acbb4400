// expect: divergent barrier
// WRONG ON PURPOSE: half of the lanes skip the barrier; must be reported.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup uint s; if (lane < 32) { s = lane; threadgroup_barrier(mem_flags::mem_threadgroup); } y[lane] = 1;
}
