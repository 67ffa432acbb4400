// Twin of wgsl/common/top_k.wgsl: an expert's rank is the number of experts that beat it.
// Expects `row_logits` filled and a barrier passed; `ranked` is as long.
static inline void select_experts(
    constant Params& params,
    device uint* expert_ids,
    device float* probabilities,
    threadgroup float* row_logits,
    threadgroup float* ranked,
    uint token,
    uint lane
) {
    for (uint expert = lane; expert < params.experts; expert += THREADS) {
        const float own = row_logits[expert];
        float greatest = own;
        uint rank = 0;
        for (uint j = 0; j < params.experts; j++) {
            const float other = row_logits[j];
            greatest = max(greatest, other);
            rank += (other > own || (other == own && j < expert)) ? 1 : 0;
        }
        ranked[rank] = exp(own - greatest);
        if (rank < params.top_k) {
            expert_ids[token * params.top_k + rank] = expert;
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float sum = 0.0f;
    for (uint r = 0; r < params.n_summed; r++) {
        sum += ranked[r];
    }
    for (uint r = lane; r < params.top_k; r += THREADS) {
        probabilities[token * params.top_k + r] = ranked[r] / sum;
    }
}
