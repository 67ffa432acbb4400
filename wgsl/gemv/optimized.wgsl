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
#include "common/grid.wgsl"
#define RUNS {{VEC}}
#include "common/weights.wgsl"

struct Params {
    n: u32,
    k: u32,
    batch: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<{{WORDS}}>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
#if X_F16
@group(0) @binding(3) var<storage, read> x: array<vec4<u32>>;
#else
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
#endif
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
#if ZERO_POINTS
@group(0) @binding(5) var<storage, read> zero_points: array<u32>;
#endif

#define SPAN {{LANES * KSPLIT}}
#define SUMS {{ROWS * COLS}}
// A part of a chunk is the words that share a scale.
#if GROUP / 8 < VEC
#define PART_WORDS {{GROUP / 8}}
#else
#define PART_WORDS {{VEC}}
#endif
#define PARTS {{VEC / PART_WORDS}}

// Who adds up in workgroup memory: nobody if a subgroup has the whole sum.
#if SUBGROUPS
#define ADDENDS {{KSPLIT}}
#else
#define ADDENDS {{SPAN}}
#endif
#if ADDENDS > 1
// [team][sum][addend], one addend of padding against bank conflicts.
var<workgroup> partial: array<f32, {{TEAMS * SUMS * (ADDENDS + 1)}}>;
#endif

// Activations 8·index to 8·index + 7 of a column that starts at element `base`, divided as the codes are multiplied.
fn load_x(base: u32, index: u32) -> Eight {
#if X_F16
    let packed = x[base + index];
    let x01 = unpack2x16float(packed.x);
    let x23 = unpack2x16float(packed.y);
    let x45 = unpack2x16float(packed.z);
    let x67 = unpack2x16float(packed.w);
    return Eight(vec4(x01, x23) * (1.0 / IN_PLACE), vec4(x45, x67) * (1.0 / IN_PLACE));
#else
    return Eight(x[base + 2u * index] * (1.0 / IN_PLACE), x[base + 2u * index + 1u] * (1.0 / IN_PLACE));
#endif
}

fn multiply_add(w: Eight, a: Eight, sum: f32) -> f32 {
    let low = fma(w.low.w, a.low.w, fma(w.low.z, a.low.z, fma(w.low.y, a.low.y, fma(w.low.x, a.low.x, sum))));
    return fma(w.high.w, a.high.w, fma(w.high.z, a.high.z, fma(w.high.y, a.high.y, fma(w.high.x, a.high.x, low))));
}

@compute @workgroup_size({{TEAMS * SPAN}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
#if SUBGROUPS
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
#endif
) {
#if SUBGROUPS
    let team = subgroup / {{KSPLIT}}u;
    let team_lane = (subgroup % {{KSPLIT}}u) * {{LANES}}u + lane;
#else
    let team = local_index / {{SPAN}}u;
    let team_lane = local_index % {{SPAN}}u;
#endif
    let workgroup_ix = workgroup_index(workgroup_id, num_workgroups);
    let first_row = (workgroup_ix * {{TEAMS}}u + team) * {{ROWS}}u;
    let n_chunks = params.k / {{8 * VEC}}u;
    let n_groups = params.k / {{GROUP}}u;

    // Rows beyond the end read the last row, and are not stored.
#for R in 0..ROWS
    let row{{R}} = min(first_row + {{R}}u, params.n - 1u);
    let row_chunk{{R}} = row{{R}} * n_chunks;
    let row_group{{R}} = row{{R}} * n_groups;
#for C in 0..COLS
    var sum{{R}}_{{C}} = 0.0;
#endfor
#endfor
#for C in 0..COLS
#if X_F16
    let column{{C}} = {{C}}u * (params.k >> 3u);
#else
    let column{{C}} = {{C}}u * (params.k >> 2u);
#endif
#endfor

    for (var chunk = team_lane; chunk < n_chunks; chunk += {{UNROLL * SPAN}}u) {
        // Load: the codes and scales of UNROLL chunks of ROWS rows. A chunk beyond the end loads the last one again.
#for U in 0..UNROLL
#if EVEN
        let chunk{{U}} = chunk + {{U * SPAN}}u;
#else
        let chunk{{U}} = min(chunk + {{U * SPAN}}u, n_chunks - 1u);
#endif
#for R in 0..ROWS
#if BITS == 4
        let words{{U}}_{{R}} = words[row_chunk{{R}} + chunk{{U}}];
#else
        let words{{U}}_{{R}} = load_chunk(row_chunk{{R}} + chunk{{U}});
#endif
#for P in 0..PARTS
        let group{{U}}_{{R}}_{{P}} = row_group{{R}} + ((chunk{{U}} * {{8 * VEC}}u + {{8 * PART_WORDS * P}}u) >> {{GROUP_SHIFT}}u);
        let scale{{U}}_{{R}}_{{P}} = load_scale(group{{U}}_{{R}}_{{P}}) * CODE_SCALE;
        let zero{{U}}_{{R}}_{{P}} = load_zero_point(group{{U}}_{{R}}_{{P}});
#endfor
#endfor
#endfor

        // Multiply: word after word, each decoded once for all columns and its activations read once for all rows.
#for U in 0..UNROLL
#if EVEN
        {
#else
        if chunk + {{U * SPAN}}u < n_chunks {
#endif
#for P in 0..PARTS
#if SCALE_SUMS
#for C in 0..COLS
#if OFFSETS
            var x_sum{{P}}_{{C}} = 0.0;
#endif
#endfor
#for R in 0..ROWS
#for C in 0..COLS
            var part{{P}}_{{R}}_{{C}} = 0.0;
#endfor
#endfor
#endif
#for J in P * PART_WORDS..(P + 1) * PART_WORDS
            {
#for R in 0..ROWS
#if VEC == 1
                let codes{{R}} = decode_eight(words{{U}}_{{R}}, zero{{U}}_{{R}}_{{P}});
#else
                let codes{{R}} = decode_eight(words{{U}}_{{R}}[{{J}}], zero{{U}}_{{R}}_{{P}});
#endif
#if SCALE_SUMS
                let weights{{R}} = codes{{R}};
#elif OFFSETS
                let offset{{R}} = zero{{U}}_{{R}}_{{P}} * IN_PLACE;
                let weights{{R}} = Eight(codes{{R}}.low * scale{{U}}_{{R}}_{{P}} + offset{{R}}, codes{{R}}.high * scale{{U}}_{{R}}_{{P}} + offset{{R}});
#else
                let weights{{R}} = Eight(codes{{R}}.low * scale{{U}}_{{R}}_{{P}}, codes{{R}}.high * scale{{U}}_{{R}}_{{P}});
#endif
#endfor
#for C in 0..COLS
                let x{{C}} = load_x(column{{C}}, chunk{{U}} * {{VEC}}u + {{J}}u);
#if SCALE_SUMS && OFFSETS
                x_sum{{P}}_{{C}} += dot(x{{C}}.low + x{{C}}.high, IN_PLACE);
#endif
#for R in 0..ROWS
#if SCALE_SUMS
                part{{P}}_{{R}}_{{C}} = multiply_add(weights{{R}}, x{{C}}, part{{P}}_{{R}}_{{C}});
#else
                sum{{R}}_{{C}} = multiply_add(weights{{R}}, x{{C}}, sum{{R}}_{{C}});
#endif
#endfor
#endfor
            }
#endfor
#if SCALE_SUMS
#for R in 0..ROWS
#for C in 0..COLS
            sum{{R}}_{{C}} = fma(part{{P}}_{{R}}_{{C}}, scale{{U}}_{{R}}_{{P}}, sum{{R}}_{{C}});
#if OFFSETS
            sum{{R}}_{{C}} = fma(zero{{U}}_{{R}}_{{P}}, x_sum{{P}}_{{C}}, sum{{R}}_{{C}});
#endif
#endfor
#endfor
#endif
#endfor
        }
#endfor
    }

    // Add up over the team and store.
#if SUBGROUPS
#for R in 0..ROWS
#for C in 0..COLS
    sum{{R}}_{{C}} = subgroupAdd(sum{{R}}_{{C}});
#endfor
#endfor
#endif
#if ADDENDS == 1
    if team_lane == 0u {
#for R in 0..ROWS
        if first_row + {{R}}u < params.n {
#for C in 0..COLS
            y[{{C}}u * params.n + first_row + {{R}}u] = sum{{R}}_{{C}} * params.tensor_scale;
#endfor
        }
#endfor
    }
#else
#if SUBGROUPS
    let addend = subgroup % {{KSPLIT}}u;
    if lane == 0u {
#else
    let addend = team_lane;
    {
#endif
#for R in 0..ROWS
#for C in 0..COLS
        partial[(team * {{SUMS}}u + {{R * COLS + C}}u) * {{ADDENDS + 1}}u + addend] = sum{{R}}_{{C}};
#endfor
#endfor
    }
    workgroupBarrier();
    for (var sum_ix = local_index; sum_ix < {{TEAMS * SUMS}}u; sum_ix += {{TEAMS * SPAN}}u) {
        var total = 0.0;
        for (var i = 0u; i < {{ADDENDS}}u; i++) {
            total += partial[sum_ix * {{ADDENDS + 1}}u + i];
        }
        let row = workgroup_ix * {{TEAMS * ROWS}}u + sum_ix / {{COLS}}u;
        if row < params.n {
            y[(sum_ix % {{COLS}}u) * params.n + row] = total * params.tensor_scale;
        }
    }
#endif
}
