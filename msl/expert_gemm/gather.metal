// Twin of wgsl/expert_gemm/gather.wgsl: one thread per element of y, 16 x 16 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/weights.metal"

// Element types by the names that defines use.
typedef half f16;
typedef float f32;

struct Params {
    uint tokens;
    uint n;
    uint k;
    uint top_k;
    float tensor_scale;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* words [[buffer(1)]],
    device const uint* scales [[buffer(2)]],
    device const X_ELEM* x [[buffer(3)]],
    device const uint* expert_ids [[buffer(4)]],
    device const float* probs [[buffer(5)]],
    device Y_ELEM* y [[buffer(6)]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(7)]],
#endif
    uint2 id [[thread_position_in_grid]]
) {
    const uint column = id.x;
    const uint token = id.y;
    if (token >= params.tokens || column >= params.n) {
        return;
    }
    float total = 0.0f;
    for (uint choice = 0; choice < params.top_k; choice++) {
        const uint pair = token * params.top_k + choice;
        const uint expert = expert_ids[pair];
        if (expert >= EXPERTS) {
            continue;
        }
        float sum = 0.0f;
        for (uint k = 0; k < params.k; k++) {
            const uint element = (expert * params.n + column) * params.k + k;
            const uint group_ix = element / GROUP;
            const uint code = (words[element / 8] >> (4 * (k % 8))) & 15;
            const float weight = code_value(code, LOAD_ZERO_POINT(group_ix)) * load_scale(scales, group_ix);
            sum += weight * float(x[token * params.k + k]);
        }
        total += probs[pair] * sum;
    }
    y[token * params.n + column] = Y_ELEM(total * params.tensor_scale);
}
