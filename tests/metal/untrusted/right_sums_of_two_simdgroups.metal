// run: 1 of 64
// expect: words 100=2080
#include <metal_stdlib>
using namespace metal;
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint t[8];
  uint s = simd_sum(a[l]); if (lane == 0) t[sg] = s;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (l == 0) a[100] = t[0] + t[1];
}
