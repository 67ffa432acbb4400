// run: 1 of 64
// expect: trap
#include <metal_stdlib>
using namespace metal;
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { if (l == 3) __builtin_trap(); a[l] = l; }
