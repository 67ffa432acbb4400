// What the attention kernels share: parameters, which keys a query sees, packed loads of LOAD elements.
//
// Elements are f16 with F16 = 1, else f32. f16 is kept in packed words, so that no kernel needs `shader-f16`
// for it. Scores are in units of log2: `scale` is log2(e)/√head_dim, and exponentials are exp2.
struct Params {
    n_queries: u32,
    n_keys: u32,
    heads: u32,
    // Query heads per key head.
    group: u32,
    // In elements, for queries and output, and for keys and values.
    q_token_stride: u32,
    q_head_stride: u32,
    kv_token_stride: u32,
    kv_head_stride: u32,
    // Query i sees keys below i + diagonal.
    diagonal: i32,
    scale: f32,
    // Rows of the score matrix, or of transposed keys, in elements.
    score_stride: u32,
    n_splits: u32,
    split_len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Finite stand-ins for −inf: a score that is masked, and a maximum over nothing. exp2(MASKED − LOWEST) = 0.
const MASKED = -3.0e38;
const LOWEST = -1.0e30;

// The number of keys that a query sees, from the first.
fn visible_keys(query: u32) -> u32 {
    return u32(clamp(i32(query) + params.diagonal, 0, i32(params.n_keys)));
}

#if MASK
@group(0) @binding(9) var<storage, read> mask: array<f32>; // [n_queries, n_keys], added to scores

fn hidden_by_mask(query: u32, key: u32) -> bool {
    return mask[query * params.n_keys + key] <= LOWEST;
}

fn masked_score(score: f32, query: u32, key: u32) -> f32 {
    let bias = mask[query * params.n_keys + key];
    return select(score + bias * 1.4426950408889634, MASKED, bias <= LOWEST);
}
#else
fn hidden_by_mask(query: u32, key: u32) -> bool {
    return false;
}

fn masked_score(score: f32, query: u32, key: u32) -> f32 {
    return score;
}
#endif

#if LOAD == 2 && F16
alias Packed = u32;
alias Unpacked = vec2<f32>;
fn unpack(packed: Packed) -> Unpacked {
    return unpack2x16float(packed);
}
fn pack(values: Unpacked) -> Packed {
    return pack2x16float(values);
}
#elif LOAD == 2
alias Packed = vec2<f32>;
alias Unpacked = vec2<f32>;
fn unpack(packed: Packed) -> Unpacked {
    return packed;
}
fn pack(values: Unpacked) -> Packed {
    return values;
}
#elif F16
alias Packed = vec2<u32>;
alias Unpacked = vec4<f32>;
fn unpack(packed: Packed) -> Unpacked {
    return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
fn pack(values: Unpacked) -> Packed {
    return vec2<u32>(pack2x16float(values.xy), pack2x16float(values.zw));
}
#else
alias Packed = vec4<f32>;
alias Unpacked = vec4<f32>;
fn unpack(packed: Packed) -> Unpacked {
    return packed;
}
fn pack(values: Unpacked) -> Packed {
    return values;
}
#endif
