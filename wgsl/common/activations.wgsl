// Eight consecutive activations at a time, as f32: what a lane of the tiled products loads at once.
//
// A kernel that includes this file declares `x: array<vec4<u32>>` under X_F16 (eight f16 an element; no shader-f16 needed),
// else `x: array<vec4<f32>>`.
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
