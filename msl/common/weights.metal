// Decoding of the weight formats: twin of wgsl/common/weights.wgsl, with the same names and defines. A kernel names its
// parameters `words`, `scales` and `zero_points`; it defines RUNS (1, 2, 4) before including where it loads chunks.

// Slot `n` where scales are bound at slot 2: plain weights have none.
#if SCALE == 8
#define SLOT(n) SLOT_BEFORE(n)
#define SLOT_BEFORE(n) SLOT_BEFORE_##n
#define SLOT_BEFORE_3 2
#define SLOT_BEFORE_4 3
#define SLOT_BEFORE_5 4
#define SLOT_BEFORE_6 5
#define SLOT_BEFORE_7 6
#else
#define SLOT(n) n
#endif

// The codes of a run of eight weights. Six bits: the low nibbles, and the high pairs in the lower half of a word.
#if BITS == 4
typedef uint Codes;
#elif BITS == 16
typedef uint4 Codes;
#elif BITS == 32
struct Codes {
    uint4 low;
    uint4 high;
};
#else
typedef uint2 Codes;
#endif

// An element of `scales`.
#if SCALE == 5
typedef uint2 ScaleUnit;
#elif SCALE == 6
typedef uint4 ScaleUnit;
#else
typedef uint ScaleUnit;
#endif

// Eight weights along K: 0 to 3 and 4 to 7 of a word.
struct Eight {
    float4 low;
    float4 high;
};

#if E2M1
constant float E2M1_MAGNITUDES[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
#endif

// What a code stands for before scaling.
static inline float code_value(uint code, float zero_point) {
#if E2M1
    const float magnitude = E2M1_MAGNITUDES[code & 7u];
    return code >= 8u ? -magnitude : magnitude;
#elif BITS == 8
    return float(int(code << 24u) >> 24);
#elif BITS == 16 && BF16
    return as_type<float>(code << 16u);
#elif BITS == 16
    return float(as_type<half2>(code).x);
#elif BITS == 32
    return as_type<float>(code);
#elif OFFSETS
    return float(code);
#else
    return float(code) - zero_point;
#endif
}

// Code `index` of the matrix.
static inline uint load_code(device const uint* words, uint index) {
#if BITS == 4
    return (words[index / 8u] >> (4u * (index % 8u))) & 15u;
#elif BITS == 6
    const uint run = index / 64u * 12u;
    const uint low = (words[run + index % 64u / 8u] >> (4u * (index % 8u))) & 15u;
    const uint high = (words[run + 8u + index % 64u / 16u] >> (2u * (index % 16u))) & 3u;
    return low | (high << 4u);
#elif BITS == 8
    return (words[index / 4u] >> (8u * (index % 4u))) & 0xffu;
#elif BITS == 16
    return (words[index / 2u] >> (16u * (index % 2u))) & 0xffffu;
#else
    return words[index];
#endif
}

#ifdef RUNS
// Codes of RUNS runs that lie side by side.
struct Chunk {
    Codes run[RUNS];
};

// An element of `words`.
#if BITS == 4 && RUNS == 4
typedef uint4 Words;
#elif BITS == 4 && RUNS == 2
typedef uint2 Words;
#elif BITS == 4
typedef uint Words;
#elif BITS == 6 && RUNS == 4
typedef uint4 Words;
#elif BITS == 6 && RUNS == 2
typedef uint2 Words;
#elif BITS == 6
typedef uint Words;
#elif BITS == 8 && RUNS == 1
typedef uint2 Words;
#else
typedef uint4 Words;
#endif

// Chunk `index` of the matrix.
static inline Chunk load_chunk(device const Words* words, uint index) {
#if BITS == 4 && RUNS == 1
    return Chunk{{words[index]}};
#elif BITS == 4 && RUNS == 2
    const uint2 codes = words[index];
    return Chunk{{codes.x, codes.y}};
#elif BITS == 4
    const uint4 codes = words[index];
    return Chunk{{codes.x, codes.y, codes.z, codes.w}};
#elif BITS == 6 && RUNS == 1
    const uint block = 12u * (index >> 3u);
    const uint high = words[block + 8u + ((index & 7u) >> 1u)];
    return Chunk{{uint2(words[block + (index & 7u)], high >> (16u * (index & 1u)))}};
#elif BITS == 6 && RUNS == 2
    const uint block = 6u * (index >> 2u);
    const uint2 low = words[block + (index & 3u)];
    const uint2 pairs = words[block + 4u + ((index & 3u) >> 1u)];
    const uint high = (index & 1u) == 1u ? pairs.y : pairs.x;
    return Chunk{{uint2(low.x, high), uint2(low.y, high >> 16u)}};
#elif BITS == 6
    const uint block = 3u * (index >> 1u);
    const uint4 low = words[block + (index & 1u)];
    const uint4 pairs = words[block + 2u];
    const uint2 high = (index & 1u) == 1u ? pairs.zw : pairs.xy;
    return Chunk{{uint2(low.x, high.x), uint2(low.y, high.x >> 16u), uint2(low.z, high.y), uint2(low.w, high.y >> 16u)}};
#elif BITS == 8 && RUNS == 1
    return Chunk{{words[index]}};
#elif BITS == 8 && RUNS == 2
    const uint4 a = words[index];
    return Chunk{{a.xy, a.zw}};
#elif BITS == 8
    const uint4 a = words[2u * index];
    const uint4 b = words[2u * index + 1u];
    return Chunk{{a.xy, a.zw, b.xy, b.zw}};
#else
    Chunk chunk;
#pragma clang loop unroll(full)
    for (uint i = 0; i < RUNS; i++) {
#if BITS == 16
        chunk.run[i] = words[RUNS * index + i];
#else
        chunk.run[i] = Codes{words[2u * (RUNS * index + i)], words[2u * (RUNS * index + i) + 1u]};
#endif
    }
    return chunk;
#endif
}
#endif

#if BITS == 8
constant float CODE_SCALE = 1.0f;
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);

// A byte plus 128 in the mantissa of a float with exponent 2^23 is that integer plus 2^23.
static inline float4 decode_four(uint word) {
    const uint4 bytes = (uint4(word ^ 0x80808080u) >> uint4(0u, 8u, 16u, 24u)) & uint4(0xffu);
    return as_type<float4>(bytes | uint4(0x4b000000u)) - 8388736.0f;
}

static inline Eight decode_eight(Codes codes, float) {
    return Eight{decode_four(codes.x), decode_four(codes.y)};
}
#elif BITS == 16
constant float CODE_SCALE = 1.0f;
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);

static inline float4 decode_four(uint2 words) {
#if BF16
    return as_type<float4>(uint4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
#else
    return float4(float2(as_type<half2>(words.x)), float2(as_type<half2>(words.y)));
#endif
}

static inline Eight decode_eight(Codes codes, float) {
    return Eight{decode_four(codes.xy), decode_four(codes.zw)};
}
#elif BITS == 32
constant float CODE_SCALE = 1.0f;
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);

static inline Eight decode_eight(Codes codes, float) {
    return Eight{as_type<float4>(codes.low), as_type<float4>(codes.high)};
}
#elif BITS == 6
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);
#if F16_SUBNORMALS
constant float CODE_SCALE = 16777216.0f;
#else
constant float CODE_SCALE = 1.0f;
#endif

// Two codes, in the halves of a word, times 1/CODE_SCALE.
static inline float2 decode_two(uint codes) {
#if F16_SUBNORMALS
    return float2(as_type<half2>(codes));
#else
    return as_type<float2>(uint2(codes & 0xffffu, codes >> 16u) | uint2(0x4b000000u)) - 8388608.0f;
#endif
}

static inline Eight decode_eight(Codes codes, float zero_point) {
    // The pairs of weights i and i + 4, sixteen bits apart like their nibbles.
    const uint high = (codes.y & 0xffu) | ((codes.y & 0xff00u) << 8u);
    const float2 w04 = decode_two((codes.x & 0x000f000fu) | ((high << 4u) & 0x00300030u));
    const float2 w15 = decode_two(((codes.x >> 4u) & 0x000f000fu) | ((high << 2u) & 0x00300030u));
    const float2 w26 = decode_two(((codes.x >> 8u) & 0x000f000fu) | (high & 0x00300030u));
    const float2 w37 = decode_two(((codes.x >> 12u) & 0x000f000fu) | ((high >> 2u) & 0x00300030u));
    const float bias = zero_point * (1.0f / CODE_SCALE);
    return Eight{float4(w04.x, w15.x, w26.x, w37.x) - bias, float4(w04.y, w15.y, w26.y, w37.y) - bias};
}
#elif E2M1 && F16_SUBNORMALS
// s ee m with ee at the low end of a half's exponent is the number times 2^-14. Each mask serves weights i and i + 4.
constant float CODE_SCALE = 16384.0f;
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);

static inline Eight decode_eight(uint word, float) {
    const float2 w04 = float2(as_type<half2>(((word << 9u) & 0x0e000e00u) | ((word << 12u) & 0x80008000u)));
    const float2 w15 = float2(as_type<half2>(((word << 5u) & 0x0e000e00u) | ((word << 8u) & 0x80008000u)));
    const float2 w26 = float2(as_type<half2>(((word << 1u) & 0x0e000e00u) | ((word << 4u) & 0x80008000u)));
    const float2 w37 = float2(as_type<half2>(((word >> 3u) & 0x0e000e00u) | (word & 0x80008000u)));
    return Eight{float4(w04.x, w15.x, w26.x, w37.x), float4(w04.y, w15.y, w26.y, w37.y)};
}
#elif E2M1
// ee m at the low end of a float's exponent over a bias of 126 is r = 0.5, 0.75, 1, 1.5, ...; min(r, 2r - 1) is 0, 0.5, 1, ...
constant float CODE_SCALE = 1.0f;
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);

static inline float4 decode_four(uint4 codes, uint4 signs) {
    const float4 regular = as_type<float4>((codes & uint4(0x01c00000u)) + uint4(0x3f000000u));
    const float4 magnitude = min(regular, 2.0f * regular - 1.0f);
    return as_type<float4>(as_type<uint4>(magnitude) | (signs & uint4(0x80000000u)));
}

static inline Eight decode_eight(uint word, float) {
    const uint4 to_low = uint4(22u, 18u, 14u, 10u);
    const uint4 to_sign = uint4(28u, 24u, 20u, 16u);
    const uint upper = word >> 16u;
    return Eight{decode_four(uint4(word) << to_low, uint4(word) << to_sign),
                 decode_four(uint4(upper) << to_low, uint4(upper) << to_sign)};
}
#elif F16_SUBNORMALS
// An integer in the mantissa of a half with exponent 0 is a subnormal: that integer times 2^-24.
constant float CODE_SCALE = 16777216.0f;
constant float4 IN_PLACE = float4(1.0f, 1.0f, 1.0f, 1.0f);

static inline Eight decode_eight(uint word, float zero_point) {
    const float2 w04 = float2(as_type<half2>(word & 0x000f000fu));
    const float2 w15 = float2(as_type<half2>((word >> 4u) & 0x000f000fu));
    const float2 w26 = float2(as_type<half2>((word >> 8u) & 0x000f000fu));
    const float2 w37 = float2(as_type<half2>((word >> 12u) & 0x000f000fu));
#if OFFSETS
    return Eight{float4(w04.x, w15.x, w26.x, w37.x), float4(w04.y, w15.y, w26.y, w37.y)};
#else
    const float bias = zero_point * (1.0f / CODE_SCALE);
    return Eight{float4(w04.x, w15.x, w26.x, w37.x) - bias, float4(w04.y, w15.y, w26.y, w37.y) - bias};
#endif
}
#else
// Nibble i of four stays where it is in the mantissa of a float with exponent 2^23: 16^i times itself.
constant float CODE_SCALE = 1.0f;
constant float4 IN_PLACE = float4(1.0f, 16.0f, 256.0f, 4096.0f);

static inline Eight decode_eight(uint word, float zero_point) {
    const uint4 masks = uint4(0xfu, 0xf0u, 0xf00u, 0xf000u);
#if OFFSETS
    const float4 bias = float4(8388608.0f);
#else
    const float4 bias = zero_point * IN_PLACE + 8388608.0f;
#endif
    return Eight{as_type<float4>((uint4(word) & masks) | uint4(0x4b000000u)) - bias,
                 as_type<float4>((uint4(word >> 16u) & masks) | uint4(0x4b000000u)) - bias};
}
#endif

// The number that the low bits of `bits` stand for.
#if SCALE < 3
static inline float decode_scale(uint bits) {
#if SCALE == 0
    return float(as_type<half2>(bits).x);
#elif SCALE == 1
    const uint byte = bits & 0xffu;
    return as_type<float>(byte == 0u ? 0x00400000u : byte << 23u);
#elif F16_SUBNORMALS
    return 256.0f * float(as_type<half2>(((bits & 0x80u) << 8u) | ((bits & 0x7fu) << 7u)).x);
#else
    const uint magnitude = bits & 0x7fu;
    const float normal = as_type<float>((magnitude << 20u) + 0x3c000000u);
    const float value = magnitude < 8u ? float(magnitude) * 0.001953125f : normal;
    return (bits & 0x80u) != 0u ? -value : value;
#endif
}
#elif SCALE == 6
static inline float six_bit_factor(uint low, uint high, uint j, uint pair) {
    return float(((low >> (4u * j)) & 15u) | (((high >> (4u * j + pair)) & 3u) << 4u));
}
#endif

// The scale of group `index` of the matrix, without the tensor scale.
static inline float load_scale(device const ScaleUnit* scales, uint index) {
#if SCALE == 0
    return decode_scale(scales[index >> 1u] >> (16u * (index & 1u)));
#elif SCALE < 3
    return decode_scale(scales[index >> 2u] >> (8u * (index & 3u)));
#elif SCALE == 3
    return float(as_type<half2>(scales[index]).x);
#elif SCALE == 4
    return as_type<float>(scales[index] << 16u);
#elif SCALE == 5
    return as_type<float>(scales[index].x);
#elif SCALE == 6
    const uint4 unit = scales[index >> 3u];
    return float(as_type<half2>(unit.x).x) * six_bit_factor(unit.y, unit.w, index & 7u, 0u);
#elif SCALE == 7
    const uint unit = 5u * (index >> 4u);
    const uint factors = scales[unit + ((index & 15u) >> 2u)];
    return float(as_type<half2>(scales[unit + 4u]).x) * float(int(factors << (24u - 8u * (index & 3u))) >> 24);
#else
    return 1.0f;
#endif
}
#if SCALE == 8
#define LOAD_SCALE(index) 1.0f
#else
#define LOAD_SCALE(index) load_scale(scales, index)
#endif

// With OFFSETS: the bias of group `index`, which takes the place of the zero point.
#if OFFSETS
static inline float load_bias(device const ScaleUnit* scales, uint index) {
#if SCALE == 3
    return float(as_type<half2>(scales[index]).y);
#elif SCALE == 4
    return as_type<float>(scales[index] & 0xffff0000u);
#elif SCALE == 5
    return as_type<float>(scales[index].y);
#else
    const uint4 unit = scales[index >> 3u];
    return -(float(as_type<half2>(unit.x).y) * six_bit_factor(unit.z, unit.w, index & 7u, 2u));
#endif
}
#endif

// The zero point of group `index`: stored or fixed, and not looked at for codes that are numbers already.
#if ZERO_POINTS && ZERO_BITS == 5
#define LOAD_ZERO_POINT(index) float((zero_points[(index) / 6u] >> (5u * ((index) % 6u))) & 31u)
#elif ZERO_POINTS
#define LOAD_ZERO_POINT(index) float((zero_points[(index) >> 3u] >> (4u * ((index) & 7u))) & 15u)
#elif OFFSETS
#define LOAD_ZERO_POINT(index) load_bias(scales, index)
#else
#define LOAD_ZERO_POINT(index) float(FIXED_ZERO)
#endif

// What is added to a scaled code.
#if OFFSETS
#define PLUS_BIAS(bias) + (bias)
#else
#define PLUS_BIAS(bias)
#endif
