// expect: words 0=0 1=27 2=54 62=1697
// faults: race at byte 252
// RMS norm as commonly written: lane 0 turns the sum into a factor in place, all read it. y[i] = x[i]·f, here f from sum of squares 85344/64.
#include <metal_stdlib>
using namespace metal;
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]], uint sl [[thread_index_in_simdgroup]], uint sg [[simdgroup_index_in_threadgroup]]) {
    threadgroup float part[32];
    threadgroup float factor;
    float v = float(x[lane]);
    float s = simd_sum(v * v);
    if (sl == 0) part[sg] = s;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane == 0) { float t = 0; for (uint i = 0; i < 2; i++) t += part[i]; factor = rsqrt(t / 64.0f + 1e-6f); }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[lane] = uint(v * factor * 1000.0f);
    if (lane == 0) y[63] = uint(factor * 1e6f);
}
