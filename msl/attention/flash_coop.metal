// Twin of wgsl/attention/flash_coop.wgsl with simdgroup matrices, which are 8×8 on every Apple GPU: 64 queries of
// a head per threadgroup of 4 simdgroups, keys in tiles of KEYS; the maximum follows lazily.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
#include "common/attention.metal"

// Which of a vector's elements are infinite or NaN, by their bits: floats may be compared as if there were none.
static inline bool4 not_finite(half4 values) {
    return (as_type<uint4>(float4(values)) & uint4(0x7f800000u)) == uint4(0x7f800000u);
}

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const half4* q [[buffer(1)]],
    device const half4* k [[buffer(2)]],
    device const half4* v [[buffer(3)]],
    device half4* output [[buffer(4)]],
#if MASK
    device const float* mask [[buffer(5)]], // [n_queries, n_keys]
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]],
    uint subgroup_id [[simdgroup_index_in_threadgroup]],
    uint sub_lane [[thread_index_in_simdgroup]]
) {
    constexpr uint ROW = HEAD_DIM / 4;
    constexpr uint STRIDE = HEAD_DIM + 8;
    constexpr uint Q_STRIDE = KEYS + 8;
    constexpr uint SCORE_STRIDE = KEYS + 4;
    constexpr uint PROBABILITY_STRIDE = KEYS + 8;
    constexpr uint DIMS = HEAD_DIM / 8;
    constexpr uint TILES = KEYS / 8;
    constexpr uint SUBGROUPS = 4;
    constexpr uint QUERIES = 16 * SUBGROUPS;
    constexpr uint THREADS = 32 * SUBGROUPS;
    threadgroup half tiles[BUFFERS * 2 * KEYS * STRIDE];
    threadgroup float scores[QUERIES * SCORE_STRIDE];
    threadgroup half probabilities[QUERIES * PROBABILITY_STRIDE];
    threadgroup uint rescales[SUBGROUPS];
    const uint first_query = (params.n_queries - 1) / QUERIES * QUERIES - group.x * QUERIES;
    const uint head = group.y;
    const uint last_query = min(first_query + QUERIES - 1, params.n_queries - 1);
    const uint n_tiles = (visible_keys(params, last_query) + KEYS - 1) / KEYS;
    const uint q_base = head * params.q_head_stride;
    const uint kv_base = head / params.group * params.kv_head_stride;

    simdgroup_half8x8 queries[2][DIMS];
    simdgroup_float8x8 out[2][DIMS];
    for (uint w = 0; w < HEAD_DIM / KEYS; w++) {
        for (uint i = lane; i < QUERIES * KEYS / 4; i += THREADS) {
            const uint r = i / (KEYS / 4);
            const uint step = i % (KEYS / 4);
            const uint query = min(first_query + r, last_query);
            *(threadgroup half4*)(tiles + r * Q_STRIDE + step * 4) =
                q[(q_base + query * params.q_token_stride) / 4 + w * KEYS / 4 + step];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint r = 0; r < 2; r++) {
            for (uint j = 0; j < TILES; j++) {
                simdgroup_load(queries[r][w * TILES + j], tiles + (subgroup_id * 16 + r * 8) * Q_STRIDE + j * 8, Q_STRIDE);
                out[r][w * TILES + j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }

    const uint row = sub_lane >> 1;
    const uint odd = sub_lane & 1;
    const uint rotation = odd + ((row >> 3) << 1);
    const uint query = min(first_query + subgroup_id * 16 + row, last_query);
    const uint n_row = visible_keys(params, query);
    const uint n_first = visible_keys(params, first_query);
    threadgroup float* row_scores = scores + (subgroup_id * 16 + row) * SCORE_STRIDE;
    threadgroup half* row_probabilities = probabilities + (subgroup_id * 16 + row) * PROBABILITY_STRIDE;
    float greatest = LOWEST;
    float sum = 0.0f;
    for (uint t = 0; t < n_tiles; t++) {
        const uint first_key = t * KEYS;
        threadgroup half* tile = tiles + (BUFFERS == 2 ? (t & 1) * 2 * KEYS * STRIDE : 0);
        // Where a key may be hidden from a query, values that are not finite are kept out of the product: 0 · NaN is NaN.
        const bool careful = MASK || first_key + KEYS > n_first;
        bool kept_out = false;
        for (uint i = lane; i < KEYS * ROW; i += THREADS) {
            const uint r = i / ROW;
            const uint step = i % ROW;
            const uint at = (kv_base + min(first_key + r, params.n_keys - 1) * params.kv_token_stride) / 4 + step;
            *(threadgroup half4*)(tile + r * STRIDE + step * 4) = k[at];
            half4 values = v[at];
            if (careful) {
                const bool4 out_of_range = not_finite(values);
                kept_out = kept_out || any(out_of_range);
                values = select(values, half4(0.0h), out_of_range);
            }
            *(threadgroup half4*)(tile + (KEYS + r) * STRIDE + step * 4) = values;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint j = 0; j < TILES; j++) {
            simdgroup_float8x8 s[2];
            s[0] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
            s[1] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
            for (uint d = 0; d < DIMS; d++) {
                simdgroup_half8x8 keys;
                simdgroup_load(keys, tile + j * 8 * STRIDE + d * 8, STRIDE, ulong2(0, 0), true);
                simdgroup_multiply_accumulate(s[0], queries[0][d], keys, s[0]);
                simdgroup_multiply_accumulate(s[1], queries[1][d], keys, s[1]);
            }
            for (uint r = 0; r < 2; r++) {
                simdgroup_store(s[r], scores + (subgroup_id * 16 + r * 8) * SCORE_STRIDE + j * 8, SCORE_STRIDE);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);

        float x[KEYS / 2];
        float tile_greatest = MASKED;
        for (uint i = 0; i < KEYS / 2; i++) {
            const uint column = (2 * i + rotation) & (KEYS - 1);
            x[i] = MASKED;
            if (first_key + column < n_row) {
                x[i] = row_scores[column] * params.scale;
#if MASK
                x[i] = biased(x[i], mask[query * params.n_keys + first_key + column]);
#endif
            }
            tile_greatest = max(tile_greatest, x[i]);
        }
        tile_greatest = max(tile_greatest, simd_shuffle_xor(tile_greatest, ushort(1)));
        const bool grown = tile_greatest > greatest + 8.0f;
        const float factor = grown ? exp2(greatest - tile_greatest) : 1.0f;
        greatest = grown ? tile_greatest : greatest;
        sum *= factor;
        for (uint i = 0; i < KEYS / 2; i++) {
            const float p = exp2(x[i] - greatest);
            sum += p;
            row_probabilities[(2 * i + rotation) & (KEYS - 1)] = half(p);
        }
        const bool any_grown = simd_any(grown && t > 0);
        const bool any_kept_out = simd_any(kept_out);
        if (sub_lane == 0) {
            rescales[subgroup_id] = (any_grown ? 1 : 0) | (any_kept_out ? 2 : 0);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        uint rescale = 0;
        for (uint s = 0; s < SUBGROUPS; s++) {
            rescale |= rescales[s];
        }
        if (rescale != 0) {
            for (uint w = 0; w < HEAD_DIM / KEYS; w++) {
                for (uint r = 0; r < 2; r++) {
                    for (uint j = 0; j < TILES; j++) {
                        simdgroup_store(out[r][w * TILES + j], scores + (subgroup_id * 16 + r * 8) * SCORE_STRIDE + j * 8, SCORE_STRIDE);
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                for (uint c = odd; c < KEYS; c += 2) {
                    float value = row_scores[c] * factor;
                    if ((rescale & 2) != 0) {
                        // What was kept out counts for the queries that see it.
                        const uint at = w * KEYS + c;
                        for (uint key = first_key; key < min(first_key + KEYS, n_row); key++) {
#if MASK
                            if (hides(mask[query * params.n_keys + key])) {
                                continue;
                            }
#endif
                            const half4 values = v[(kv_base + key * params.kv_token_stride + at) / 4];
                            if (not_finite(values)[at & 3]) {
                                value += float(values[at & 3]);
                            }
                        }
                    }
                    row_scores[c] = value;
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                for (uint r = 0; r < 2; r++) {
                    for (uint j = 0; j < TILES; j++) {
                        simdgroup_load(out[r][w * TILES + j], scores + (subgroup_id * 16 + r * 8) * SCORE_STRIDE + j * 8, SCORE_STRIDE);
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
            }
        }
        for (uint j = 0; j < TILES; j++) {
            simdgroup_half8x8 p[2];
            for (uint r = 0; r < 2; r++) {
                simdgroup_load(p[r], probabilities + (subgroup_id * 16 + r * 8) * PROBABILITY_STRIDE + j * 8, PROBABILITY_STRIDE);
            }
            for (uint d = 0; d < DIMS; d++) {
                simdgroup_half8x8 values;
                simdgroup_load(values, tile + (KEYS + j * 8) * STRIDE + d * 8, STRIDE);
                simdgroup_multiply_accumulate(out[0][d], p[0], values, out[0][d]);
                simdgroup_multiply_accumulate(out[1][d], p[1], values, out[1][d]);
            }
        }
        if (BUFFERS == 1) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
    }

    sum += simd_shuffle_xor(sum, ushort(1));
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    const uint stored_query = first_query + subgroup_id * 16 + row;
    for (uint w = 0; w < HEAD_DIM / KEYS; w++) {
        for (uint r = 0; r < 2; r++) {
            for (uint j = 0; j < TILES; j++) {
                simdgroup_store(out[r][w * TILES + j], scores + (subgroup_id * 16 + r * 8) * SCORE_STRIDE + j * 8, SCORE_STRIDE);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (stored_query <= last_query) {
            for (uint i = 0; i < KEYS / 8; i++) {
                const uint c = odd * (KEYS / 2) + 4 * i;
                const float4 values = float4(row_scores[c], row_scores[c + 1], row_scores[c + 2], row_scores[c + 3]);
                output[(q_base + stored_query * params.q_token_stride) / 4 + w * KEYS / 4 + c / 4] = half4(values * inverse);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}
