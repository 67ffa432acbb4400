// Twin of wgsl/dequant/optimized.wgsl: thread l of a step stores 16-byte run base + l, STEPS runs per thread, loads first.
// THREADS per threadgroup. A run is 8 half or 4 float.
#include <metal_stdlib>
using namespace metal;
#define RUNS 1
#include "common/weights.metal"

struct Params {
    uint n_eights;
    float tensor_scale;
};

#if OUT_F16
typedef uint4 Run;
constant uint WORD_SHIFT = 0;
constant uint RUN_GROUP_SHIFT = GROUP_SHIFT - 3;
#else
typedef float4 Run;
constant uint WORD_SHIFT = 1;
constant uint RUN_GROUP_SHIFT = GROUP_SHIFT - 2;
#endif

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const Words* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device Run* dequantized [[buffer(SLOT(3))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(4))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
    uint thread_ix [[thread_index_in_threadgroup]]
) {
    const uint n_runs = params.n_eights << WORD_SHIFT;
    const uint first = (group.y * groups.x + group.x) * (STEPS * THREADS) + thread_ix;
    if (first >= n_runs) {
        return;
    }

    // Load. Runs beyond the end are loaded as the last one, and not stored.
    Codes codes[STEPS];
    float scale[STEPS];
    float zero[STEPS];
#pragma clang loop unroll(full)
    for (uint s = 0; s < STEPS; s++) {
        const uint run = min(first + s * THREADS, n_runs - 1);
        codes[s] = load_chunk(words, run >> WORD_SHIFT).run[0];
        scale[s] = LOAD_SCALE(run >> RUN_GROUP_SHIFT) * params.tensor_scale;
        zero[s] = LOAD_ZERO_POINT(run >> RUN_GROUP_SHIFT);
    }

    // Decode and store.
#pragma clang loop unroll(full)
    for (uint s = 0; s < STEPS; s++) {
        const uint run = first + s * THREADS;
        if (run < n_runs) {
            const float4 factor = scale[s] * (CODE_SCALE / IN_PLACE);
            const Eight eight = decode_eight(codes[s], zero[s]);
#if OUT_F16
            const half4 low = half4(eight.low * factor PLUS_BIAS(zero[s] * params.tensor_scale));
            const half4 high = half4(eight.high * factor PLUS_BIAS(zero[s] * params.tensor_scale));
            dequantized[run] = uint4(as_type<uint2>(low), as_type<uint2>(high));
#else
            const float4 four = (run & 1) ? eight.high : eight.low;
            dequantized[run] = four * factor PLUS_BIAS(zero[s] * params.tensor_scale);
#endif
        }
    }
}
