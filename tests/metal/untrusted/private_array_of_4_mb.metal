// run: 1 of 64
// expect: private memory
#include <metal_stdlib>
using namespace metal;
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { uint s[1000000]; for (uint i = 0; i < 1000000; i += 1000) s[i] = i + l; a[l] = s[(l * 1000) % 1000000] + s[a[0] * 99000]; }
