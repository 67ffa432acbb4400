// Dequantization with the advice "cache the scales in workgroup memory": else as naive.wgsl.
//
// A workgroup owns THREADS words, whose {{8 * THREADS / GROUP}} scales it first decodes into workgroup memory, one per
// invocation; each weight then reads its scale there. Costs a barrier before the first store.
// Needs shader-f16 for f16 output.
#if OUT_F16
enable f16;
#endif
#include "common/grid.wgsl"
#define BY_CODE
#include "common/weights.wgsl"

struct Params {
    n_eights: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
@group(0) @binding(3) var<storage, read_write> dequantized: array<{{OUT_TYPE}}>;
#if ZERO_POINTS
@group(0) @binding(4) var<storage, read> zero_points: array<u32>;
#endif

const GROUPS = {{8 * THREADS / GROUP}}u;
var<workgroup> cached_scales: array<f32, GROUPS>;

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
) {
    let workgroup_ix = workgroup_index(workgroup_id, num_workgroups);
    let first_group = workgroup_ix * GROUPS;
    if local_index < GROUPS && first_group + local_index < params.n_eights / {{GROUP / 8}}u {
        cached_scales[local_index] = load_scale(first_group + local_index) * params.tensor_scale;
    }
    workgroupBarrier();

    let word_ix = workgroup_ix * {{THREADS}}u + local_index;
    if word_ix >= params.n_eights {
        return;
    }
#if BITS == 4
    let word = words[word_ix];
#endif
    for (var i = 0u; i < 8u; i++) {
        let element = word_ix * 8u + i;
        let group_ix = element / {{GROUP}}u;
#if BITS == 4
        let value = code_value((word >> (4u * i)) & 15u, load_zero_point(group_ix));
#else
        let value = code_value(load_code(element), load_zero_point(group_ix));
#endif
#if OFFSETS
        let offset = load_zero_point(group_ix) * params.tensor_scale;
        dequantized[element] = {{OUT_TYPE}}(value * cached_scales[group_ix - first_group] + offset);
#else
        dequantized[element] = {{OUT_TYPE}}(value * cached_scales[group_ix - first_group]);
#endif
    }
}
