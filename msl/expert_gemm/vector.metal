// Twin of wgsl/expert_gemm/vector.wgsl: a threadgroup of TEAMS teams owns TEAMS * ROWS elements of one row of y, a team of
// LANES threads ROWS of them; lane l of a step reads 8 bytes at run base + l of each row.
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

#if X_F16
typedef uint4 XUnit;
static inline Eight load_x8(device const uint4* x, uint index) {
    const uint4 packed = x[index];
    return Eight{float4(float2(as_type<half2>(packed.x)), float2(as_type<half2>(packed.y))),
                 float4(float2(as_type<half2>(packed.z)), float2(as_type<half2>(packed.w)))};
}
#else
typedef float4 XUnit;
static inline Eight load_x8(device const float4* x, uint index) {
    return Eight{x[2 * index], x[2 * index + 1]};
}
#endif

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const uint2* words [[buffer(1)]],
    device const uint* scales [[buffer(2)]],
    device const XUnit* x [[buffer(3)]],
    device const uint* expert_ids [[buffer(4)]],
#if WEIGHTED
    device const float* probabilities [[buffer(5)]],
#endif
    device Y_ELEM* y [[buffer(Y_SLOT)]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(ZERO_POINT_SLOT)]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
#if SUBGROUPS
    uint team [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]
#else
    uint thread_ix [[thread_index_in_threadgroup]]
#endif
) {
#if !SUBGROUPS
    threadgroup float partial[TEAMS * LANES * ROWS];
    const uint team = thread_ix / LANES;
    const uint lane = thread_ix % LANES;
#endif
    const uint y_row = group.y;
    const uint first_row = (group.x * TEAMS + team) * ROWS;
    const uint n_runs = params.k >> 4;
    float total[ROWS];
#pragma unroll
    for (uint r = 0; r < ROWS; r++) {
        total[r] = 0.0f;
    }
    for (uint choice = 0; choice < params.choices; choice++) {
        const uint pair = y_row * params.choices + choice;
        const uint expert = expert_ids[pair];
        if (expert >= EXPERTS) {
            continue;
        }
        const uint x_start = pair / params.pairs_per_x * (params.k >> 3);
        uint start[ROWS];
        float sum[ROWS];
#pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            start[r] = (expert * params.n + min(first_row + r, params.n - 1)) * n_runs;
            sum[r] = 0.0f;
        }
        for (uint run = lane; run < n_runs; run += LANES) {
            const Eight x0 = load_x8(x, x_start + 2 * run);
            const Eight x1 = load_x8(x, x_start + 2 * run + 1);
#pragma unroll
            for (uint r = 0; r < ROWS; r++) {
                const uint2 codes = words[start[r] + run];
                const uint group_ix = (start[r] + run) >> (GROUP_SHIFT - 4);
                const float4 factor = load_scale(scales, group_ix) * CODE_SCALE / IN_PLACE;
                const float zero_point = LOAD_ZERO_POINT(group_ix);
                const Eight codes0 = decode_eight(codes.x, zero_point);
                const Eight codes1 = decode_eight(codes.y, zero_point);
                const float low = dot(codes0.low * factor, x0.low) + dot(codes1.low * factor, x1.low);
                const float high = dot(codes0.high * factor, x0.high) + dot(codes1.high * factor, x1.high);
                sum[r] += low + high;
            }
        }
#if WEIGHTED
        const float weight = probabilities[pair];
#else
        const float weight = 1.0f;
#endif
#pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            total[r] += weight * sum[r];
        }
    }

#if SUBGROUPS
#pragma unroll
    for (uint r = 0; r < ROWS; r++) {
        const float row_sum = simd_sum(total[r]);
        if (lane == 0 && first_row + r < params.n) {
            y[y_row * params.n + first_row + r] = Y_ELEM(row_sum * params.tensor_scale);
        }
    }
#else
#pragma unroll
    for (uint r = 0; r < ROWS; r++) {
        partial[r * TEAMS * LANES + thread_ix] = total[r];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (thread_ix < TEAMS * ROWS) {
        const uint row = group.x * TEAMS * ROWS + thread_ix;
        const uint from = thread_ix % ROWS * TEAMS * LANES + thread_ix / ROWS * LANES;
        float sum = 0.0f;
        for (uint i = 0; i < LANES; i++) {
            sum += partial[from + i];
        }
        if (row < params.n) {
            y[y_row * params.n + row] = Y_ELEM(sum * params.tensor_scale);
        }
    }
#endif
}
