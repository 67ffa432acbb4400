// The real subgroup width: each of 256 invocations writes the width that it sees.
@group(0) @binding(0) var<storage, read_write> widths: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_size) width: u32) {
    widths[lane] = width;
}
