// Twin of wgsl/gemv/naive.wgsl: one thread per row and column, THREADS per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/weights.metal"

#if X_F16
typedef half Activation;
#else
typedef float Activation;
#endif

struct Params {
    uint n;
    uint k;
    uint batch;
    float tensor_scale;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const Activation* x [[buffer(SLOT(3))]],
    device float* y [[buffer(SLOT(4))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(5))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint thread_ix [[thread_index_in_threadgroup]]
) {
    const uint output_ix = (group.y * groups.x + group.x) * THREADS + thread_ix;
    if (output_ix >= params.n * params.batch) {
        return;
    }
    const uint row = output_ix % params.n;
    const uint column = output_ix / params.n;
    float sum = 0.0f;
    for (uint k = 0; k < params.k; k++) {
        const uint element = row * params.k + k;
        const uint group_ix = element / GROUP;
        const float zero_point = LOAD_ZERO_POINT(group_ix);
        const float code = code_value(load_code(words, element), zero_point);
        const float weight = code * LOAD_SCALE(group_ix) PLUS_BIAS(zero_point);
        sum += weight * float(x[column * params.k + k]);
    }
    y[column * params.n + row] = sum * params.tensor_scale;
}
