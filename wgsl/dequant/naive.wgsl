// Dequantization as commonly written: one packed word per invocation, one weight after the other.
//
//   dequantized[i] = value(code i) * scale(i / GROUP) * tensor_scale
//
// words        u32   [n * k/8]     8 codes each
// scales       u32   [...]         packed, GROUP weights each
// dequantized  f16 or f32 [n * k]
//
// An invocation owns word `i` and writes 8 elements one by one: the lanes of a store are 16 bytes (f16) or 32 bytes (f32)
// apart, so each store touches every sector that all eight together fill. Each weight reads its scale from memory.
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

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
) {
    let word_ix = workgroup_index(workgroup_id, num_workgroups) * {{THREADS}}u + local_index;
    if word_ix >= params.n_eights {
        return;
    }
#if BITS == 4
    let word = words[word_ix];
#endif
    for (var i = 0u; i < 8u; i++) {
        let element = word_ix * 8u + i;
        let group_ix = element / {{GROUP}}u;
        let scale = load_scale(group_ix) * params.tensor_scale;
#if BITS == 4
        let value = code_value((word >> (4u * i)) & 15u, load_zero_point(group_ix));
#else
        let value = code_value(load_code(element), load_zero_point(group_ix));
#endif
#if OFFSETS
        let offset = load_zero_point(group_ix) * params.tensor_scale;
        dequantized[element] = {{OUT_TYPE}}(value * scale + offset);
#else
        dequantized[element] = {{OUT_TYPE}}(value * scale);
#endif
    }
}
