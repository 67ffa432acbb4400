// Twin of wgsl/gemm/naive.wgsl: one thread per element of y, 16 x 16 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/weights.metal"

// Element types by the names that defines use.
typedef half f16;
typedef float f32;

struct Params {
    uint m;
    uint n;
    uint k;
    uint k_split;
    float tensor_scale;
};

#if ZERO_POINTS
#define NEXT_SLOT 6
#else
#define NEXT_SLOT 5
#endif

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const X_ELEM* x [[buffer(SLOT(3))]],
    device Y_ELEM* y [[buffer(SLOT(4))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(5))]],
#endif
#if BIAS
    device const float* bias [[buffer(SLOT(NEXT_SLOT))]],
#endif
    uint2 id [[thread_position_in_grid]]
) {
    const uint column = id.x;
    const uint row = id.y;
    if (row >= params.m || column >= params.n) {
        return;
    }
    float sum = 0.0f;
    for (uint k = 0; k < params.k; k++) {
        const uint element = column * params.k + k;
        const uint group_ix = element / GROUP;
        const float zero_point = LOAD_ZERO_POINT(group_ix);
        const float code = code_value(load_code(words, element), zero_point);
        const float weight = code * LOAD_SCALE(group_ix) PLUS_BIAS(zero_point);
        sum += weight * float(x[row * params.k + k]);
    }
    sum *= params.tensor_scale;
#if BIAS
    sum += bias[column];
#endif
    y[row * params.n + column] = Y_ELEM(sum);
}
