// Adds up what the experts of each token gave.
//
//   y[t, j] = sum over c of probabilities[t, c] * expert_outputs[t * top_k + c, j]
//
// expert_outputs  f32  [tokens * top_k, n]   rows of pairs whose id is EXPERTS or more were not written, nor are they read
// expert_ids      u32  [tokens, top_k]
// probabilities           f32  [tokens, top_k]
// y               f16 or f32 [tokens, n]
//
// An invocation owns one element; lane l of a subgroup reads element base + l of each row: 4 contiguous bytes a lane.
// The order of the sum is that of the choices: no atomics, and the same bits on every run.
// Needs shader-f16 where y is f16.
#if Y_F16
enable f16;
#endif

struct Params {
    rows: u32,
    n: u32,
    k: u32,
    choices: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> expert_outputs: array<f32>;
@group(0) @binding(2) var<storage, read> expert_ids: array<u32>;
@group(0) @binding(3) var<storage, read> probabilities: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<{{Y_ELEM}}>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = workgroup_id.x * 256u + lane;
    let token = workgroup_id.y;
    if column >= params.n {
        return;
    }
    var sum = 0.0;
    for (var choice = 0u; choice < params.choices; choice++) {
        let pair = token * params.choices + choice;
        if expert_ids[pair] < {{EXPERTS}}u {
            sum += probabilities[pair] * expert_outputs[pair * params.n + column];
        }
    }
    y[token * params.n + column] = {{Y_ELEM}}(sum);
}
