// Twin of wgsl/gemm/register_tile.wgsl: a threadgroup owns BM x BN elements of y, a thread TM x TN of them; steps of 16
// along K, both tiles in threadgroup memory with K as the slow axis, the next step's loads ahead of the multiplications.
#include <metal_stdlib>
using namespace metal;
#define RUNS 1
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
    uint pairs_per_x;
};

#if ZERO_POINTS
#define NEXT_SLOT 6
#define SECOND_SLOT 7
#else
#define NEXT_SLOT 5
#define SECOND_SLOT 6
#endif

constant constexpr uint THREADS = BM / TM * (BN / TN);
constant constexpr uint X_UNITS = BM * 2 / THREADS;
constant constexpr uint W_UNITS = BN * 2 / THREADS;
// Elements of a padded row of the tiles.
constant constexpr uint X_STRIDE = BM + 4;
constant constexpr uint W_STRIDE = BN + 4;

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

// A packed run with what scales it, before decoding: what is kept while a load is in flight.
struct PackedEight {
    Codes codes;
    float scale;
    float zero_point;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const Words* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const XUnit* x [[buffer(SLOT(3))]],
    device Y_ELEM* y [[buffer(SLOT(4))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(5))]],
#endif
#if BIAS
    device const float* bias [[buffer(SLOT(NEXT_SLOT))]],
#endif
#if GROUPED
    device const uint4* tiles [[buffer(SLOT(NEXT_SLOT))]],
    device const uint* sorted [[buffer(SLOT(SECOND_SLOT))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint thread_ix [[thread_index_in_threadgroup]]
) {
    threadgroup float4 tile_x[16 * X_STRIDE / 4];
    threadgroup float4 tile_w[16 * W_STRIDE / 4];
    threadgroup float* flat_x = (threadgroup float*)tile_x;
    threadgroup float* flat_w = (threadgroup float*)tile_w;

    const uint first_column = group.x * BN;
#if GROUPED
    const uint4 tile = tiles[group.y];
    if (tile.z == 0) {
        return;
    }
    const uint first_row = tile.y;
    const uint n_rows = tile.z;
    const uint first_w_row = tile.x * params.n;
#else
    const uint first_row = group.y * BM;
    const uint n_rows = min(uint(BM), params.m - first_row);
    const uint first_w_row = 0;
#endif
#if SPLIT
    const uint k_begin = group.z * params.k_split;
    const uint k_end = min(k_begin + params.k_split, params.k);
#else
    const uint k_begin = 0;
    const uint k_end = params.k;
#endif

    uint x_start[X_UNITS];
    Eight x_unit[X_UNITS];
#pragma unroll
    for (uint u = 0; u < X_UNITS; u++) {
        const uint unit = thread_ix + u * THREADS;
#if GROUPED
        const uint row = sorted[first_row + min(unit >> 1, n_rows - 1)] / params.pairs_per_x;
#else
        const uint row = first_row + min(unit >> 1, n_rows - 1);
#endif
        x_start[u] = ((row * params.k) >> 3) + (unit & 1);
        x_unit[u] = load_x8(x, x_start[u] + (k_begin >> 3));
    }
    const auto load_w8 = [&](uint index) {
        const uint group_ix = index >> (GROUP_SHIFT - 3);
        return PackedEight{
            load_chunk(words, index).run[0], LOAD_SCALE(group_ix) * CODE_SCALE, LOAD_ZERO_POINT(group_ix)};
    };
    uint w_start[W_UNITS];
    PackedEight w_unit[W_UNITS];
#pragma unroll
    for (uint u = 0; u < W_UNITS; u++) {
        const uint unit = thread_ix + u * THREADS;
        const uint row = first_w_row + min(first_column + (unit >> 1), params.n - 1);
        w_start[u] = ((row * params.k) >> 3) + (unit & 1);
        w_unit[u] = load_w8(w_start[u] + (k_begin >> 3));
    }

    const uint thread_row = thread_ix / (BN / TN);
    const uint thread_column = thread_ix % (BN / TN);
    float4 sum[TM][TN / 4];
#pragma unroll
    for (uint i = 0; i < TM; i++) {
#pragma unroll
        for (uint j = 0; j < TN / 4; j++) {
            sum[i][j] = float4(0.0f);
        }
    }

    for (uint k0 = k_begin; k0 < k_end; k0 += 16) {
#pragma unroll
        for (uint u = 0; u < X_UNITS; u++) {
            const uint unit = thread_ix + u * THREADS;
            threadgroup float* to = flat_x + (unit & 1) * 8 * X_STRIDE + (unit >> 1);
#pragma unroll
            for (uint i = 0; i < 4; i++) {
                to[i * X_STRIDE] = x_unit[u].low[i];
                to[(i + 4) * X_STRIDE] = x_unit[u].high[i];
            }
        }
#pragma unroll
        for (uint u = 0; u < W_UNITS; u++) {
            const uint unit = thread_ix + u * THREADS;
            threadgroup float* to = flat_w + (unit & 1) * 8 * W_STRIDE + (unit >> 1);
            const Eight codes = decode_eight(w_unit[u].codes, w_unit[u].zero_point);
            const float4 factor = w_unit[u].scale / IN_PLACE;
            const float4 low = codes.low * factor PLUS_BIAS(w_unit[u].zero_point);
            const float4 high = codes.high * factor PLUS_BIAS(w_unit[u].zero_point);
#pragma unroll
            for (uint i = 0; i < 4; i++) {
                to[i * W_STRIDE] = low[i];
                to[(i + 4) * W_STRIDE] = high[i];
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);

        const uint k_next = min(k0 + 16, k_end - 16) >> 3;
#pragma unroll
        for (uint u = 0; u < X_UNITS; u++) {
            x_unit[u] = load_x8(x, x_start[u] + k_next);
        }
#pragma unroll
        for (uint u = 0; u < W_UNITS; u++) {
            w_unit[u] = load_w8(w_start[u] + k_next);
        }

        for (uint k = 0; k < 16; k++) {
            float4 xs[TM / 4];
            float4 ws[TN / 4];
#pragma unroll
            for (uint i = 0; i < TM / 4; i++) {
                xs[i] = tile_x[k * (X_STRIDE / 4) + thread_row * (TM / 4) + i];
            }
#pragma unroll
            for (uint j = 0; j < TN / 4; j++) {
                ws[j] = tile_w[k * (W_STRIDE / 4) + thread_column * (TN / 4) + j];
            }
#pragma unroll
            for (uint i = 0; i < TM; i++) {
#pragma unroll
                for (uint j = 0; j < TN / 4; j++) {
                    sum[i][j] = fma(float4(xs[i / 4][i % 4]), ws[j], sum[i][j]);
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }

#pragma unroll
    for (uint i = 0; i < TM; i++) {
        const uint line = thread_row * TM + i;
        if (line >= n_rows) {
            continue;
        }
#if GROUPED
        const uint row = sorted[first_row + line];
#else
        const uint row = first_row + line;
#endif
#pragma unroll
        for (uint j = 0; j < TN; j++) {
            const uint column = first_column + thread_column * TN + j;
            if (column < params.n) {
#if SPLIT
                y[(group.z * params.m + row) * params.n + column] = sum[i][j / 4][j % 4];
#else
                float value = sum[i][j / 4][j % 4] * params.tensor_scale;
#if BIAS
                value += bias[column];
#endif
                y[row * params.n + column] = Y_ELEM(value);
#endif
            }
        }
    }
}
