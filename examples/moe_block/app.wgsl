// What the app computes itself, between the operations: plain, not fast.

struct Params {
    rows: u32,
    columns: u32, // of the result
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

// result[i, j] = a[i, j] / sqrt(mean of the row's squares + 1e-6): RMS norm without gains. An invocation per row.
@compute @workgroup_size(64)
fn norm(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.rows {
        return;
    }
    let first = id.x * params.columns;
    var squares = 0.0;
    for (var j = 0u; j < params.columns; j++) {
        squares += a[first + j] * a[first + j];
    }
    let factor = inverseSqrt(squares / f32(params.columns) + 1e-6);
    for (var j = 0u; j < params.columns; j++) {
        result[first + j] = a[first + j] * factor;
    }
}

// result[i, j] = a[i, j] + b[i, j]. An invocation per element.
@compute @workgroup_size(64)
fn add(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns {
        result[id.x] = a[id.x] + b[id.x];
    }
}

// result[i, j] = g / (1 + exp(-g)) * u, with g = a[i, j] and u = a[i, columns + j]. An invocation per element.
@compute @workgroup_size(64)
fn swiglu(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns {
        let i = id.x / params.columns;
        let j = id.x % params.columns;
        let g = a[2u * i * params.columns + j];
        let u = a[(2u * i + 1u) * params.columns + j];
        result[id.x] = g / (1.0 + exp(-g)) * u;
    }
}
