// What the app computes itself, between the operations: plain, not fast. Results are f32, or f16 two to a word in the kernels
// whose names end in 16, which need no shader-f16.

struct Params {
    rows: u32,
    columns: u32, // of the result; even
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;
@group(0) @binding(4) var<storage, read_write> packed: array<u32>;

// 1 / sqrt(mean of the row's squares + 1e-6).
fn norm_factor(row: u32) -> f32 {
    var squares = 0.0;
    for (var j = 0u; j < params.columns; j++) {
        let value = a[row * params.columns + j];
        squares += value * value;
    }
    return inverseSqrt(squares / f32(params.columns) + 1e-6);
}

// result[i, j] = a[i, j] * norm_factor(i): RMS norm without gains. An invocation per row.
@compute @workgroup_size(64)
fn norm(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows {
        let factor = norm_factor(id.x);
        let first = id.x * params.columns;
        for (var j = 0u; j < params.columns; j++) {
            result[first + j] = a[first + j] * factor;
        }
    }
}

@compute @workgroup_size(64)
fn norm16(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows {
        let factor = norm_factor(id.x);
        let first = id.x * params.columns;
        for (var j = 0u; j < params.columns; j += 2u) {
            packed[(first + j) / 2u] = pack2x16float(vec2(a[first + j], a[first + j + 1u]) * factor);
        }
    }
}

// result[i] = a[i] + b[i]. An invocation per element.
@compute @workgroup_size(64)
fn add(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns {
        result[id.x] = a[id.x] + b[id.x];
    }
}

// g / (1 + exp(-g)) * u, with g = a[i, j] and u = a[i, columns + j] for element i * columns + j.
fn gated(element: u32) -> f32 {
    let i = element / params.columns;
    let j = element % params.columns;
    let g = a[2u * i * params.columns + j];
    let u = a[(2u * i + 1u) * params.columns + j];
    return g / (1.0 + exp(-g)) * u;
}

// An invocation per element.
@compute @workgroup_size(64)
fn swiglu(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns {
        result[id.x] = gated(id.x);
    }
}

// An invocation per word of two elements.
@compute @workgroup_size(64)
fn swiglu16(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns / 2u {
        packed[id.x] = pack2x16float(vec2(gated(2u * id.x), gated(2u * id.x + 1u)));
    }
}

// result[i] = a[i].
@compute @workgroup_size(64)
fn store(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns {
        result[id.x] = a[id.x];
    }
}

@compute @workgroup_size(64)
fn store16(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.rows * params.columns / 2u {
        packed[id.x] = pack2x16float(vec2(a[2u * id.x], a[2u * id.x + 1u]));
    }
}
