// output[i] = input[(i mod R)·S + i / R], R = n / S: a column-order read
//
// An invocation owns one f32 of the output. Lane l of a subgroup reads word base + l·S; each input word is
// read once over the whole dispatch. S is the constant STRIDE and divides n.
#include "common/grid.wgsl"

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>; // [n]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [n]

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = workgroup_index(workgroup_id, num_workgroups) * 256u + lane;
    if i < params.n {
        let n_rows = params.n / {{STRIDE}}u;
        output[i] = input[(i % n_rows) * {{STRIDE}}u + i / n_rows];
    }
}
