// output[i, h] = Σ_s w_s · partial[i, h, s] / Σ_s w_s · sum_s with w_s = exp2(m_s − max m), joining what `split` made
//
// A workgroup owns a query of a head: GROUPS sets of lanes take every GROUPS-th part, and lane l of a set
// four neighbouring elements; sets are joined in workgroup memory, in order.
#include "common/attention.wgsl"

@group(0) @binding(5) var<storage, read> partial: array<vec4<f32>>; // [n_queries][heads][n_splits][HEAD_DIM / 4]
@group(0) @binding(6) var<storage, read> partial_sums: array<vec2<f32>>; // [n_queries][heads][n_splits]
@group(0) @binding(8) var<storage, read_write> output: array<Packed>;

const LANES = {{128 / GROUPS}}u;
var<workgroup> weights: array<f32, 256>;
var<workgroup> reduced: array<f32, 128>;
var<workgroup> sets: array<vec4<f32>, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let query = workgroup_id.x;
    let head = workgroup_id.y;
    let base = (query * params.heads + head) * params.n_splits;
    var greatest = LOWEST;
    for (var s = lane; s < params.n_splits; s += 128u) {
        greatest = max(greatest, partial_sums[base + s].x);
    }
    reduced[lane] = greatest;
    workgroupBarrier();
    for (var half = 64u; half > 0u; half >>= 1u) {
        if lane < half {
            reduced[lane] = max(reduced[lane], reduced[lane + half]);
        }
        workgroupBarrier();
    }
    greatest = reduced[0];
    workgroupBarrier();
    var sum = 0.0;
    for (var s = lane; s < params.n_splits; s += 128u) {
        let part = partial_sums[base + s];
        let weight = exp2(part.x - greatest);
        weights[s] = weight;
        sum += weight * part.y;
    }
    reduced[lane] = sum;
    workgroupBarrier();
    for (var half = 64u; half > 0u; half >>= 1u) {
        if lane < half {
            reduced[lane] += reduced[lane + half];
        }
        workgroupBarrier();
    }
    let total = reduced[0];
    let factor = select(0.0, 1.0 / total, total > 0.0);
    let d = lane % LANES;
    var joined = vec4<f32>();
    if d < {{HEAD_DIM / 4}}u {
        for (var s = lane / LANES; s < params.n_splits; s += {{GROUPS}}u) {
            joined += weights[s] * partial[(base + s) * {{HEAD_DIM / 4}}u + d];
        }
    }
    sets[lane] = joined;
    workgroupBarrier();
    if lane < {{HEAD_DIM / 4}}u {
        var all = sets[lane];
        for (var g = 1u; g < {{GROUPS}}u; g++) {
            all += sets[g * LANES + lane];
        }
        output[(query * params.q_token_stride + head * params.q_head_stride) / 4u + lane] = pack(all * factor);
    }
}
