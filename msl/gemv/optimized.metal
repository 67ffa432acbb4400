// Twin of wgsl/gemv/optimized.wgsl: LANES * KSPLIT threads own ROWS rows, lane l of a step owns chunk base + l of each row, a
// chunk is 8 * VEC weights. All defines as there; LANES is the SIMD-group width of 32 where SUBGROUPS = 1.
#include <metal_stdlib>
using namespace metal;
#define RUNS VEC
#include "common/weights.metal"

#define SPAN (LANES * KSPLIT)
#define SUMS (ROWS * COLS)
// A part of a chunk is the words that share a scale.
#define PART_WORDS (GROUP / 8 < VEC ? GROUP / 8 : VEC)
#define PARTS (VEC / PART_WORDS)
// Who adds up in threadgroup memory: nobody if a SIMD-group has the whole sum.
#if SUBGROUPS
#define ADDENDS KSPLIT
#else
#define ADDENDS SPAN
#endif
#define UNROLLED _Pragma("clang loop unroll(full)")

#if X_F16
typedef uint4 Activations; // 8 half
#else
typedef float4 Activations;
#endif

struct Params {
    uint n;
    uint k;
    uint batch;
    float tensor_scale;
};

// Activations 8 * index to 8 * index + 7 of all, divided as the codes are multiplied.
static inline Eight load_x(device const Activations* x, uint index) {
#if X_F16
    const uint4 packed = x[index];
    return Eight{float4(as_type<half4>(packed.xy)) * (1.0f / IN_PLACE),
                 float4(as_type<half4>(packed.zw)) * (1.0f / IN_PLACE)};
#else
    return Eight{x[2 * index] * (1.0f / IN_PLACE), x[2 * index + 1] * (1.0f / IN_PLACE)};
#endif
}

static inline float multiply_add(Eight w, Eight a, float sum) {
    const float low =
        fma(w.low.w, a.low.w, fma(w.low.z, a.low.z, fma(w.low.y, a.low.y, fma(w.low.x, a.low.x, sum))));
    return fma(w.high.w, a.high.w, fma(w.high.z, a.high.z, fma(w.high.y, a.high.y, fma(w.high.x, a.high.x, low))));
}

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const Words* words [[buffer(1)]],
#if SCALE < 8
    device const ScaleUnit* scales [[buffer(2)]],
#endif
    device const Activations* x [[buffer(SLOT(3))]],
    device float* y [[buffer(SLOT(4))]],
#if ZERO_POINTS
    device const uint* zero_points [[buffer(SLOT(5))]],
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]],
#if SUBGROUPS
    uint subgroup [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]],
#endif
    uint local_index [[thread_index_in_threadgroup]]
) {
#if SUBGROUPS
    const uint team = subgroup / KSPLIT;
    const uint team_lane = (subgroup % KSPLIT) * LANES + lane;
#else
    const uint team = local_index / SPAN;
    const uint team_lane = local_index % SPAN;
#endif
    const uint group_ix = group.y * groups.x + group.x;
    const uint first_row = (group_ix * TEAMS + team) * ROWS;
    const uint n_chunks = params.k / (8 * VEC);
    const uint n_groups = params.k / GROUP;

    float sum[ROWS][COLS] = {};
    for (uint first_chunk = team_lane; first_chunk < n_chunks; first_chunk += UNROLL * SPAN) {
        // Load: rows and chunks beyond the end read the last one again.
        Chunk chunk_words[UNROLL][ROWS];
        float scale[UNROLL][ROWS][PARTS];
        float zero[UNROLL][ROWS][PARTS];
        UNROLLED for (uint u = 0; u < UNROLL; u++) {
            const uint chunk = EVEN ? first_chunk + u * SPAN : min(first_chunk + u * SPAN, n_chunks - 1);
            UNROLLED for (uint r = 0; r < ROWS; r++) {
                const uint row = min(first_row + r, params.n - 1);
                chunk_words[u][r] = load_chunk(words, row * n_chunks + chunk);
                UNROLLED for (uint p = 0; p < PARTS; p++) {
                    const uint weight_ix = chunk * (8 * VEC) + 8 * PART_WORDS * p;
                    const uint scale_ix = row * n_groups + (weight_ix >> GROUP_SHIFT);
                    scale[u][r][p] = LOAD_SCALE(scale_ix) * CODE_SCALE;
                    zero[u][r][p] = LOAD_ZERO_POINT(scale_ix);
                }
            }
        }

        // Multiply: each word decoded once for all columns, its activations read once for all rows.
        UNROLLED for (uint u = 0; u < UNROLL; u++) {
            const uint chunk = first_chunk + u * SPAN;
            if (!EVEN && chunk >= n_chunks) {
                continue;
            }
            UNROLLED for (uint p = 0; p < PARTS; p++) {
                float part[ROWS][COLS] = {};
#if OFFSETS && SCALE_SUMS
                float x_sum[COLS] = {};
#endif
                UNROLLED for (uint j = p * PART_WORDS; j < (p + 1) * PART_WORDS; j++) {
                    Eight weights[ROWS];
                    UNROLLED for (uint r = 0; r < ROWS; r++) {
                        weights[r] = decode_eight(chunk_words[u][r].run[j], zero[u][r][p]);
                        if (!SCALE_SUMS) {
                            weights[r].low = weights[r].low * scale[u][r][p] PLUS_BIAS(zero[u][r][p] * IN_PLACE);
                            weights[r].high = weights[r].high * scale[u][r][p] PLUS_BIAS(zero[u][r][p] * IN_PLACE);
                        }
                    }
                    UNROLLED for (uint c = 0; c < COLS; c++) {
                        const Eight a = load_x(x, c * (params.k / 8) + chunk * VEC + j);
#if OFFSETS && SCALE_SUMS
                        x_sum[c] += dot(a.low + a.high, IN_PLACE);
#endif
                        UNROLLED for (uint r = 0; r < ROWS; r++) {
                            if (SCALE_SUMS) {
                                part[r][c] = multiply_add(weights[r], a, part[r][c]);
                            } else {
                                sum[r][c] = multiply_add(weights[r], a, sum[r][c]);
                            }
                        }
                    }
                }
                if (SCALE_SUMS) {
                    UNROLLED for (uint r = 0; r < ROWS; r++) {
                        UNROLLED for (uint c = 0; c < COLS; c++) {
                            sum[r][c] = fma(part[r][c], scale[u][r][p], sum[r][c]);
#if OFFSETS && SCALE_SUMS
                            sum[r][c] = fma(zero[u][r][p], x_sum[c], sum[r][c]);
#endif
                        }
                    }
                }
            }
        }
    }

    // Add up over the team and store.
#if SUBGROUPS
    UNROLLED for (uint r = 0; r < ROWS; r++) {
        UNROLLED for (uint c = 0; c < COLS; c++) {
            sum[r][c] = simd_sum(sum[r][c]);
        }
    }
#endif
#if SUBGROUPS && KSPLIT == 1
    if (team_lane == 0) {
        UNROLLED for (uint r = 0; r < ROWS; r++) {
            if (first_row + r < params.n) {
                UNROLLED for (uint c = 0; c < COLS; c++) {
                    y[c * params.n + first_row + r] = sum[r][c] * params.tensor_scale;
                }
            }
        }
    }
#else
    // [team][sum][addend], one addend of padding against bank conflicts.
    threadgroup float partial[TEAMS * SUMS * (ADDENDS + 1)];
#if SUBGROUPS
    const uint addend = subgroup % KSPLIT;
    const bool adds = lane == 0;
#else
    const uint addend = team_lane;
    const bool adds = true;
#endif
    if (adds) {
        UNROLLED for (uint r = 0; r < ROWS; r++) {
            UNROLLED for (uint c = 0; c < COLS; c++) {
                partial[(team * SUMS + r * COLS + c) * (ADDENDS + 1) + addend] = sum[r][c];
            }
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint sum_ix = local_index; sum_ix < TEAMS * SUMS; sum_ix += TEAMS * SPAN) {
        float total = 0.0f;
        for (uint i = 0; i < ADDENDS; i++) {
            total += partial[sum_ix * (ADDENDS + 1) + i];
        }
        const uint row = group_ix * (TEAMS * ROWS) + sum_ix / COLS;
        if (row < params.n) {
            y[(sum_ix % COLS) * params.n + row] = total * params.tensor_scale;
        }
    }
#endif
}
