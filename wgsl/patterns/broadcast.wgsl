// output[i] = input[i / 32]
//
// An invocation owns one f32 of the output. 32 consecutive invocations read the same word.
#include "common/grid.wgsl"

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>; // [n / 32]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [n]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = workgroup_index(workgroup_id, num_workgroups) * 256u + lane;
    if i < params.n {
        output[i] = input[i >> 5u];
    }
}
