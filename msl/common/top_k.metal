// Twin of wgsl/common/top_k.wgsl: an expert's rank is the number of experts that beat it.
// Logits are compared as integers of the same order, in which all NaN are equal and beat every number.
static inline uint order_key(float logit) {
    const uint bits = as_type<uint>(logit);
    const uint magnitude = bits & 0x7fffffffu;
    const uint number = bits > magnitude ? 0x80000000u - magnitude : 0x80000000u + magnitude;
    return magnitude > 0x7f800000u ? 0xffffffffu : number;
}

static inline float logit_of(uint key) {
    return as_type<float>(key >= 0x80000000u ? key & 0x7fffffffu : 0x80000000u | (0x80000000u - key));
}

// Expects `row_keys` filled and a barrier passed; `ranked` is as long.
static inline void select_experts(
    constant Params& params,
    device uint* expert_ids,
    device float* probabilities,
    threadgroup uint* row_keys,
    threadgroup float* ranked,
    uint token,
    uint lane
) {
    for (uint expert = lane; expert < params.experts; expert += THREADS) {
        const uint own = row_keys[expert];
        uint greatest = own;
        uint rank = 0;
        for (uint j = 0; j < params.experts; j++) {
            const uint other = row_keys[j];
            greatest = max(greatest, other);
            rank += (other > own || (other == own && j < expert)) ? 1 : 0;
        }
        ranked[rank] = exp(logit_of(own) - logit_of(greatest));
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
