// Matrix product as commonly written: one invocation per element of y.
//
//   y[i, j] = bias[j] + tensor_scale * sum over k of x[i, k] * value(code (j, k)) * scale(j, k / GROUP)
//
// words   u32  [n, k/8]          8 codes each, along K
// scales  u32  [...]             packed, groups [n, k/GROUP]
// x       f16 or f32 [m, k]
// y       f16 or f32 [m, n]
// bias    f32  [n]
//
// A workgroup owns 16 x 16 elements. Lanes walk along j, so each load of codes touches rows k/2 bytes apart; every code
// and scale is read again for each of the m rows, every activation for each of the n columns. f32 accumulation.
// Needs shader-f16 where x or y is f16.
#if X_F16 || Y_F16
enable f16;
#endif
#define BY_CODE
#include "common/weights.wgsl"

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_split: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
@group(0) @binding(3) var<storage, read> x: array<{{X_ELEM}}>;
@group(0) @binding(4) var<storage, read_write> y: array<{{Y_ELEM}}>;
#if ZERO_POINTS
@group(0) @binding(5) var<storage, read> zero_points: array<u32>;
#endif
#if BIAS
@group(0) @binding(6) var<storage, read> bias: array<f32>;
#endif

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    let row = id.y;
    if row >= params.m || column >= params.n {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        let element = column * params.k + k;
        let group_ix = element / {{GROUP}}u;
#if BITS == 4
        let code = (words[element / 8u] >> (4u * (k % 8u))) & 15u;
#else
        let code = load_code(element);
#endif
#if OFFSETS
        let weight = code_value(code, 0.0) * load_scale(group_ix) + load_zero_point(group_ix);
#else
        let weight = code_value(code, load_zero_point(group_ix)) * load_scale(group_ix);
#endif
        sum += weight * f32(x[row * params.k + k]);
    }
    sum *= params.tensor_scale;
#if BIAS
    sum += bias[column];
#endif
    y[row * params.n + column] = {{Y_ELEM}}(sum);
}
