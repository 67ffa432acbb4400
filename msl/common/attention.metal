// What the attention twins share: parameters, which keys a query sees, the mask.
// Elements are half with F16 = 1, else float. Scores are in units of log2.
#if F16
typedef half elem;
typedef half2 elem2;
typedef half4 elem4;
#else
typedef float elem;
typedef float2 elem2;
typedef float4 elem4;
#endif

struct Params {
    uint n_queries;
    uint n_keys;
    uint heads;
    uint group;
    uint q_token_stride;
    uint q_head_stride;
    uint kv_token_stride;
    uint kv_head_stride;
    int diagonal;
    float scale;
    uint score_stride;
    uint n_splits;
    uint split_len;
};

// Finite stand-ins for −inf: a score that is masked, and a maximum over nothing.
#define MASKED -3.0e38f
#define LOWEST -1.0e30f

static inline uint visible_keys(constant Params& params, uint query) {
    return uint(clamp(int(query) + params.diagonal, 0, int(params.n_keys)));
}

static inline bool hides(float bias) {
    return bias <= LOWEST;
}

static inline float biased(float score, float bias) {
    return bias <= LOWEST ? MASKED : score + bias * 1.4426950408889634f;
}
