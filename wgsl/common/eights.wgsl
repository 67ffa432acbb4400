// Eight consecutive elements of an operand at a time, as f32: what a lane of the tiled products loads at once.
//
// A kernel that includes this file declares, besides what common/weights.wgsl asks for, `words: array<u32>` and
// `x: array<vec4<u32>>` under X_F16 (eight f16 an element; no shader-f16 needed), else `x: array<vec4<f32>>`.
// Define GROUP_SHIFT: the logarithm of the group size.
#include "common/weights.wgsl"

// Activations 8·index to 8·index + 7: 16 bytes (f16) or 32 bytes (f32).
fn load_x8(index: u32) -> Eight {
#if X_F16
    let packed = x[index];
    return Eight(vec4(unpack2x16float(packed.x), unpack2x16float(packed.y)),
                 vec4(unpack2x16float(packed.z), unpack2x16float(packed.w)));
#else
    return Eight(x[2u * index], x[2u * index + 1u]);
#endif
}

// A packed word with what scales it, before decoding: what is kept while a load is in flight.
struct PackedEight {
    word: u32,
    scale: f32,
    zero_point: f32,
}

// Weights 8·index to 8·index + 7 of the matrix, row after row. Eight weights lie within one group.
fn load_w8(index: u32) -> PackedEight {
    let group_ix = index >> {{GROUP_SHIFT - 3}}u;
    return PackedEight(words[index], load_scale(group_ix) * CODE_SCALE, load_zero_point(group_ix));
}

fn decode_w8(packed: PackedEight) -> Eight {
    let codes = decode_eight(packed.word, packed.zero_point);
    return Eight(codes.low * (packed.scale / IN_PLACE), codes.high * (packed.scale / IN_PLACE));
}
