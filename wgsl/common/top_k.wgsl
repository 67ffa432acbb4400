// The top k of one token's logits with their softmax, by a workgroup of THREADS invocations.
//
// An expert's rank is the number of experts that beat it; equal logits go to the lower index. Logits are
// compared as integers of the same order, in which all NaN are equal and beat every number: ranks are distinct
// whatever a logit is, so each invocation places its own experts: no rounds, no sort, any top_k, any number of
// experts to 512. Where a logit is NaN, its expert is chosen and all of the token's probabilities are NaN.
// Reads of `row_keys` are broadcasts: all lanes read the same word.
@group(0) @binding(4) var<storage, read_write> expert_ids: array<u32>; // [n_tokens, top_k]
@group(0) @binding(5) var<storage, read_write> probabilities: array<f32>; // [n_tokens, top_k]

// Each expert's `order_key`.
var<workgroup> row_keys: array<u32, 512>;
// exp(logit − greatest logit), by rank.
var<workgroup> ranked: array<f32, 512>;

// An integer that is greater for a greater logit: the bits of positive floats are in order, of negative ones in
// reverse. Both zeros have the same.
fn order_key(logit: f32) -> u32 {
    let bits = bitcast<u32>(logit);
    let magnitude = bits & 0x7fffffffu;
    let number = select(0x80000000u + magnitude, 0x80000000u - magnitude, bits > magnitude);
    return select(number, 0xffffffffu, magnitude > 0x7f800000u);
}

// The logit that has this key; −0 became 0.
fn logit_of(key: u32) -> f32 {
    return bitcast<f32>(select(0x80000000u | (0x80000000u - key), key & 0x7fffffffu, key >= 0x80000000u));
}

// Expects `row_keys` filled and a barrier passed.
fn select_experts(token: u32, lane: u32) {
    for (var expert = lane; expert < params.experts; expert += {{THREADS}}u) {
        let own = row_keys[expert];
        var greatest = own;
        var rank = 0u;
        for (var j = 0u; j < params.experts; j++) {
            let other = row_keys[j];
            greatest = max(greatest, other);
            rank += select(0u, 1u, other > own || (other == own && j < expert));
        }
        ranked[rank] = exp(logit_of(own) - logit_of(greatest));
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
