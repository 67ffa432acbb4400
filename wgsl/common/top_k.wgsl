// The top k of one token's logits with their softmax, by a workgroup of THREADS invocations.
//
// An expert's rank is the number of experts that beat it; equal logits go to the lower index. Ranks are
// distinct, so each invocation places its own experts: no rounds, no sort, any top_k, any number of experts
// to 512. Reads of `row_logits` are broadcasts: all lanes read the same word.
@group(0) @binding(4) var<storage, read_write> expert_ids: array<u32>; // [n_tokens, top_k]
@group(0) @binding(5) var<storage, read_write> probabilities: array<f32>; // [n_tokens, top_k]

var<workgroup> row_logits: array<f32, 512>;
// exp(logit − greatest logit), by rank.
var<workgroup> ranked: array<f32, 512>;

// Expects `row_logits` filled and a barrier passed.
fn select_experts(token: u32, lane: u32) {
    for (var expert = lane; expert < params.experts; expert += {{THREADS}}u) {
        let own = row_logits[expert];
        var greatest = own;
        var rank = 0u;
        for (var j = 0u; j < params.experts; j++) {
            let other = row_logits[j];
            greatest = max(greatest, other);
            rank += select(0u, 1u, other > own || (other == own && j < expert));
        }
        ranked[rank] = exp(own - greatest);
        if rank < params.top_k {
            expert_ids[token * params.top_k + rank] = expert;
        }
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var r = 0u; r < params.n_summed; r++) {
        sum += ranked[r];
    }
    for (var r = lane; r < params.top_k; r += {{THREADS}}u) {
        probabilities[token * params.top_k + r] = ranked[r] / sum;
    }
}
