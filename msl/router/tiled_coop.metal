// Twin of wgsl/router/tiled_coop.wgsl with simdgroup matrices, which are 8×8 on every Apple GPU: a
// threadgroup of 4 simdgroups owns 64 tokens × EXPERTS experts of one split of `hidden`.
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

struct Params {
    uint n_tokens;
    uint hidden;
    uint experts;
    uint top_k;
    uint n_summed;
    uint n_splits;
    uint split_len;
    uint logit_rows;
    uint logit_stride;
};

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const half4* activations [[buffer(1)]], // [n_tokens, hidden / 4]
    device const half4* weights [[buffer(2)]], // [experts, hidden / 4]
    device float* logits [[buffer(3)]], // [n_splits][logit_rows][logit_stride]
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]],
    uint subgroup_id [[simdgroup_index_in_threadgroup]]
) {
    constexpr uint STRIDE = 72;
    threadgroup half activation_tile[64 * STRIDE];
    threadgroup half weight_tile[EXPERTS * STRIDE];
    const uint first_expert = group.x * EXPERTS;
    const uint first_token = group.y * 64;
    const uint split = group.z;
    const uint begin = split * params.split_len;
    const uint end = min(begin + params.split_len, params.hidden);
    const uint row_units = params.hidden >> 2;
    const uint step = lane & 15;
    simdgroup_float8x8 sums[2][EXPERTS / 8];
    for (uint r = 0; r < 2; r++) {
        for (uint j = 0; j < EXPERTS / 8; j++) {
            sums[r][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        }
    }
    for (uint d = begin; d < end; d += 64) {
        const uint from = d + step * 4;
        for (uint r = lane >> 4; r < 64; r += 8) {
            half4 loaded = half4(0.0h);
            if (first_token + r < params.n_tokens && from < end) {
                loaded = activations[(first_token + r) * row_units + (from >> 2)];
            }
            *(threadgroup half4*)(activation_tile + r * STRIDE + step * 4) = loaded;
        }
        for (uint r = lane >> 4; r < EXPERTS; r += 8) {
            half4 loaded = half4(0.0h);
            if (first_expert + r < params.experts && from < end) {
                loaded = weights[(first_expert + r) * row_units + (from >> 2)];
            }
            *(threadgroup half4*)(weight_tile + r * STRIDE + step * 4) = loaded;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint k = 0; k < 8; k++) {
            simdgroup_half8x8 a[2];
            for (uint r = 0; r < 2; r++) {
                simdgroup_load(a[r], activation_tile + (subgroup_id * 16 + r * 8) * STRIDE + k * 8, STRIDE);
            }
            for (uint j = 0; j < EXPERTS / 8; j++) {
                simdgroup_half8x8 w;
                simdgroup_load(w, weight_tile + j * 8 * STRIDE + k * 8, STRIDE, ulong2(0, 0), true);
                for (uint r = 0; r < 2; r++) {
                    simdgroup_multiply_accumulate(sums[r][j], a[r], w, sums[r][j]);
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const uint first_row = split * params.logit_rows + first_token + subgroup_id * 16;
    for (uint r = 0; r < 2; r++) {
        for (uint j = 0; j < EXPERTS / 8; j++) {
            const uint at = (first_row + r * 8) * params.logit_stride + first_expert + j * 8;
            simdgroup_store(sums[r][j], logits + at, params.logit_stride);
        }
    }
}
