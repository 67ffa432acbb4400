//! The CPU executor: runs naga IR one subgroup at a time, traces every address, finds memory bugs.
//!
//! A [`Kernel`] is compiled once from a validated [`naga::Module`] and runs any number of times on
//! [`Buffer`]s and [`Texture`]s:
//!
//! ```
//! use wgpu_marlin::exec::{Bindings, Buffer, Kernel, Options, TraceMode};
//!
//! let source = "
//!     @group(0) @binding(0) var<storage, read> x: array<f32>;
//!     @group(0) @binding(1) var<storage, read_write> y: array<f32>;
//!     @compute @workgroup_size(64)
//!     fn double(@builtin(global_invocation_id) id: vec3<u32>) {
//!         y[id.x] = 2.0 * x[id.x];
//!     }";
//! let module = naga::front::wgsl::parse_str(source)?;
//! let flags = naga::valid::ValidationFlags::all();
//! let info = naga::valid::Validator::new(flags, naga::valid::Capabilities::all()).validate(&module)?;
//! let kernel = Kernel::new(&module, &info, "double", &Default::default())?;
//!
//! let x = Buffer::from_slice(&[1.0f32; 128]);
//! let y = Buffer::zeroed(128 * 4);
//! let bindings = Bindings::new().buffer(0, 0, &x).buffer(0, 1, &y);
//! let run = kernel.run([2, 1, 1], &bindings, &Options { trace: TraceMode::All, ..Options::default() })?;
//!
//! assert_eq!(y.to_vec::<f32>(), [2.0; 128]);
//! let load = &run.sites[1];
//! assert_eq!((load.buffer.as_str(), load.location(source).unwrap().line_number), ("x", 6));
//! // Two workgroups of two subgroups, each reading 128 contiguous bytes: one line.
//! assert_eq!((load.traffic.requests, load.traffic.blocks[2]), (4, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The interface
//!
//! - [`Kernel::new`] compiles; what the executor can't run is named with its span
//!   ([`CompileError`]) before anything runs. [`Kernel::bindings`] and [`Kernel::workgroup_size`] are its reflection.
//! - [`Kernel::run`] dispatches with [`Options`]: subgroup size 1 to 128, sanitizer, trace, a
//!   bound on steps, threads. Errors are [`ExecError`]; a mistake of the kernel is a [`Fault`] with its span and invocation.
//! - [`Run`] has one [`Site`] per access of the source, with the [`Traffic`] of the traced workgroups.
//!
//! # How it runs
//!
//! naga's functions are inlined and compiled to a flat list of instructions on registers; a register holds one
//! scalar of all lanes of a subgroup, and `f16` values are `f32`s rounded after each operation. Divergent
//! control flow works on lane masks. A subgroup runs until a barrier, then the workgroup's next one; all
//! must come to the same barrier. Workgroups spread over threads. The code is in the order of its
//! use: `layout`, `instr` and `regs` (what is run), `alu` (operations on lanes), `compile`, `run`,
//! `trace`, `sanitize`.
//!
//! # What WGSL leaves open
//!
//! Without the sanitizer an index out of bounds is clamped, and a texture access out of bounds gives zeros or does nothing.
//! Values from inactive or missing lanes are 0. Transcendental functions are the platform's. Subnormal numbers are kept.

mod alu;
mod buffer;
mod compile;
mod error;
mod instr;
mod layout;
mod regs;
mod run;
mod sanitize;
mod texture;
mod trace;

pub use crate::memory::{AccessKind, BLOCK_SIZES, BankModel, BankUse, Space, TraceMode, Traffic};
pub use buffer::Buffer;
pub use error::{CompileError, ExecError, Fault, FaultKind, Invocation};
pub use run::{Bindings, Options, Run};
pub use texture::Texture;
pub use trace::{Site, locate};

use crate::lower::guard::{deep, guarded};
use naga::back::PipelineConstants;
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};

/// A variable that a kernel uses and that must be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingInfo {
    /// Bind group index.
    pub group: u32,
    /// Binding index in the group.
    pub binding: u32,
    /// The variable's name.
    pub name: String,
    /// Storage, uniform or texture.
    pub space: Space,
    /// Whether the kernel's declaration allows writes.
    pub writable: bool,
    /// The least size of its buffer; 0 for textures.
    pub min_size_bytes: u64,
}

/// A compute entry point, compiled for the executor.
pub struct Kernel {
    program: instr::Program,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.program.name)
            .field("workgroup_size", &self.program.workgroup_size)
            .field("instructions", &self.program.code.len())
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Compiles the entry point `entry` of a module, with these values for its pipeline-overridable constants.
    ///
    /// # Errors
    /// [`CompileError`]: no such entry point, an override without a value, or what the executor can't run.
    pub fn new(
        module: &Module,
        info: &ModuleInfo,
        entry: &str,
        constants: &PipelineConstants,
    ) -> Result<Self, CompileError> {
        // Inlining calls itself along long expressions and chains of branches.
        deep(|| Self::compile(module, info, entry, constants))
            .unwrap_or_else(|what| Err(CompileError::TooLarge { what, span: naga::Span::UNDEFINED }))
    }

    fn compile(
        module: &Module,
        info: &ModuleInfo,
        entry: &str,
        constants: &PipelineConstants,
    ) -> Result<Self, CompileError> {
        let is_entry = |e: &naga::EntryPoint| e.stage == ShaderStage::Compute && e.name == entry;
        if !module.entry_points.iter().any(is_entry) {
            return Err(CompileError::NoEntryPoint(entry.to_owned()));
        }
        let stage = Some((ShaderStage::Compute, entry));
        let specialise = || {
            naga::back::pipeline_constants::process_overrides(module, info, stage, constants)
                .map_err(|e| CompileError::Overrides(e.to_string()))
        };
        let (module, info) = guarded(specialise)
            .map_err(|panic| CompileError::Overrides(format!("naga panicked: {panic}")))??;
        let Some(ix) = module.entry_points.iter().position(is_entry) else {
            return Err(CompileError::NoEntryPoint(entry.to_owned()));
        };
        Ok(Self { program: compile::compile(&module, &info, ix)? })
    }

    /// The entry point's name.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Invocations per workgroup, in x, y and z.
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.program.workgroup_size
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u64 {
        self.program.workgroup_bytes
    }

    /// The variables that the kernel uses and that must be bound, by group and binding.
    pub fn bindings(&self) -> Vec<BindingInfo> {
        let info = |global: &instr::Global| match global.source {
            instr::Source::Binding { group, binding } => Some(BindingInfo {
                group,
                binding,
                name: global.name.clone(),
                space: global.space,
                writable: global.writable,
                min_size_bytes: global.size_bytes,
            }),
            _ => None,
        };
        let mut bindings: Vec<_> = self.program.globals.iter().filter_map(info).collect();
        bindings.sort_by_key(|b| (b.group, b.binding));
        bindings
    }

    /// Runs so many workgroups in x, y and z, and waits for all.
    pub fn run(
        &self,
        workgroups: [u32; 3],
        bindings: &Bindings<'_>,
        options: &Options,
    ) -> Result<Run, ExecError> {
        run::run(&self.program, workgroups, bindings, options)
    }
}
