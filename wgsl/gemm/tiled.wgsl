// Matrix product with the usual advice: tiles of x and of the decoded weights in workgroup memory.
//
//   y[i, j] = bias[j] + tensor_scale * sum over k of x[i, k] * value(code (j, k)) * scale(j, k / GROUP)
//
// Bindings as in naive.wgsl. A workgroup owns 16 x 16 elements of y, an invocation one of them; a step takes 16 of K.
// Each invocation stages one activation and one weight per step, so that every operand is read once per 16 outputs.
//   SCALES_CACHED 1: more advice: a step's scales (one per column: 16 weights lie within one group) are first put into
//                    workgroup memory, at the price of a further barrier
//   BUFFERS       2: more advice: the next step's tiles are staged while this one's are used: one barrier per step
// Lanes 0 to 15 stage 16 consecutive activations (32 or 64 bytes) and the 16 codes of one column (8 bytes).
// f32 accumulation. Needs shader-f16 where x or y is f16.
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

// [buffer][row][k] and [buffer][column][k]; rows padded by one against bank conflicts.
var<workgroup> tile_x: array<f32, {{BUFFERS * 16 * 17}}>;
var<workgroup> tile_w: array<f32, {{BUFFERS * 16 * 17}}>;
#if SCALES_CACHED
var<workgroup> tile_scales: array<f32, 16>;
#endif

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_id) local_id: vec3<u32>) {
    // What this invocation stages: element `lane` of a row and of a column. Beyond the edges, the last ones.
    let lane = local_id.x;
    let line = local_id.y;
    let x_row = min(workgroup_id.y * 16u + line, params.m - 1u);
    let w_row = min(workgroup_id.x * 16u + line, params.n - 1u);
    var sum = 0.0;
    for (var k0 = 0u; k0 < params.k; k0 += 16u) {
#if BUFFERS == 2
        let buffer = (k0 >> 4u) % 2u * 272u;
#else
        let buffer = 0u;
#endif
        let element = w_row * params.k + k0 + lane;
        let group_ix = element / {{GROUP}}u;
#if SCALES_CACHED
        if lane == 0u {
            tile_scales[line] = load_scale(group_ix);
        }
        workgroupBarrier();
        let scale = tile_scales[line];
#else
        let scale = load_scale(group_ix);
#endif
#if BITS == 4
        let code = (words[element / 8u] >> (4u * (element % 8u))) & 15u;
#else
        let code = load_code(element);
#endif
        tile_x[buffer + line * 17u + lane] = f32(x[x_row * params.k + k0 + lane]);
#if OFFSETS
        tile_w[buffer + line * 17u + lane] = code_value(code, 0.0) * scale + load_zero_point(group_ix);
#else
        tile_w[buffer + line * 17u + lane] = code_value(code, load_zero_point(group_ix)) * scale;
#endif
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            sum += tile_x[buffer + line * 17u + k] * tile_w[buffer + lane * 17u + k];
        }
#if BUFFERS == 1
        workgroupBarrier();
#endif
    }

    let row = workgroup_id.y * 16u + line;
    let column = workgroup_id.x * 16u + lane;
    if row >= params.m || column >= params.n {
        return;
    }
    sum *= params.tensor_scale;
#if BIAS
    sum += bias[column];
#endif
    y[row * params.n + column] = {{Y_ELEM}}(sum);
}
