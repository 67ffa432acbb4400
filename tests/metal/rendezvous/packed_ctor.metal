// expect: words 0=67305985
// What naga prints for pack4xI8 and pack4xU8: y[0] = 0x04030201.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]]) {
    int4 v = int4(1, 2, 3, 4);
    if (lane == 0) y[0] = as_type<uint>(packed_char4(v));
}
