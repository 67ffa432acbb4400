// Twin of wgsl/gemm/sum_splits.wgsl: y[i] = bias[i mod n] + tensor_scale * sum over s of partial[s, i].
// One thread per element, 256 per threadgroup.
#include <metal_stdlib>
using namespace metal;

typedef half f16;
typedef float f32;

struct Params {
    uint m;
    uint n;
    uint splits;
    float tensor_scale;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const float* partial [[buffer(1)]],
    device Y_ELEM* y [[buffer(2)]],
#if BIAS
    device const float* bias [[buffer(3)]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    const uint n_elements = params.m * params.n;
    const uint i = (group.y * groups.x + group.x) * 256 + lane;
    if (i >= n_elements) {
        return;
    }
    float sum = 0.0f;
    for (uint split = 0; split < params.splits; split++) {
        sum += partial[split * n_elements + i];
    }
    sum *= params.tensor_scale;
#if BIAS
    sum += bias[i % params.n];
#endif
    y[i] = Y_ELEM(sum);
}
