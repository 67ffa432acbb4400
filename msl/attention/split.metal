// Twin of wgsl/attention/split.wgsl: one part of the keys for HEADS query heads that share a key head, and one
// query; LANES lanes share a key row. THREADS threads per threadgroup, simdgroups of WIDTH lanes.
#include <metal_stdlib>
using namespace metal;
#include "common/attention.metal"

#define PARTS (PER_VEC / 4)

struct Row {
    float4 parts[NV * PARTS];
};

// The vectors of 16 bytes that a lane owns of a row, as floats; zeros beyond the row.
static inline Row load_row(device const elem* base, uint own) {
    Row row;
    for (uint i = 0; i < NV; i++) {
        const uint vec_ix = own + i * LANES;
        for (uint p = 0; p < PARTS; p++) {
            row.parts[i * PARTS + p] = float4(0.0f);
        }
        if (vec_ix < HEAD_DIM / PER_VEC) {
            // One load of 16 bytes, whatever the element.
            const uint4 vector = ((device const uint4*)base)[vec_ix];
#if F16
            row.parts[i * PARTS] = float4(as_type<half4>(vector.xy));
            row.parts[i * PARTS + 1] = float4(as_type<half4>(vector.zw));
#else
            row.parts[i * PARTS] = as_type<float4>(vector);
#endif
        }
    }
    return row;
}

kernel void main_(
    constant Params& params [[buffer(0)]],
    device const elem* q [[buffer(1)]],
    device const elem* k [[buffer(2)]],
    device const elem* v [[buffer(3)]],
    device float4* partial [[buffer(4)]], // [n_queries][heads][n_splits][HEAD_DIM / 4]
    device float2* partial_sums [[buffer(5)]], // [n_queries][heads][n_splits]
#if MASK
    device const float* mask [[buffer(6)]], // [n_queries, n_keys]
#endif
    uint3 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_threadgroup]],
    uint subgroup_id [[simdgroup_index_in_threadgroup]],
    uint sub_lane [[thread_index_in_simdgroup]]
) {
    constexpr uint STREAMS = THREADS / LANES;
    threadgroup float2 stream_sums[STREAMS];
    threadgroup float4 stream_outputs[STREAMS * HEAD_DIM / 4];
    const uint split = group.x;
    const uint first_head = group.y * HEADS;
    const uint query = group.z;
    const uint n = visible_keys(params, query);
    const uint begin = min(split * params.split_len, n);
    const uint end = min(begin + params.split_len, n);
    const uint stream = subgroup_id * (WIDTH / LANES) + sub_lane / LANES;
    const uint own = sub_lane % LANES;
    const uint kv_base = first_head / params.group * params.kv_head_stride;
    Row queries[HEADS];
    Row outputs[HEADS];
    float greatest[HEADS];
    float sum[HEADS];
    for (uint h = 0; h < HEADS; h++) {
        queries[h] = load_row(q + query * params.q_token_stride + (first_head + h) * params.q_head_stride, own);
        greatest[h] = LOWEST;
        sum[h] = 0.0f;
        for (uint i = 0; i < NV * PARTS; i++) {
            queries[h].parts[i] *= params.scale;
            outputs[h].parts[i] = float4(0.0f);
        }
    }
    for (uint base = begin; base < end; base += ROWS * STREAMS) {
        Row keys[ROWS];
        Row values[ROWS];
        for (uint r = 0; r < ROWS; r++) {
            const uint at = kv_base + min(base + r * STREAMS + stream, end - 1) * params.kv_token_stride;
            keys[r] = load_row(k + at, own);
            values[r] = load_row(v + at, own);
            bool seen = base + r * STREAMS + stream < end;
#if MASK
            if (seen) {
                seen = !hides(mask[query * params.n_keys + base + r * STREAMS + stream]);
            }
#endif
            // Of a hidden key nothing is used: 0 times what its value holds could be NaN.
            for (uint i = 0; i < NV * PARTS; i++) {
                values[r].parts[i] = seen ? values[r].parts[i] : float4(0.0f);
            }
        }
        for (uint h = 0; h < HEADS; h++) {
            float s[ROWS];
            float now = greatest[h];
            for (uint r = 0; r < ROWS; r++) {
                float score = 0.0f;
                for (uint i = 0; i < NV * PARTS; i++) {
                    score += dot(queries[h].parts[i], keys[r].parts[i]);
                }
                for (ushort step = 1; step < LANES; step <<= 1) {
                    score += simd_shuffle_xor(score, step);
                }
                const uint key = base + r * STREAMS + stream;
                s[r] = MASKED;
                if (key < end) {
                    s[r] = score;
#if MASK
                    s[r] = biased(score, mask[query * params.n_keys + key]);
#endif
                }
                now = max(now, s[r]);
            }
            const float factor = exp2(greatest[h] - now);
            greatest[h] = now;
            sum[h] *= factor;
            for (uint i = 0; i < NV * PARTS; i++) {
                outputs[h].parts[i] *= factor;
            }
            for (uint r = 0; r < ROWS; r++) {
                const float p = exp2(s[r] - now);
                sum[h] += p;
                for (uint i = 0; i < NV * PARTS; i++) {
                    outputs[h].parts[i] += p * values[r].parts[i];
                }
            }
        }
    }
    // One head at a time through the same memory: a barrier before each reuse.
    for (uint h = 0; h < HEADS; h++) {
        if (own == 0) {
            stream_sums[stream] = float2(greatest[h], sum[h]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float now = LOWEST;
        for (uint s = 0; s < STREAMS; s++) {
            now = max(now, stream_sums[s].x);
        }
        float total = 0.0f;
        for (uint s = 0; s < STREAMS; s++) {
            total += stream_sums[s].y * exp2(stream_sums[s].x - now);
        }
        const float factor = exp2(greatest[h] - now);
        for (uint i = 0; i < NV; i++) {
            const uint vec_ix = own + i * LANES;
            if (vec_ix < HEAD_DIM / PER_VEC) {
                for (uint p = 0; p < PARTS; p++) {
                    stream_outputs[stream * (HEAD_DIM / 4) + vec_ix * PARTS + p] = outputs[h].parts[i * PARTS + p] * factor;
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        const uint at = (query * params.heads + first_head + h) * params.n_splits + split;
        for (uint d = lane; d < HEAD_DIM / 4; d += THREADS) {
            float4 joined = float4(0.0f);
            for (uint s = 0; s < STREAMS; s++) {
                joined += stream_outputs[s * (HEAD_DIM / 4) + d];
            }
            partial[at * (HEAD_DIM / 4) + d] = joined;
        }
        if (lane == 0) {
            partial_sums[at] = float2(now, total);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}
