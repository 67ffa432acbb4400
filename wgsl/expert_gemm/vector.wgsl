// Expert product for few tokens: matrix-vector products, each expert's rows read once per token that chose it.
//
//   y[r, j] = tensor_scale * sum over c of probabilities[p] * sum over k of x[p / pairs_per_x, k] * W[expert_ids[p]][j, k]
//   with p = r * choices + c
//
// A pair p is a (token, choice). A row of y is a token and sums its `choices` pairs, or it is a pair (choices = 1); likewise
// a row of x serves `pairs_per_x` pairs.
//
// words       8 bytes (16 codes) an element [experts, n, k/16]
// scales      u32  [...]               packed, groups [experts, n, k/GROUP]
// x           16-byte elements         8 f16 or 4 f32 each [pairs / pairs_per_x, k]
// expert_ids  u32  [pairs]             an id of EXPERTS or more chooses nothing
// probabilities       f32  [pairs]             1 if not WEIGHTED
// y           f16 or f32 [rows, n]
//
// A workgroup of SETS * TEAMS teams owns SETS * ROWS elements of one row of y. The TEAMS teams of a row set share its
// choices: team t takes choices t, t + TEAMS and so on. Lane l of a step of a team of LANES invocations reads 8 bytes at run
// base + l of each of ROWS rows: 8·LANES contiguous bytes; its 16 activations serve ROWS rows. No partial results leave the
// workgroup, and the order of sums is fixed.
// With SUBGROUPS a team is a subgroup and sums by subgroupAdd; without, in workgroup memory. f32 accumulation.
#if Y_F16
enable f16;
#endif
#include "common/grid.wgsl"
#define RUNS 2
#include "common/activations.wgsl"

struct Params {
    rows: u32,
    n: u32,
    k: u32,
    choices: u32,
    tensor_scale: f32,
    pairs_per_x: u32,
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
@group(0) @binding(4) var<storage, read> expert_ids: array<u32>;
#if WEIGHTED
@group(0) @binding(5) var<storage, read> probabilities: array<f32>;
#endif
@group(0) @binding(6) var<storage, read_write> y: array<{{Y_ELEM}}>;
#if ZERO_POINTS
@group(0) @binding(7) var<storage, read> zero_points: array<u32>;
#endif

#define THREADS {{SETS * TEAMS * LANES}}
// Who adds up in workgroup memory: nobody if a subgroup has the whole sum.
#if SUBGROUPS
#define ADDENDS {{TEAMS}}
#else
#define ADDENDS {{TEAMS * LANES}}
#endif
#if ADDENDS > 1
var<workgroup> partial: array<f32, {{ROWS * SETS * ADDENDS}}>; // [row of a set][set][addend]
#endif

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
#if SUBGROUPS
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
#endif
) {
#if SUBGROUPS
    let row_set = subgroup / {{TEAMS}}u;
    let team = subgroup % {{TEAMS}}u;
#else
    let row_set = local_index / {{TEAMS * LANES}}u;
    let team = local_index / {{LANES}}u % {{TEAMS}}u;
    let lane = local_index % {{LANES}}u;
#endif
    let y_row = workgroup_id.y;
    let first_row = (workgroup_id.x * {{SETS}}u + row_set) * {{ROWS}}u;
    let n_runs = params.k >> 4u;
#for R in 0..ROWS
    var total{{R}} = 0.0;
#endfor
    for (var choice = team; choice < params.choices; choice += {{TEAMS}}u) {
        let pair = y_row * params.choices + choice;
        let expert = expert_ids[pair];
        if expert < {{EXPERTS}}u {
            let x_start = pair / params.pairs_per_x * (params.k >> 3u);
            // Rows beyond the end read the last row, and are not stored.
#for R in 0..ROWS
            let start{{R}} = (expert * params.n + min(first_row + {{R}}u, params.n - 1u)) * n_runs;
            var sum{{R}} = 0.0;
#endfor
            for (var run = lane; run < n_runs; run += {{LANES}}u) {
#for R in 0..ROWS
#if BITS == 4
                let words{{R}} = words[start{{R}} + run];
#else
                let words{{R}} = load_chunk(start{{R}} + run);
#endif
                let group{{R}} = (start{{R}} + run) >> {{GROUP_SHIFT - 4}}u;
                let scale{{R}} = load_scale(group{{R}});
                let zero{{R}} = load_zero_point(group{{R}});
#endfor
#for H in 0..2
                let x{{H}} = load_x8(x_start + 2u * run + {{H}}u);
#endfor
#for R in 0..ROWS
                {
                    let factor = scale{{R}} * CODE_SCALE / IN_PLACE;
                    let codes0 = decode_eight(words{{R}}[0], zero{{R}});
                    let codes1 = decode_eight(words{{R}}[1], zero{{R}});
#if OFFSETS
                    let offset = zero{{R}};
                    let low = dot(codes0.low * factor + offset, x0.low) + dot(codes1.low * factor + offset, x1.low);
                    let high = dot(codes0.high * factor + offset, x0.high) + dot(codes1.high * factor + offset, x1.high);
#else
                    let low = dot(codes0.low * factor, x0.low) + dot(codes1.low * factor, x1.low);
                    let high = dot(codes0.high * factor, x0.high) + dot(codes1.high * factor, x1.high);
#endif
                    sum{{R}} += low + high;
                }
#endfor
            }
#if WEIGHTED
            let weight = probabilities[pair];
#else
            let weight = 1.0;
#endif
#for R in 0..ROWS
            total{{R}} += weight * sum{{R}};
#endfor
        }
    }

#if SUBGROUPS
#for R in 0..ROWS
    total{{R}} = subgroupAdd(total{{R}});
#endfor
#endif
#if ADDENDS == 1
    if lane == 0u {
#for R in 0..ROWS
        if first_row + {{R}}u < params.n {
            y[y_row * params.n + first_row + {{R}}u] = {{Y_ELEM}}(total{{R}} * params.tensor_scale);
        }
#endfor
    }
#else
#if SUBGROUPS
    if lane == 0u {
        let addend = subgroup;
#else
    {
        let addend = local_index;
#endif
#for R in 0..ROWS
        partial[{{R * SETS * ADDENDS}}u + addend] = total{{R}};
#endfor
    }
    workgroupBarrier();
    for (var i = local_index; i < {{SETS * ROWS}}u; i += {{THREADS}}u) {
        let row = workgroup_id.x * {{SETS * ROWS}}u + i;
        let start = (i % {{ROWS}}u * {{SETS}}u + i / {{ROWS}}u) * {{ADDENDS}}u;
        var sum = 0.0;
        for (var addend = 0u; addend < {{ADDENDS}}u; addend++) {
            sum += partial[start + addend];
        }
        if row < params.n {
            y[y_row * params.n + row] = {{Y_ELEM}}(sum * params.tensor_scale);
        }
    }
#endif
}
