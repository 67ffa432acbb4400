// Dequantization at the speed of its stores.
//
//   dequantized[i] = value(code i) * scale(i / GROUP) * tensor_scale
//
// words        u32   [n * k/8]       8 codes each
// scales       u32   [...]           packed, GROUP weights each
// dequantized  16-byte runs [n * k / RUN]: 8 f16, packed in pairs, or 4 f32
//
// The naive kernel is bound by its scalar stores. Here:
// 1. a lane owns runs of 16 bytes of output, and lane l of a step owns run base + l: a subgroup of 32 stores 512
//    contiguous bytes and loads 128 (f16) or 64 (f32) contiguous bytes of codes;
// 2. a run lies within one group: one scale load per run, shared by neighbouring lanes;
// 3. STEPS runs per invocation, all loads before the first decode, so that a lane has STEPS loads in flight;
// 4. codes become floats by bit placement (`decode_eight`), f16 leaves through pack2x16float: no shader-f16 needed.
#include "common/grid.wgsl"
#define RUNS 1
#include "common/weights.wgsl"

struct Params {
    n_eights: u32,
    tensor_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<{{WORDS}}>;
#if SCALE < 8
@group(0) @binding(2) var<storage, read> scales: array<{{SCALE_UNIT}}>;
#endif
#if OUT_F16
@group(0) @binding(3) var<storage, read_write> dequantized: array<vec4<u32>>;
#else
@group(0) @binding(3) var<storage, read_write> dequantized: array<vec4<f32>>;
#endif
#if ZERO_POINTS
@group(0) @binding(4) var<storage, read> zero_points: array<u32>;
#endif

// Runs per word, and per group, as shifts.
#if OUT_F16
const WORD_SHIFT = 0u;
const GROUP_SHIFT = {{GROUP_SHIFT}}u - 3u;
#else
const WORD_SHIFT = 1u;
const GROUP_SHIFT = {{GROUP_SHIFT}}u - 2u;
#endif

@compute @workgroup_size({{THREADS}})
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local_index: u32,
) {
    let n_runs = params.n_eights << WORD_SHIFT;
    let first = workgroup_index(workgroup_id, num_workgroups) * {{STEPS * THREADS}}u + local_index;
    if first >= n_runs {
        return;
    }

    // Load. Runs beyond the end are loaded as the last one, and not stored.
#for S in 0..STEPS
    let run{{S}} = min(first + {{S * THREADS}}u, n_runs - 1u);
#if BITS == 4
    let word{{S}} = words[run{{S}} >> WORD_SHIFT];
#else
    let word{{S}} = load_chunk(run{{S}} >> WORD_SHIFT);
#endif
    let scale{{S}} = load_scale(run{{S}} >> GROUP_SHIFT);
    let zero{{S}} = load_zero_point(run{{S}} >> GROUP_SHIFT);
#endfor

    // Decode and store.
#for S in 0..STEPS
    if first + {{S * THREADS}}u < n_runs {
        let factor = (scale{{S}} * params.tensor_scale) * (CODE_SCALE / IN_PLACE);
#if OFFSETS
        let offset = zero{{S}} * params.tensor_scale;
#endif
#if OUT_F16
        let codes = decode_eight(word{{S}}, zero{{S}});
#if OFFSETS
        let low = codes.low * factor + offset;
        let high = codes.high * factor + offset;
#else
        let low = codes.low * factor;
        let high = codes.high * factor;
#endif
        dequantized[first + {{S * THREADS}}u] = vec4(
            pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
#else
#if BITS == 4
        let codes = decode_eight(word{{S}} >> (16u * (run{{S}} & 1u)), zero{{S}});
        let four = codes.low;
#else
        let codes = decode_eight(word{{S}}, zero{{S}});
        let four = select(codes.low, codes.high, (run{{S}} & 1u) == 1u);
#endif
#if OFFSETS
        dequantized[first + {{S * THREADS}}u] = four * factor + offset;
#else
        dequantized[first + {{S * THREADS}}u] = four * factor;
#endif
#endif
    }
#endfor
}
