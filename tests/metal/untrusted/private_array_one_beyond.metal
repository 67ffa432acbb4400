// run: 1 of 64
// expect: out of bounds
#include <metal_stdlib>
using namespace metal;
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) {
  uint s[8]; for (uint i = 0; i < 8; i++) s[i] = a[i];
  for (uint i = 0; i <= a[7]; i++) s[i] += i;    // a[7] is 8: writes s[8]
  uint r = 0; for (uint i = 0; i < 8; i++) r += s[i];
  a[l + 64] = r;
}
