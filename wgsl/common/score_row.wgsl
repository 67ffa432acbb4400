// Softmax over one row of scores in memory, by a workgroup of THREADS invocations; and the row's query.
@group(0) @binding(4) var<storage, read_write> scores: array<f32>; // [heads][n_queries][score_stride]

var<workgroup> query_row: array<Unpacked, {{HEAD_DIM / LOAD}}>;
var<workgroup> reduced: array<f32, {{THREADS}}>;

// Stages one query, and passes a barrier.
fn load_query(query: u32, head: u32, lane: u32) {
    let base = query * params.q_token_stride + head * params.q_head_stride;
    for (var d = lane; d < {{HEAD_DIM / LOAD}}u; d += {{THREADS}}u) {
        query_row[d] = unpack(q[base / {{LOAD}}u + d]);
    }
    workgroupBarrier();
}

// Replaces scores[base .. base + n] by their softmax: zeros where all are masked. Expects all invocations
// here, after their stores of scores.
fn softmax_row(base: u32, n: u32, lane: u32) {
    storageBarrier();
    workgroupBarrier();
    var greatest = LOWEST;
    for (var k = lane; k < n; k += {{THREADS}}u) {
        greatest = max(greatest, scores[base + k]);
    }
    reduced[lane] = greatest;
    workgroupBarrier();
    for (var half = {{THREADS / 2}}u; half > 0u; half >>= 1u) {
        if lane < half {
            reduced[lane] = max(reduced[lane], reduced[lane + half]);
        }
        workgroupBarrier();
    }
    greatest = reduced[0];
    workgroupBarrier();
    var sum = 0.0;
    for (var k = lane; k < n; k += {{THREADS}}u) {
        let p = exp2(scores[base + k] - greatest);
        scores[base + k] = p;
        sum += p;
    }
    reduced[lane] = sum;
    workgroupBarrier();
    for (var half = {{THREADS / 2}}u; half > 0u; half >>= 1u) {
        if lane < half {
            reduced[lane] += reduced[lane + half];
        }
        workgroupBarrier();
    }
    let total = reduced[0];
    let factor = select(0.0, 1.0 / total, total > 0.0);
    for (var k = lane; k < n; k += {{THREADS}}u) {
        scores[base + k] *= factor;
    }
}
