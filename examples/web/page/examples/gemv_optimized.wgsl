// Matrix-vector product for decoding: every weight is read once, for all columns.
//
//   y[c, r] = tensor_scale * sum over k of value(code (r, k)) * scale(r, k / GROUP) * x[c, k]
//
// words   VEC words (4·VEC bytes) per element [n, k/(8·VEC)]
// scales  u32  [...]        packed, groups [n, k/GROUP]
// x       16-byte elements  [batch, k/8] of 8 f16, or [batch, k/4] of 4 f32
// y       f32  [batch, n]
//
// A team of LANES·KSPLIT invocations owns ROWS rows: a chunk is 8·VEC weights of a row, and lane l of a step owns chunk
// base + l of each row, so that a subgroup of 32 reads 128·VEC contiguous bytes per row. A workgroup holds TEAMS teams.
// 1. LANES is the subgroup width, and the sums meet in subgroupAdd. With SUBGROUPS = 0 it is any number and they meet in
//    workgroup memory.
// 2. The activations of a chunk are read once for ROWS rows, the weights once for COLS columns.
// 3. Codes become floats by bit placement or in place (`decode_eight`). SCALE_SUMS = 1 multiplies sums by the scales, once
//    per part of a chunk; 0 multiplies weights, which keeps half as many sums alive: for several columns.
// 4. UNROLL steps are loaded before the first is used. Sums have names, not indices: an array would be spilled.
//    EVEN = 1 promises that the steps fill K exactly.
// 5. KSPLIT > 1 lets several subgroups share a row set, for matrices of few rows.
// f32 accumulation; neither shader-f16 nor (with SUBGROUPS = 0) subgroups are needed.
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
@group(0) @binding(1) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// A part of a chunk is the words that share a scale.

// Who adds up in workgroup memory: nobody if a subgroup has the whole sum.
// [team][sum][addend], one addend of padding against bank conflicts.
var<workgroup> partial: array<f32, 264>;

// Activations 8·index to 8·index + 7 of a column that starts at element `base`, divided as the codes are multiplied.
fn load_x(base: u32, index: u32) -> Eight {
    return Eight(x[base + 2u * index] * (1.0 / IN_PLACE), x[base + 2u * index + 1u] * (1.0 / IN_PLACE));
}

fn multiply_add(w: Eight, a: Eight, sum: f32) -> f32 {
    let low = fma(w.low.w, a.low.w, fma(w.low.z, a.low.z, fma(w.low.y, a.low.y, fma(w.low.x, a.low.x, sum))));
    return fma(w.high.w, a.high.w, fma(w.high.z, a.high.z, fma(w.high.y, a.high.y, fma(w.high.x, a.high.x, low))));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
) {
    let team = local_index / 32u;
    let team_lane = local_index % 32u;
    let workgroup_ix = workgroup_index(workgroup_id, num_workgroups);
    let first_row = (workgroup_ix * 2u + team) * 4u;
    let n_chunks = params.k / 32u;
    let n_groups = params.k / 64u;

    // Rows beyond the end read the last row, and are not stored.
    let row0 = min(first_row + 0u, params.n - 1u);
    let row_chunk0 = row0 * n_chunks;
    let row_group0 = row0 * n_groups;
    var sum0_0 = 0.0;
    let row1 = min(first_row + 1u, params.n - 1u);
    let row_chunk1 = row1 * n_chunks;
    let row_group1 = row1 * n_groups;
    var sum1_0 = 0.0;
    let row2 = min(first_row + 2u, params.n - 1u);
    let row_chunk2 = row2 * n_chunks;
    let row_group2 = row2 * n_groups;
    var sum2_0 = 0.0;
    let row3 = min(first_row + 3u, params.n - 1u);
    let row_chunk3 = row3 * n_chunks;
    let row_group3 = row3 * n_groups;
    var sum3_0 = 0.0;
    let column0 = 0u * (params.k >> 2u);

    for (var chunk = team_lane; chunk < n_chunks; chunk += 32u) {
        // Load: the codes and scales of UNROLL chunks of ROWS rows. A chunk beyond the end loads the last one again.
        let chunk0 = chunk + 0u;
        let words0_0 = words[row_chunk0 + chunk0];
        let group0_0_0 = row_group0 + ((chunk0 * 32u + 0u) >> 6u);
        let scale0_0_0 = load_scale(group0_0_0) * CODE_SCALE;
        let zero0_0_0 = load_zero_point(group0_0_0);
        let words0_1 = words[row_chunk1 + chunk0];
        let group0_1_0 = row_group1 + ((chunk0 * 32u + 0u) >> 6u);
        let scale0_1_0 = load_scale(group0_1_0) * CODE_SCALE;
        let zero0_1_0 = load_zero_point(group0_1_0);
        let words0_2 = words[row_chunk2 + chunk0];
        let group0_2_0 = row_group2 + ((chunk0 * 32u + 0u) >> 6u);
        let scale0_2_0 = load_scale(group0_2_0) * CODE_SCALE;
        let zero0_2_0 = load_zero_point(group0_2_0);
        let words0_3 = words[row_chunk3 + chunk0];
        let group0_3_0 = row_group3 + ((chunk0 * 32u + 0u) >> 6u);
        let scale0_3_0 = load_scale(group0_3_0) * CODE_SCALE;
        let zero0_3_0 = load_zero_point(group0_3_0);

        // Multiply: word after word, each decoded once for all columns and its activations read once for all rows.
        {
            var part0_0_0 = 0.0;
            var part0_1_0 = 0.0;
            var part0_2_0 = 0.0;
            var part0_3_0 = 0.0;
            {
                let codes0 = decode_eight(words0_0[0], zero0_0_0);
                let weights0 = codes0;
                let codes1 = decode_eight(words0_1[0], zero0_1_0);
                let weights1 = codes1;
                let codes2 = decode_eight(words0_2[0], zero0_2_0);
                let weights2 = codes2;
                let codes3 = decode_eight(words0_3[0], zero0_3_0);
                let weights3 = codes3;
                let x0 = load_x(column0, chunk0 * 4u + 0u);
                part0_0_0 = multiply_add(weights0, x0, part0_0_0);
                part0_1_0 = multiply_add(weights1, x0, part0_1_0);
                part0_2_0 = multiply_add(weights2, x0, part0_2_0);
                part0_3_0 = multiply_add(weights3, x0, part0_3_0);
            }
            {
                let codes0 = decode_eight(words0_0[1], zero0_0_0);
                let weights0 = codes0;
                let codes1 = decode_eight(words0_1[1], zero0_1_0);
                let weights1 = codes1;
                let codes2 = decode_eight(words0_2[1], zero0_2_0);
                let weights2 = codes2;
                let codes3 = decode_eight(words0_3[1], zero0_3_0);
                let weights3 = codes3;
                let x0 = load_x(column0, chunk0 * 4u + 1u);
                part0_0_0 = multiply_add(weights0, x0, part0_0_0);
                part0_1_0 = multiply_add(weights1, x0, part0_1_0);
                part0_2_0 = multiply_add(weights2, x0, part0_2_0);
                part0_3_0 = multiply_add(weights3, x0, part0_3_0);
            }
            {
                let codes0 = decode_eight(words0_0[2], zero0_0_0);
                let weights0 = codes0;
                let codes1 = decode_eight(words0_1[2], zero0_1_0);
                let weights1 = codes1;
                let codes2 = decode_eight(words0_2[2], zero0_2_0);
                let weights2 = codes2;
                let codes3 = decode_eight(words0_3[2], zero0_3_0);
                let weights3 = codes3;
                let x0 = load_x(column0, chunk0 * 4u + 2u);
                part0_0_0 = multiply_add(weights0, x0, part0_0_0);
                part0_1_0 = multiply_add(weights1, x0, part0_1_0);
                part0_2_0 = multiply_add(weights2, x0, part0_2_0);
                part0_3_0 = multiply_add(weights3, x0, part0_3_0);
            }
            {
                let codes0 = decode_eight(words0_0[3], zero0_0_0);
                let weights0 = codes0;
                let codes1 = decode_eight(words0_1[3], zero0_1_0);
                let weights1 = codes1;
                let codes2 = decode_eight(words0_2[3], zero0_2_0);
                let weights2 = codes2;
                let codes3 = decode_eight(words0_3[3], zero0_3_0);
                let weights3 = codes3;
                let x0 = load_x(column0, chunk0 * 4u + 3u);
                part0_0_0 = multiply_add(weights0, x0, part0_0_0);
                part0_1_0 = multiply_add(weights1, x0, part0_1_0);
                part0_2_0 = multiply_add(weights2, x0, part0_2_0);
                part0_3_0 = multiply_add(weights3, x0, part0_3_0);
            }
            sum0_0 = fma(part0_0_0, scale0_0_0, sum0_0);
            sum1_0 = fma(part0_1_0, scale0_1_0, sum1_0);
            sum2_0 = fma(part0_2_0, scale0_2_0, sum2_0);
            sum3_0 = fma(part0_3_0, scale0_3_0, sum3_0);
        }
    }

    // Add up over the team and store.
    let addend = team_lane;
    {
        partial[(team * 4u + 0u) * 33u + addend] = sum0_0;
        partial[(team * 4u + 1u) * 33u + addend] = sum1_0;
        partial[(team * 4u + 2u) * 33u + addend] = sum2_0;
        partial[(team * 4u + 3u) * 33u + addend] = sum3_0;
    }
    workgroupBarrier();
    for (var sum_ix = local_index; sum_ix < 8u; sum_ix += 64u) {
        var total = 0.0;
        for (var i = 0u; i < 32u; i++) {
            total += partial[sum_ix * 33u + i];
        }
        let row = workgroup_ix * 8u + sum_ix / 1u;
        if row < params.n {
            y[(sum_ix % 1u) * params.n + row] = total * params.tensor_scale;
        }
    }
}
