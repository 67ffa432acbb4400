//! Metal kernels on the CPU: what they compute, in both lane orders, and that planted faults are caught.

use super::{clang, shown};
use std::time::Duration;
use wgpu_marlin::metal::{Bound, FaultKind, Op, Program, Run, RunError, RunOptions, Source, Texture};

const HEADER: &str = "#include <metal_stdlib>\nusing namespace metal;\n";

fn program(clang: &wgpu_marlin::metal::Clang, body: &str) -> Program {
    let source = Source::new("user.metal", format!("{HEADER}{body}"));
    Program::build(clang, &source).unwrap_or_else(|e| panic!("{}", shown(&e)))
}

fn watched() -> RunOptions {
    RunOptions { sanitize: true, trace: true, ..RunOptions::default() }
}

fn bytes<T: bytemuck::Pod>(v: &mut [T]) -> &mut [u8] {
    bytemuck::cast_slice_mut(v)
}

/// Runs `kernel` of `body` on one buffer of floats.
fn on_floats(
    body: &str,
    groups: u32,
    threads: u32,
    data: &mut [f32],
    options: &RunOptions,
) -> Option<Result<Run, RunError>> {
    let clang = clang("a run")?;
    let program = program(&clang, body);
    let name = program.kernels()[0].name.clone();
    let mut buffers = [Bound::write(0, bytes(data))];
    Some(program.run(&name, [groups, 1, 1], [threads, 1, 1], &mut buffers, &mut [], options))
}

const REVERSE: &str = "
kernel void reverse(device float* a, uint i [[thread_position_in_grid]], uint l [[thread_index_in_threadgroup]],
                    uint n [[threads_per_threadgroup]]) {
  threadgroup float tile[100];
  tile[l] = a[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  a[i] = tile[n - 1 - l];
}";

#[test]
fn a_barrier_is_a_barrier_in_both_lane_orders() {
    for reverse_lanes in [false, true] {
        for sanitize in [false, true] {
            let mut data: Vec<f32> = (0..200).map(|i| i as f32).collect();
            let options = RunOptions { reverse_lanes, sanitize, ..RunOptions::default() };
            let Some(run) = on_floats(REVERSE, 2, 100, &mut data, &options) else { return };
            let run = run.expect("runs");
            assert_eq!(run.faults, []);
            assert_eq!(run.threadgroup_bytes, 400);
            let want: Vec<f32> = (0..200).map(|i| (i / 100 * 100 + 99 - i % 100) as f32).collect();
            assert_eq!(data, want);
        }
    }
}

#[test]
fn a_removed_barrier_is_a_race_at_its_lines() {
    let body = REVERSE.replace("  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "\n");
    let Some(run) = on_floats(&body, 1, 64, &mut [1.0; 64], &watched()) else { return };
    let run = run.expect("runs to its end");
    let races: Vec<_> = run.faults.iter().filter(|f| matches!(f.kind, FaultKind::Race { .. })).collect();
    let [race] = races[..] else { panic!("{:?}", run.faults) };
    assert_eq!(race.buffer, "tile");
    let FaultKind::Race { other, .. } = &race.kind else { unreachable!() };
    let mut lines = [race.place.line, other.line];
    lines.sort_unstable();
    assert_eq!(lines, [7, 9], "{race}");
}

#[test]
fn a_barrier_that_orders_other_memory_does_not_help() {
    let body = REVERSE.replace("mem_flags::mem_threadgroup", "mem_flags::mem_device");
    let Some(run) = on_floats(&body, 1, 64, &mut [1.0; 64], &watched()) else { return };
    assert!(run.expect("runs").faults.iter().any(|f| matches!(f.kind, FaultKind::Race { .. })));
}

#[test]
fn a_barrier_in_a_branch_is_refused() {
    let body = "
kernel void k(device float* a, uint i [[thread_position_in_grid]]) {
  if (i < 40) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  a[i] = 1;
}";
    let Some(run) = on_floats(body, 1, 64, &mut [0.0; 64], &RunOptions::default()) else { return };
    let Err(RunError::DivergentBarrier { place, arrived, of, .. }) = run else { panic!("{run:?}") };
    assert_eq!((place.line, arrived, of), (6, 40, 64));
}

#[test]
fn stores_out_of_bounds_are_stopped_before_they_happen() {
    let body = "
kernel void k(device float* a, uint i [[thread_position_in_grid]]) {
  a[i * 2] = 1;
}";
    let Some(run) = on_floats(body, 1, 64, &mut [0.0; 64], &watched()) else { return };
    let Err(RunError::OutOfBounds { place, op, what, thread, .. }) = run else { panic!("{run:?}") };
    assert_eq!((place.line, op, thread), (5, Op::Store, [32, 0, 0]));
    assert_eq!(what, "at byte 256 of `a`, which has 256 bytes");

    let body = "
kernel void k(device float* a, uint i [[thread_position_in_grid]]) {
  threadgroup float x[16];
  x[i] = 1;
  a[i] = x[i];
}";
    let Some(run) = on_floats(body, 1, 32, &mut [0.0; 32], &watched()) else { return };
    let Err(RunError::OutOfBounds { what, .. }) = run else { panic!("{run:?}") };
    assert_eq!(what, "at byte 64 of `x`, which has 64 bytes");

    let body = "
kernel void k(device float* a, uint i [[thread_position_in_grid]]) {
  *(device float*)(ulong(i) * 64) = a[i];
}";
    let Some(run) = on_floats(body, 1, 32, &mut [0.0; 32], &watched()) else { return };
    assert!(matches!(run, Err(RunError::OutOfBounds { .. })), "{run:?}");
}

#[test]
fn a_kernel_that_never_ends_is_stopped() {
    let body = "
kernel void k(device float* a, uint i [[thread_position_in_grid]]) {
  while (a[0] == 0) {}
  uint n = 0;
  while (n != 1) { n += 2; }
  a[i] = n;
}";
    for first in [0.0, 1.0] {
        let options = RunOptions { max_steps: 10_000_000, ..RunOptions::default() };
        let Some(run) = on_floats(body, 1, 32, &mut [first; 32], &options) else { return };
        assert!(matches!(run, Err(RunError::Endless { .. })), "{run:?}");
    }
    let options = RunOptions { max_time: Duration::from_millis(50), ..RunOptions::default() };
    let Some(run) = on_floats(body, 1, 32, &mut [0.0; 32], &options) else { return };
    assert!(matches!(run, Err(RunError::Endless { .. })), "{run:?}");
}

#[test]
fn what_nobody_wrote_is_reported_and_dividing_by_zero_does_not_trap() {
    let body = "
kernel void k(device float* a, uint i [[thread_position_in_grid]]) {
  threadgroup float x[64];
  if (i > 0) x[i] = 1;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  a[i] = x[i] + float(7 / int(i)) + float(uint(9) % i);
}";
    let Some(run) = on_floats(body, 1, 64, &mut [0.0; 64], &watched()) else { return };
    let run = run.expect("runs");
    let [fault] = &run.faults[..] else { panic!("{:?}", run.faults) };
    assert_eq!((&fault.kind, fault.place.line), (&FaultKind::Uninitialized, 8));
}

#[test]
fn simdgroup_functions_agree_with_plain_loops() {
    let body = "
kernel void k(device const float* x [[buffer(0)]], device float* out [[buffer(1)]],
              uint i [[thread_position_in_grid]], uint l [[thread_index_in_simdgroup]]) {
  float v = x[i];
  device float* o = out + i * 12;
  o[0] = simd_sum(v);
  o[1] = simd_max(v);
  o[2] = simd_min(v);
  o[3] = simd_shuffle_xor(v, 5);
  o[4] = simd_shuffle_down(v, 3);
  o[5] = simd_shuffle_up(v, 2);
  o[6] = simd_broadcast(v, 7);
  o[7] = simd_prefix_exclusive_sum(v);
  o[8] = simd_prefix_inclusive_sum(v);
  o[9] = float(popcount(uint((simd_vote::vote_t)simd_ballot(v > 3))));
  o[10] = quad_sum(v);
  if (l % 2 == 0) o[11] = simd_sum(v); else o[11] = simd_sum(2 * v);
}";
    let Some(clang) = clang("simdgroup_functions_agree_with_plain_loops") else { return };
    let program = program(&clang, body);
    for reverse_lanes in [false, true] {
        let x: Vec<f32> = (0..96).map(|i| ((i * 7) % 11) as f32 - 3.0).collect();
        let mut out = vec![f32::NAN; 96 * 12];
        let mut buffers = [Bound::read(0, bytemuck::cast_slice(&x)), Bound::write(1, bytes(&mut out))];
        let options = RunOptions { reverse_lanes, ..watched() };
        let run = program.run("k", [1, 1, 1], [96, 1, 1], &mut buffers, &mut [], &options).expect("runs");
        assert_eq!(run.faults, []);
        for i in 0..96 {
            let (base, l) = (i / 32 * 32, i % 32);
            let s = &x[base..base + 32];
            let o = &out[i * 12..][..12];
            let sum = |r: std::ops::Range<usize>| s[r].iter().sum::<f32>();
            assert_eq!(o[0], sum(0..32));
            assert_eq!(o[1], s.iter().copied().fold(f32::MIN, f32::max));
            assert_eq!(o[2], s.iter().copied().fold(f32::MAX, f32::min));
            assert_eq!(o[3], s[l ^ 5]);
            assert_eq!(o[4], if l + 3 < 32 { s[l + 3] } else { s[l] });
            assert_eq!(o[5], if l >= 2 { s[l - 2] } else { s[l] });
            assert_eq!(o[6], s[7]);
            assert_eq!(o[7], sum(0..l));
            assert_eq!(o[8], sum(0..l + 1));
            assert_eq!(o[9], s.iter().filter(|v| **v > 3.0).count() as f32);
            assert_eq!(o[10], sum(l / 4 * 4..l / 4 * 4 + 4));
            let half: f32 = (0..32).filter(|k| k % 2 == l % 2).map(|k| s[k]).sum();
            assert_eq!(o[11], if l % 2 == 0 { half } else { 2.0 * half });
        }
    }
}

#[test]
fn simdgroup_matrices_multiply() {
    let body = "
kernel void k(device const half* a [[buffer(0)]], device const float* b [[buffer(1)]], device float* c [[buffer(2)]],
              device float* ct [[buffer(3)]]) {
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  for (uint k = 0; k < 24; k += 8) {
    simdgroup_half8x8 x;
    simdgroup_float8x8 y;
    simdgroup_load(x, a, 24, ulong2(k, 0));
    simdgroup_load(y, b, 24, ulong2(k, 0), true);
    simdgroup_multiply_accumulate(sum, x, y, sum);
  }
  simdgroup_store(sum, c, 8);
  simdgroup_store(sum, ct, 8, ulong2(0), true);
}";
    let Some(clang) = clang("simdgroup_matrices_multiply") else { return };
    let program = program(&clang, body);
    let a: Vec<half::f16> = (0..8 * 24).map(|i| half::f16::from_f32(((i * 5) % 13) as f32 - 6.0)).collect();
    let b: Vec<f32> = (0..8 * 24).map(|i| ((i * 3) % 17) as f32 - 8.0).collect();
    let (mut c, mut ct) = ([0f32; 64], [0f32; 64]);
    let mut buffers = [
        Bound::read(0, bytemuck::cast_slice(&a)),
        Bound::read(1, bytemuck::cast_slice(&b)),
        Bound::write(2, bytes(&mut c)),
        Bound::write(3, bytes(&mut ct)),
    ];
    let run = program.run("k", [1, 1, 1], [32, 1, 1], &mut buffers, &mut [], &watched()).expect("runs");
    assert_eq!(run.faults, []);
    for m in 0..8 {
        for n in 0..8 {
            let want: f32 = (0..24).map(|k| a[m * 24 + k].to_f32() * b[n * 24 + k]).sum();
            assert_eq!((c[m * 8 + n], ct[n * 8 + m]), (want, want), "row {m} column {n}");
        }
    }
}

#[test]
fn atomics_count_and_textures_are_read() {
    let body = "
kernel void k(device atomic_uint* n, texture2d<float, access::read> t, uint2 at [[thread_position_in_grid]]) {
  threadgroup atomic_int local;
  if (at.x == 0 && at.y == 0) atomic_store_explicit(&local, 0, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&local, int(t.read(at).y), memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (at.x == 0 && at.y == 0) {
    atomic_fetch_max_explicit(n, uint(atomic_load_explicit(&local, memory_order_relaxed)), memory_order_relaxed);
  }
}";
    let Some(clang) = clang("atomics_count_and_textures_are_read") else { return };
    let program = program(&clang, body);
    let mut n = [0u32];
    let texels = (0..32).map(|i| [0, (i as f32).to_bits(), 0, 0]).collect();
    let mut textures = [Texture { index: 0, width: 8, height: 4, depth: 1, layers: 1, texels }];
    let mut buffers = [Bound::write(0, bytes(&mut n))];
    let run = program.run("k", [1, 1, 1], [8, 4, 1], &mut buffers, &mut textures, &watched()).expect("runs");
    assert_eq!(run.faults, []);
    assert_eq!(n[0], (0..32).sum::<u32>());
}

#[test]
fn a_half4_stored_along_the_wrong_axis_is_found_by_the_reference() {
    // Each thread transposes four elements of a 16 by 16 matrix; the planted fault stores them along the row.
    let right = "
kernel void k(device const half* in [[buffer(0)]], device half* out [[buffer(1)]], uint i [[thread_position_in_grid]]) {
  uint row = i / 4, column = i % 4 * 4;
  half4 v = *(device const half4*)(in + row * 16 + column);
  for (uint j = 0; j < 4; j++) out[(column + j) * 16 + row] = v[j];
}";
    let wrong = right.replace(
        "for (uint j = 0; j < 4; j++) out[(column + j) * 16 + row] = v[j];",
        "*(device half4*)(out + row * 16 + column) = v;",
    );
    let Some(clang) = clang("a_half4_stored_along_the_wrong_axis_is_found_by_the_reference") else { return };
    let input: Vec<half::f16> = (0..256).map(|i| half::f16::from_f32(i as f32)).collect();
    let want: Vec<f32> = (0..256).map(|i| (i % 16 * 16 + i / 16) as f32).collect();
    for (body, matches) in [(right, true), (wrong.as_str(), false)] {
        let mut out = vec![half::f16::NAN; 256];
        let mut buffers = [Bound::read(0, bytemuck::cast_slice(&input)), Bound::write(1, bytes(&mut out))];
        let run = program(&clang, body)
            .run("k", [1, 1, 1], [64, 1, 1], &mut buffers, &mut [], &watched())
            .expect("runs");
        assert_eq!(run.faults, []);
        let got: Vec<f32> = out.iter().map(|h| h.to_f32()).collect();
        assert_eq!(got == want, matches);
    }
}

#[test]
fn the_trace_tells_a_row_per_lane_from_a_column_per_lane() {
    let body = "
kernel void k(device const float* w [[buffer(0)]], device float* y [[buffer(1)]], constant uint& n [[buffer(2)]],
              uint i [[thread_position_in_grid]]) {
  float rows = 0, columns = 0;
  for (uint d = 0; d < n; d++) {
    rows += w[i * n + d];
    columns += w[d * 64 + i];
  }
  y[i] = rows + columns;
}";
    let Some(clang) = clang("the_trace_tells_a_row_per_lane_from_a_column_per_lane") else { return };
    let program = program(&clang, body);
    let (w, mut y, n) = (vec![1f32; 64 * 64], vec![0f32; 64], [64u32]);
    let mut buffers = [
        Bound::read(0, bytemuck::cast_slice(&w)),
        Bound::write(1, bytes(&mut y)),
        Bound::read(2, bytemuck::cast_slice(&n)),
    ];
    let run = program.run("k", [1, 1, 1], [64, 1, 1], &mut buffers, &mut [], &watched()).expect("runs");
    assert_eq!(y, vec![128f32; 64]);
    let at =
        |line| run.traffic.iter().find(|t| t.place.line == line && t.buffer == "w").expect("traced").traffic;
    assert_eq!((at(8).requests, at(8).active_lanes), (128, 4096));
    assert_eq!(at(8).blocks, [128 * 32; 3], "a line per lane");
    assert_eq!(at(9).blocks, [128 * 4, 128 * 2, 128], "one line per request");
    assert_eq!((at(8).useful_bytes, at(9).useful_bytes), (128 * 128, 128 * 128));
    let store = run.traffic.iter().find(|t| t.op == Op::Store).expect("traced");
    assert_eq!((store.place.line, store.buffer.as_str(), store.bytes_per_lane), (11, "y", 4));
    assert_eq!(store.traffic.requests, 2);
}

#[test]
fn what_is_missing_is_said() {
    let Some(clang) = clang("what_is_missing_is_said") else { return };
    let program = program(
        &clang,
        "kernel void k(device float* a [[buffer(3)]], threadgroup float* t) { a[0] = t[0]; }",
    );
    let options = RunOptions::default();
    let run = |name, threads, buffers: &mut [Bound]| {
        program.run(name, [1, 1, 1], threads, buffers, &mut [], &options)
    };
    assert!(matches!(run("j", [1, 1, 1], &mut []), Err(RunError::NoKernel { .. })));
    assert!(matches!(run("k", [2048, 1, 1], &mut []), Err(RunError::Size(_))));
    assert!(matches!(run("k", [1, 1, 1], &mut []), Err(RunError::NotBound { .. })));
    let lengths = RunOptions { threadgroup_lengths: vec![(0, 40 << 10)], ..RunOptions::default() };
    let mut a = [0f32];
    let mut buffers = [Bound::write(3, bytes(&mut a))];
    let error = program.run("k", [1, 1, 1], [1, 1, 1], &mut buffers, &mut [], &lengths);
    assert_eq!(error, Err(RunError::ThreadgroupMemory { bytes: 40 << 10 }));
}
