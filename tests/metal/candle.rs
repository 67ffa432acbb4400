//! Metal kernels that nobody here wrote: those of the crate candle-metal-kernels 0.11.1, fetched by a script.
//!
//! `cargo test metal::candle -- --ignored`

use super::{clang, shown};
use std::path::{Path, PathBuf};
use std::process::Command;
use wgpu_marlin::metal::{Bound, Clang, Program, RunOptions, Source, check};

/// The folder of the crate's Metal files.
fn fetched() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metal/fetch_candle.sh");
    let work = std::env::temp_dir().join(format!("fetch-candle-{}", std::process::id()));
    let output = Command::new("sh").arg(script).arg(&work).output().expect("sh runs");
    let _ = std::fs::remove_dir_all(&work);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// Declares 33,280 and 53,760 bytes of threadgroup memory in some instances (f32, head dimension 256), which no
/// Apple GPU has: refused with reason.
const TOO_MUCH_MEMORY: &str = "scaled_dot_product_attention.metal";

#[test]
#[ignore = "fetches a crate"]
fn sixteen_of_seventeen_files_pass_and_two_kernels_compute() {
    let Some(clang) = clang("sixteen_of_seventeen_files_pass_and_two_kernels_compute") else { return };
    let dir = fetched();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .expect("the folder is there")
        .map(|f| f.expect("a file").path())
        .filter(|f| f.extension().is_some_and(|e| e == "metal"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 17);
    let mut kernels = 0;
    for file in &files {
        let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
        match check(&clang, &Source::read(file).expect("readable")) {
            Ok(checked) => {
                assert_ne!(name, TOO_MUCH_MEMORY);
                kernels += checked.kernels.len();
            }
            Err(list) => {
                assert_eq!(name, TOO_MUCH_MEMORY, "{}", shown(&list));
                assert!(list.iter().all(|d| d.message.contains("threadgroup memory")), "{}", shown(&list));
            }
        }
    }
    assert!(kernels > 1500, "{kernels} kernels");
    println!("16 of 17 files pass, {kernels} kernels");
    quantized_gemv(&clang, &dir);
    gemm(&clang, &dir);
}

/// Deterministic numbers in -1..1.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// `y = W x` with W in blocks of 32: an f16 scale and 16 bytes, low nibbles first.
fn quantized_gemv(clang: &Clang, dir: &Path) {
    let (rows, columns) = (16usize, 96usize);
    let blocks = rows * columns / 32;
    let (scales, nibbles) = (noise(1, blocks), noise(2, blocks * 32));
    let q: Vec<u8> = nibbles.iter().map(|x| ((x + 1.0) * 8.0) as u8).collect();
    let mut w = Vec::new();
    for b in 0..blocks {
        w.extend(half::f16::from_f32(scales[b]).to_le_bytes());
        w.extend((0..16).map(|i| q[b * 32 + i] | q[b * 32 + 16 + i] << 4));
    }
    let x = noise(3, columns);
    let mut y = vec![0f32; rows];
    let (ne00, ne01, one, row_bytes) = (columns as i64, rows as i64, 1i64, columns as i64 / 32 * 18);
    let sizes = [ne00, ne01, one, 18, row_bytes, row_bytes, ne00, one, one, 4, ne00 * 4, ne00 * 4, ne01, one];
    let mut bound = vec![
        Bound::read(0, &w),
        Bound::read(1, bytemuck::cast_slice(&x)),
        Bound::write(2, bytemuck::cast_slice_mut(&mut y)),
    ];
    for (i, n) in sizes.iter().enumerate() {
        bound.push(Bound::read(3 + i as u32, bytemuck::bytes_of(n)));
    }
    bound.push(Bound::read(17, bytemuck::bytes_of(&1u32)));
    bound.push(Bound::read(18, bytemuck::bytes_of(&1u32)));
    let program = Program::build(clang, &Source::read(dir.join("quantized.metal")).expect("readable"))
        .unwrap_or_else(|e| panic!("{}", shown(&e)));
    let options = RunOptions { sanitize: true, trace: true, ..RunOptions::default() };
    let run = program
        .run("kernel_mul_mv_q4_0_f32", [rows as u32 / 8, 1, 1], [8, 8, 1], &mut bound, &mut [], &options)
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(run.faults, []);
    drop(bound);
    for (row, got) in y.iter().enumerate() {
        let term = |k: usize| {
            let b = row * columns / 32 + k / 32;
            f64::from(half::f16::from_f32(scales[b]))
                * (f64::from(q[b * 32 + k % 32]) - 8.0)
                * f64::from(x[k])
        };
        let want: f64 = (0..columns).map(term).sum();
        // The kernel factors the zero point out: 8 Σ|x| is summed beside the products.
        let bound: f64 = (0..columns).map(|k| term(k).abs() + 16.0 * f64::from(x[k]).abs()).sum();
        let error = (f64::from(*got) - want).abs();
        assert!(error <= 64.0 * f64::from(f32::EPSILON) * bound, "row {row}: {got} against {want}");
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct GemmParams {
    m_n_k_lda_ldb_ldd_tiles: [i32; 8],
    batch_strides: [u64; 3],
    swizzle_log: i32,
    k_iterations: i32,
    batch_ndim: i32,
    padding: i32,
}

/// `D = A B` of sizes that no tile divides.
fn gemm(clang: &Clang, dir: &Path) {
    let (m, n, k) = (45usize, 37usize, 29usize);
    let (a, b) = (noise(4, m * k), noise(5, k * n));
    let mut d = vec![f32::NAN; m * n];
    let tiles = [n.div_ceil(32), m.div_ceil(32)];
    let params = GemmParams {
        m_n_k_lda_ldb_ldd_tiles: [m, n, k, k, n, n, tiles[0], tiles[1]].map(|x| x as i32),
        batch_strides: [0; 3],
        swizzle_log: 0,
        k_iterations: (k / 16) as i32,
        batch_ndim: 1,
        padding: 0,
    };
    let mut source = Source::read(dir.join("mlx_gemm.metal")).expect("readable");
    for index in [10, 100, 110, 200, 201, 202, 300] {
        source = source.with_function_constant(index, "false");
    }
    let program = Program::build(clang, &source).unwrap_or_else(|e| panic!("{}", shown(&e)));
    for reverse_lanes in [false, true] {
        let mut bound = [
            Bound::read(0, bytemuck::cast_slice(&a)),
            Bound::read(1, bytemuck::cast_slice(&b)),
            Bound::write(3, bytemuck::cast_slice_mut(&mut d)),
            Bound::read(4, bytemuck::bytes_of(&params)),
        ];
        let options = RunOptions { sanitize: true, trace: true, reverse_lanes, ..RunOptions::default() };
        let groups = [tiles[0] as u32, tiles[1] as u32, 1];
        let run = program
            .run("gemm_nn_f32_f32_32_32_16_2_2", groups, [32, 2, 2], &mut bound, &mut [], &options)
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(run.faults, []);
        for i in 0..m * n {
            let term = |x: usize| f64::from(a[i / n * k + x]) * f64::from(b[x * n + i % n]);
            let want: f64 = (0..k).map(term).sum();
            let bound = f64::from(f32::EPSILON) * (k as f64) * (0..k).map(|x| term(x).abs()).sum::<f64>();
            assert!((f64::from(d[i]) - want).abs() <= bound, "element {i}: {} against {want}", d[i]);
        }
    }
}
