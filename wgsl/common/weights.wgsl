// Decoding of the weight formats, once for all kernels. Bits in memory: the `quant` module's documentation.
//
// A kernel that includes this file declares the storage arrays `words` and, with SCALE < 8, `scales: array<SCALE_UNIT>` and,
// under ZERO_POINTS, `zero_points: array<u32>`. Before including, it defines how it reads `words`:
//   BY_CODE        `words: array<u32>`, one code at a time: `load_code`
//   RUNS           1, 2, 4: `words: array<WORDS>`, chunks of so many runs of eight: `load_chunk`, or `words[index]` with 4 bits
// Defines of the format:
//   BITS           of a code: 4, 6, 8, 16, 32
//   E2M1           1: codes are E2M1 numbers (fp4, mxfp4, nvfp4)
//   BF16           1: codes of 16 bits are bf16, 0: f16
//   SCALE          0: f16, 1: E8M0, 2: E4M3, 3: f16 pairs, 4: bf16 pairs, 5: f32 pairs, 6: Q4_K's, 7: Q6_K's, 8: none
//   ZERO_POINTS    1: each group has a stored zero point, of ZERO_BITS (4 or 5)
//   FIXED_ZERO     the zero point of unsigned codes where none is stored
//   OFFSETS        1: a group has a bias, which is added to scaled codes. It takes the place of the zero point.
//   F16_SUBNORMALS 1: codes and E4M3 scales are placed in the bits of an f16, where integers and the E2M1 codes 1 and 9
//                  are subnormal; 0: the same values by f32 arithmetic, for devices that flush f16 subnormals

// ---- Types -------------------------------------------------------------------------------------------------------

// CODES: the codes of a run of eight weights. Six bits: the low nibbles, and the high pairs in the lower half of a word.
#if BITS == 4
#define CODES u32
#elif BITS == 16
#define CODES vec4<u32>
#elif BITS == 32
#define CODES array<vec4<u32>, 2>
#else
#define CODES vec2<u32>
#endif
// SCALE_UNIT: an element of `scales`. SCALE_WORD, ZERO_WORD: what is loaded for a group's scale and its zero point or bias.
#if SCALE == 5
#define SCALE_UNIT vec2<u32>
#define SCALE_WORD u32
#define ZERO_WORD u32
#elif SCALE == 6
#define SCALE_UNIT vec4<u32>
#define SCALE_WORD vec4<u32>
#define ZERO_WORD vec4<u32>
#elif SCALE == 7
#define SCALE_UNIT u32
#define SCALE_WORD vec2<u32>
#define ZERO_WORD u32
#else
#define SCALE_UNIT u32
#define SCALE_WORD u32
#define ZERO_WORD u32
#endif
// CHUNK: RUNS runs that lie side by side. WORDS: an element of `words`, at most 16 bytes.
#ifdef RUNS
#if RUNS == 1
#define CHUNK {{CODES}}
#elif BITS == 4
#define CHUNK vec{{RUNS}}<u32>
#else
#define CHUNK array<{{CODES}}, {{RUNS}}>
#endif
#if BITS == 4
#define WORDS {{CHUNK}}
#elif BITS == 6 && RUNS == 1
#define WORDS u32
#elif BITS == 6
#define WORDS vec{{RUNS}}<u32>
#elif BITS == 8 && RUNS == 1
#define WORDS vec2<u32>
#else
#define WORDS vec4<u32>
#endif
#endif

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
#elif BITS == 8
    return f32(bitcast<i32>(code << 24u) >> 24u);
#elif BITS == 16 && BF16
    return bitcast<f32>(code << 16u);
#elif BITS == 16
    return unpack2x16float(code).x;
#elif BITS == 32
    return bitcast<f32>(code);
#elif OFFSETS
    return f32(code);
#else
    return f32(code) - zero_point;
#endif
}

#ifdef BY_CODE
#if BITS != 4
// Code `index` of the matrix.
fn load_code(index: u32) -> u32 {
#if BITS == 6
    let run = index / 64u * 12u;
    let low = (words[run + index % 64u / 8u] >> (4u * (index % 8u))) & 15u;
    let high = (words[run + 8u + index % 64u / 16u] >> (2u * (index % 16u))) & 3u;
    return low | (high << 4u);
#elif BITS == 8
    return (words[index / 4u] >> (8u * (index % 4u))) & 0xffu;
#elif BITS == 16
    return (words[index / 2u] >> (16u * (index % 2u))) & 0xffffu;
#else
    return words[index];
#endif
}
#endif
#endif

// ---- Eight weights at a time -------------------------------------------------------------------------------------

#ifdef RUNS
#if BITS != 4
// Chunk `index` of the matrix.
fn load_chunk(index: u32) -> {{CHUNK}} {
#if BITS == 6 && RUNS == 1
    let block = 12u * (index >> 3u);
    let high = words[block + 8u + ((index & 7u) >> 1u)];
    let run0 = vec2(words[block + (index & 7u)], high >> (16u * (index & 1u)));
#elif BITS == 6 && RUNS == 2
    // 64 weights are six elements: four of nibbles, two of pairs.
    let block = 6u * (index >> 2u);
    let low = words[block + (index & 3u)];
    let pairs = words[block + 4u + ((index & 3u) >> 1u)];
    let high = select(pairs.x, pairs.y, (index & 1u) == 1u);
    let run0 = vec2(low.x, high);
    let run1 = vec2(low.y, high >> 16u);
#elif BITS == 6
    // 64 weights are three elements: two of nibbles, one of pairs, which two neighbours load.
    let block = 3u * (index >> 1u);
    let low = words[block + (index & 1u)];
    let pairs = words[block + 2u];
    let high = select(pairs.xy, pairs.zw, (index & 1u) == 1u);
    let run0 = vec2(low.x, high.x);
    let run1 = vec2(low.y, high.x >> 16u);
    let run2 = vec2(low.z, high.y);
    let run3 = vec2(low.w, high.y >> 16u);
#elif BITS == 8 && RUNS == 1
    let run0 = words[index];
#elif BITS == 8
#for I in 0..RUNS / 2
    let words{{I}} = words[{{RUNS / 2}}u * index + {{I}}u];
    let run{{2 * I}} = words{{I}}.xy;
    let run{{2 * I + 1}} = words{{I}}.zw;
#endfor
#elif BITS == 16
#for I in 0..RUNS
    let run{{I}} = words[{{RUNS}}u * index + {{I}}u];
#endfor
#else
#for I in 0..RUNS
    let run{{I}} = {{CODES}}(words[{{2 * RUNS}}u * index + {{2 * I}}u], words[{{2 * RUNS}}u * index + {{2 * I + 1}}u]);
#endfor
#endif
#if RUNS == 1
    return run0;
#elif RUNS == 2
    return {{CHUNK}}(run0, run1);
#else
    return {{CHUNK}}(run0, run1, run2, run3);
#endif
}
#endif
#endif

#if BITS == 8
const CODE_SCALE = 1.0;
const IN_PLACE = vec4(1.0, 1.0, 1.0, 1.0);

// A byte plus 128 in the mantissa of an f32 with exponent 2^23 is that integer plus 2^23.
fn decode_four(word: u32) -> vec4<f32> {
    let bytes = (vec4(word ^ 0x80808080u) >> vec4(0u, 8u, 16u, 24u)) & vec4(0xffu);
    return bitcast<vec4<f32>>(bytes | vec4(0x4b000000u)) - 8388736.0;
}

// The eight codes of a run.
fn decode_eight(codes: vec2<u32>, zero_point: f32) -> Eight {
    return Eight(decode_four(codes.x), decode_four(codes.y));
}
#elif BITS == 16
const CODE_SCALE = 1.0;
const IN_PLACE = vec4(1.0, 1.0, 1.0, 1.0);

fn decode_four(words: vec2<u32>) -> vec4<f32> {
#if BF16
    return bitcast<vec4<f32>>(vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
#else
    return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
#endif
}

// The eight weights of a run.
fn decode_eight(codes: vec4<u32>, zero_point: f32) -> Eight {
    return Eight(decode_four(codes.xy), decode_four(codes.zw));
}
#elif BITS == 32
const CODE_SCALE = 1.0;
const IN_PLACE = vec4(1.0, 1.0, 1.0, 1.0);

// The eight weights of a run.
fn decode_eight(codes: {{CODES}}, zero_point: f32) -> Eight {
    return Eight(bitcast<vec4<f32>>(codes[0]), bitcast<vec4<f32>>(codes[1]));
}
#elif BITS == 6
const IN_PLACE = vec4(1.0, 1.0, 1.0, 1.0);
#if F16_SUBNORMALS
// An integer below 1024 in the mantissa of an f16 with exponent 0 is a subnormal: that integer times 2^-24.
const CODE_SCALE = 16777216.0;
#else
// An integer below 2^23 in the mantissa of an f32 with exponent 2^23 is that integer plus 2^23.
const CODE_SCALE = 1.0;
#endif

// Two codes, in the halves of a word, times 1/CODE_SCALE.
fn decode_two(codes: u32) -> vec2<f32> {
#if F16_SUBNORMALS
    return unpack2x16float(codes);
#else
    return bitcast<vec2<f32>>(vec2(codes & 0xffffu, codes >> 16u) | vec2(0x4b000000u)) - 8388608.0;
#endif
}

// The eight (code - zero_point) of a run, times 1/CODE_SCALE. Exact.
fn decode_eight(codes: vec2<u32>, zero_point: f32) -> Eight {
    // The pairs of weights i and i + 4, sixteen bits apart like their nibbles.
    let high = (codes.y & 0xffu) | ((codes.y & 0xff00u) << 8u);
    let w04 = decode_two((codes.x & 0x000f000fu) | ((high << 4u) & 0x00300030u));
    let w15 = decode_two(((codes.x >> 4u) & 0x000f000fu) | ((high << 2u) & 0x00300030u));
    let w26 = decode_two(((codes.x >> 8u) & 0x000f000fu) | (high & 0x00300030u));
    let w37 = decode_two(((codes.x >> 12u) & 0x000f000fu) | ((high >> 2u) & 0x00300030u));
    let bias = zero_point * (1.0 / CODE_SCALE);
    return Eight(vec4(w04.x, w15.x, w26.x, w37.x) - bias, vec4(w04.y, w15.y, w26.y, w37.y) - bias);
}
#elif E2M1
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
#if OFFSETS
    return Eight(vec4(w04.x, w15.x, w26.x, w37.x), vec4(w04.y, w15.y, w26.y, w37.y));
#else
    let bias = zero_point * (1.0 / CODE_SCALE);
    return Eight(vec4(w04.x, w15.x, w26.x, w37.x) - bias, vec4(w04.y, w15.y, w26.y, w37.y) - bias);
#endif
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
#if OFFSETS
    let bias = vec4(8388608.0);
#else
    let bias = zero_point * IN_PLACE + 8388608.0;
#endif
    return Eight(bitcast<vec4<f32>>((vec4(word) & masks) | vec4(0x4b000000u)) - bias,
                 bitcast<vec4<f32>>((vec4(word >> 16u) & masks) | vec4(0x4b000000u)) - bias);
}
#endif

// ---- Scales, zero points and biases ------------------------------------------------------------------------------

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
#elif SCALE == 2 && F16_SUBNORMALS
// Four exponent bits of bias 7 at the low end of an f16's five of bias 15: the number times 2^-8.
fn decode_scale(bits: u32) -> f32 {
    return 256.0 * unpack2x16float(((bits & 0x80u) << 8u) | ((bits & 0x7fu) << 7u)).x;
}
#elif SCALE == 2
fn decode_scale(bits: u32) -> f32 {
    let magnitude = bits & 0x7fu;
    let normal = bitcast<f32>((magnitude << 20u) + 0x3c000000u);
    let value = select(normal, f32(magnitude) * 0.001953125, magnitude < 8u);
    return select(value, -value, (bits & 0x80u) != 0u);
}
#elif SCALE == 6
// A 6-bit factor of group j of a block: its low four bits in `low`, its high pair at bit `pair` of the fourth word's nibble.
fn six_bit_factor(low: u32, high: u32, j: u32, pair: u32) -> f32 {
    return f32(((low >> (4u * j)) & 15u) | (((high >> (4u * j + pair)) & 3u) << 4u));
}
#endif

#ifndef OWN_LOAD_SCALE
// The words that hold the scale of group `index`: one load, or two for Q6_K, whose words a block shares.
fn load_scale_word(index: u32) -> {{SCALE_WORD}} {
#if SCALE == 0
    return scales[index >> 1u];
#elif SCALE < 3
    return scales[index >> 2u];
#elif SCALE < 5
    return scales[index];
#elif SCALE == 5
    return scales[index].x;
#elif SCALE == 6
    return scales[index >> 3u];
#elif SCALE == 7
    let unit = 5u * (index >> 4u);
    return vec2(scales[unit + ((index & 15u) >> 2u)], scales[unit + 4u]);
#else
    return 0u;
#endif
}

// The scale of group `index` in its words; 1 where none is stored.
fn scale_in_word(word: {{SCALE_WORD}}, index: u32) -> f32 {
#if SCALE == 0
    return decode_scale(word >> (16u * (index & 1u)));
#elif SCALE < 3
    return decode_scale(word >> (8u * (index & 3u)));
#elif SCALE == 3
    return unpack2x16float(word).x;
#elif SCALE == 4
    return bitcast<f32>(word << 16u);
#elif SCALE == 5
    return bitcast<f32>(word);
#elif SCALE == 6
    return unpack2x16float(word.x).x * six_bit_factor(word.y, word.w, index & 7u, 0u);
#elif SCALE == 7
    return unpack2x16float(word.y).x * f32(bitcast<i32>(word.x << (24u - 8u * (index & 3u))) >> 24u);
#else
    return 1.0;
#endif
}

// The scale of group `index` of the matrix, without the tensor scale.
fn load_scale(index: u32) -> f32 {
    return scale_in_word(load_scale_word(index), index);
}
#endif

// The words that hold the zero point or the bias of group `index`, if one is stored.
fn load_zero_point_word(index: u32) -> {{ZERO_WORD}} {
#if ZERO_POINTS && ZERO_BITS == 5
    return zero_points[index / 6u];
#elif ZERO_POINTS
    return zero_points[index >> 3u];
#elif SCALE == 3 || SCALE == 4
    return scales[index];
#elif SCALE == 5
    return scales[index].y;
#elif SCALE == 6
    return scales[index >> 3u];
#else
    return 0u;
#endif
}

// The zero point of group `index` in its word: stored or fixed, and not looked at for codes that are numbers already.
// With OFFSETS the group's bias.
fn zero_point_in_word(word: {{ZERO_WORD}}, index: u32) -> f32 {
#if ZERO_POINTS && ZERO_BITS == 5
    return f32((word >> (5u * (index % 6u))) & 31u);
#elif ZERO_POINTS
    return f32((word >> (4u * (index & 7u))) & 15u);
#elif SCALE == 3
    return unpack2x16float(word).y;
#elif SCALE == 4
    return bitcast<f32>(word & 0xffff0000u);
#elif SCALE == 5
    return bitcast<f32>(word);
#elif SCALE == 6
    return -(unpack2x16float(word.x).y * six_bit_factor(word.z, word.w, index & 7u, 2u));
#else
    return {{FIXED_ZERO}}.0;
#endif
}

// The zero point of group `index`, with OFFSETS its bias.
fn load_zero_point(index: u32) -> f32 {
    return zero_point_in_word(load_zero_point_word(index), index);
}
