// expect: words 32=0 33=1 34=2 35=3 63=31 0=0
// First half writes, second half reads: y[32..36] = 0 1 2 3; y[0] = 0.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup uint a[32]; if (lane < 32) a[lane] = x[lane]; threadgroup_barrier(mem_flags::mem_threadgroup); if (lane >= 32) y[lane] = a[lane - 32];
}
