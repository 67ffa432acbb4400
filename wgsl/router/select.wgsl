// expert_ids, probabilities = top_k(softmax(Σ partial logits)), for logits made by an earlier dispatch
//
// A workgroup owns a token. Partial logits of the splits over `hidden` are added in order: the same bits on
// every run.
#include "common/grid.wgsl"
#include "common/router.wgsl"
#include "common/top_k.wgsl"

@group(0) @binding(3) var<storage, read> logits: array<f32>; // [n_splits][logit_rows][logit_stride]

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let token = workgroup_index(workgroup_id, num_workgroups);
    if token >= params.n_tokens {
        return;
    }
    for (var expert = lane; expert < params.experts; expert += {{THREADS}}u) {
        var sum = 0.0;
        for (var split = 0u; split < params.n_splits; split++) {
            sum += logits[(split * params.logit_rows + token) * params.logit_stride + expert];
        }
        row_keys[expert] = order_key(sum);
    }
    workgroupBarrier();
    select_experts(token, lane);
}
