// Counting sort of pairs by expert, second pass: where each expert's pairs start, and the tiles of rows that they make.
//
//   counts[b, e] becomes the sum of counts[b', e] over b' < b
//   firsts[e]    = number of pairs of experts below e
//   tiles        = for each expert, its pairs in runs of at most BM: (expert, first pair, pairs, 0); then (0, 0, 0, 0)
//
// counts  u32  [blocks, EXPERTS]
// firsts  u32  [EXPERTS]
// tiles   4 u32 an element [n_tiles]: as many as any distribution of the pairs can need
//
// One workgroup. An invocation owns the experts lane·SHARE .. (lane + 1)·SHARE, in order.
#define SHARE {{(EXPERTS + 255) / 256}}

struct Params {
    n_pairs: u32,
    blocks: u32,
    n_tiles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;
@group(0) @binding(2) var<storage, read_write> firsts: array<u32>;
@group(0) @binding(3) var<storage, read_write> tiles: array<vec4<u32>>;

// Pairs and tiles of the invocations up to this one.
var<workgroup> sums: array<vec2<u32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Pairs and tiles of each expert of this invocation.
    var mine = vec2<u32>();
#for S in 0..SHARE
    let expert{{S}} = lane * {{SHARE}}u + {{S}}u;
    var count{{S}} = 0u;
    if expert{{S}} < {{EXPERTS}}u {
        // Eight loads in flight.
        for (var block = 0u; block < params.blocks; block += 8u) {
#for U in 0..8
            let at{{U}} = min(block + {{U}}u, params.blocks - 1u) * {{EXPERTS}}u + expert{{S}};
            let in_block{{U}} = counts[at{{U}}];
#endfor
#for U in 0..8
            if block + {{U}}u < params.blocks {
                counts[at{{U}}] = count{{S}};
                count{{S}} += in_block{{U}};
            }
#endfor
        }
    }
    mine += vec2(count{{S}}, (count{{S}} + {{BM - 1}}u) / {{BM}}u);
#endfor
    sums[lane] = mine;
    workgroupBarrier();

    // Inclusive sums over the invocations (Hillis and Steele).
    for (var step = 1u; step < 256u; step *= 2u) {
        var before = vec2<u32>();
        if lane >= step {
            before = sums[lane - step];
        }
        workgroupBarrier();
        sums[lane] += before;
        workgroupBarrier();
    }
    let all_tiles = sums[255].y;

    var first = sums[lane].x - mine.x;
    var tile = sums[lane].y - mine.y;
#for S in 0..SHARE
    if expert{{S}} < {{EXPERTS}}u {
        firsts[expert{{S}}] = first;
        for (var done = 0u; done < count{{S}}; done += {{BM}}u) {
            tiles[tile] = vec4(expert{{S}}, first + done, min({{BM}}u, count{{S}} - done), 0u);
            tile++;
        }
        first += count{{S}};
    }
#endfor
    for (var unused = all_tiles + lane; unused < params.n_tiles; unused += 256u) {
        tiles[unused] = vec4<u32>();
    }
}
