//! A plan with its problem on a device: guarded outputs, rotated inputs, one run.

use std::cell::RefCell;
use std::collections::HashMap;

use super::Device;
use crate::gpu::{BindSource, Gpu, GpuError, Language, Plan, Recording};
use crate::kernels::spec::Problem;

/// Bytes of sentinel before and after each output: one binding alignment.
const GUARD_BYTES: u64 = 256;
/// What guards hold.
const SENTINEL: u8 = 0xA5;
/// What outputs hold before a run: NaN as f16 and f32, all ones as u32.
const UNWRITTEN: u8 = 0xFF;

/// Inputs of one timed loop together exceed the last-level cache of any device known here (H100: 50 MB L2;
/// Apple's Ultra chips: 96 MB).
const PAST_CACHE_BYTES: u64 = 256 << 20;
/// Most copies of the inputs.
const MAX_COPIES: u64 = 64;

/// Why a run gave no outputs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The device refused or failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The CPU executor refused the shader, or found a fault in it.
    #[error("{shader}: {message}")]
    Executor {
        /// The shader's label.
        shader: String,
        /// What it found, with the place in the source.
        message: String,
    },
    /// Metal text was refused on the CPU, or found to be at fault.
    #[error("{shader}: {message}")]
    Metal {
        /// The shader's label.
        shader: String,
        /// What is wrong, with the place in the text.
        message: String,
    },
    /// A kernel wrote outside its output.
    #[error("bytes {side} `{output}` were overwritten, the nearest {distance} B away")]
    Guard {
        /// The output's name.
        output: &'static str,
        /// `before` or `after`.
        side: &'static str,
        /// Distance of the nearest changed byte from the output.
        distance: usize,
    },
}

/// The bytes of each output, in the problem's order.
pub type Outputs = Vec<Vec<u8>>;

/// A problem's inputs on a GPU, uploaded when first bound and shared by all variants of a case.
pub struct Operands<'a> {
    gpu: &'a Gpu,
    problem: &'a Problem,
    /// By number of the copy and name.
    buffers: RefCell<HashMap<(u64, &'static str), wgpu::Buffer>>,
}

impl<'a> Operands<'a> {
    /// Uploads nothing yet.
    pub fn new(gpu: &'a Gpu, problem: &'a Problem) -> Self {
        Self { gpu, problem, buffers: RefCell::default() }
    }

    /// What the inputs belong to.
    pub fn problem(&self) -> &'a Problem {
        self.problem
    }

    /// Copy `ix` of an input; `None` if the problem has no such input.
    fn buffer(&self, ix: u64, name: &str) -> Result<Option<wgpu::Buffer>, GpuError> {
        let Some(input) = self.problem.inputs.iter().find(|o| o.name == name) else { return Ok(None) };
        let mut buffers = self.buffers.borrow_mut();
        if let Some(buffer) = buffers.get(&(ix, input.name)) {
            return Ok(Some(buffer.clone()));
        }
        let buffer = self.gpu.create_buffer_with(input.name, &input.bytes)?;
        buffers.insert((ix, input.name), buffer.clone());
        Ok(Some(buffer))
    }
}

/// A plan bound to a problem's buffers on a GPU.
pub struct Workload<'a> {
    gpu: &'a Gpu,
    problem: &'a Problem,
    outputs: Vec<wgpu::Buffer>,
    /// The same computation over different copies of its inputs.
    copies: Vec<Recording>,
}

impl<'a> Workload<'a> {
    /// Uploads what is not there yet and binds the plan. With `rotate`, inputs are copied until a round over
    /// all copies exceeds any cache.
    pub fn new(
        operands: &Operands<'a>,
        plan: &Plan,
        language: Language,
        rotate: bool,
    ) -> Result<Self, RunError> {
        let Operands { gpu, problem, .. } = *operands;
        let mut outputs = Vec::new();
        for o in &problem.outputs {
            let size = (o.size_bytes() as u64).next_multiple_of(4);
            outputs.push(gpu.create_buffer(o.name, GUARD_BYTES + size + GUARD_BYTES)?);
        }
        let mut own = HashMap::new();
        for s in &plan.scratch {
            // Not zero: a kernel must not count on what wgpu happens to leave in fresh memory.
            let bytes = vec![UNWRITTEN; s.size_bytes.next_multiple_of(4) as usize];
            own.insert(s.name, gpu.create_buffer_with(s.name, &bytes)?);
        }
        let operand = |name: &str| problem.input(name).map(|b| &b[..]);
        let prepared = plan.prepare(operand)?;
        let bound = gpu.bound_names(plan, language)?;
        let inputs: Vec<(&str, usize)> = problem
            .inputs
            .iter()
            .map(|o| (o.name, o.bytes.len()))
            .chain(prepared.iter().map(|(name, bytes)| (*name, bytes.len())))
            .filter(|(name, _)| bound.contains(*name))
            .collect();
        let input_bytes: u64 = inputs.iter().map(|(_, len)| *len as u64).sum();
        let n_copies =
            if rotate { PAST_CACHE_BYTES.div_ceil(input_bytes.max(1)).clamp(1, MAX_COPIES) } else { 1 };
        let mut copies = Vec::new();
        for copy in 0..n_copies {
            let mut buffers = own.clone();
            for (name, bytes) in prepared.iter().filter(|(name, _)| bound.contains(*name)) {
                buffers.insert(*name, gpu.create_buffer_with(name, bytes)?);
            }
            for (name, _) in &inputs {
                if !buffers.contains_key(name)
                    && let Some(buffer) = operands.buffer(copy, name)?
                {
                    buffers.insert(*name, buffer);
                }
            }
            let mut textures = HashMap::new();
            for spec in &plan.textures {
                let bytes = operand(spec.from).ok_or_else(|| GpuError::missing(spec.from))?;
                textures.insert(spec.name, gpu.create_texture(spec, bytes)?);
            }
            let resources = |name: &str| -> Option<BindSource<'_>> {
                if let Some(ix) = problem.outputs.iter().position(|o| o.name == name) {
                    let size = (problem.outputs[ix].size_bytes() as u64).next_multiple_of(4);
                    return Some(BindSource::Buffer(wgpu::BufferBinding {
                        buffer: &outputs[ix],
                        offset: GUARD_BYTES,
                        size: wgpu::BufferSize::new(size),
                    }));
                }
                if let Some(view) = textures.get(name) {
                    return Some(BindSource::Texture(view));
                }
                Some(BindSource::Buffer(buffers.get(name)?.as_entire_buffer_binding()))
            };
            copies.push(gpu.bind(plan, language, &resources)?);
        }
        Ok(Self { gpu, problem, outputs, copies })
    }

    /// Fills outputs with NaN and guards with sentinels, runs once, checks the guards, reads back.
    pub fn run_blocking(&self) -> Result<Outputs, RunError> {
        for (o, buffer) in self.problem.outputs.iter().zip(&self.outputs) {
            let size = (o.size_bytes() as u64).next_multiple_of(4);
            let guard = [SENTINEL; GUARD_BYTES as usize];
            self.gpu.queue.write_buffer(buffer, 0, &guard);
            self.gpu.queue.write_buffer(buffer, GUARD_BYTES + size, &guard);
            let unwritten = vec![UNWRITTEN; size.min(16 << 20) as usize];
            let mut done = 0;
            while done < size {
                let n = (size - done).min(unwritten.len() as u64);
                self.gpu.queue.write_buffer(buffer, GUARD_BYTES + done, &unwritten[..n as usize]);
                done += n;
            }
        }
        self.gpu.run_blocking(&self.copies[0])?;
        let mut outputs = Vec::new();
        for (o, buffer) in self.problem.outputs.iter().zip(&self.outputs) {
            let size = o.size_bytes();
            let padded = size.next_multiple_of(4);
            let mut bytes = self.gpu.read_blocking(buffer, 0, buffer.size())?;
            let guard = GUARD_BYTES as usize;
            let changed = |b: &u8| *b != SENTINEL;
            if let Some(ix) = bytes[..guard].iter().rposition(changed) {
                return Err(RunError::Guard { output: o.name, side: "before", distance: guard - ix });
            }
            if let Some(ix) = bytes[guard + padded..].iter().position(changed) {
                return Err(RunError::Guard { output: o.name, side: "after", distance: ix + 1 });
            }
            bytes.truncate(guard + size);
            bytes.drain(..guard);
            outputs.push(bytes);
        }
        Ok(outputs)
    }

    /// Times the computation: see [`Gpu::time_blocking`].
    pub fn time_blocking(&self, budget: std::time::Duration) -> Result<crate::gpu::Timings, GpuError> {
        self.gpu.time_blocking(&self.copies, budget)
    }
}

impl Workload<'_> {
    /// Time of exactly `runs` runs: see [`Gpu::time_runs_blocking`].
    pub fn time_runs_blocking(&self, runs: u64) -> Result<Option<std::time::Duration>, GpuError> {
        self.gpu.time_runs_blocking(&self.copies, runs)
    }
}

impl Device {
    /// Runs a plan once and returns its outputs. Submits and waits.
    pub fn run_blocking(
        &self,
        problem: &Problem,
        plan: &Plan,
        language: Language,
    ) -> Result<Outputs, RunError> {
        match self {
            Self::Gpu(gpu) => {
                Workload::new(&Operands::new(gpu, problem), plan, language, false)?.run_blocking()
            }
            Self::Cpu(cpu) => Ok(cpu.run(problem, plan)?.0),
        }
    }
}
