// run: 1 of 64
// expect: build `creat` is declared and not defined
#include <metal_stdlib>
using namespace metal;
extern "C" int creat(const char*, unsigned);
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { if (l == 0) creat("created-by-a-kernel", 420); a[l] = l; }
