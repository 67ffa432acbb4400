// Matrix-vector product as commonly written: one invocation per row and column.
//
//   y[c, r] = tensor_scale * sum over k of value(code (r, k)) * scale(r, k / GROUP) * x[c, k]
//
// words   u32  [n, k/8]     8 codes each, along K
// scales  u32  [...]        packed, groups [n, k/GROUP]
// x       f16 or f32 [batch, k]
// y       f32  [batch, n]
//
// An invocation walks along its row, so the lanes of a load are a whole row (k/2 bytes) apart: each reads 4 bytes of
// a sector of its own. Every column reads all weights again. f32 accumulation.
// Needs shader-f16 for f16 activations.
#if X_F16
enable f16;
#endif
#include "common/grid.wgsl"
#define BY_CODE
#include "common/weights.wgsl"

struct Params {
    n: u32,
    k: u32,
    batch: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
@group(0) @binding(3) var<storage, read> x: array<{{X_TYPE}}>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
#if ZERO_POINTS
@group(0) @binding(5) var<storage, read> zero_points: array<u32>;
#endif

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
) {
    let output_ix = workgroup_index(workgroup_id, num_workgroups) * {{THREADS}}u + local_index;
    if output_ix >= params.n * params.batch {
        return;
    }
    let row = output_ix % params.n;
    let column = output_ix / params.n;
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        let element = row * params.k + k;
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
        sum += weight * f32(x[column * params.k + k]);
    }
    y[column * params.n + row] = sum * params.tensor_scale;
}
