// run: 4 of 32
// expect: race
#include <metal_stdlib>
using namespace metal;
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]], uint g [[threadgroup_position_in_grid]]) {
  if (l == 0) a[0] += g;
}
