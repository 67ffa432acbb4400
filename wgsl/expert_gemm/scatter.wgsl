// Counting sort of pairs by expert, third pass: each pair goes to its place.
//
//   sorted[firsts[e] + counts[b, e] + rank] = p, e the expert of pair p, b its block, rank the number of pairs before p in
//   the block that chose e too
//
// expert_ids  u32  [n_pairs]
// counts      u32  [blocks, EXPERTS]   pairs of the expert in earlier blocks
// firsts      u32  [EXPERTS]
// sorted      u32  [n_pairs]           pairs of ids of EXPERTS or more are left out
//
// A workgroup owns a block of 256 pairs, an invocation one pair. Equal experts keep their order: the sort is stable.

struct Params {
    n_pairs: u32,
    blocks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> expert_ids: array<u32>;
@group(0) @binding(2) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> firsts: array<u32>;
@group(0) @binding(4) var<storage, read_write> sorted: array<u32>;

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
    if id >= {{EXPERTS}}u {
        return;
    }
    var rank = 0u;
    for (var i = 0u; i < 256u; i += 8u) {
#for U in 0..8
        rank += select(0u, 1u, ids[i + {{U}}u] == id && i + {{U}}u < lane);
#endfor
    }
    sorted[firsts[id] + counts[workgroup_id.x * {{EXPERTS}}u + id] + rank] = pair;
}
