//stex t 8 4
//buf y 256
//groups 1 1 1
//expect race line 9
@group(0) @binding(0) var t: texture_storage_2d<r32uint, write>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) l: u32) {
  textureStore(t, vec2<u32>(l % 8u, 0u), vec4<u32>(l, 0u, 0u, 0u)); // eight lanes write each texel
  y[l] = 1u;
}
