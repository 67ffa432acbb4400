//! The proof that Metal passthrough binds buffers as this crate counts them, before any twin is trusted.
//!
//! wgpu gives the buffers of a passed-through text the slots 0.. in bind-group and binding order. That is read from
//! its source, not promised; a twin bound in another order would read and write the wrong buffers.

use std::sync::Arc;

use super::{Operands, Outputs, Workload, verify};
use crate::gpu::{Dispatch, Gpu, Language, Plan, params_bytes};
use crate::kernels::spec::{Cost, Elem, Operand, Output, Problem, Space, Want};
use crate::lower::{Defines, Shader};

const GROUPS: u32 = 2;
const THREADS: usize = 64;
const N: usize = GROUPS as usize * THREADS;
const MARK: u32 = 7;

/// A kernel whose outputs tell which buffer was bound where, and what they must be: two outputs of 128 words,
/// each the input reversed within its threadgroup plus marks.
pub fn passthrough_probe() -> (Problem, Plan) {
    let input: Vec<u32> = (0..N as u32).map(|i| 1_000_000 + 3 * i).collect();
    let output = |name, mark: u32| {
        let input = input.clone();
        let want = move |i: usize| {
            let reversed = input[i / THREADS * THREADS + THREADS - 1 - i % THREADS];
            Want::OneOf(vec![reversed + MARK + mark])
        };
        let row = Arc::new(move |_| (0..N).map(&want).collect());
        Output { name, elem: Elem::U32, n_rows: 1, row_len: N, row_cost: N as u64, row }
    };
    let problem = Problem {
        outputs: vec![output("first", 1000), output("second", 2000)],
        inputs: vec![Operand { name: "input", bytes: bytemuck::cast_slice(&input).into() }],
        cost: Cost { useful_bytes: 3 * 4 * N as u64, flops: 0, space: Space::Storage },
    };
    let shader = Shader::new(crate::wgsl!("probe/passthrough.wgsl"), Defines::new())
        .with_msl(crate::msl!("probe/passthrough.metal"));
    let params = params_bytes(&MARK);
    let dispatch = Dispatch { shader, workgroups: [GROUPS, 1, 1], params, renamed: Vec::new() };
    (problem, Plan::one(dispatch))
}

/// Whether the probe's outputs are what they must be; the error says what is wrong.
pub fn judge_passthrough(problem: &Problem, outputs: &Outputs) -> Result<(), String> {
    match verify(problem, outputs, 0).failure {
        None => Ok(()),
        Some(why) => Err(format!("the passthrough self-check failed: {why}")),
    }
}

/// Runs the probe through passthrough on a GPU. While it fails, no result of a twin there means anything. Submits
/// and waits.
pub fn check_passthrough(gpu: &Gpu) -> Result<(), String> {
    let (problem, plan) = passthrough_probe();
    let operands = Operands::new(gpu, &problem);
    let outputs = Workload::new(&operands, &plan, Language::Msl, false)
        .and_then(|workload| workload.run_blocking())
        .map_err(|e| format!("the passthrough self-check failed: {e}"))?;
    judge_passthrough(&problem, &outputs)
}
