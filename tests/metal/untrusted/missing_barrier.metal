// run: 1 of 64
// expect: race at line 7
#include <metal_stdlib>
using namespace metal;
kernel void k(device float* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) {
  threadgroup float t[64];
  t[l] = a[l];
  a[l] = t[63 - l];
}
