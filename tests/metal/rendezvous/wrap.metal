// expect: words 0=7
#include <metal_stdlib>
using namespace metal;
__attribute__((convergent)) inline void bar() { marlin_threadgroup_barrier(2u, MARLIN_SITE); }
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]]) {
    threadgroup uint s;
    if (lane == 0) s = x[7];
    bar();
    if (lane == 0) y[0] = s;
}
