// Twin of wgsl/expert_gemm/vector.wgsl: a threadgroup of SETS * TEAMS teams owns SETS * ROWS elements of one row of y; the
// TEAMS teams of a row set share its choices. Lane l of a step reads 8 bytes at run base + l of each of ROWS rows.
#include <metal_stdlib>
using namespace metal;
#define RUNS 2
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

#define THREADS (SETS * TEAMS * LANES)
#if SUBGROUPS
#define ADDENDS TEAMS
#else
#define ADDENDS (TEAMS * LANES)
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
    device const Words* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const XUnit* x [[buffer(SLOT(3))]],
    device const uint* expert_ids [[buffer(SLOT(4))]],
#if WEIGHTED
    device const float* probabilities [[buffer(SLOT(5))]],
#endif
    device Y_ELEM* y [[buffer(SLOT(Y_SLOT))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(ZERO_POINT_SLOT))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
#if SUBGROUPS
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
#endif
    uint thread_ix [[thread_index_in_threadgroup]]
) {
#if ADDENDS > 1
    threadgroup float partial[ROWS * SETS * ADDENDS];
#endif
#if SUBGROUPS
    const uint row_set = simdgroup / TEAMS;
    const uint team = simdgroup % TEAMS;
#else
    const uint row_set = thread_ix / (TEAMS * LANES);
    const uint team = thread_ix / LANES % TEAMS;
    const uint lane = thread_ix % LANES;
#endif
    const uint y_row = group.y;
    const uint first_row = (group.x * SETS + row_set) * ROWS;
    const uint n_runs = params.k >> 4;
    float total[ROWS];
#pragma unroll
    for (uint r = 0; r < ROWS; r++) {
        total[r] = 0.0f;
    }
    for (uint choice = team; choice < params.choices; choice += TEAMS) {
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
                const Chunk chunk = load_chunk(words, start[r] + run);
                const uint group_ix = (start[r] + run) >> (GROUP_SHIFT - 4);
                const float4 factor = LOAD_SCALE(group_ix) * CODE_SCALE / IN_PLACE;
                const float zero_point = LOAD_ZERO_POINT(group_ix);
                const Eight codes0 = decode_eight(chunk.run[0], zero_point);
                const Eight codes1 = decode_eight(chunk.run[1], zero_point);
                const float low = dot(codes0.low * factor PLUS_BIAS(zero_point), x0.low) +
                                  dot(codes1.low * factor PLUS_BIAS(zero_point), x1.low);
                const float high = dot(codes0.high * factor PLUS_BIAS(zero_point), x0.high) +
                                   dot(codes1.high * factor PLUS_BIAS(zero_point), x1.high);
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
        total[r] = simd_sum(total[r]);
    }
    const uint addend = simdgroup;
    const bool adds = lane == 0;
#else
    const uint addend = thread_ix;
    const bool adds = true;
#endif
#if ADDENDS > 1
    if (adds) {
#pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            partial[r * SETS * ADDENDS + addend] = total[r];
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = thread_ix; i < SETS * ROWS; i += THREADS) {
        const uint row = group.x * SETS * ROWS + i;
        const uint from = (i % ROWS * SETS + i / ROWS) * ADDENDS;
        float sum = 0.0f;
        for (uint j = 0; j < ADDENDS; j++) {
            sum += partial[from + j];
        }
        if (row < params.n) {
            y[y_row * params.n + row] = Y_ELEM(sum * params.tensor_scale);
        }
    }
#else
    if (adds) {
        for (uint r = 0; r < ROWS && first_row + r < params.n; r++) {
            y[y_row * params.n + first_row + r] = Y_ELEM(total[r] * params.tensor_scale);
        }
    }
#endif
}
