// Decoding of the 4-bit weight formats: twin of wgsl/common/weights.wgsl, with the same names and defines. A kernel passes
// its `scales` and `zero_points` where the WGSL names them globally.

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
#else
    return float(code) - zero_point;
#endif
}

#if E2M1 && F16_SUBNORMALS
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
    const float bias = zero_point * (1.0f / CODE_SCALE);
    return Eight{float4(w04.x, w15.x, w26.x, w37.x) - bias, float4(w04.y, w15.y, w26.y, w37.y) - bias};
}
#else
// Nibble i of four stays where it is in the mantissa of a float with exponent 2^23: 16^i times itself.
constant float CODE_SCALE = 1.0f;
constant float4 IN_PLACE = float4(1.0f, 16.0f, 256.0f, 4096.0f);

static inline Eight decode_eight(uint word, float zero_point) {
    const uint4 masks = uint4(0xfu, 0xf0u, 0xf00u, 0xf000u);
    const float4 bias = zero_point * IN_PLACE + 8388608.0f;
    return Eight{as_type<float4>((uint4(word) & masks) | uint4(0x4b000000u)) - bias,
                 as_type<float4>((uint4(word >> 16u) & masks) | uint4(0x4b000000u)) - bias};
}
#endif

// The number that the low bits of `bits` stand for.
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

// The scale of group `index` of the matrix, without the tensor scale. One 4-byte load.
static inline float load_scale(device const uint* scales, uint index) {
#if SCALE == 0
    return decode_scale(scales[index >> 1u] >> (16u * (index & 1u)));
#else
    return decode_scale(scales[index >> 2u] >> (8u * (index & 3u)));
#endif
}

// The zero point of group `index`: stored, 8 for int4, and not looked at for E2M1.
#if ZERO_POINTS
#define LOAD_ZERO_POINT(index) float((zero_points[(index) >> 3u] >> (4u * ((index) & 7u))) & 15u)
#else
#define LOAD_ZERO_POINT(index) 8.0f
#endif
