// Sum of 512 numbers per workgroup, interleaved: the distance between the lanes at work doubles with each step, and
// with it the number of lanes that need one bank.
@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, 512>;

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    partial[2u * lane] = input[2u * id.x];
    partial[2u * lane + 1u] = input[2u * id.x + 1u];
    workgroupBarrier();
    for (var step = 1u; step < 512u; step *= 2u) {
        let at = 2u * step * lane;
        if at + step < 512u {
            partial[at] += partial[at + step];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        sums[group.x] = partial[0];
    }
}
