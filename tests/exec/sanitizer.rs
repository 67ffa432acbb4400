//! Planted bugs: each is found, at the right line, and the repaired kernel is clean.

use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use wgpu_marlin::exec::{AccessKind, Bindings, Buffer, Fault, FaultKind, Kernel, Options, Texture, locate};

const WIDTHS: [u32; 3] = [4, 8, 32];

fn kernel(source: &str) -> Kernel {
    let module =
        naga::front::wgsl::parse_str(source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::all()).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(source)));
    Kernel::new(&module, &info, "main", &PipelineConstants::default()).unwrap()
}

/// Runs two workgroups of 64 with an input and an output of 128 words.
fn run(source: &str, width: u32, sanitize: bool) -> Result<Vec<u32>, Fault> {
    let input = Buffer::from_slice(&(0..128u32).collect::<Vec<_>>());
    let output = Buffer::zeroed(4 * 128);
    let bindings = Bindings::new().buffer(0, 0, &input).buffer(0, 1, &output);
    let options = Options { subgroup_size: width, sanitize, max_steps: 100_000, ..Options::default() };
    match kernel(source).run([2, 1, 1], &bindings, &options) {
        Ok(_) => Ok(output.to_vec()),
        Err(e) => Err(e.fault().unwrap_or_else(|| panic!("{e}")).clone()),
    }
}

/// A kernel of workgroup size 64 with this body; `BUG` marks the line at fault.
fn source(globals: &str, body: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
var<workgroup> tile: array<u32, 64>;
{globals}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) w: vec3<u32>,
        @builtin(global_invocation_id) g: vec3<u32>, @builtin(subgroup_size) n: u32) {{
    _ = input[0];
{body}
}}"
    )
}

/// The buggy body must fault at the line marked `BUG`, at every width; the repaired one must be clean.
fn finds(globals: &str, buggy: &str, repaired: &str, check: impl Fn(&Fault)) {
    let buggy = source(globals, buggy);
    let line = 1 + buggy.lines().position(|l| l.contains("BUG")).unwrap() as u32;
    for width in WIDTHS {
        let fault = run(&buggy, width, true).expect_err("the bug is found");
        let at = locate(fault.span, &buggy).expect("the fault has a line");
        assert_eq!(at.line_number, line, "width {width}: {fault}\n{buggy}");
        assert_eq!(fault.kernel, "main");
        check(&fault);
        if let Err(fault) = run(&source(globals, repaired), width, true) {
            panic!("width {width}: the repaired kernel is reported: {fault}\n{repaired}");
        }
    }
}

#[test]
fn a_missing_barrier() {
    finds(
        "",
        "tile[i] = input[g.x];
         output[g.x] = tile[63u - i]; // BUG",
        "tile[i] = input[g.x];
         workgroupBarrier();
         output[g.x] = tile[63u - i];",
        |fault| match &fault.kind {
            // The other half of the tile is not yet written: which of the two is seen first depends on the width.
            FaultKind::Uninitialized { name, .. } => assert_eq!(name, "tile"),
            other => panic!("{other}"),
        },
    );
    finds(
        "",
        "tile[i] = 0u;
         workgroupBarrier();
         tile[i] = input[g.x];
         output[g.x] = tile[(i + 63u) % 64u]; // BUG",
        "tile[i] = 0u;
         workgroupBarrier();
         tile[i] = input[g.x];
         workgroupBarrier();
         output[g.x] = tile[(i + 63u) % 64u];",
        |fault| match &fault.kind {
            FaultKind::Race {
                name,
                kind: AccessKind::Load,
                earlier_kind: AccessKind::Store,
                earlier,
                ..
            } => {
                assert_eq!(name, "tile");
                assert_ne!(earlier.local_index, fault.invocation.local_index);
            }
            other => panic!("{other}"),
        },
    );
}

#[test]
fn a_storage_barrier_does_not_order_workgroup_memory() {
    finds(
        "",
        "tile[i] = 1u; workgroupBarrier();
         tile[i] = input[g.x];
         storageBarrier();
         output[g.x] = tile[i ^ 1u]; // BUG",
        "tile[i] = 1u; workgroupBarrier();
         tile[i] = input[g.x];
         workgroupBarrier();
         output[g.x] = tile[i ^ 1u];",
        |fault| assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}"),
    );
}

#[test]
fn an_index_off_by_one() {
    finds(
        "",
        "let last = arrayLength(&input);
         output[g.x] = input[(g.x + 1u) % (last + 1u)]; // BUG",
        "let last = arrayLength(&input);
         output[g.x] = input[(g.x + 1u) % last];",
        |fault| match &fault.kind {
            FaultKind::OutOfBounds { name, index, length } => {
                assert_eq!((name.as_str(), *index, *length), ("input", 128, 128));
                assert_eq!((fault.invocation.workgroup, fault.invocation.local_index), ([1, 0, 0], 63));
            }
            other => panic!("{other}"),
        },
    );
    finds(
        "",
        "for (var k = i32(i); k >= 0; k -= 64) {
             tile[k - 1] = 1u; // BUG
         }",
        "for (var k = i32(i); k >= 1; k -= 64) {
             tile[k - 1] = 1u;
         }",
        |fault| match &fault.kind {
            FaultKind::OutOfBounds { name, index, length } => {
                assert_eq!((name.as_str(), *index, *length), ("tile", -1, 64));
            }
            other => panic!("{other}"),
        },
    );
    finds(
        "",
        "var private_array = array(1u, 2u, 3u);
         output[g.x] = private_array[i / 20u]; // BUG",
        "var private_array = array(1u, 2u, 3u);
         output[g.x] = private_array[i / 22u];",
        |fault| match &fault.kind {
            FaultKind::OutOfBounds { name, index: 3, length: 3 } => assert_eq!(name, "private_array"),
            other => panic!("{other}"),
        },
    );
}

#[test]
fn an_uninitialized_tile() {
    finds(
        "var<workgroup> total: atomic<u32>;",
        "if i < 63u { tile[i] = input[g.x]; }
         workgroupBarrier();
         output[g.x] = tile[i]; // BUG",
        "tile[i] = input[g.x];
         workgroupBarrier();
         output[g.x] = tile[i];",
        |fault| match &fault.kind {
            FaultKind::Uninitialized { name, offset } => assert_eq!((name.as_str(), *offset), ("tile", 252)),
            other => panic!("{other}"),
        },
    );
    finds(
        "var<workgroup> total: atomic<u32>;",
        "atomicAdd(&total, i); // BUG",
        "if i == 0u { atomicStore(&total, 0u); }
         workgroupBarrier();
         atomicAdd(&total, i);",
        |fault| assert!(matches!(fault.kind, FaultKind::Uninitialized { .. }), "{fault}"),
    );
}

#[test]
fn a_barrier_in_divergent_flow() {
    // naga's own uniformity analysis does not refuse these.
    for (condition, part) in [("i < 40u", "a part"), ("i % 2u == 0u", "every other")] {
        finds(
            "",
            &format!(
                "if {condition} {{
                     workgroupBarrier(); // BUG
                 }}"
            ),
            &format!(
                "if {condition} {{
                     tile[i] = 1u;
                 }}
                 workgroupBarrier();"
            ),
            |fault| assert!(matches!(fault.kind, FaultKind::DivergentBarrier { .. }), "{part}: {fault}"),
        );
    }
    finds(
        "",
        "if i >= 32u { return; }
         workgroupBarrier(); // BUG",
        "workgroupBarrier();
         if i >= 32u { return; }",
        |fault| match fault.kind {
            FaultKind::DivergentBarrier { arrived, expected } => assert!(arrived < expected),
            ref other => panic!("{other}"),
        },
    );
    // Without the sanitizer too: there is no sensible way to go on.
    let divergent = source("", "if i < 40u { workgroupBarrier(); }");
    assert!(run(&divergent, 32, false).is_err());
}

#[test]
fn a_scratch_that_is_used_again_without_a_barrier() {
    let reduction = |barrier: &str, bug: &str| {
        format!(
            "var sums = vec2(0u);
             for (var round = 0u; round < 2u; round++) {{
                 {barrier}
                 tile[i] = input[g.x] + round; // {bug}
                 workgroupBarrier();
                 for (var step = 32u; step > 0u; step /= 2u) {{
                     if i < step {{ tile[i] += tile[i + step]; }}
                     workgroupBarrier();
                 }}
                 sums[round] = tile[0];
             }}
             output[g.x] = sums.x + sums.y;"
        )
    };
    finds("", &reduction("", "BUG"), &reduction("workgroupBarrier();", ""), |fault| match &fault.kind {
        FaultKind::Race {
            name, kind: AccessKind::Store, earlier_kind: AccessKind::Load, offset: 0, ..
        } => {
            assert_eq!(name, "tile");
        }
        other => panic!("{other}"),
    });
}

#[test]
fn workgroups_that_write_what_others_touch() {
    finds("", "output[i] = w.x; // BUG", "output[g.x] = w.x;", |fault| match &fault.kind {
        FaultKind::Race { earlier, .. } => {
            assert_eq!((earlier.workgroup, fault.invocation.workgroup), ([0, 0, 0], [1, 0, 0]));
        }
        other => panic!("{other}"),
    });
    finds(
        "",
        "let other = output[(g.x + 64u) % 128u];
         if w.x == 1u {
             output[g.x] = other; // BUG
         }",
        "let other = output[g.x];
         output[g.x] = other + 1u;",
        |fault| assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}"),
    );
}

#[test]
fn a_subgroup_barrier_orders_the_subgroup() {
    let body = "tile[i] = 0u; workgroupBarrier();
                tile[i] = input[g.x];
                subgroupBarrier();
                output[g.x] = tile[i ^ 1u];";
    for width in WIDTHS {
        run(&source("", body), width, true).unwrap_or_else(|fault| panic!("{fault}"));
    }
    let across = body.replace("i ^ 1u", "i ^ 32u");
    assert!(matches!(run(&source("", &across), 32, true), Err(Fault { kind: FaultKind::Race { .. }, .. })));
}

#[test]
fn an_infinite_loop() {
    finds(
        "",
        "var k = i;
         loop { // BUG
             k = k * 5u + 1u;
             if k == 0u && i > 100u { break; }
         }",
        "var k = i;
         loop {
             k = k / 2u;
             if k == 0u { break; }
         }",
        |fault| assert!(matches!(fault.kind, FaultKind::StepLimit(100_000)), "{fault}"),
    );
}

#[test]
fn without_the_sanitizer_an_index_is_clamped() {
    let got = run(&source("", "output[g.x + 64u] = input[g.x + 100u];"), 8, false).unwrap();
    assert!(got[..64].iter().all(|&x| x == 0));
    assert_eq!(got[64], 100);
    assert_eq!(got[126], 127);
}

#[test]
fn a_texture_coordinate() {
    let source = "
        @group(0) @binding(0) var scales: texture_2d<f32>;
        @group(0) @binding(1) var<storage, read_write> output: array<f32>;
        @compute @workgroup_size(4)
        fn main(@builtin(local_invocation_index) i: u32) {
            output[i] = textureLoad(scales, vec2(i, 1u), 0).x + f32(textureDimensions(scales).y);
        }";
    let texels: Vec<u8> = (0..8u16).flat_map(|i| half::f16::from_f32(f32::from(i)).to_le_bytes()).collect();
    for (size, ok) in [([4, 2, 1], true), ([2, 4, 1], false)] {
        let texture = Texture::new(naga::StorageFormat::R16Float, size, &texels).unwrap();
        let output = Buffer::zeroed(16);
        let bindings = Bindings::new().texture(0, 0, &texture).buffer(0, 1, &output);
        let options = Options { sanitize: true, ..Options::default() };
        let result = kernel(source).run([1, 1, 1], &bindings, &options);
        if ok {
            let _ = result.unwrap();
            assert_eq!(output.to_vec::<f32>(), [6.0, 7.0, 8.0, 9.0]);
        } else {
            let error = result.unwrap_err();
            let kind = &error.fault().unwrap().kind;
            assert!(matches!(kind, FaultKind::OutOfBounds { index: 2, length: 2, .. }), "{kind}");
        }
    }
}
