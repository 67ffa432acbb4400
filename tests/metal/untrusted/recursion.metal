// run: 1 of 64
// expect: build recursion
#include <metal_stdlib>
using namespace metal;
uint f(uint n) { return n < 2 ? n : f(n - 1) + f(n - 2) + n; }
uint deep(uint n) { uint pad[64]; for (uint i = 0; i < 64; i++) pad[i] = n + i; return n == 0 ? 0 : deep(n - 1) + pad[n % 64]; }
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { a[l] = f(l % 12) + deep(1000000); }
