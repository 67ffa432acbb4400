// Twin of wgsl/expert_gemm/scan.wgsl: where each expert's pairs start in each block, and the tiles of rows that they make.
// One threadgroup of 256 threads; a thread owns SHARE consecutive experts.
#include <metal_stdlib>
using namespace metal;

struct Params {
    uint n_pairs;
    uint blocks;
    uint n_tiles;
};

constant constexpr uint SHARE = (EXPERTS + 255) / 256;

kernel void main_(
    constant Params& params [[buffer(0)]],
    device uint* counts [[buffer(1)]],
    device uint* firsts [[buffer(2)]],
    device uint4* tiles [[buffer(3)]],
    uint lane [[thread_index_in_threadgroup]]
) {
    threadgroup uint2 sums[256];
    uint count[SHARE];
    uint2 mine = uint2(0);
#pragma unroll
    for (uint s = 0; s < SHARE; s++) {
        const uint expert = lane * SHARE + s;
        count[s] = 0;
        if (expert < EXPERTS) {
#pragma unroll(8)
            for (uint block = 0; block < params.blocks; block++) {
                const uint in_block = counts[block * EXPERTS + expert];
                counts[block * EXPERTS + expert] = count[s];
                count[s] += in_block;
            }
        }
        mine += uint2(count[s], (count[s] + BM - 1) / BM);
    }
    sums[lane] = mine;
    threadgroup_barrier(mem_flags::mem_threadgroup);

    for (uint step = 1; step < 256; step *= 2) {
        const uint2 before = lane >= step ? sums[lane - step] : uint2(0);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        sums[lane] += before;
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const uint all_tiles = sums[255].y;

    uint first = sums[lane].x - mine.x;
    uint tile = sums[lane].y - mine.y;
#pragma unroll
    for (uint s = 0; s < SHARE; s++) {
        const uint expert = lane * SHARE + s;
        if (expert < EXPERTS) {
            firsts[expert] = first;
            for (uint done = 0; done < count[s]; done += BM) {
                tiles[tile] = uint4(expert, first + done, min(uint(BM), count[s] - done), 0);
                tile++;
            }
            first += count[s];
        }
    }
    for (uint unused = all_tiles + lane; unused < params.n_tiles; unused += 256) {
        tiles[unused] = uint4(0);
    }
}
