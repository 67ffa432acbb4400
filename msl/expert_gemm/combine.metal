// Twin of wgsl/expert_gemm/combine.wgsl: y[t, j] = sum over c of probabilities[t, c] * expert_outputs[t * top_k + c, j].
// One thread per element, 256 per threadgroup.
#include <metal_stdlib>
using namespace metal;

typedef half f16;
typedef float f32;

struct Params {
    uint rows;
    uint n;
    uint k;
    uint choices;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const float* expert_outputs [[buffer(1)]],
    device const uint* expert_ids [[buffer(2)]],
    device const float* probabilities [[buffer(3)]],
    device Y_ELEM* y [[buffer(4)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    const uint column = group.x * 256 + lane;
    const uint token = group.y;
    if (column >= params.n) {
        return;
    }
    float sum = 0.0f;
    for (uint choice = 0; choice < params.choices; choice++) {
        const uint pair = token * params.choices + choice;
        if (expert_ids[pair] < EXPERTS) {
            sum += probabilities[pair] * expert_outputs[pair * params.n + column];
        }
    }
    y[token * params.n + column] = Y_ELEM(sum);
}
