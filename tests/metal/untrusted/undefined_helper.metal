// run: 1 of 64
// expect: build `helper` is declared and not defined
#include <metal_stdlib>
using namespace metal;
float helper(float x);
kernel void k(device float* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { a[l] = helper(a[l]); }
