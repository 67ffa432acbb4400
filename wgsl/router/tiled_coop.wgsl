// Partial logits[s, t, e] = activations[t, d] · weights[e, d] over the s-th part of d, by cooperative matrices
//
// A workgroup of 4 subgroups of 32 lanes owns 64 tokens × EXPERTS experts of one split of `hidden`; a
// subgroup owns 16 of the tokens. Both operands pass through workgroup memory in steps of 64 elements, rows
// padded by 16 B; rows beyond the edge are zeros. Sums are f32 in matrix registers and are stored straight
// to logits, whose rows and columns the host pads to whole tiles.
// Needs f16, subgroups of 32 lanes and TILE×TILE cooperative matrices, f16 to f32. `hidden` is a multiple of 4.
enable f16;
enable wgpu_cooperative_matrix;

struct Params {
    n_tokens: u32,
    hidden: u32,
    experts: u32,
    top_k: u32,
    n_summed: u32,
    n_splits: u32,
    split_len: u32,
    logit_rows: u32,
    logit_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> activations: array<vec4<f16>>; // [n_tokens, hidden / 4]
@group(0) @binding(2) var<storage, read> weights: array<vec4<f16>>; // [experts, hidden / 4]
@group(0) @binding(3) var<storage, read_write> logits: array<f32>; // [n_splits][logit_rows][logit_stride]

// Naga prints a pointer to a vector for Metal's 8×8 loads, which Metal refuses: scalars there.
#if TILE == 16
#define UNIT 4
alias Unit = vec4<f16>;
#else
#define UNIT 1
alias Unit = f16;
#endif
const STRIDE = {{72 / UNIT}}u;
var<workgroup> activation_tile: array<Unit, {{64 * 72 / UNIT}}>; // [64][64 + 8]
var<workgroup> weight_tile: array<Unit, {{EXPERTS * 72 / UNIT}}>; // [EXPERTS][64 + 8]

fn stage_activation(at: u32, loaded: vec4<f16>) {
#if TILE == 16
    activation_tile[at] = loaded;
#else
#for J in 0..4
    activation_tile[at + {{J}}u] = loaded[{{J}}];
#endfor
#endif
}

fn stage_weight(at: u32, loaded: vec4<f16>) {
#if TILE == 16
    weight_tile[at] = loaded;
#else
#for J in 0..4
    weight_tile[at + {{J}}u] = loaded[{{J}}];
#endfor
#endif
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
) {
    let first_expert = workgroup_id.x * {{EXPERTS}}u;
    let first_token = workgroup_id.y * 64u;
    let split = workgroup_id.z;
    let begin = split * params.split_len;
    let end = min(begin + params.split_len, params.hidden);
    let row_units = params.hidden >> 2u;
    // 16 lanes stage the 64 elements of a row; 8 rows at a time.
    let step = lane & 15u;
    let staged_row = lane >> 4u;
#for R in 0..16 / TILE
#for J in 0..EXPERTS / TILE
    var sum_{{R}}_{{J}} = coop_mat{{TILE}}x{{TILE}}<f32, C>();
#endfor
#endfor
    let stride = STRIDE;
    // A step is fetched into registers, all its loads at once, while the step before is multiplied.
    let source_unit = (begin >> 2u) + step;
    let end_unit = end >> 2u;
#for I in 0..8
    let a_row_{{I}} = first_token + staged_row + {{8 * I}}u;
    var a_next_{{I}} = vec4<f16>();
    if a_row_{{I}} < params.n_tokens && source_unit < end_unit {
        a_next_{{I}} = activations[a_row_{{I}} * row_units + source_unit];
    }
#endfor
#for I in 0..EXPERTS / 8
    let w_row_{{I}} = first_expert + staged_row + {{8 * I}}u;
    var w_next_{{I}} = vec4<f16>();
    if w_row_{{I}} < params.experts && source_unit < end_unit {
        w_next_{{I}} = weights[w_row_{{I}} * row_units + source_unit];
    }
#endfor
    for (var d = begin; d < end; d += 64u) {
#for I in 0..8
        stage_activation((staged_row + {{8 * I}}u) * STRIDE + step * {{4 / UNIT}}u, a_next_{{I}});
#endfor
#for I in 0..EXPERTS / 8
        stage_weight((staged_row + {{8 * I}}u) * STRIDE + step * {{4 / UNIT}}u, w_next_{{I}});
#endfor
        workgroupBarrier();
        let next = (d >> 2u) + 16u + step;
#for I in 0..8
        a_next_{{I}} = vec4<f16>();
        if a_row_{{I}} < params.n_tokens && next < end_unit {
            a_next_{{I}} = activations[a_row_{{I}} * row_units + next];
        }
#endfor
#for I in 0..EXPERTS / 8
        w_next_{{I}} = vec4<f16>();
        if w_row_{{I}} < params.experts && next < end_unit {
            w_next_{{I}} = weights[w_row_{{I}} * row_units + next];
        }
#endfor
#for K in 0..64 / TILE
#for R in 0..16 / TILE
        let a_at_{{K}}_{{R}} = (subgroup_id * 16u + {{R * TILE}}u) * STRIDE + {{K * TILE / UNIT}}u;
        let a_{{K}}_{{R}} = coopLoadT<coop_mat{{TILE}}x{{TILE}}<f16, A>>(&activation_tile[a_at_{{K}}_{{R}}], stride);
#endfor
#for J in 0..EXPERTS / TILE
        let w_at_{{K}}_{{J}} = {{J * TILE}}u * STRIDE + {{K * TILE / UNIT}}u;
        let w_{{K}}_{{J}} = coopLoad<coop_mat{{TILE}}x{{TILE}}<f16, B>>(&weight_tile[w_at_{{K}}_{{J}}], stride);
#for R in 0..16 / TILE
        sum_{{R}}_{{J}} = coopMultiplyAdd(a_{{K}}_{{R}}, w_{{K}}_{{J}}, sum_{{R}}_{{J}});
#endfor
#endfor
#endfor
        workgroupBarrier();
    }
    let logit_stride = params.logit_stride;
    let first_row = split * params.logit_rows + first_token + subgroup_id * 16u;
#for R in 0..16 / TILE
#for J in 0..EXPERTS / TILE
    let at_{{R}}_{{J}} = (first_row + {{R * TILE}}u) * logit_stride + first_expert + {{J * TILE}}u;
    coopStoreT(sum_{{R}}_{{J}}, &logits[at_{{R}}_{{J}}], logit_stride);
#endfor
#endfor
}
