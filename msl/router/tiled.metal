// Twin of wgsl/router/tiled.wgsl: 64 tokens × 16·COLUMNS experts of one split of `hidden`, operands through
// threadgroup memory. 128 threads per threadgroup.
#include <metal_stdlib>
using namespace metal;
#include "common/router.metal"

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* activations [[buffer(1)]], // [n_tokens, hidden]
    device const elem* weights [[buffer(2)]], // [experts, hidden]
    device float* logits [[buffer(3)]], // [n_splits][logit_rows][logit_stride]
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]]
) {
    constexpr uint A_STRIDE = 68;
    constexpr uint W_STRIDE = 16 * COLUMNS + 1;
    threadgroup float activation_tile[16 * A_STRIDE];
    threadgroup float weight_tile[16 * W_STRIDE];
    const uint first_expert = group.x * 16 * COLUMNS;
    const uint first_token = group.y * 64;
    const uint split = group.z;
    const uint column = lane & 15;
    const uint row = lane >> 4;
    const uint step = (lane & 3) * 4;
    const uint begin = split * params.split_len;
    const uint end = min(begin + params.split_len, params.hidden);
    float sums[8][COLUMNS] = {};
    for (uint d = begin; d < end; d += 16) {
        const uint from = d + step;
        for (uint r = lane >> 2; r < 64; r += 32) {
            float4 loaded = float4(0.0f);
            if (first_token + r < params.n_tokens && from < end) {
                loaded = load4(activations, params.hidden, first_token + r, from);
            }
            for (uint j = 0; j < 4; j++) {
                activation_tile[(step + j) * A_STRIDE + r] = loaded[j];
            }
        }
        for (uint r = lane >> 2; r < 16 * COLUMNS; r += 32) {
            float4 loaded = float4(0.0f);
            if (first_expert + r < params.experts && from < end) {
                loaded = load4(weights, params.hidden, first_expert + r, from);
            }
            for (uint j = 0; j < 4; j++) {
                weight_tile[(step + j) * W_STRIDE + r] = loaded[j];
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint k = 0; k < 16; k++) {
            float w[COLUMNS];
            for (uint j = 0; j < COLUMNS; j++) {
                w[j] = weight_tile[k * W_STRIDE + column + 16 * j];
            }
            for (uint r = 0; r < 8; r++) {
                const float a = activation_tile[k * A_STRIDE + row * 8 + r];
                for (uint j = 0; j < COLUMNS; j++) {
                    sums[r][j] += a * w[j];
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (uint r = 0; r < 8; r++) {
        const uint token = first_token + row * 8 + r;
        for (uint j = 0; j < COLUMNS; j++) {
            const uint expert = first_expert + column + 16 * j;
            if (token < params.n_tokens && expert < params.experts) {
                logits[(split * params.logit_rows + token) * params.logit_stride + expert] = sums[r][j];
            }
        }
    }
}
