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
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
#ifndef Y_VEC
#define Y_VEC 1
#endif
// With Y_VEC = 4 in runs of four: n is a multiple of 4.
#if Y_VEC == 4
@group(0) @binding(4) var<storage, read_write> y: array<vec4<{{Y_ELEM}}>>;
#else
@group(0) @binding(4) var<storage, read_write> y: array<{{Y_ELEM}}>;
#endif
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
