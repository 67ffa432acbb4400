// Adds up the parts of a product whose K was split.
//
//   y[i] = bias[i mod n] + tensor_scale * sum over s of partial[s, i]
//
// partial  f32  [splits, m * n]
// y        f16 or f32 [m, n]
// bias     f32  [n]
//
// An invocation owns one element; lane l of a subgroup reads element base + l of each part: 4 contiguous bytes a lane.
// The order of the sum is fixed, so that runs agree to the bit.
#if Y_F16
enable f16;
#endif
#include "common/grid.wgsl"

struct Params {
    m: u32,
    n: u32,
    splits: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<{{Y_ELEM}}>;
#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
#endif

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n_elements = params.m * params.n;
    let i = workgroup_index(workgroup_id, num_workgroups) * 256u + lane;
    if i >= n_elements {
        return;
    }
    var sum = 0.0;
    for (var split = 0u; split < params.splits; split++) {
        sum += partial[split * n_elements + i];
    }
    sum *= params.tensor_scale;
#if BIAS
    sum += bias[i % params.n];
#endif
    y[i] = {{Y_ELEM}}(sum);
}
