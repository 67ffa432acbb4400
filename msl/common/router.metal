// What the router's Metal twins share: parameters and loads of four elements, zeros from `hidden` on.
// Elements are half with F16 = 1, else float; with VEC = 1 `hidden` is a multiple of 4.
#if F16
typedef half elem;
typedef half4 elem4;
#else
typedef float elem;
typedef float4 elem4;
#endif

struct Params {
    uint n_tokens;
    uint hidden;
    uint experts;
    uint top_k;
    uint n_summed;
    uint n_splits;
    uint split_len;
    uint logit_rows;
    uint logit_stride;
};

#if VEC
static inline float4 load4(device const elem* matrix, uint hidden, uint row, uint d) {
    return float4(*(device const elem4*)(matrix + row * hidden + d));
}
#else
static inline float4 load4(device const elem* matrix, uint hidden, uint row, uint d) {
    float4 loaded = float4(0.0f);
    for (uint j = 0; j < 4; j++) {
        if (d + j < hidden) {
            loaded[j] = float(matrix[row * hidden + d + j]);
        }
    }
    return loaded;
}
#endif
