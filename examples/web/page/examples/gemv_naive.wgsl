// Matrix-vector product as commonly written: one invocation per row and column.
//
//   y[c, r] = tensor_scale * sum over k of value(code (r, k)) * scale(r, k / GROUP) * x[c, k]
//
// words   u32  [n, k/8]     8 codes each, along K
// scales  u32  [...]        packed, groups [n, k/GROUP]
// x       f16 or f32 [batch, k]
// y       f32  [batch, n]
//
// An invocation walks along its row, so the lanes of a load are a whole row (k/2 bytes) apart: each reads 4 bytes of
// a sector of its own. Every column reads all weights again. f32 accumulation.
// Needs shader-f16 for f16 activations.
// The linear index of a workgroup in a dispatch whose count may exceed 65,535 per dimension and was
// folded into x and y by the host (`gpu::grid`). Workgroups beyond the count must leave by themselves.
fn workgroup_index(workgroup_id: vec3<u32>, num_workgroups: vec3<u32>) -> u32 {
    return workgroup_id.y * num_workgroups.x + workgroup_id.x;
}
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
// SCALE_UNIT: an element of `scales`. SCALE_WORD, ZERO_WORD: what is loaded for a group's scale and its zero point or bias.
// CHUNK: RUNS runs that lie side by side. WORDS: an element of `words`, at most 16 bytes.

// Eight weights along K.
struct Eight {
    low: vec4<f32>,  // weights 0 to 3 of a word
    high: vec4<f32>, // weights 4 to 7
}

// ---- One weight at a time, as commonly written -------------------------------------------------------------------

// What a code stands for before scaling.
fn code_value(code: u32, zero_point: f32) -> f32 {
    return f32(code) - zero_point;
}


// ---- Eight weights at a time -------------------------------------------------------------------------------------


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

// ---- Scales, zero points and biases ------------------------------------------------------------------------------

fn decode_scale(bits: u32) -> f32 {
    return unpack2x16float(bits).x;
}

// The words that hold the scale of group `index`: one load, or two for Q6_K, whose words a block shares.
fn load_scale_word(index: u32) -> u32 {
    return scales[index >> 1u];
}

// The scale of group `index` in its words; 1 where none is stored.
fn scale_in_word(word: u32, index: u32) -> f32 {
    return decode_scale(word >> (16u * (index & 1u)));
}

// The scale of group `index` of the matrix, without the tensor scale.
fn load_scale(index: u32) -> f32 {
    return scale_in_word(load_scale_word(index), index);
}

// The words that hold the zero point or the bias of group `index`, if one is stored.
fn load_zero_point_word(index: u32) -> u32 {
    return 0u;
}

// The zero point of group `index` in its word: stored or fixed, and not looked at for codes that are numbers already.
// With OFFSETS the group's bias.
fn zero_point_in_word(word: u32, index: u32) -> f32 {
    return 8.0;
}

// The zero point of group `index`, with OFFSETS its bias.
fn load_zero_point(index: u32) -> f32 {
    return zero_point_in_word(load_zero_point_word(index), index);
}

struct Params {
    n: u32,
    k: u32,
    batch: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
) {
    let output_ix = workgroup_index(workgroup_id, num_workgroups) * 64u + local_index;
    if output_ix >= params.n * params.batch {
        return;
    }
    let row = output_ix % params.n;
    let column = output_ix / params.n;
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        let element = row * params.k + k;
        let group_ix = element / 64u;
        let code = (words[element / 8u] >> (4u * (k % 8u))) & 15u;
        let weight = code_value(code, load_zero_point(group_ix)) * load_scale(group_ix);
        sum += weight * f32(x[column * params.k + k]);
    }
    y[column * params.n + row] = sum * params.tensor_scale;
}
