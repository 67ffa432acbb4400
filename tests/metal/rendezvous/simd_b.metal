// expect: words 0=1 1=33 5=1
// faults: race at byte 20
// y[0] = 1, y[1] = 33.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint w [[threads_per_simdgroup]]) {
    if (sl == 0) y[5] = 1;
    uint s = simd_shuffle_xor(x[lane], 1);
    if (sl == 0) y[lane / 32] = s;
}
