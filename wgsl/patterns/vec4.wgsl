// output[i] = input[i], 4 elements per invocation
//
// An invocation owns 4 consecutive f32. Lane l of a subgroup reads bytes 16·l to 16·l + 15: contiguous across lanes.
#include "common/grid.wgsl"

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>; // [n / 4]
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>; // [n / 4]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = workgroup_index(workgroup_id, num_workgroups) * 256u + lane;
    if i < params.n / 4u {
        output[i] = input[i];
    }
}
