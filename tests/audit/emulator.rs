//! Exact counts against an emulator that shares nothing with the crate: each index is one expression, read by the
//! auditor as WGSL and run here as Rust, lane by lane, with sets of bytes and of blocks.

use std::collections::BTreeSet;

use wgpu_marlin::audit::{Confidence, Settings, audit_wgsl};

/// Where a lane is: in its workgroup, the workgroup in the grid, and the round of the loop.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "each case uses what it needs")]
struct At {
    x: u32,
    y: u32,
    l: u32,
    wx: u32,
    wy: u32,
    k: u32,
}

struct Case {
    /// Workgroup size, number of workgroups, rounds of the loop.
    size: [u32; 2],
    grid: [u32; 2],
    rounds: u32,
    /// Bytes per element: 4 (`u32`) or 16 (`vec4<u32>`).
    bytes: u64,
    guard: (&'static str, fn(At) -> bool),
    index: (&'static str, fn(At) -> u32),
}

fn min(a: u32, b: u32) -> u32 {
    a.min(b)
}

fn max(a: u32, b: u32) -> u32 {
    a.max(b)
}

fn select(no: u32, yes: u32, c: bool) -> u32 {
    if c { yes } else { no }
}

/// Rows of size, grid, rounds, bytes, guard and index; the names in brackets are those of [`At`].
macro_rules! table {
    ([$x:ident $y:ident $l:ident $wx:ident $wy:ident $k:ident] $(($size:expr, $grid:expr, $rounds:expr, $bytes:expr, $guard:expr => $index:expr),)*) => {
        vec![$(Case {
            size: $size,
            grid: $grid,
            rounds: $rounds,
            bytes: $bytes,
            guard: (stringify!($guard), |at| {
                #[allow(unused_variables, reason = "each case uses what it needs")]
                let At { x: $x, y: $y, l: $l, wx: $wx, wy: $wy, k: $k } = at;
                $guard
            }),
            index: (stringify!($index), |at| {
                #[allow(unused_variables, reason = "each case uses what it needs")]
                let At { x: $x, y: $y, l: $l, wx: $wx, wy: $wy, k: $k } = at;
                $index
            }),
        }),*]
    };
}

#[allow(clippy::identity_op, clippy::precedence, reason = "the expressions are WGSL too")]
fn cases() -> Vec<Case> {
    table! {
        [x y l wx wy k]
        ([64, 1], [4, 1], 1, 4, true => wx * 64 + l),
        ([64, 1], [4, 1], 1, 4, true => wx * 64 + l + 1),
        ([64, 1], [4, 1], 1, 4, true => (wx * 64 + l) * 2),
        ([64, 1], [4, 1], 1, 4, true => (wx * 64 + l) * 3 + 1),
        ([64, 1], [3, 1], 1, 4, true => (wx * 64 + l) * 33),
        ([64, 1], [3, 1], 16, 4, true => (wx * 64 + l) * 16 + k),
        ([64, 1], [3, 1], 16, 4, true => k * 192 + wx * 64 + l),
        ([64, 1], [3, 1], 7, 4, true => (wx * 64 + l) * 7 + k),
        ([64, 1], [2, 1], 1, 4, true => wx),
        ([64, 1], [2, 1], 5, 4, true => wx * 5 + k),
        ([64, 1], [2, 1], 1, 4, l < 48 => wx * 64 + l),
        ([64, 1], [2, 1], 1, 4, l % 2 == 0 => wx * 64 + l),
        ([64, 1], [2, 1], 1, 4, l == 0 => wx * 64 + l),
        ([64, 1], [2, 1], 1, 4, l % 3 == 1 => (wx * 64 + l) * 5),
        ([64, 1], [5, 1], 1, 4, wx * 64 + l < 300 => wx * 64 + l),
        ([64, 1], [5, 1], 1, 4, true => min(wx * 64 + l, 299)),
        ([64, 1], [5, 1], 1, 4, true => max(wx * 64 + l, 70) - 70),
        ([16, 16], [2, 2], 1, 4, true => (wy * 16 + y) * 32 + wx * 16 + x),
        ([16, 16], [2, 2], 1, 4, true => (wx * 16 + x) * 32 + wy * 16 + y),
        ([16, 16], [2, 2], 8, 4, true => (wy * 16 + y) * 128 + k * 16 + x),
        ([8, 8], [3, 2], 1, 4, true => (wy * 8 + y) * 24 + wx * 8 + x),
        ([8, 8], [3, 2], 4, 4, x < 7 => ((wy * 8 + y) * 24 + wx * 8 + x) * 4 + k),
        ([32, 4], [2, 2], 1, 4, true => (wy * 4 + y) * 65 + wx * 32 + x),
        ([32, 4], [2, 2], 1, 4, true => (wx * 32 + x) * 8 + wy * 4 + y),
        ([64, 1], [4, 1], 1, 16, true => wx * 64 + l),
        ([64, 1], [4, 1], 4, 16, true => (wx * 64 + l) * 4 + k),
        ([64, 1], [4, 1], 4, 16, true => k * 256 + wx * 64 + l),
        ([64, 1], [2, 1], 1, 16, l < 20 => (wx * 64 + l) * 3),
        ([64, 1], [2, 1], 1, 4, true => wx * 64 + (l ^ 1)),
        ([64, 1], [2, 1], 1, 4, true => wx * 64 + (l ^ 21)),
        ([64, 1], [2, 1], 1, 4, true => wx * 4096 + (l & 7) * 64 + (l >> 3)),
        ([64, 1], [2, 1], 1, 4, true => wx * 64 + (l / 4) * 4),
        ([64, 1], [2, 1], 1, 4, true => wx * 4096 + (l / 8) * 40 + l % 8),
        ([64, 1], [2, 1], 6, 4, true => wx * 4096 + (l << k)),
        ([64, 1], [2, 1], 6, 4, (l << k) < 32 => wx * 64 + l),
        ([64, 1], [2, 1], 8, 4, k < l => wx * 64 + l - k),
        ([64, 1], [2, 1], 8, 4, k <= l % 8 => (wx * 64 + l) * 8 + k),
        ([64, 1], [2, 1], 1, 4, true => select(wx * 64 + l, 0, l > 40)),
        ([64, 1], [2, 1], 1, 4, true => wx * 128 + 127 - l),
        ([64, 1], [2, 1], 4, 4, true => wx * 1024 + ((l + k * 7) % 64) * 5),
        ([64, 1], [7, 1], 1, 4, true => (wx % 3) * 640 + (wx / 3) * 50 + l),
        ([48, 1], [3, 1], 1, 4, true => wx * 48 + l),
        ([100, 1], [2, 1], 3, 4, l < 90 => (wx * 100 + l) * 3 + k),
        ([64, 1], [2, 1], 9, 4, true => wx * 576 + (k / 3) * 192 + l * 3 + k % 3),
    }
}

/// Requests, lanes, useful bytes, blocks of 32, 64 and 128 bytes, and these with the lowest address at a border.
type Counts = (u64, u64, u64, [u64; 3], [u64; 3]);

fn emulate(c: &Case) -> Counts {
    let mut sum: Counts = (0, 0, 0, [0; 3], [0; 3]);
    let lanes = c.size[0] * c.size[1];
    for wy in 0..c.grid[1] {
        for wx in 0..c.grid[0] {
            for k in 0..c.rounds {
                for first in (0..lanes).step_by(32) {
                    let at = |l: u32| At { x: l % c.size[0], y: l / c.size[0], l, wx, wy, k };
                    let active: Vec<u64> = (first..(first + 32).min(lanes))
                        .map(at)
                        .filter(|&a| (c.guard.1)(a))
                        .map(|a| u64::from((c.index.1)(a)) * c.bytes)
                        .collect();
                    let Some(&lowest) = active.iter().min() else { continue };
                    let bytes: BTreeSet<u64> = active.iter().flat_map(|&o| o..o + c.bytes).collect();
                    sum.0 += 1;
                    sum.1 += active.len() as u64;
                    sum.2 += bytes.len() as u64;
                    for (i, size) in [32, 64, 128].into_iter().enumerate() {
                        let blocks = |origin: u64| {
                            bytes.iter().map(|b| (b - origin) / size).collect::<BTreeSet<_>>().len() as u64
                        };
                        sum.3[i] += blocks(0);
                        sum.4[i] += blocks(lowest);
                    }
                }
            }
        }
    }
    sum
}

#[test]
fn exact_counts_equal_an_independent_emulator() {
    let all = cases();
    assert!(all.len() >= 40);
    for c in &all {
        let element = if c.bytes == 16 { "vec4<u32>" } else { "u32" };
        let text = format!(
            "@group(0) @binding(0) var<storage, read> a: array<{element}>;
@group(0) @binding(1) var<storage, read_write> o: array<{element}>;
@compute @workgroup_size({}, {})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>,
        @builtin(local_invocation_index) l: u32) {{
    let x = local.x; let y = local.y; let wx = group.x; let wy = group.y;
    var s = {element}();
    for (var k = 0u; k < {}u; k++) {{
        if {} {{ s += a[{}]; }}
    }}
    o[l] = s;
}}",
            c.size[0], c.size[1], c.rounds, c.guard.0, c.index.0
        );
        let settings = Settings { workgroups: Some([c.grid[0], c.grid[1], 1]), ..Settings::default() };
        let report = audit_wgsl("case.wgsl", &text, &settings);
        let what = format!("{} => {}", c.guard.0, c.index.0);
        let load = report.sites.iter().find(|s| s.buffer == "a").unwrap_or_else(|| panic!("{what}: {text}"));
        assert_eq!(load.confidence, Confidence::Exact, "{what}: {:?}", load.assumptions);
        let t = load.traffic.expect("exact counts have sums");
        let got = (t.requests, t.active_lanes, t.useful_bytes, t.blocks, t.blocks_if_aligned);
        assert_eq!(got, emulate(c), "{what}");
    }
}
