// Twin of wgsl/gemv/coop.wgsl with simdgroup matrices of 8 x 8: a simdgroup owns ROWS rows, a step takes 256 of K in four
// turns. Thread l of a simdgroup loads chunk l % 8 (32 codes) of row l / 8 + 4u; turn t multiplies word t of each chunk.
// Weights are rounded to half after scaling, sums are float.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
#define RUNS 4
#include "common/weights.metal"

struct Params {
    uint m;
    uint n;
    uint k;
    uint k_split;
    float tensor_scale;
    uint pairs_per_x;
};

constant constexpr uint THREADS = SUBGROUPS * 32;
constant constexpr uint LOADS = ROWS / 4;
// Words of a chunk that share a scale.
constant constexpr uint PART_WORDS = GROUP < 32 ? GROUP / 8 : 4;
constant constexpr uint PARTS = 4 / PART_WORDS;
constant constexpr uint W_STRIDE = 72;
constant constexpr uint X_STRIDE = 16;
// Runs of 8 activations that a thread stages per turn, of 64.
constant constexpr uint X_RUNS = (64 + THREADS - 1) / THREADS;

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const Words* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const half4* x [[buffer(SLOT(3))]],
    device float* y [[buffer(SLOT(4))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(5))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint thread_ix [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]
) {
    threadgroup half tile_w[SUBGROUPS * ROWS * W_STRIDE];
    threadgroup half tile_x[64 * X_STRIDE];
    threadgroup float staging[SUBGROUPS * 64];

    const uint first_row = (group.x * SUBGROUPS + simdgroup) * ROWS;
#if SPLIT
    const uint k_begin = group.z * params.k_split;
    const uint k_end = min(k_begin + params.k_split, params.k);
#else
    const uint k_begin = 0;
    const uint k_end = params.k;
#endif

    Chunk chunk[LOADS];
    float scale[LOADS][PARTS];
    float zero_point[LOADS][PARTS];
    half4 x_run[X_RUNS][4][2];
    const auto load = [&](uint k0) {
        // Chunks beyond the end read the last one; activations of 0 make them count for nothing.
        const uint w_k = min(k0 + lane % 8 * 32, params.k - 32);
#pragma unroll
        for (uint u = 0; u < LOADS; u++) {
            const uint element = min(first_row + lane / 8 + 4 * u, params.n - 1) * params.k + w_k;
            chunk[u] = load_chunk(words, element >> 5);
#pragma unroll
            for (uint p = 0; p < PARTS; p++) {
                const uint group_ix = (element + 8 * PART_WORDS * p) >> GROUP_SHIFT;
                scale[u][p] = LOAD_SCALE(group_ix) * CODE_SCALE;
                zero_point[u][p] = LOAD_ZERO_POINT(group_ix);
            }
        }
#pragma unroll
        for (uint r = 0; r < X_RUNS; r++) {
            const uint run = thread_ix + r * THREADS;
            const uint k = k0 + run % 8 * 32;
            const uint start = (min(run / 8, params.m - 1) * params.k + k) >> 2;
#pragma unroll
            for (uint i = 0; i < 8; i++) {
                x_run[r][i / 2][i % 2] = k < k_end ? x[start + i] : half4(0);
            }
        }
    };
    load(k_begin);

    simdgroup_matrix<float, 8, 8> sum[ROWS / 8];
#pragma unroll
    for (uint f = 0; f < ROWS / 8; f++) {
        sum[f] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }

    for (uint k0 = k_begin; k0 < k_end; k0 += 256) {
#pragma unroll
        for (uint turn = 0; turn < 4; turn++) {
#pragma unroll
            for (uint r = 0; r < X_RUNS; r++) {
                const uint run = thread_ix + r * THREADS;
                if (run < 64) {
                    const half4 low = x_run[r][turn][0];
                    const half4 high = x_run[r][turn][1];
                    threadgroup half* to = tile_x + (run % 8 * 8 + run / 8) * X_STRIDE;
                    *(threadgroup half4*)to = half4(low.x, high.x, low.y, high.y);
                    *(threadgroup half4*)(to + 4) = half4(low.z, high.z, low.w, high.w);
                }
            }
#pragma unroll
            for (uint u = 0; u < LOADS; u++) {
                const float4 factor = scale[u][turn / PART_WORDS] / IN_PLACE;
                const float zero = zero_point[u][turn / PART_WORDS];
                const Eight codes = decode_eight(chunk[u].run[turn], zero);
                const half4 low = half4(codes.low * factor PLUS_BIAS(zero));
                const half4 high = half4(codes.high * factor PLUS_BIAS(zero));
                threadgroup half* to = tile_w + (simdgroup * ROWS + lane / 8 + 4 * u) * W_STRIDE + lane % 8 * 8;
                *(threadgroup half4*)to = half4(low.x, high.x, low.y, high.y);
                *(threadgroup half4*)(to + 4) = half4(low.z, high.z, low.w, high.w);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);

            if (turn == 3 && k0 + 256 < k_end) {
                load(k0 + 256);
            }

#pragma unroll
            for (uint s = 0; s < 8; s++) {
                simdgroup_matrix<half, 8, 8> xs;
                simdgroup_load(xs, tile_x + s * 8 * X_STRIDE, X_STRIDE);
#pragma unroll
                for (uint f = 0; f < ROWS / 8; f++) {
                    simdgroup_matrix<half, 8, 8> ws;
                    simdgroup_load(ws, tile_w + (simdgroup * ROWS + f * 8) * W_STRIDE + s * 8, W_STRIDE, ulong2(0, 0), true);
                    simdgroup_multiply_accumulate(sum[f], xs, ws, sum[f]);
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
    }

    threadgroup float* slot = staging + simdgroup * 64;
#pragma unroll
    for (uint f = 0; f < ROWS / 8; f++) {
        simdgroup_store(sum[f], slot, 8);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (uint e = lane; e < 64; e += 32) {
            const uint column = e / 8;
            const uint row = first_row + f * 8 + e % 8;
            if (column < params.m && row < params.n) {
#if SPLIT
                y[(group.z * params.m + column) * params.n + row] = slot[e];
#else
                y[column * params.n + row] = slot[e] * params.tensor_scale;
#endif
            }
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}
