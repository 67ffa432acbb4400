// Which buffer a variable is bound to: each output holds the input reversed within its workgroup, plus a mark of
// its own and one from the uniform block. Binding numbers have gaps, as those of kernels with options have.
struct Params {
    mark: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> input: array<u32>; // [128]
@group(0) @binding(3) var<storage, read_write> first: array<u32>; // [128]
@group(0) @binding(6) var<storage, read_write> second: array<u32>; // [128]

var<workgroup> values: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    values[lane] = input[id.x];
    workgroupBarrier();
    first[id.x] = values[63u - lane] + params.mark + 1000u;
    second[id.x] = values[63u - lane] + params.mark + 2000u;
}
