// run: 1 of 64
// expect: out of bounds
#include <metal_stdlib>
using namespace metal;
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { uint s[8]; for (uint i = 0; i < 8; i++) s[i] = a[i]; for (uint i = 0; i < 40 * a[7]; i++) s[i] = 0x41414141u + i; a[l + 64] = s[l % 8]; }
