// expect: words 0=64
// Counter cleared by lane 0, read by lane 0: y[0] = 64.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
threadgroup atomic_uint c; if (lane == 0) atomic_store_explicit(&c, 0, memory_order_relaxed); threadgroup_barrier(mem_flags::mem_threadgroup); atomic_fetch_add_explicit(&c, 1, memory_order_relaxed); threadgroup_barrier(mem_flags::mem_threadgroup); if (lane == 0) y[0] = atomic_load_explicit(&c, memory_order_relaxed);
}
