// Decoding of the 4-bit weight formats, once for all kernels. Bits in memory: the `quant` module's documentation.
//
// A kernel that includes this file declares the storage arrays `scales: array<u32>` and, under `ZERO_POINTS`,
// `zero_points: array<u32>`. Defines:
//   E2M1           1: codes are E2M1 numbers (fp4, mxfp4, nvfp4); 0: integers (int4, int4-asym)
//   ZERO_POINTS    1: each group has a stored zero point (int4-asym)
//   SCALE          0: f16, 1: E8M0, 2: E4M3
//   F16_SUBNORMALS 1: codes and E4M3 scales are placed in the bits of an f16, where integers and the E2M1 codes 1 and 9
//                  are subnormal; 0: the same values by f32 arithmetic, for devices that flush f16 subnormals

// Eight weights along K.
struct Eight {
    low: vec4<f32>,  // weights 0 to 3 of a word
    high: vec4<f32>, // weights 4 to 7
}

// ---- One weight at a time, as commonly written -------------------------------------------------------------------

// What a code stands for before scaling.
fn code_value(code: u32, zero_point: f32) -> f32 {
#if E2M1
    var magnitudes = array<f32, 8>(0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0);
    let magnitude = magnitudes[code & 7u];
    return select(magnitude, -magnitude, code >= 8u);
#else
    return f32(code) - zero_point;
#endif
}

// ---- Eight weights at a time -------------------------------------------------------------------------------------

#if E2M1
#if F16_SUBNORMALS
// E2M1 is s ee m: with ee at the low end of an f16's exponent and m at the top of its mantissa, that f16 is the
// number times 2^-14, the difference of the exponent biases 15 and 1. Bits 0..16 hold weights 0 to 3, bits 16..32
// weights 4 to 7: one mask serves weights i and i + 4.
const CODE_SCALE = 16384.0;

// The eight codes of a word, times 1/CODE_SCALE.
fn decode_eight(word: u32, zero_point: f32) -> Eight {
    let w04 = unpack2x16float(((word << 9u) & 0x0e000e00u) | ((word << 12u) & 0x80008000u));
    let w15 = unpack2x16float(((word << 5u) & 0x0e000e00u) | ((word << 8u) & 0x80008000u));
    let w26 = unpack2x16float(((word << 1u) & 0x0e000e00u) | ((word << 4u) & 0x80008000u));
    let w37 = unpack2x16float(((word >> 3u) & 0x0e000e00u) | (word & 0x80008000u));
    return Eight(vec4(w04.x, w15.x, w26.x, w37.x), vec4(w04.y, w15.y, w26.y, w37.y));
}
#else
const CODE_SCALE = 1.0;

// ee m at the low end of an f32's exponent, over a bias of 126, is r = 0.5, 0.75, 1, 1.5, 2, 3, 4, 6. Codes 0 and 1
// should be 0 and 0.5: min(r, 2r - 1) is that, and r elsewhere.
fn decode_four(codes: vec4<u32>, signs: vec4<u32>) -> vec4<f32> {
    let regular = bitcast<vec4<f32>>((codes & vec4(0x01c00000u)) + 0x3f000000u);
    let magnitude = min(regular, 2.0 * regular - 1.0);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(magnitude) | (signs & vec4(0x80000000u)));
}

// The eight codes of a word.
fn decode_eight(word: u32, zero_point: f32) -> Eight {
    let to_low = vec4(22u, 18u, 14u, 10u);
    let to_sign = vec4(28u, 24u, 20u, 16u);
    let upper = word >> 16u;
    return Eight(decode_four(vec4(word) << to_low, vec4(word) << to_sign),
                 decode_four(vec4(upper) << to_low, vec4(upper) << to_sign));
}
#endif
// Weight i of each four is multiplied by this in `decode_eight`.
const IN_PLACE = vec4(1.0, 1.0, 1.0, 1.0);
#elif F16_SUBNORMALS
// An integer below 1024 in the mantissa of an f16 with exponent 0 is a subnormal: that integer times 2^-24.
const CODE_SCALE = 16777216.0;
const IN_PLACE = vec4(1.0, 1.0, 1.0, 1.0);

// The eight (code - zero_point) of a word, times 1/CODE_SCALE. Exact.
fn decode_eight(word: u32, zero_point: f32) -> Eight {
    let w04 = unpack2x16float(word & 0x000f000fu);
    let w15 = unpack2x16float((word >> 4u) & 0x000f000fu);
    let w26 = unpack2x16float((word >> 8u) & 0x000f000fu);
    let w37 = unpack2x16float((word >> 12u) & 0x000f000fu);
    let bias = zero_point * (1.0 / CODE_SCALE);
    return Eight(vec4(w04.x, w15.x, w26.x, w37.x) - bias, vec4(w04.y, w15.y, w26.y, w37.y) - bias);
}
#else
// An integer below 2^23 in the mantissa of an f32 with exponent 2^23 is that integer plus 2^23. Nibble i of four is
// left where it is, which makes it 16^i times itself: one mask per weight and one shift per eight. Who uses these
// weights divides by IN_PLACE, for example in the activations.
const CODE_SCALE = 1.0;
const IN_PLACE = vec4(1.0, 16.0, 256.0, 4096.0);

// The eight (code - zero_point) of a word, times IN_PLACE. Exact.
fn decode_eight(word: u32, zero_point: f32) -> Eight {
    let masks = vec4(0xfu, 0xf0u, 0xf00u, 0xf000u);
    let bias = zero_point * IN_PLACE + 8388608.0;
    return Eight(bitcast<vec4<f32>>((vec4(word) & masks) | vec4(0x4b000000u)) - bias,
                 bitcast<vec4<f32>>((vec4(word >> 16u) & masks) | vec4(0x4b000000u)) - bias);
}
#endif

// ---- Scales and zero points --------------------------------------------------------------------------------------

#if SCALE == 0
fn decode_scale(bits: u32) -> f32 {
    return unpack2x16float(bits).x;
}
#elif SCALE == 1
// 2^(byte - 127). Byte 0 is a subnormal f32, which a device may flush.
fn decode_scale(bits: u32) -> f32 {
    let byte = bits & 0xffu;
    return bitcast<f32>(select(byte << 23u, 0x00400000u, byte == 0u));
}
#elif F16_SUBNORMALS
// Four exponent bits of bias 7 at the low end of an f16's five of bias 15: the number times 2^-8.
fn decode_scale(bits: u32) -> f32 {
    return 256.0 * unpack2x16float(((bits & 0x80u) << 8u) | ((bits & 0x7fu) << 7u)).x;
}
#else
fn decode_scale(bits: u32) -> f32 {
    let magnitude = bits & 0x7fu;
    let normal = bitcast<f32>((magnitude << 20u) + 0x3c000000u);
    let value = select(normal, f32(magnitude) * 0.001953125, magnitude < 8u);
    return select(value, -value, (bits & 0x80u) != 0u);
}
#endif

#ifndef OWN_LOAD_SCALE
// The word that holds the scale of group `index`. One 4-byte load.
fn load_scale_word(index: u32) -> u32 {
#if SCALE == 0
    return scales[index >> 1u];
#else
    return scales[index >> 2u];
#endif
}

// The scale of group `index` in its word.
fn scale_in_word(word: u32, index: u32) -> f32 {
#if SCALE == 0
    return decode_scale(word >> (16u * (index & 1u)));
#else
    return decode_scale(word >> (8u * (index & 3u)));
#endif
}

// The scale of group `index` of the matrix, without the tensor scale.
fn load_scale(index: u32) -> f32 {
    return scale_in_word(load_scale_word(index), index);
}
#endif

// The word that holds the zero point of group `index`, if zero points are stored.
fn load_zero_point_word(index: u32) -> u32 {
#if ZERO_POINTS
    return zero_points[index >> 3u];
#else
    return 0u;
#endif
}

// The zero point of group `index` in its word: stored, 8 for int4, and not looked at for E2M1.
fn zero_point_in_word(word: u32, index: u32) -> f32 {
#if ZERO_POINTS
    return f32((word >> (4u * (index & 7u))) & 15u);
#else
    return 8.0;
#endif
}

// The zero point of group `index`.
fn load_zero_point(index: u32) -> f32 {
    return zero_point_in_word(load_zero_point_word(index), index);
}
