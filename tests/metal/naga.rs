//! naga's MSL runs like hand-written MSL: checked and unchecked, in both lane orders.

use super::{clang, shown};
use ::naga::back::msl;
use ::naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use ::naga::valid::{Capabilities, ValidationFlags, Validator};
use wgpu_marlin::metal::{Bound, Program, Run, RunOptions, Source, Texture, check};

/// MSL for the only entry point of `wgsl`, its name, and the slot of the buffer sizes.
fn lower(wgsl: &str, checked: bool) -> (String, String, u32) {
    let mut options = naga::front::wgsl::Options::new();
    options.capabilities = Capabilities::all();
    let module = naga::front::wgsl::Frontend::new_with_options(options).parse(wgsl);
    let module = module.unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
    let mut resources = msl::EntryPointResources::default();
    let (mut buffers, mut textures) = (0, 0);
    for (_, var) in module.global_variables.iter() {
        let Some(binding) = var.binding else { continue };
        let mut target = msl::BindTarget { mutable: true, ..Default::default() };
        if var.space == naga::AddressSpace::Handle {
            target.texture = Some(textures);
            textures += 1;
        } else {
            target.buffer = Some(buffers);
            buffers += 1;
        }
        resources.resources.insert(binding, target);
    }
    resources.sizes_buffer = Some(buffers);
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let options = msl::Options {
        lang_version: (3, 1),
        fake_missing_bindings: false,
        per_entry_point_map: [(module.entry_points[0].name.clone(), resources)].into_iter().collect(),
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: checked,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..msl::Options::default()
    };
    let (text, names) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
        .expect("naga writes MSL");
    let name = names.entry_point_names[0].clone().expect("an entry point");
    (text, name, u32::from(buffers))
}

/// Checks and runs `wgsl` in all ways, `data` being its buffers in order; returns what each way left in them.
fn run_all(
    test: &str,
    wgsl: &str,
    groups: [u32; 3],
    threads: [u32; 3],
    data: &[Vec<u8>],
    textures: &[Texture],
) -> Vec<Vec<Vec<u8>>> {
    let Some(clang) = clang(test) else { return Vec::new() };
    let mut results = Vec::new();
    for checked in [true, false] {
        let (text, entry, sizes_slot) = lower(wgsl, checked);
        let source = Source::new("naga.metal", text.clone());
        check(&clang, &source).unwrap_or_else(|e| panic!("{}\n{text}", shown(&e)));
        let program = Program::build(&clang, &source).unwrap_or_else(|e| panic!("{}\n{text}", shown(&e)));
        for reverse_lanes in [false, true] {
            let mut data = data.to_vec();
            // One size per runtime array; the tests put their uniform first.
            let arrays = data.iter().skip(usize::from(wgsl.contains("var<uniform>")));
            let sizes: Vec<u32> = arrays.map(|d| d.len() as u32).collect();
            let mut bound: Vec<Bound> =
                data.iter_mut().enumerate().map(|(i, d)| Bound::write(i as u32, d)).collect();
            bound.push(Bound::read(sizes_slot, bytemuck::cast_slice(&sizes)));
            let options = RunOptions { reverse_lanes, sanitize: true, trace: true, ..RunOptions::default() };
            let run: Run = program
                .run(&entry, groups, threads, &mut bound, &mut textures.to_vec(), &options)
                .unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(run.faults, [], "{text}");
            assert!(!run.traffic.is_empty());
            results.push(data);
        }
    }
    results
}

fn bytes<T: bytemuck::Pod>(v: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(v).to_vec()
}

fn floats(b: &[u8]) -> Vec<f32> {
    b.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

#[test]
fn a_tiled_product_with_odd_sizes() {
    let wgsl = "
struct Params { m: u32, n: u32, k: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
var<workgroup> ta: array<array<f32, 8>, 8>;
var<workgroup> tb: array<array<f32, 8>, 8>;
@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y * 8u + local.y;
    let column = group.x * 8u + local.x;
    var sum = 0.0;
    for (var k = 0u; k < p.k; k += 8u) {
        ta[local.y][local.x] = 0.0;
        tb[local.y][local.x] = 0.0;
        if (row < p.m && k + local.x < p.k) { ta[local.y][local.x] = a[row * p.k + k + local.x]; }
        if (column < p.n && k + local.y < p.k) { tb[local.y][local.x] = b[(k + local.y) * p.n + column]; }
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) { sum += ta[local.y][i] * tb[i][local.x]; }
        workgroupBarrier();
    }
    if (row < p.m && column < p.n) { c[row * p.n + column] = sum; }
}";
    let (m, n, k) = (11usize, 13usize, 17usize);
    let a: Vec<f32> = (0..m * k).map(|i| ((i * 7) % 19) as f32 - 9.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| ((i * 5) % 23) as f32 - 11.0).collect();
    let data = [bytes(&[m as u32, n as u32, k as u32]), bytes(&a), bytes(&b), bytes(&vec![f32::NAN; m * n])];
    for out in run_all("a_tiled_product_with_odd_sizes", wgsl, [2, 2, 1], [8, 8, 1], &data, &[]) {
        let c = floats(&out[3]);
        for (i, got) in c.iter().enumerate() {
            let want: f32 = (0..k).map(|x| a[i / n * k + x] * b[x * n + i % n]).sum();
            assert_eq!(*got, want, "element {i}");
        }
    }
}

#[test]
fn halves_vectors_structs_and_subgroups() {
    let wgsl = "
enable f16;
struct Item { at: vec3<f32>, weight: f32, tag: vec2<u32> }
@group(0) @binding(0) var<storage, read> items: array<Item>;
@group(0) @binding(1) var<storage, read> halves: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> total: atomic<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let item = items[id.x];
    let h = vec4<f32>(halves[id.x]);
    let tag = unpack2x16float(item.tag.x);
    let value = dot(item.at, h.xyz) * item.weight + h.w + tag.y;
    let sum = subgroupAdd(value) + subgroupShuffleXor(value, 1u);
    sums[id.x] = select(sum, -1.0, item.tag.y == 3u);
    atomicAdd(&total, u32(countOneBits(id.x)) / max(lane, 1u));
}";
    let count = 128usize;
    let item =
        |i: usize| [i as f32, 1.0, 2.0, 0.5, f32::from_bits(0x3c00_0000), f32::from_bits((i % 5) as u32)];
    let items: Vec<f32> = (0..count).flat_map(|i| [item(i).as_slice(), &[0.0, 0.0]].concat()).collect();
    let halves: Vec<half::f16> = (0..count * 4).map(|i| half::f16::from_f32((i % 7) as f32)).collect();
    let data = [bytes(&items), bytes(&halves), bytes(&vec![0f32; count]), bytes(&[0u32])];
    let value = |i: usize| {
        let h: Vec<f32> = (0..4).map(|j| halves[i * 4 + j].to_f32()).collect();
        (i as f32 * h[0] + h[1] + 2.0 * h[2]) * 0.5 + h[3] + 1.0
    };
    for out in run_all("halves_vectors_structs_and_subgroups", wgsl, [2, 1, 1], [64, 1, 1], &data, &[]) {
        for (i, got) in floats(&out[2]).iter().enumerate() {
            let sum: f32 = (i / 32 * 32..i / 32 * 32 + 32).map(value).sum();
            let want = if i % 5 == 3 { -1.0 } else { sum + value(i ^ 1) };
            assert_eq!(*got, want, "element {i}");
        }
        let total: u32 = (0..count as u32).map(|i| i.count_ones() / (i % 32).max(1)).sum();
        assert_eq!(out[3], bytes(&[total]));
    }
}

#[test]
fn cooperative_matrices_and_textures() {
    let wgsl = "
enable f16;
enable wgpu_cooperative_matrix;
@group(0) @binding(0) var<storage, read> x: array<f16>;
@group(0) @binding(1) var<storage, read> y: array<f16>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
@group(0) @binding(3) var scales: texture_2d<f32>;
@compute @workgroup_size(32)
fn main(@builtin(local_invocation_id) id: vec3<u32>) {
    var sum = coopLoadT<coop_mat8x8<f32, C>>(&z[0], 8u);
    for (var k = 0u; k < 16u; k += 8u) {
        let left = coopLoadT<coop_mat8x8<f16, A>>(&x[k], 16u);
        let right = coopLoadT<coop_mat8x8<f16, B>>(&y[k * 8u], 8u);
        sum = coopMultiplyAdd(left, right, sum);
    }
    coopStoreT(sum, &z[0], 8u);
    storageBarrier();
    if (id.x == 5u) { z[64] = textureLoad(scales, vec2<u32>(1u, 2u), 0).x; }
}";
    let x: Vec<half::f16> = (0..128).map(|i| half::f16::from_f32(((i * 3) % 11) as f32 - 5.0)).collect();
    let y: Vec<half::f16> = (0..128).map(|i| half::f16::from_f32(((i * 5) % 7) as f32 - 3.0)).collect();
    let data = [bytes(&x), bytes(&y), bytes(&[0f32; 65])];
    let texels = (0..12).map(|i| [(i as f32 * 0.5).to_bits(), 0, 0, 0]).collect();
    let textures = [Texture { index: 0, width: 4, height: 3, depth: 1, layers: 1, texels }];
    for out in run_all("cooperative_matrices_and_textures", wgsl, [1, 1, 1], [32, 1, 1], &data, &textures) {
        let z = floats(&out[2]);
        assert_eq!(z[64], 4.5);
        for i in 0..64 {
            let want: f32 = (0..16).map(|k| x[i / 8 * 16 + k].to_f32() * y[k * 8 + i % 8].to_f32()).sum();
            assert_eq!(z[i], want, "element {i}");
        }
    }
}
