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
    device const uint* scales [[buffer(2)]],
    device const Activation* x [[buffer(3)]],
    device float* y [[buffer(4)]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(5)]],
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
        const uint code = (words[element / 8] >> (4 * (k % 8))) & 15u;
        const float weight = code_value(code, LOAD_ZERO_POINT(group_ix)) * load_scale(scales, group_ix);
        sum += weight * float(x[column * params.k + k]);
    }
    y[column * params.n + row] = sum * params.tensor_scale;
}
