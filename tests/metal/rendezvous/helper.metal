// expect: words 0=7
// As lead_lane2.metal with the barrier in a helper of the kernel's own: y[0] = 7. (Barrier attributes alone do not help here: the helper has none.)
#include <metal_stdlib>
using namespace metal;
inline void sync_all() { threadgroup_barrier(mem_flags::mem_threadgroup); }
kernel void k(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]], uint lane [[thread_index_in_threadgroup]]) {
    threadgroup uint s;
    if (lane == 0) s = x[7];
    sync_all();
    if (lane == 0) y[0] = s;
}
