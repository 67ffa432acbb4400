//! Plans on the CPU executor: results, traffic per access, and bugs that GPUs hide.

use std::collections::HashMap;

use super::{Outputs, RunError};
use crate::exec::{self, Buffer, Kernel, Site, Space, Texture, TraceMode};
use crate::gpu::{Caps, CoopShape, DeviceClass, GpuError, Plan, ScalarType};
use crate::kernels::op::Operation;
use crate::kernels::spec::Problem;
use crate::lower::{Location, Lowered, Shader};

/// The block size in bytes that fetched bytes are counted in: a cache line of Apple's GPUs.
pub const FETCH_BLOCK_BYTES: u64 = exec::BLOCK_SIZES[FETCH_BLOCK_IX];
pub(super) const FETCH_BLOCK_IX: usize = 2;

/// The CPU executor as a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    /// What kernels are chosen by. A change here is a change of what the executor pretends to be.
    pub caps: Caps,
    /// Look for out-of-bounds accesses, races, uninitialized reads and divergent barriers.
    pub sanitize: bool,
    /// Which workgroups are traced.
    pub trace: TraceMode,
}

impl Default for Cpu {
    /// A device with all features, subgroups of 32 and every cooperative-matrix shape; no sanitizer, and
    /// about 64 traced workgroups per dispatch.
    fn default() -> Self {
        Self::with_subgroup_size(32)
    }
}

/// An access of a shader with its traffic.
#[derive(Clone, Debug)]
pub struct TracedSite {
    /// Which dispatch of the plan.
    pub dispatch_ix: usize,
    /// The shader's label.
    pub shader: String,
    /// The access in the source.
    pub at: Location,
    /// What it asked of memory.
    pub site: Site,
}

/// What a traced run moved.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Every access of every dispatch.
    pub sites: Vec<TracedSite>,
    /// Bytes of the blocks that storage requests touched, a block counted once per request; scaled up
    /// where workgroups were sampled.
    pub fetched_bytes: u64,
    /// Whether every workgroup was traced.
    pub complete: bool,
}

impl Cpu {
    /// The executor with subgroups of so many lanes, 1 to 128.
    pub fn with_subgroup_size(width: u32) -> Self {
        let mut coop = Vec::new();
        for s in [8, 16] {
            for (ab, c) in [
                (ScalarType::F16, ScalarType::F16),
                (ScalarType::F16, ScalarType::F32),
                (ScalarType::F32, ScalarType::F32),
            ] {
                coop.push(CoopShape { m: s, n: s, k: s, ab, c });
            }
        }
        let caps = Caps {
            class: DeviceClass::Executor,
            f16: true,
            int16: true,
            subgroups: true,
            subgroup_size: Some(width),
            coop,
            max_workgroup_memory: 32 << 10,
            max_invocations: 1024,
            max_workgroup_size: [1024; 3],
            max_storage_buffers: 64,
            max_binding_bytes: 2 << 30,
            max_buffer_bytes: 2 << 30,
            max_texture_side: 16_384,
            max_workgroups: 65_535,
            timestamps: false,
            msl: false,
        };
        Self { caps, sanitize: false, trace: TraceMode::Sample(64) }
    }

    /// Runs a plan once: outputs in the problem's order, and the trace.
    pub fn run(&self, problem: &Problem, plan: &Plan) -> Result<(Outputs, Trace), RunError> {
        let operand = |name: &str| problem.input(name).map(|b| &b[..]);
        let unwritten = |size: usize| Buffer::from_bytes(&vec![0xFF; size.next_multiple_of(4)]);
        let mut buffers: HashMap<&str, Buffer> = HashMap::new();
        for o in &problem.inputs {
            buffers.insert(o.name, padded(&o.bytes));
        }
        for (name, bytes) in &plan.prepare(operand)? {
            buffers.insert(name, padded(bytes));
        }
        for s in &plan.scratch {
            buffers.insert(s.name, unwritten(s.size_bytes as usize));
        }
        for o in &problem.outputs {
            buffers.insert(o.name, unwritten(o.size_bytes()));
        }
        let textures = textures(plan, operand)?;
        let trace = self.execute(plan, &|name| match (textures.get(name), buffers.get(name)) {
            (Some(texture), _) => Some(HostSource::Texture(texture)),
            (_, buffer) => buffer.map(HostSource::Buffer),
        })?;
        let outputs = problem.outputs.iter().map(|o| {
            let mut bytes = buffers.get(o.name).map(Buffer::to_bytes).unwrap_or_default();
            bytes.truncate(o.size_bytes());
            bytes
        });
        Ok((outputs.collect(), trace))
    }

    /// Runs a plan's dispatches over what `resources` gives for each buffer name.
    ///
    /// # Errors
    /// A buffer that is missing or smaller than the plan says; a fault of a kernel.
    pub fn execute<'a>(
        &self,
        plan: &Plan,
        resources: &dyn Fn(&str) -> Option<HostSource<'a>>,
    ) -> Result<Trace, RunError> {
        let mut trace = Trace { complete: true, ..Trace::default() };
        for (dispatch_ix, d) in plan.dispatches.iter().enumerate() {
            let label = d.shader.label();
            let lowered = d.shader.lower().map_err(GpuError::from)?;
            let failed = |message: String| RunError::Executor { shader: label.clone(), message };
            let kernel = Kernel::new(&lowered.module, &lowered.info, Shader::ENTRY, &Default::default())
                .map_err(|e| failed(placed(&lowered, e.span(), &e)))?;
            let params = padded(&d.params);
            let mut bindings = exec::Bindings::new();
            for b in kernel.bindings() {
                if b.space == Space::Uniform && !d.params.is_empty() {
                    bindings = bindings.buffer(b.group, b.binding, &params);
                    continue;
                }
                let name = d.buffer_of(&b.name);
                bindings = match resources(name) {
                    Some(HostSource::Texture(t)) => bindings.texture(b.group, b.binding, t),
                    Some(HostSource::Buffer(buffer)) => {
                        if let Some(spec) = plan.buffer(name) {
                            spec.check(buffer.len_bytes() as u64)?;
                        }
                        bindings.buffer(b.group, b.binding, buffer)
                    }
                    None => {
                        return Err(GpuError::Unbound { shader: label, buffer: name.into() }.into());
                    }
                };
            }
            let options = exec::Options {
                subgroup_size: self.caps.subgroup_size.unwrap_or(1),
                sanitize: self.sanitize,
                trace: self.trace,
                ..exec::Options::default()
            };
            let run = kernel
                .run(d.workgroups, &bindings, &options)
                .map_err(|e| failed(placed(&lowered, e.fault().map(|f| f.span), &e)))?;
            trace.complete &= run.traced_workgroups == run.workgroups;
            let storage = run.sites.iter().filter(|s| s.space == Space::Storage);
            let fetched: u64 = storage.map(|s| s.traffic.fetched_bytes(FETCH_BLOCK_IX)).sum();
            trace.fetched_bytes += of_all(fetched, run.traced_workgroups, run.workgroups);
            trace.sites.extend(run.sites.into_iter().map(|site| TracedSite {
                dispatch_ix,
                shader: label.clone(),
                at: lowered.composed.locate(site.span.to_range().map_or(0, |r| r.start as u32)),
                site,
            }));
        }
        Ok(trace)
    }

    /// What [`Operation::upload`] is on a GPU: operands that stay, in the layouts that the variant wants.
    ///
    /// # Errors
    /// As [`Operation::upload`].
    pub fn upload(
        &self,
        operation: &Operation,
        operands: &[(&'static str, &[u8])],
    ) -> Result<HostOperands, RunError> {
        let buffers = operation.prepare(operands)?.into_iter().map(|(name, bytes)| (name, padded(&bytes)));
        let operand = |name: &str| operands.iter().find(|(n, _)| *n == name).map(|(_, b)| *b);
        Ok(HostOperands { buffers: buffers.collect(), textures: textures(operation.plan(), operand)? })
    }

    /// What [`Operation::bind`] and [`Recording::encode`](crate::gpu::Recording::encode) are on a GPU: runs once, over
    /// uploaded operands and the caller's buffers.
    ///
    /// # Errors
    /// As [`Operation::bind`], and faults of a kernel.
    pub fn run_operation(
        &self,
        operation: &Operation,
        uploaded: &[&HostOperands],
        buffers: &[(&str, &Buffer)],
    ) -> Result<Trace, RunError> {
        for (name, _) in buffers {
            operation.plan().check_name(name)?;
        }
        self.execute(operation.plan(), &|name| {
            if let Some((_, buffer)) = buffers.iter().find(|(n, _)| *n == name) {
                return Some(HostSource::Buffer(buffer));
            }
            uploaded.iter().find_map(|u| {
                let texture = u.textures.get(name).map(HostSource::Texture);
                texture.or_else(|| u.buffers.get(name).map(HostSource::Buffer))
            })
        })
    }
}

/// What a shader variable is bound to.
#[derive(Clone, Copy, Debug)]
pub enum HostSource<'a> {
    /// A buffer.
    Buffer(&'a Buffer),
    /// A texture.
    Texture(&'a Texture),
}

/// Operands in the layouts that one variant wants.
#[derive(Debug)]
pub struct HostOperands {
    buffers: HashMap<&'static str, Buffer>,
    textures: HashMap<&'static str, Texture>,
}

/// What `traced` of `all` workgroups fetched, for all of them.
pub(super) fn of_all(fetched_bytes: u64, traced: u64, all: u64) -> u64 {
    (u128::from(fetched_bytes) * u128::from(all) / u128::from(traced.max(1))) as u64
}

/// The operands that a plan wants as textures.
pub(super) fn textures<'a>(
    plan: &Plan,
    operand: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<HashMap<&'static str, Texture>, RunError> {
    let mut textures = HashMap::new();
    for spec in &plan.textures {
        let bytes = operand(spec.from).ok_or_else(|| GpuError::missing(spec.from))?;
        let texture = texture_of(spec, bytes).ok_or_else(|| RunError::Executor {
            shader: spec.name.to_string(),
            message: format!("textures of {:?} are not supported", spec.format),
        })?;
        textures.insert(spec.name, texture);
    }
    Ok(textures)
}

/// A buffer with these bytes, padded with zeros to whole words.
fn padded(bytes: &[u8]) -> Buffer {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().max(4).next_multiple_of(4), 0);
    Buffer::from_bytes(&bytes)
}

fn texture_of(spec: &crate::gpu::TextureSpec, bytes: &[u8]) -> Option<Texture> {
    let format = match spec.format {
        wgpu::TextureFormat::R8Unorm => naga::StorageFormat::R8Unorm,
        wgpu::TextureFormat::R32Float => naga::StorageFormat::R32Float,
        wgpu::TextureFormat::R16Float => naga::StorageFormat::R16Float,
        wgpu::TextureFormat::Rgba16Float => naga::StorageFormat::Rgba16Float,
        wgpu::TextureFormat::Rgba32Float => naga::StorageFormat::Rgba32Float,
        _ => return None,
    };
    // As on a GPU, what an operand has beyond the last texel is padding.
    let texel_bytes = spec.format.block_copy_size(None)? as usize;
    let texels = bytes.get(..spec.width as usize * spec.height as usize * texel_bytes)?;
    Texture::new(format, [spec.width, spec.height, 1], texels)
}

/// An error's message after the place in the source that it speaks of.
fn placed(lowered: &Lowered, span: Option<naga::Span>, error: &dyn std::fmt::Display) -> String {
    match span.and_then(|s| s.to_range()) {
        Some(range) => {
            let at = lowered.composed.locate(range.start as u32);
            format!("{}:{}:{}: {error}", at.file, at.line, at.column)
        }
        None => error.to_string(),
    }
}
