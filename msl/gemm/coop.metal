// Twin of wgsl/gemm/coop.wgsl with simdgroup matrices of 8 x 8: a threadgroup owns BM x BN elements of y, a simdgroup
// WM x WN of them; steps of BK along K, both tiles in threadgroup memory as [row][k] with rows padded by 8 elements, the
// next step's loads ahead of the multiplications. Weights are rounded to AB_ELEM after scaling, sums are f32.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
#define RUNS 2
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

constant constexpr uint SIMDGROUPS = BM / WM * (BN / WN);
constant constexpr uint THREADS = SIMDGROUPS * SUBGROUP;
constant constexpr uint X_RUNS = BM * BK / 4 / THREADS;
constant constexpr uint W_RUNS = BN * BK / 16 / THREADS;
constant constexpr uint STRIDE = BK + PAD;

struct PackedRun {
    Chunk codes;
    float scale;
    float zero_point;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const Words* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const vec<AB_ELEM, 4>* x [[buffer(SLOT(3))]],
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
    uint thread_ix [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]
) {
    threadgroup AB_ELEM tile_x[BM * STRIDE];
    threadgroup AB_ELEM tile_w[BN * STRIDE];
    threadgroup float staging[SIMDGROUPS * 64];

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

    // Elements of x and W where each run of this thread starts, and the runs themselves.
    uint x_start[X_RUNS];
    vec<AB_ELEM, 4> x_run[X_RUNS];
    uint w_start[W_RUNS];
    PackedRun w_run[W_RUNS];
    const auto load = [&](uint k0) {
#pragma unroll
        for (uint u = 0; u < X_RUNS; u++) {
            const uint k = k0 + (thread_ix + u * THREADS) % (BK / 4) * 4;
            x_run[u] = k < params.k ? x[(x_start[u] + k) >> 2] : vec<AB_ELEM, 4>(0);
        }
#pragma unroll
        for (uint u = 0; u < W_RUNS; u++) {
            const uint k = k0 + (thread_ix + u * THREADS) % (BK / 16) * 16;
            w_run[u] = PackedRun{};
            if (k < params.k) {
                const uint element = w_start[u] + k;
                const uint group_ix = element >> GROUP_SHIFT;
                w_run[u].codes = load_chunk(words, element >> 4);
                w_run[u].scale = LOAD_SCALE(group_ix) * CODE_SCALE;
                w_run[u].zero_point = LOAD_ZERO_POINT(group_ix);
            }
        }
    };
#pragma unroll
    for (uint u = 0; u < X_RUNS; u++) {
        const uint line = (thread_ix + u * THREADS) / (BK / 4);
#if GROUPED
        const uint row = sorted[first_row + min(line, n_rows - 1)] / params.pairs_per_x;
#else
        const uint row = first_row + min(line, n_rows - 1);
#endif
        x_start[u] = row * params.k;
    }
#pragma unroll
    for (uint u = 0; u < W_RUNS; u++) {
        const uint line = (thread_ix + u * THREADS) / (BK / 16);
        w_start[u] = (first_w_row + min(first_column + line, params.n - 1)) * params.k;
    }
    load(k_begin);

    const uint simdgroup_row = simdgroup / (BN / WN) * WM;
    const uint simdgroup_column = simdgroup % (BN / WN) * WN;
    simdgroup_matrix<float, 8, 8> sum[WM / 8][WN / 8];
#pragma unroll
    for (uint i = 0; i < WM / 8; i++) {
#pragma unroll
        for (uint j = 0; j < WN / 8; j++) {
            sum[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        }
    }

    for (uint k0 = k_begin; k0 < k_end; k0 += BK) {
#pragma unroll
        for (uint u = 0; u < X_RUNS; u++) {
            const uint run = thread_ix + u * THREADS;
            threadgroup AB_ELEM* to = tile_x + run / (BK / 4) * STRIDE + run % (BK / 4) * 4;
            *(threadgroup vec<AB_ELEM, 4>*)to = x_run[u];
        }
#pragma unroll
        for (uint u = 0; u < W_RUNS; u++) {
            const uint run = thread_ix + u * THREADS;
            threadgroup AB_ELEM* to = tile_w + run / (BK / 16) * STRIDE + run % (BK / 16) * 16;
            const float4 factor = w_run[u].scale / IN_PLACE;
#pragma unroll
            for (uint i = 0; i < 2; i++) {
                const Eight codes = decode_eight(w_run[u].codes.run[i], w_run[u].zero_point);
                *(threadgroup vec<AB_ELEM, 4>*)(to + 8 * i) = vec<AB_ELEM, 4>(codes.low * factor PLUS_BIAS(w_run[u].zero_point));
                *(threadgroup vec<AB_ELEM, 4>*)(to + 8 * i + 4) = vec<AB_ELEM, 4>(codes.high * factor PLUS_BIAS(w_run[u].zero_point));
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);

        load(k0 + BK < k_end ? k0 + BK : k0);

#pragma unroll
        for (uint s = 0; s < BK; s += 8) {
            simdgroup_matrix<AB_ELEM, 8, 8> xs[WM / 8];
            simdgroup_matrix<AB_ELEM, 8, 8> ws[WN / 8];
#pragma unroll
            for (uint i = 0; i < WM / 8; i++) {
                simdgroup_load(xs[i], tile_x + (simdgroup_row + i * 8) * STRIDE + s, STRIDE);
            }
#pragma unroll
            for (uint j = 0; j < WN / 8; j++) {
                simdgroup_load(ws[j], tile_w + (simdgroup_column + j * 8) * STRIDE + s, STRIDE, ulong2(0, 0), true);
            }
#pragma unroll
            for (uint i = 0; i < WM / 8; i++) {
#pragma unroll
                for (uint j = 0; j < WN / 8; j++) {
                    simdgroup_multiply_accumulate(sum[i][j], xs[i], ws[j], sum[i][j]);
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }

    threadgroup float* slot = staging + simdgroup * 64;
#pragma unroll
    for (uint i = 0; i < WM / 8; i++) {
#pragma unroll
        for (uint j = 0; j < WN / 8; j++) {
            simdgroup_store(sum[i][j], slot, 8);
            simdgroup_barrier(mem_flags::mem_threadgroup);
            for (uint e = lane; e < 64; e += SUBGROUP) {
                const uint line = simdgroup_row + i * 8 + e / 8;
                const uint column = first_column + simdgroup_column + j * 8 + e % 8;
                if (line < n_rows && column < params.n) {
#if GROUPED
                    const uint row = sorted[first_row + line];
#else
                    const uint row = first_row + line;
#endif
#if SPLIT
                    y[(group.z * params.m + row) * params.n + column] = slot[e];
#else
                    float value = slot[e] * params.tensor_scale;
#if BIAS
                    value += bias[column];
#endif
                    y[row * params.n + column] = Y_ELEM(value);
#endif
                }
            }
            simdgroup_barrier(mem_flags::mem_threadgroup);
        }
    }
}
