// What the router kernels share: parameters, operands and their loads.
//
// Elements are f16 with F16 = 1, else f32. f16 is read as packed words, so that no kernel needs `shader-f16` for it. With VEC = 1,
// `hidden` is a multiple of 4 and a load takes 4 elements at once; with VEC = 0 it takes them one by one.
struct Params {
    n_tokens: u32,
    hidden: u32,
    experts: u32,
    top_k: u32,
    // Experts, from the best, whose weights the denominator sums: top_k where weights are renormalized.
    n_summed: u32,
    // Partial logits: [n_splits][logit_rows][logit_stride], each over `split_len` of `hidden`.
    n_splits: u32,
    split_len: u32,
    logit_rows: u32,
    logit_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if VEC && F16
@group(0) @binding(1) var<storage, read> activations: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec2<u32>>;

fn activation4(token: u32, d: u32) -> vec4<f32> {
    let words = activations[(token * params.hidden + d) >> 2u];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn weight4(row: u32, d: u32) -> vec4<f32> {
    let words = weights[(row * params.hidden + d) >> 2u];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
#elif VEC
@group(0) @binding(1) var<storage, read> activations: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;

fn activation4(token: u32, d: u32) -> vec4<f32> {
    return activations[(token * params.hidden + d) >> 2u];
}

fn weight4(row: u32, d: u32) -> vec4<f32> {
    return weights[(row * params.hidden + d) >> 2u];
}
#else
#if F16
@group(0) @binding(1) var<storage, read> activations: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<u32>;

fn activation(i: u32) -> f32 {
    let pair = unpack2x16float(activations[i >> 1u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}

fn weight(i: u32) -> f32 {
    let pair = unpack2x16float(weights[i >> 1u]);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}
#else
@group(0) @binding(1) var<storage, read> activations: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;

fn activation(i: u32) -> f32 {
    return activations[i];
}

fn weight(i: u32) -> f32 {
    return weights[i];
}
#endif

// Four elements from `d`; zeros from `hidden` on.
fn activation4(token: u32, d: u32) -> vec4<f32> {
    var loaded = vec4<f32>();
#for J in 0..4
    if d + {{J}}u < params.hidden {
        loaded[{{J}}] = activation(token * params.hidden + d + {{J}}u);
    }
#endfor
    return loaded;
}

fn weight4(row: u32, d: u32) -> vec4<f32> {
    var loaded = vec4<f32>();
#for J in 0..4
    if d + {{J}}u < params.hidden {
        loaded[{{J}}] = weight(row * params.hidden + d + {{J}}u);
    }
#endfor
    return loaded;
}
#endif
