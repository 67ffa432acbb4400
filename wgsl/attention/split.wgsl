// Partial attention of one query over one part of the keys: partial[i, h, s] = Σ_j exp2(score_j − m) · v[j], and (m, Σ exp2)
//
// For few queries and many keys: the keys are split so that all cores have work, and `combine` joins the
// parts. A workgroup owns HEADS query heads that share a key head, one query, and one part: K and V are
// fetched once for all of them.
// LANES lanes share a key row: lane l reads the 16 bytes next to lane l + 1's, NV times; a subgroup's request
// covers whole consecutive rows (two of 256 B at 32 lanes, f16, head_dim 128). A set of LANES lanes is a
// stream with its own online softmax over every n-th key; ROWS rows of K and V are fetched before the first is
// used. Streams are joined in workgroup memory at the end, in order.
// Needs subgroups of WIDTH lanes, not f16.
#include "common/attention.wgsl"

#if F16
alias Vec16 = vec4<u32>;
#else
alias Vec16 = vec4<f32>;
#endif
@group(0) @binding(1) var<storage, read> q: array<Vec16>;
@group(0) @binding(2) var<storage, read> k: array<Vec16>;
@group(0) @binding(3) var<storage, read> v: array<Vec16>;
@group(0) @binding(5) var<storage, read_write> partial: array<vec4<f32>>; // [n_queries][heads][n_splits][HEAD_DIM / 4]
@group(0) @binding(6) var<storage, read_write> partial_sums: array<vec2<f32>>; // [n_queries][heads][n_splits]

const STREAMS = {{THREADS / LANES}}u;
// 16-byte vectors of a row.
const ROW = {{HEAD_DIM / PER_VEC}}u;
var<workgroup> stream_sums: array<vec2<f32>, {{THREADS / LANES}}>;
var<workgroup> stream_outputs: array<vec4<f32>, {{THREADS / LANES * HEAD_DIM / 4}}>;

#if F16
fn part_0(packed: Vec16) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
fn part_1(packed: Vec16) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(packed.z), unpack2x16float(packed.w));
}
#else
fn part_0(packed: Vec16) -> vec4<f32> {
    return packed;
}
#endif

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
    @builtin(subgroup_invocation_id) sub_lane: u32,
) {
    let split = workgroup_id.x;
    let first_head = workgroup_id.y * {{HEADS}}u;
    let query = workgroup_id.z;
    let n = visible_keys(query);
    let begin = min(split * params.split_len, n);
    let end = min(begin + params.split_len, n);
    let stream = subgroup_id * {{WIDTH / LANES}}u + sub_lane / {{LANES}}u;
    let own = sub_lane % {{LANES}}u;
    let kv_base = first_head / params.group * params.kv_head_stride / {{PER_VEC}}u;
    let kv_stride = params.kv_token_stride / {{PER_VEC}}u;

    // Which vectors of a row this lane owns; one beyond the row counts for nothing.
#for I in 0..NV
    let vec_{{I}} = min(own + {{I * LANES}}u, ROW - 1u);
    let used_{{I}} = own + {{I * LANES}}u < ROW;
#endfor
#for H in 0..HEADS
    let q_base_{{H}} = (query * params.q_token_stride + (first_head + {{H}}u) * params.q_head_stride) / {{PER_VEC}}u;
    var greatest_{{H}} = LOWEST;
    var sum_{{H}} = 0.0;
#for I in 0..NV
    let q_{{H}}_{{I}} = q[q_base_{{H}} + vec_{{I}}];
#for P in 0..PER_VEC / 4
    let q_{{H}}_{{I}}_{{P}} = select(vec4<f32>(), part_{{P}}(q_{{H}}_{{I}}) * params.scale, used_{{I}});
    var o_{{H}}_{{I}}_{{P}} = vec4<f32>();
#endfor
#endfor
#endfor

    for (var base = begin; base < end; base += {{ROWS}}u * STREAMS) {
#for R in 0..ROWS
        let key_{{R}} = base + {{R}}u * STREAMS + stream;
        let at_{{R}} = kv_base + min(key_{{R}}, end - 1u) * kv_stride;
        var seen_{{R}} = key_{{R}} < end;
#if MASK
        if seen_{{R}} {
            seen_{{R}} = !hidden_by_mask(query, key_{{R}});
        }
#endif
#for I in 0..NV
        let k_{{R}}_{{I}} = k[at_{{R}} + vec_{{I}}];
#endfor
#endfor
#for R in 0..ROWS
#for I in 0..NV
        let v_{{R}}_{{I}} = v[at_{{R}} + vec_{{I}}];
#endfor
#endfor
#for H in 0..HEADS
        var tile_greatest_{{H}} = greatest_{{H}};
#endfor
#for R in 0..ROWS
#for I in 0..NV
#for P in 0..PER_VEC / 4
        let k_{{R}}_{{I}}_{{P}} = part_{{P}}(k_{{R}}_{{I}});
#endfor
#endfor
#for H in 0..HEADS
        var s_{{R}}_{{H}} = 0.0;
#for I in 0..NV
#for P in 0..PER_VEC / 4
        s_{{R}}_{{H}} += dot(q_{{H}}_{{I}}_{{P}}, k_{{R}}_{{I}}_{{P}});
#endfor
#endfor
#for S in 0..STAGES
        s_{{R}}_{{H}} += subgroupShuffleXor(s_{{R}}_{{H}}, {{1 << S}}u);
#endfor
        if key_{{R}} < end {
            s_{{R}}_{{H}} = masked_score(s_{{R}}_{{H}}, query, key_{{R}});
        } else {
            s_{{R}}_{{H}} = MASKED;
        }
        tile_greatest_{{H}} = max(tile_greatest_{{H}}, s_{{R}}_{{H}});
#endfor
#endfor
#for H in 0..HEADS
        {
            let factor = exp2(greatest_{{H}} - tile_greatest_{{H}});
            greatest_{{H}} = tile_greatest_{{H}};
            sum_{{H}} *= factor;
#for I in 0..NV
#for P in 0..PER_VEC / 4
            o_{{H}}_{{I}}_{{P}} *= factor;
#endfor
#endfor
        }
#endfor
#for R in 0..ROWS
#for I in 0..NV
#for P in 0..PER_VEC / 4
        // Of a hidden key nothing is used: 0 times what its value holds could be NaN.
        let v_{{R}}_{{I}}_{{P}} = select(vec4<f32>(), part_{{P}}(v_{{R}}_{{I}}), seen_{{R}});
#endfor
#endfor
#for H in 0..HEADS
        {
            let p = exp2(s_{{R}}_{{H}} - greatest_{{H}});
            sum_{{H}} += p;
#for I in 0..NV
#for P in 0..PER_VEC / 4
            o_{{H}}_{{I}}_{{P}} += p * v_{{R}}_{{I}}_{{P}};
#endfor
#endfor
        }
#endfor
#endfor
    }

    // One head at a time through the same memory: a barrier before each reuse.
#for H in 0..HEADS
    {
        if own == 0u {
            stream_sums[stream] = vec2<f32>(greatest_{{H}}, sum_{{H}});
        }
        workgroupBarrier();
        var greatest = LOWEST;
        for (var s = 0u; s < STREAMS; s++) {
            greatest = max(greatest, stream_sums[s].x);
        }
        var sum = 0.0;
        for (var s = 0u; s < STREAMS; s++) {
            sum += stream_sums[s].y * exp2(stream_sums[s].x - greatest);
        }
        let factor = exp2(greatest_{{H}} - greatest);
#for I in 0..NV
        if used_{{I}} {
#for P in 0..PER_VEC / 4
            stream_outputs[stream * {{HEAD_DIM / 4}}u + vec_{{I}} * {{PER_VEC / 4}}u + {{P}}u] = o_{{H}}_{{I}}_{{P}} * factor;
#endfor
        }
#endfor
        workgroupBarrier();
        let at = (query * params.heads + first_head + {{H}}u) * params.n_splits + split;
        for (var d = lane; d < {{HEAD_DIM / 4}}u; d += {{THREADS}}u) {
            var joined = vec4<f32>();
            for (var s = 0u; s < STREAMS; s++) {
                joined += stream_outputs[s * {{HEAD_DIM / 4}}u + d];
            }
            partial[at * {{HEAD_DIM / 4}}u + d] = joined;
        }
        if lane == 0u {
            partial_sums[at] = vec2<f32>(greatest, sum);
        }
        workgroupBarrier();
    }
#endfor
}
