// logits[t, e] = activations[t] · weights[e], weights [experts, hidden]
//
// A subgroup owns an expert row and TOKENS tokens: lane l reads elements 4(l + i·width)..+3 of the row, so a
// request covers width · 4 consecutive elements (256 B of f16 at 32 lanes), and each row is read once for
// all TOKENS. Sums stay in registers until one subgroup addition per token.
// Needs subgroups of {{WIDTH}} lanes; a workgroup is THREADS / WIDTH subgroups.
#include "common/router.wgsl"

@group(0) @binding(3) var<storage, read_write> logits: array<f32>; // [logit_rows][logit_stride]

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let expert = workgroup_id.x * {{THREADS / WIDTH}}u + subgroup_id;
    let first_token = workgroup_id.y * {{TOKENS}}u;
    // Beyond the edge a subgroup repeats the last row and does not store it.
    let row = min(expert, params.experts - 1u);
    let last_token = params.n_tokens - 1u;
#for T in 0..TOKENS
    let token_{{T}} = min(first_token + {{T}}u, last_token);
    var sum_{{T}} = 0.0;
#endfor
    for (var d = lane * 4u; d < params.hidden; d += {{4 * WIDTH}}u) {
        let w = weight4(row, d);
#for T in 0..TOKENS
        sum_{{T}} += dot(w, activation4(token_{{T}}, d));
#endfor
    }
#for T in 0..TOKENS
    let total_{{T}} = subgroupAdd(sum_{{T}});
#endfor
    if lane == 0u && expert < params.experts {
#for T in 0..TOKENS
        if first_token + {{T}}u < params.n_tokens {
            logits[(first_token + {{T}}u) * params.logit_stride + expert] = total_{{T}};
        }
#endfor
    }
}
