// output[i, h] = softmax_j(q[i, h] · k[j, h / group] · scale + mask[i, j]) · v, in one pass by cooperative matrices
//
// As `flash`: a workgroup of 4 subgroups of 32 lanes owns 64 queries of a head, a subgroup 16 of them, and walks
// the keys in tiles of KEYS. Queries stay in matrix registers, the unnormalized output in f32 matrix
// accumulators. K and V tiles pass through workgroup memory, rows padded by 16 B; 8 bytes per lane and load,
// so that HEAD_DIM / 4 neighbouring lanes cover a row. A tile is fetched into registers while the one before is
// used; with BUFFERS = 2 it is stored without waiting for that use to end.
//
// Elements of a cooperative matrix have no known place, so that rows can't be scaled in registers. Therefore:
//  1. Scores are stored to workgroup memory; two lanes own a row there, each every other column (rotated by 2
//     from row 8 on: 32 lanes, 32 banks), and store exponentials as the f16 left operand of the second product.
//  2. The reference maximum of a row follows the true one lazily: only when a score exceeds it by more than 8
//     (units of log2) is the output rescaled, through workgroup memory. Until then exponentials are at most
//     2^8, far from f16's largest, and every sum has its full relative precision. After the first tile of keys
//     this is rare; it is exact always.
//  3. A hidden key's exponential is 0, but 0 · NaN is NaN. In tiles where a key may be hidden from a query, values that
//     are not finite are staged as 0; at the end they are added to the queries that see them. Unscaled, since no positive
//     factor changes an infinity or a NaN.
// Needs f16, subgroups of 32 lanes and TILE×TILE cooperative matrices, f16 to f32.
enable f16;
enable wgpu_cooperative_matrix;
#include "common/attention.wgsl"

@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f16>>;
@group(0) @binding(8) var<storage, read_write> output: array<vec4<f16>>;

// Naga prints a pointer to a vector for Metal's 8×8 loads, which Metal refuses: scalars there.
#if TILE == 16
#define UNIT 4
alias Unit = vec4<f16>;
#else
#define UNIT 1
alias Unit = f16;
#endif
const ROW = {{HEAD_DIM / 4}}u;
const STRIDE = {{(HEAD_DIM + 8) / UNIT}}u;
const SCORE_STRIDE = {{KEYS + 4}}u;
const PROBABILITY_STRIDE = {{KEYS + 8}}u;
#define QUERIES 64
#define THREADS 128
// Queries at first, then for each buffer a tile of K and one of V.
var<workgroup> tile: array<Unit, {{BUFFERS * 2 * KEYS * (HEAD_DIM + 8) / UNIT}}>;
var<workgroup> scores: array<f32, {{QUERIES * (KEYS + 4)}}>;
var<workgroup> probabilities: array<f16, {{QUERIES * (KEYS + 8)}}>;
// Which subgroups must rescale; after the last tile, which of them kept values out.
var<workgroup> rescales: vec4<u32>;

fn stage(at: u32, loaded: vec4<f16>) {
#if TILE == 16
    tile[at] = loaded;
#else
#for J in 0..4
    tile[at + {{J}}u] = loaded[{{J}}];
#endfor
#endif
}

// Which of a vector's elements are infinite or NaN: all exponent bits are ones. Not by comparing floats, which a compiler
// may do as if there were none.
fn not_finite(values: vec4<f16>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(vec4<f32>(values)) & vec4(0x7f800000u)) == vec4(0x7f800000u);
}

// The sum of a column's values that are not finite, over the keys from first_key to n that the query sees.
fn kept_out_of(query: u32, kv_base: u32, first_key: u32, n: u32, column: u32) -> f32 {
    var sum = 0.0;
    for (var key = first_key; key < n; key++) {
        let values = v[(kv_base + key * params.kv_token_stride + column) / 4u];
        let counts = not_finite(values)[column & 3u] && !hidden_by_mask(query, key);
        sum += select(0.0, f32(values[column & 3u]), counts);
    }
    return sum;
}

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(subgroup_invocation_id) sub_lane: u32,
) {
    // The last queries see the most keys: they start first.
    let first_query = (params.n_queries - 1u) / {{QUERIES}}u * {{QUERIES}}u - workgroup_id.x * {{QUERIES}}u;
    let head = workgroup_id.y;
    let last_query = min(first_query + {{QUERIES - 1}}u, params.n_queries - 1u);
    let n_tiles = (visible_keys(last_query) + {{KEYS - 1}}u) / {{KEYS}}u;
    let q_base = head * params.q_head_stride;
    let kv_base = head / params.group * params.kv_head_stride;
    let stride = STRIDE;
    let score_stride = SCORE_STRIDE;
    let probability_stride = PROBABILITY_STRIDE;

    // Queries, KEYS elements of each at a time, through the tile into left operands.
#for R in 0..16 / TILE
#for D in 0..HEAD_DIM / TILE
    var o_{{R}}_{{D}} = coop_mat{{TILE}}x{{TILE}}<f32, C>();
#endfor
#endfor
    let q_stride = {{(KEYS + 8) / UNIT}}u;
#for W in 0..HEAD_DIM / KEYS
    for (var i = lane; i < {{QUERIES * KEYS / 4}}u; i += {{THREADS}}u) {
        let r = i / {{KEYS / 4}}u;
        let step = i % {{KEYS / 4}}u;
        let query = min(first_query + r, last_query);
        let loaded = q[(q_base + query * params.q_token_stride) / 4u + {{W * KEYS / 4}}u + step];
        stage(r * q_stride + step * {{4 / UNIT}}u, loaded);
    }
    workgroupBarrier();
#for R in 0..16 / TILE
#for J in 0..KEYS / TILE
    let q_at_{{W}}_{{R}}_{{J}} = (subgroup_id * 16u + {{R * TILE}}u) * q_stride + {{J * TILE / UNIT}}u;
    let q_{{R}}_{{W * KEYS / TILE + J}} =
        coopLoadT<coop_mat{{TILE}}x{{TILE}}<f16, A>>(&tile[q_at_{{W}}_{{R}}_{{J}}], q_stride);
#endfor
#endfor
    workgroupBarrier();
#endfor

    // The row that this lane and its neighbour own.
    let row = sub_lane >> 1u;
    let odd = sub_lane & 1u;
    let rotation = odd + ((row >> 3u) << 1u);
    let query = min(first_query + subgroup_id * 16u + row, last_query);
    let n_row = visible_keys(query);
    let n_first = visible_keys(first_query);
    let score_base = (subgroup_id * 16u + row) * SCORE_STRIDE;
    let probability_base = (subgroup_id * 16u + row) * PROBABILITY_STRIDE;
#for R in 0..16 / TILE
    let score_row_{{R}} = (subgroup_id * 16u + {{R * TILE}}u) * SCORE_STRIDE;
    let probability_row_{{R}} = (subgroup_id * 16u + {{R * TILE}}u) * PROBABILITY_STRIDE;
#endfor
    var greatest = LOWEST;
    var sum = 0.0;
    // Whether this lane staged a 0 for a value that is not finite, in a tile from first_hiding on.
    var kept_out = false;
#if MASK
    let first_hiding = 0u;
#else
    let first_hiding = n_first / {{KEYS}}u * {{KEYS}}u;
#endif

    // What this lane stages of a tile of K and of V. A tile is fetched while the one before is used. Rows beyond
    // the last key repeat it; their scores are masked.
#define FETCHES {{(KEYS * HEAD_DIM / 4 + THREADS - 1) / THREADS}}
#for I in 0..FETCHES
    let fetch_row_{{I}} = (lane + {{THREADS * I}}u) / ROW;
    let fetch_step_{{I}} = (lane + {{THREADS * I}}u) % ROW;
    let fetch_at_{{I}} = fetch_row_{{I}} * STRIDE + fetch_step_{{I}} * {{4 / UNIT}}u;
    let source_{{I}} = (kv_base + min(fetch_row_{{I}}, params.n_keys - 1u) * params.kv_token_stride) / 4u + fetch_step_{{I}};
    var k_next_{{I}} = k[source_{{I}}];
    var v_next_{{I}} = v[source_{{I}}];
#endfor

    for (var t = 0u; t < n_tiles; t++) {
        let first_key = t * {{KEYS}}u;
#if BUFFERS == 2
        let k_tile = (t & 1u) * {{2 * KEYS}}u * STRIDE;
#else
        let k_tile = 0u;
#endif
        let v_tile = k_tile + {{KEYS}}u * STRIDE;
        // Staging is written twice. One loop with the choice inside costs 13 % (H100, 4096 queries); and with all keys seen,
        // two branches keep the compiler from moving the fetches down to here: 1.33 times as fast (one query, 32,768 keys).
        if first_key >= first_hiding {
#for I in 0..FETCHES
            let out_{{I}} = not_finite(v_next_{{I}});
            kept_out = kept_out || any(out_{{I}});
#if KEYS * HEAD_DIM / 4 % THREADS != 0
            if fetch_row_{{I}} < {{KEYS}}u
#endif
            {
                stage(k_tile + fetch_at_{{I}}, k_next_{{I}});
                stage(v_tile + fetch_at_{{I}}, select(v_next_{{I}}, vec4<f16>(), out_{{I}}));
            }
#endfor
        } else {
#for I in 0..FETCHES
#if KEYS * HEAD_DIM / 4 % THREADS != 0
            if fetch_row_{{I}} < {{KEYS}}u
#endif
            {
                stage(k_tile + fetch_at_{{I}}, k_next_{{I}});
                stage(v_tile + fetch_at_{{I}}, v_next_{{I}});
            }
#endfor
        }
        workgroupBarrier();
#for I in 0..FETCHES
        {
            let key = min(first_key + {{KEYS}}u + fetch_row_{{I}}, params.n_keys - 1u);
            let at = (kv_base + key * params.kv_token_stride) / 4u + fetch_step_{{I}};
            k_next_{{I}} = k[at];
            v_next_{{I}} = v[at];
        }
#endfor
#for R in 0..16 / TILE
#for J in 0..KEYS / TILE
        var s_{{R}}_{{J}} = coop_mat{{TILE}}x{{TILE}}<f32, C>();
#endfor
#endfor
#for D in 0..HEAD_DIM / TILE
#for J in 0..KEYS / TILE
        let k_at_{{D}}_{{J}} = k_tile + {{J * TILE}}u * STRIDE + {{D * TILE / UNIT}}u;
        let k_{{D}}_{{J}} = coopLoad<coop_mat{{TILE}}x{{TILE}}<f16, B>>(&tile[k_at_{{D}}_{{J}}], stride);
#for R in 0..16 / TILE
        s_{{R}}_{{J}} = coopMultiplyAdd(q_{{R}}_{{D}}, k_{{D}}_{{J}}, s_{{R}}_{{J}});
#endfor
#endfor
#endfor
#for R in 0..16 / TILE
#for J in 0..KEYS / TILE
        let s_at_{{R}}_{{J}} = score_row_{{R}} + {{J * TILE}}u;
        coopStoreT(s_{{R}}_{{J}}, &scores[s_at_{{R}}_{{J}}], score_stride);
#endfor
#endfor
        workgroupBarrier();

        // Softmax of one row by two lanes.
#for I in 0..KEYS / 2
        let column_{{I}} = ({{2 * I}}u + rotation) & {{KEYS - 1}}u;
        var x_{{I}} = scores[score_base + column_{{I}}] * params.scale;
#endfor
#if MASK
#for I in 0..KEYS / 2
        if first_key + column_{{I}} < n_row {
            x_{{I}} = masked_score(x_{{I}}, query, first_key + column_{{I}});
        } else {
            x_{{I}} = MASKED;
        }
#endfor
#else
        if first_key + {{KEYS}}u > n_first {
#for I in 0..KEYS / 2
            x_{{I}} = select(MASKED, x_{{I}}, first_key + column_{{I}} < n_row);
#endfor
        }
#endif
        var tile_greatest = x_0;
#for I in 1..KEYS / 2
        tile_greatest = max(tile_greatest, x_{{I}});
#endfor
        tile_greatest = max(tile_greatest, subgroupShuffleXor(tile_greatest, 1u));
        let grown = tile_greatest > greatest + 8.0;
        let factor = select(1.0, exp2(greatest - tile_greatest), grown);
        greatest = select(greatest, tile_greatest, grown);
        sum *= factor;
#for I in 0..KEYS / 2
        let p_{{I}} = exp2(x_{{I}} - greatest);
        sum += p_{{I}};
        probabilities[probability_base + column_{{I}}] = f16(p_{{I}});
#endfor
        let any_grown = subgroupAny(grown && t > 0u);
        if sub_lane == 0u {
            rescales[subgroup_id] = u32(any_grown);
        }
        // A barrier, a load and a barrier: cooperative operations need control flow that naga knows to be uniform. A loop
        // instead of the `if` would pass without the second barrier, but drives the matrices out of registers.
        if any(workgroupUniformLoad(&rescales) != vec4<u32>()) {
#for W in 0..HEAD_DIM / KEYS
#for R in 0..16 / TILE
#for J in 0..KEYS / TILE
            let out_at_{{W}}_{{R}}_{{J}} = score_row_{{R}} + {{J * TILE}}u;
            coopStoreT(o_{{R}}_{{W * KEYS / TILE + J}}, &scores[out_at_{{W}}_{{R}}_{{J}}], score_stride);
#endfor
#endfor
            workgroupBarrier();
            for (var c = odd; c < {{KEYS}}u; c += 2u) {
                scores[score_base + c] *= factor;
            }
            workgroupBarrier();
#for R in 0..16 / TILE
#for J in 0..KEYS / TILE
            let in_at_{{W}}_{{R}}_{{J}} = score_row_{{R}} + {{J * TILE}}u;
            o_{{R}}_{{W * KEYS / TILE + J}} =
                coopLoadT<coop_mat{{TILE}}x{{TILE}}<f32, C>>(&scores[in_at_{{W}}_{{R}}_{{J}}], score_stride);
#endfor
#endfor
            workgroupBarrier();
#endfor
        }

#for J in 0..KEYS / TILE
#for R in 0..16 / TILE
        let p_at_{{J}}_{{R}} = probability_row_{{R}} + {{J * TILE}}u;
        let pm_{{J}}_{{R}} = coopLoadT<coop_mat{{TILE}}x{{TILE}}<f16, A>>(&probabilities[p_at_{{J}}_{{R}}], probability_stride);
#endfor
#for D in 0..HEAD_DIM / TILE
        let v_at_{{J}}_{{D}} = v_tile + {{J * TILE}}u * STRIDE + {{D * TILE / UNIT}}u;
        let v_{{J}}_{{D}} = coopLoadT<coop_mat{{TILE}}x{{TILE}}<f16, B>>(&tile[v_at_{{J}}_{{D}}], stride);
#for R in 0..16 / TILE
        o_{{R}}_{{D}} = coopMultiplyAdd(pm_{{J}}_{{R}}, v_{{J}}_{{D}}, o_{{R}}_{{D}});
#endfor
#endfor
#endfor
#if BUFFERS == 1
        workgroupBarrier();
#endif
    }

    let any_kept_out = subgroupAny(kept_out);
    if sub_lane == 0u {
        rescales[subgroup_id] = u32(any_kept_out);
    }
    sum += subgroupShuffleXor(sum, 1u);
    let inverse = select(0.0, 1.0 / sum, sum > 0.0);
    let stored_query = first_query + subgroup_id * 16u + row;
    let out_base = (q_base + stored_query * params.q_token_stride) / 4u;
#for W in 0..HEAD_DIM / KEYS
#for R in 0..16 / TILE
#for J in 0..KEYS / TILE
    let end_at_{{W}}_{{R}}_{{J}} = score_row_{{R}} + {{J * TILE}}u;
    coopStoreT(o_{{R}}_{{W * KEYS / TILE + J}}, &scores[end_at_{{W}}_{{R}}_{{J}}], score_stride);
#endfor
#endfor
    workgroupBarrier();
    if stored_query <= last_query {
        if any(rescales != vec4<u32>()) {
            for (var c = odd * {{KEYS / 2}}u; c < (odd + 1u) * {{KEYS / 2}}u; c++) {
                scores[score_base + c] += kept_out_of(query, kv_base, first_hiding, n_row, {{W * KEYS}}u + c);
            }
        }
#for I in 0..KEYS / 8
        {
            let c = odd * {{KEYS / 2}}u + {{4 * I}}u;
            let at = score_base + c;
            let values = vec4<f32>(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
            output[out_base + {{W * KEYS / 4}}u + (c >> 2u)] = vec4<f16>(values * inverse);
        }
#endfor
    }
    workgroupBarrier();
#endfor
}
