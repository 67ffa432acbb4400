// Counting sort of (token, choice) pairs by expert, first pass: how many pairs of each block chose each expert.
//
//   counts[b, e] = number of pairs p in 256·b .. 256·(b + 1) with expert_ids[p] = e
//
// expert_ids  u32  [n_pairs]
// counts      u32  [blocks, EXPERTS]
//
// A workgroup owns a block, an invocation the experts lane, lane + 256, ...: it looks at all ids of the block, which all
// lanes read from the same place of workgroup memory. No atomics: the result is the same on every run.

struct Params {
    n_pairs: u32,
    blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> expert_ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;

var<workgroup> ids: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pair = workgroup_id.x * 256u + lane;
    var id = 0xffffffffu;
    if pair < params.n_pairs {
        id = expert_ids[pair];
    }
    ids[lane] = id;
    workgroupBarrier();
    for (var expert = lane; expert < {{EXPERTS}}u; expert += 256u) {
        var count = 0u;
        for (var i = 0u; i < 256u; i += 8u) {
#for U in 0..8
            count += select(0u, 1u, ids[i + {{U}}u] == expert);
#endfor
        }
        counts[workgroup_id.x * {{EXPERTS}}u + expert] = count;
    }
}
