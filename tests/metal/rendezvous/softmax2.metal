// expect: words 0=63 1=63 2=64 63=64
// Maximum by lane 0, then used by all: y[1] = 63, y[2] = 64.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup uint m; if (lane == 0) { uint g = 0; for (uint i = 0; i < 64; i++) g = max(g, x[i]); m = g; } threadgroup_barrier(mem_flags::mem_threadgroup); y[lane] = m + (lane > 1 ? 1 : 0);
}
