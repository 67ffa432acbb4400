// Transpose through a tile in workgroup memory: reads and writes are rows. The tile's columns all lie in one bank;
// with TILE + 1 words per row they would not.
struct Params {
    n: u32,
}

const TILE = 32u;
const PITCH = TILE;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

var<workgroup> tile: array<f32, TILE * (TILE + 1)>;

@compute @workgroup_size(32, 8)
fn main(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    for (var row = local.y; row < TILE; row += 8u) {
        let y = group.y * TILE + row;
        tile[row * PITCH + local.x] = input[y * params.n + group.x * TILE + local.x];
    }
    workgroupBarrier();
    for (var row = local.y; row < TILE; row += 8u) {
        let y = group.x * TILE + row;
        output[y * params.n + group.y * TILE + local.x] = tile[local.x * PITCH + row];
    }
}
