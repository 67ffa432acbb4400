// What the kernels that work in tiles bind alike. Each declares `words` and `x` itself, as vectors of what it loads at once.
struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_split: u32, // of K, per split
    tensor_scale: f32,
    pairs_per_x: u32, // with GROUPED: pairs that a row of x serves
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<{{Y_ELEM}}>;
#if ZERO_POINTS
@group(0) @binding(5) var<storage, read> zero_points: array<u32>;
#endif
#if BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif
#if GROUPED
@group(0) @binding(7) var<storage, read> tiles: array<vec4<u32>>; // expert, first pair, pairs
@group(0) @binding(8) var<storage, read> sorted: array<u32>;      // pairs (token * top_k + choice) by expert
#endif
