// Twin of wgsl/dequant/naive.wgsl: one packed word per thread, one weight after the other, THREADS per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/weights.metal"

#if OUT_F16
typedef half Out;
#else
typedef float Out;
#endif

struct Params {
    uint n_eights;
    float tensor_scale;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device Out* dequantized [[buffer(SLOT(3))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(4))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint thread_ix [[thread_index_in_threadgroup]]
) {
    const uint word_ix = (group.y * groups.x + group.x) * THREADS + thread_ix;
    if (word_ix >= params.n_eights) {
        return;
    }
    for (uint i = 0; i < 8; i++) {
        const uint element = word_ix * 8 + i;
        const uint group_ix = element / GROUP;
        const float scale = LOAD_SCALE(group_ix) * params.tensor_scale;
        const float zero_point = LOAD_ZERO_POINT(group_ix);
        const float value = code_value(load_code(words, element), zero_point);
        dequantized[element] = Out(value * scale PLUS_BIAS(zero_point * params.tensor_scale));
    }
}
