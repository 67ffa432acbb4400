//! Proof of the tests: kernels broken on purpose must be caught.
//!
//! Each mutant replaces one piece of a kernel's text. It runs on the executor with the sanitizer; either the
//! outputs must fail verification, or the run must end in a fault.

use wgpu_marlin::kernels::{self, spec::CaseClass};
use wgpu_marlin::lower::Source;
use wgpu_marlin::measure::{Cpu, verify};

struct Mutant {
    kernel: &'static str,
    why: &'static str,
    find: &'static str,
    replace: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        kernel: "patterns/coalesced",
        why: "index off by one: reads beyond the end",
        find: "input[i]",
        replace: "input[i + 1u]",
    },
    Mutant {
        kernel: "patterns/strided_8",
        why: "row and column swapped",
        find: "(i % n_rows) * {{STRIDE}}u + i / n_rows",
        replace: "(i / n_rows) * {{STRIDE}}u + i % n_rows",
    },
    Mutant {
        kernel: "patterns/workgroup_3",
        why: "missing barrier: lanes read what others may not have written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "patterns/vec4",
        why: "a quarter of the output is never written",
        find: "params.n / 4u",
        replace: "params.n / 16u",
    },
    Mutant {
        kernel: "dequant/naive",
        why: "nibbles of a pair swapped",
        find: "(4u * i)",
        replace: "(4u * (i ^ 1u))",
    },
    Mutant {
        kernel: "dequant/scales_in_workgroup",
        why: "missing barrier: scales that may not have been written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "dequant/optimized",
        why: "the lower half of each word twice",
        find: "run{{S}} & 1u",
        replace: "run{{S}} & 0u",
    },
    Mutant {
        kernel: "dequant/optimized",
        why: "the last workgroup stores beyond the end",
        find: "if first + {{S * THREADS}}u < n_runs {",
        replace: "{",
    },
    Mutant {
        kernel: "gemv/optimized",
        why: "rows beyond the end are read",
        find: "min(first_row + {{R}}u, params.n - 1u)",
        replace: "first_row + {{R}}u",
    },
    Mutant {
        kernel: "gemv/optimized",
        why: "the second group of a chunk takes the scale of the first",
        find: "{{8 * PART_WORDS * P}}u",
        replace: "0u",
    },
    Mutant {
        kernel: "gemv/optimized",
        why: "the last, partial step counts its clamped chunk",
        find: "if chunk + {{U * SPAN}}u < n_chunks {",
        replace: "{",
    },
    Mutant {
        kernel: "gemv/portable",
        why: "missing barrier: sums that may not have been written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "router/naive",
        why: "missing barrier: logits that may not have been written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "router/subgroup",
        why: "rows beyond the last expert are read",
        find: "min(expert, params.experts - 1u)",
        replace: "expert",
    },
    Mutant {
        kernel: "router/tiled",
        why: "missing barriers: a tile is read while it is written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "router/tiled_coop",
        why: "the last, partial step reads into the next row",
        find: "next < end_unit",
        replace: "next < end_unit + 16u",
    },
    Mutant {
        kernel: "attention/naive",
        why: "a query sees one key too many",
        find: "let n = visible_keys(query);",
        replace: "let n = min(visible_keys(query) + 1u, params.n_keys);",
    },
    Mutant {
        kernel: "attention/flash",
        why: "keys that a query must not see count",
        find: "if key < n_{{R}} {",
        replace: "if true {",
    },
    Mutant {
        kernel: "attention/flash_coop",
        why: "outputs are not rescaled when the maximum grows",
        find: "if any(workgroupUniformLoad(&rescales) != vec4<u32>()) {",
        replace: "if any(workgroupUniformLoad(&rescales) > vec4<u32>(1000u)) {",
    },
    Mutant {
        kernel: "attention/flash_coop",
        why: "NaN in the value of a key that a query does not see counts",
        find: "select(v_next_{{I}}, vec4<f16>(), out_{{I}})",
        replace: "v_next_{{I}}",
    },
    Mutant {
        kernel: "attention/flash_coop",
        why: "an infinity that a query does see is lost with those that it does not",
        find: "if any(rescales != vec4<u32>()) {",
        replace: "if any(rescales > vec4<u32>(1000u)) {",
    },
    Mutant {
        kernel: "attention/flash",
        why: "the same",
        find: "select(p_{{R}} * value, 0.0, hidden_{{R}})",
        replace: "max(p_{{R}}, 0.0) * value",
    },
    Mutant {
        kernel: "attention/split",
        why: "the repeated last key of a partial step counts",
        find: "s_{{R}}_{{H}} = MASKED;",
        replace: "s_{{R}}_{{H}} += 0.0;",
    },
    Mutant {
        kernel: "gemm/naive",
        why: "nibbles of a pair swapped",
        find: "(4u * (k % 8u))",
        replace: "(4u * ((k % 8u) ^ 1u))",
    },
    Mutant {
        kernel: "gemm/naive",
        why: "the bias of the row, not of the column",
        find: "sum += bias[column];",
        replace: "sum += bias[min(row, params.n - 1u)];",
    },
    Mutant {
        kernel: "gemm/scales_cached",
        why: "missing barriers: scales and tiles that may not have been written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "gemm/double_buffered",
        why: "one buffer in place of two",
        find: "(k0 >> 4u) % 2u * 272u",
        replace: "0u",
    },
    Mutant {
        kernel: "gemm/register_tile",
        why: "columns beyond the edge are stored: into the next row",
        find: "if column < params.n {",
        replace: "{",
    },
    Mutant {
        kernel: "gemm/register_tile",
        why: "rows of W beyond the last are read",
        find: "min(first_column + w_line{{U}}, params.n - 1u)",
        replace: "first_column + w_line{{U}}",
    },
    Mutant {
        kernel: "gemm/register_tile_128",
        why: "halves of a word swapped on their way to the tile",
        find: "(w_half{{U}} * 8u + {{I}}u)",
        replace: "((1u - w_half{{U}}) * 8u + {{I}}u)",
    },
    Mutant {
        kernel: "gemm/split_k",
        why: "the last part of K is left out",
        find: "split < params.splits",
        replace: "split + 1u < params.splits",
    },
    Mutant {
        kernel: "gemm/coop_8x8",
        why: "the last, partial step counts what is beyond K",
        find: "if k >= params.k {",
        replace: "if false {",
    },
    Mutant {
        kernel: "gemm/coop_16x16",
        why: "no barrier before a tile is staged anew",
        find: "#if BUFFERS == 1\n        workgroupBarrier();\n#endif",
        replace: "",
    },
    Mutant {
        kernel: "gemm/coop_16x16_small",
        why: "rows beyond the edge are stored",
        find: "if line < n_rows && column < params.n {",
        replace: "if column < params.n {",
    },
    Mutant {
        kernel: "router/row_per_thread",
        why: "missing barrier: logits that may not have been written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "router/tiled",
        why: "logits of tokens beyond the last are stored",
        find: "if token < params.n_tokens {",
        replace: "{",
    },
    Mutant {
        kernel: "router/subgroup",
        why: "logits are read one expert off",
        find: "(split * params.logit_rows + token) * params.logit_stride",
        replace: "(split * params.logit_rows + token) * params.experts + 1u",
    },
    Mutant {
        kernel: "attention/tiled",
        why: "missing barriers: a tile is read while it is written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "attention/transposed",
        why: "query and key of a pair swapped",
        find: "query_row[d].x * unpack(k[at]) + query_row[d].y",
        replace: "query_row[d].y * unpack(k[at]) + query_row[d].x",
    },
    Mutant {
        kernel: "attention/shuffle",
        why: "one stage of the transpose exchanges the wrong lanes",
        find: "subgroupShuffleXor(select(r_{{R + (1 << S)}}, r_{{R}}, upper), {{1 << S}}u)",
        replace: "subgroupShuffleXor(select(r_{{R + (1 << S)}}, r_{{R}}, upper), 1u)",
    },
    Mutant {
        kernel: "attention/naive",
        why: "the last key is left out of the sum of values",
        find: "for (var key = 0u; key < n; key++) {",
        replace: "for (var key = 0u; key + 1u < n; key++) {",
    },
    Mutant {
        kernel: "attention/flash",
        why: "a query head reads its own number's key head, not its group's",
        find: "head / params.group * params.kv_head_stride",
        replace: "min(head, params.heads / params.group - 1u) * params.kv_head_stride",
    },
    Mutant {
        kernel: "attention/flash_coop",
        why: "missing barriers",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "attention/split",
        why: "parts are joined without their maxima",
        find: "exp2(part.x - greatest)",
        replace: "1.0",
    },
    Mutant {
        kernel: "expert_gemm/gather",
        why: "expert and row swapped",
        find: "(expert * params.n + column)",
        replace: "(column * {{EXPERTS}}u + expert)",
    },
    Mutant {
        kernel: "expert_gemm/gather",
        why: "an id that is no expert's is followed",
        find: "if expert < {{EXPERTS}}u {",
        replace: "{",
    },
    Mutant {
        kernel: "expert_gemm/host_sorted",
        why: "a token's row is looked up by its pair",
        find: "/ params.pairs_per_x;",
        replace: ";",
    },
    Mutant {
        kernel: "expert_gemm/sorted",
        why: "missing barriers in the sort",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant {
        kernel: "expert_gemm/sorted",
        why: "ranks count the pair itself",
        find: "i + {{U}}u < lane",
        replace: "i + {{U}}u <= lane",
    },
    Mutant {
        kernel: "expert_gemm/sorted",
        why: "an expert's last tile takes the next expert's pairs",
        find: "min({{BM}}u, count{{S}} - done)",
        replace: "{{BM}}u",
    },
    Mutant {
        kernel: "expert_gemm/sorted",
        why: "outputs are summed without their probabilities",
        find: "probabilities[pair] * expert_outputs",
        replace: "expert_outputs",
    },
    Mutant {
        kernel: "expert_gemm/sorted_coop_8x8",
        why: "all tiles take the first expert's weights",
        find: "(first_w_row + min(first_column",
        replace: "(min(first_column",
    },
    Mutant {
        kernel: "expert_gemm/vector",
        why: "rows beyond the expert's last are the next expert's",
        find: "min(first_row + {{R}}u, params.n - 1u)",
        replace: "first_row + {{R}}u",
    },
    Mutant {
        kernel: "expert_gemm/vector",
        why: "a row of x per pair is read as one per token",
        find: "pair / params.pairs_per_x",
        replace: "pair / params.choices",
    },
    Mutant {
        kernel: "expert_gemm/vector_portable",
        why: "missing barrier: sums that may not have been written",
        find: "workgroupBarrier();",
        replace: "",
    },
    Mutant { kernel: "patterns/scale_32", why: "wrong group", find: "{{GROUP}}u", replace: "64u" },
];

/// Whether the mutant was caught, in words, or `Err` with what went through.
fn judge(mutant: &Mutant) -> Result<String, String> {
    let families = kernels::select(kernels::families(), &[mutant.kernel.to_string()]).expect("kernel exists");
    let (family, variant) = (&families[0], &families[0].variants[0]);
    let cpu = Cpu { sanitize: true, ..Cpu::default() };
    let mut touched = false;
    for case in family.cases.iter().filter(|c| c.class != CaseClass::Bench) {
        let Ok(mut plan) = case.plan(variant.ix, &cpu.caps) else { continue };
        for d in &mut plan.dispatches {
            let text = d.shader.wgsl.text;
            touched |= text.contains(mutant.find);
            let broken = text.replace(mutant.find, mutant.replace);
            d.shader.wgsl = Source { path: d.shader.wgsl.path, text: Box::leak(broken.into_boxed_str()) };
        }
        let problem = case.problem(variant.ix, 1);
        match cpu.run(&problem, &plan) {
            Err(fault) => return Ok(format!("fault: {fault}")),
            Ok((outputs, _)) => {
                if let Some(failure) = verify(&problem, &outputs, 1).failure {
                    return Ok(format!("wrong: {failure}"));
                }
            }
        }
    }
    assert!(touched, "{}: `{}` is not in the kernel any more", mutant.kernel, mutant.find);
    Err(format!("{} with {} passed every smoke and edge case", mutant.kernel, mutant.why))
}

#[test]
fn every_mutant_is_caught() {
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        match judge(mutant) {
            Ok(how) => println!("{} ({}): {how}", mutant.kernel, mutant.why),
            Err(what) => missed.push(what),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
