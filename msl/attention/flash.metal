// Twin of wgsl/attention/flash.wgsl: online softmax, 32 queries of a head per threadgroup, keys in tiles of 32;
// a thread owns 4 consecutive queries. 128 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/attention.metal"

// Stands for the exponential of a key that a query does not see: true ones are not negative.
#define HIDDEN -1.0f

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* q [[buffer(1)]],
    device const elem* k [[buffer(2)]],
    device const elem* v [[buffer(3)]],
    device elem* output [[buffer(4)]],
#if MASK
    device const float* mask [[buffer(5)]], // [n_queries, n_keys]
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    constexpr uint STEPS = CHUNK / 4;
    constexpr uint STRIDE = CHUNK / 4 + 1;
    constexpr uint V_STEPS = 4 * COLUMNS;
    constexpr uint OUT = HEAD_DIM / 16;
    threadgroup float4 q_tile[32 * STRIDE];
    threadgroup float4 k_tile[32 * STRIDE];
    threadgroup float p_tile[32 * 33];
    threadgroup float4 v_tile[32 * V_STEPS];
    const uint first_query = (params.n_queries - 1) / 32 * 32 - group.x * 32;
    const uint head = group.y;
    const uint last_query = min(first_query + 31, params.n_queries - 1);
    const uint n_tiles = (visible_keys(params, last_query) + 31) / 32;
    device const elem* q_head = q + head * params.q_head_stride;
    device const elem* k_head = k + head / params.group * params.kv_head_stride;
    device const elem* v_head = v + head / params.group * params.kv_head_stride;
    const uint column = lane & 15;
    const uint row = (lane >> 4) * 4;
    float greatest[4];
    float sum[4] = {};
    float out[4][OUT] = {};
    uint n_row[4];
    for (uint r = 0; r < 4; r++) {
        n_row[r] = visible_keys(params, min(first_query + row + r, last_query));
        greatest[r] = LOWEST;
    }
    for (uint tile = 0; tile < n_tiles; tile++) {
        const uint first_key = tile * 32;
        float s[4][2] = {};
        for (uint d = 0; d < HEAD_DIM / 4; d += STEPS) {
            for (uint i = lane; i < 32 * STEPS; i += 128) {
                const uint r = i / STEPS;
                const uint step = i % STEPS;
                const uint query = min(first_query + r, last_query);
                const uint key = min(first_key + r, params.n_keys - 1);
                device const elem4* q_row = (device const elem4*)(q_head + query * params.q_token_stride);
                device const elem4* k_row = (device const elem4*)(k_head + key * params.kv_token_stride);
                q_tile[r * STRIDE + step] = float4(q_row[d + step]);
                k_tile[r * STRIDE + step] = float4(k_row[d + step]);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            for (uint step = 0; step < STEPS; step++) {
                const float4 k_0 = k_tile[column * STRIDE + step];
                const float4 k_1 = k_tile[(column + 16) * STRIDE + step];
                for (uint r = 0; r < 4; r++) {
                    const float4 q_r = q_tile[(row + r) * STRIDE + step];
                    s[r][0] += dot(q_r, k_0);
                    s[r][1] += dot(q_r, k_1);
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
        for (uint r = 0; r < 4; r++) {
            for (uint j = 0; j < 2; j++) {
                const uint key = first_key + column + 16 * j;
                float score = MASKED;
                if (key < n_row[r]) {
                    score = s[r][j] * params.scale;
#if MASK
                    const uint query = min(first_query + row + r, last_query);
                    score = biased(score, mask[query * params.n_keys + key]);
#endif
                }
                s[r][j] = score;
                p_tile[(row + r) * 33 + column + 16 * j] = score;
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint r = 0; r < 4; r++) {
            float now = greatest[r];
            for (uint i = 0; i < 32; i++) {
                now = max(now, p_tile[(row + r) * 33 + i]);
            }
            const float factor = exp2(greatest[r] - now);
            greatest[r] = now;
            sum[r] *= factor;
            for (uint j = 0; j < OUT; j++) {
                out[r][j] *= factor;
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint r = 0; r < 4; r++) {
            for (uint j = 0; j < 2; j++) {
                p_tile[(row + r) * 33 + column + 16 * j] = s[r][j] == MASKED ? HIDDEN : exp2(s[r][j] - greatest[r]);
            }
        }
        for (uint part = 0; part < OUT / COLUMNS; part++) {
            for (uint i = lane; i < 32 * V_STEPS; i += 128) {
                const uint key = min(first_key + i / V_STEPS, params.n_keys - 1);
                device const elem4* v_row = (device const elem4*)(v_head + key * params.kv_token_stride);
                v_tile[i] = float4(v_row[part * V_STEPS + i % V_STEPS]);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            for (uint key = 0; key < 32; key++) {
                for (uint r = 0; r < 4; r++) {
                    const float p = p_tile[(row + r) * 33 + key];
                    // 0 times what a hidden key's value holds could be NaN.
                    if (p == HIDDEN) {
                        continue;
                    }
                    if (part == 0) {
                        sum[r] += p;
                    }
                    for (uint j = 0; j < COLUMNS; j++) {
                        const float value = v_tile[key * V_STEPS + 4 * j + (column >> 2)][column & 3];
                        out[r][part * COLUMNS + j] += p * value;
                    }
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
    }
    for (uint part = 0; part < OUT / COLUMNS; part++) {
        for (uint r = 0; r < 4; r++) {
            const float factor = sum[r] > 0.0f ? 1.0f / sum[r] : 0.0f;
            for (uint j = 0; j < COLUMNS; j++) {
                v_tile[(row + r) * V_STEPS + 4 * j + (column >> 2)][column & 3] = out[r][part * COLUMNS + j] * factor;
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = lane; i < 32 * V_STEPS; i += 128) {
            const uint query = first_query + i / V_STEPS;
            if (query <= last_query) {
                device elem* out_row = output + query * params.q_token_stride + head * params.q_head_stride;
                ((device elem4*)out_row)[part * V_STEPS + i % V_STEPS] = elem4(v_tile[i]);
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}
