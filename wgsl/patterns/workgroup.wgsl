// output[i] = sum over k < 64 of tile[(lane·S + k) mod 4096], tile being the input's 4096 words
//
// An invocation owns one f32 of the output. A workgroup stages the tile once; then in each of 64 rounds lane
// l reads workgroup word l·S + k. The stride S (constant STRIDE) decides how many lanes meet in one bank.
#include "common/grid.wgsl"

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>; // [4096]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [n]

var<workgroup> tile: array<f32, 4096>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = workgroup_index(workgroup_id, num_workgroups) * 256u + lane;
    for (var k = 0u; k < 4096u; k += 256u) {
        tile[k + lane] = input[k + lane];
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var k = 0u; k < 64u; k++) {
        sum += tile[(lane * {{STRIDE}}u + k) & 4095u];
    }
    if i < params.n {
        output[i] = sum;
    }
}
