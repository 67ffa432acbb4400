// Twin of wgsl/expert_gemm/gather.wgsl: one thread per element of y, 16 x 16 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/weights.metal"

// Element types by the names that defines use.
typedef half f16;
typedef float f32;

struct Params {
    uint rows;
    uint n;
    uint k;
    uint choices;
    float tensor_scale;
    uint pairs_per_x;
};

#if WEIGHTED
#define Y_SLOT 6
#define ZERO_POINT_SLOT 7
#else
#define Y_SLOT 5
#define ZERO_POINT_SLOT 6
#endif

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const X_ELEM* x [[buffer(SLOT(3))]],
    device const uint* expert_ids [[buffer(SLOT(4))]],
#if WEIGHTED
    device const float* probabilities [[buffer(SLOT(5))]],
#endif
    device Y_ELEM* y [[buffer(SLOT(Y_SLOT))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(ZERO_POINT_SLOT)]],
#endif
    uint2 id [[thread_position_in_grid]]
) {
    const uint column = id.x;
    const uint row = id.y;
    if (row >= params.rows || column >= params.n) {
        return;
    }
    float total = 0.0f;
    for (uint choice = 0; choice < params.choices; choice++) {
        const uint pair = row * params.choices + choice;
        const uint expert = expert_ids[pair];
        if (expert >= EXPERTS) {
            continue;
        }
        const uint x_row = pair / params.pairs_per_x;
        float sum = 0.0f;
        for (uint k = 0; k < params.k; k++) {
            const uint element = (expert * params.n + column) * params.k + k;
            const uint group_ix = element / GROUP;
            const float zero_point = LOAD_ZERO_POINT(group_ix);
            const float code = code_value(load_code(words, element), zero_point);
            const float weight = code * LOAD_SCALE(group_ix) PLUS_BIAS(zero_point);
            sum += weight * float(x[x_row * params.k + k]);
        }
#if WEIGHTED
        sum *= probabilities[pair];
#endif
        total += sum;
    }
    y[row * params.n + column] = Y_ELEM(total * params.tensor_scale);
}
