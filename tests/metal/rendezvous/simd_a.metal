// expect: words 0=496 1=1520 5=1
// faults: race at byte 20
// y[0] = 496, y[1] = 1520: every lane takes part in the sum.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint w [[threads_per_simdgroup]]) {
    if (sl == 0) y[5] = 1;
    uint s = simd_sum(x[lane]);
    if (sl == 0) y[lane / 32] = s;
}
