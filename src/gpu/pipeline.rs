//! Pipelines made from lowered shaders, cached, and bound to buffers by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{BufferSpec, Dispatch, Gpu, GpuError, Plan};
use crate::lower::{Access, Binding, Checks, Lowered, Resource, Shader};

/// Which of a shader's two texts runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// The WGSL, through naga.
    Wgsl(Checks),
    /// The Metal twin, passed through as it is.
    Msl,
}

/// A compute pipeline with the names that its bindings go by.
#[derive(Debug)]
pub struct Pipeline {
    /// wgpu's pipeline.
    pub pipeline: wgpu::ComputePipeline,
    /// The layout of bind group 0.
    pub layout: wgpu::BindGroupLayout,
    /// The resources of bind group 0, in binding order.
    pub bindings: Vec<Binding>,
}

/// What a shader variable is bound to.
#[derive(Clone, Debug)]
pub enum BindSource<'a> {
    /// A buffer or a part of one.
    Buffer(wgpu::BufferBinding<'a>),
    /// A texture.
    Texture(&'a wgpu::TextureView),
}

/// A plan bound to buffers: goes into any compute pass, any number of times.
#[derive(Debug)]
pub struct Recording {
    steps: Vec<(Arc<Pipeline>, wgpu::BindGroup, [u32; 3])>,
}

impl Recording {
    /// Records the plan's dispatches. Sets pipeline and bind group 0; leaves both as the last left them.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        for (pipeline, bind_group, [x, y, z]) in &self.steps {
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, *z);
        }
    }
}

impl Gpu {
    /// The pipeline of a shader: made on first use, cached afterwards.
    pub fn pipeline(&self, shader: &Shader, language: Language) -> Result<Arc<Pipeline>, GpuError> {
        let key = (shader.clone(), language);
        if let Some(p) = self.pipelines.lock().expect("no panic while locked").get(&key) {
            return Ok(p.clone());
        }
        let made = Arc::new(self.make_pipeline(shader, language)?);
        self.pipelines.lock().expect("no panic while locked").insert(key, made.clone());
        Ok(made)
    }

    fn make_pipeline(&self, shader: &Shader, language: Language) -> Result<Pipeline, GpuError> {
        let lowered = shader.lower()?;
        let entry_ix = lowered.entry_index(Shader::ENTRY)?;
        let label = shader.label();
        self.check_limits(&lowered, entry_ix, &label)?;
        let bindings = lowered.bindings(entry_ix);
        if let Some(b) = bindings.iter().find(|b| b.group != 0) {
            let message = format!("`{}` is in bind group {}, not 0", b.name, b.group);
            return Err(GpuError::Validation { what: label, message });
        }
        let workgroup_size = lowered.module.entry_points[entry_ix].workgroup_size;
        let msl = match language {
            Language::Wgsl(_) => None,
            Language::Msl if !self.caps.msl => {
                return Err(GpuError::Missing { what: label, feature: "Metal shader passthrough" });
            }
            Language::Msl => Some(shader.msl_text().ok_or_else(|| GpuError::Validation {
                what: label.clone(),
                message: "there is no Metal twin".into(),
            })??),
        };
        self.catch(&label, || {
            let device = &self.device;
            let (module, entry) = match (language, &msl) {
                (Language::Wgsl(checks), _) => (self.naga_module(lowered, checks, &label), Shader::ENTRY),
                (Language::Msl, msl) => {
                    let text = msl.as_ref().map_or("", |m| m.text.as_str());
                    (self.msl_module(text, workgroup_size, &label), Shader::MSL_ENTRY)
                }
            };
            let entries: Vec<_> = bindings.iter().map(layout_entry).collect();
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&label),
                entries: &entries,
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let checked = language == Language::Wgsl(Checks::Checked);
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[],
                    zero_initialize_workgroup_memory: checked,
                },
                cache: None,
            });
            Pipeline { pipeline, layout, bindings }
        })
    }

    fn naga_module(&self, lowered: Lowered, checks: Checks, label: &str) -> wgpu::ShaderModule {
        #[cfg(not(target_arch = "wasm32"))]
        let source = wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(lowered.module));
        // Browsers want the extension named, naga refuses the name.
        #[cfg(target_arch = "wasm32")]
        let source = {
            let enable = if self.caps.subgroups { "enable subgroups;\n" } else { "" };
            wgpu::ShaderSource::Wgsl(format!("{enable}{}", lowered.composed.text).into())
        };
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
        match checks {
            Checks::Checked => self.device.create_shader_module(descriptor),
            // SAFETY: unchecked modules are made only from this crate's own shaders, whose indices stay in
            // bounds for every shape that the room's spec accepts: rooms validate shapes on the host, bind
            // whole operands of the sizes derived from them, and the executor's sanitizer and the sentinels
            // round every output hold that over the edge corpus. Loops are bounded by those shapes and no
            // divisor is zero.
            Checks::Unchecked => unsafe {
                self.device.create_shader_module_trusted(descriptor, checks.runtime_checks())
            },
        }
    }

    fn msl_module(&self, text: &str, size: [u32; 3], label: &str) -> wgpu::ShaderModule {
        let entry = wgpu::PassthroughShaderEntryPoint {
            name: Shader::MSL_ENTRY.into(),
            workgroup_size: (size[0], size[1], size[2]),
        };
        let descriptor = wgpu::ShaderModuleDescriptorPassthrough {
            label: Some(label),
            entry_points: std::borrow::Cow::Owned(vec![entry]),
            msl: Some(text.into()),
            ..Default::default()
        };
        // SAFETY: the text is one of this crate's Metal twins, which declares its buffers in the order of the
        // WGSL twin's bindings, as wgpu numbers them, and is held to the same bounds as the WGSL.
        unsafe { self.device.create_shader_module_passthrough(descriptor) }
    }

    fn check_limits(&self, lowered: &Lowered, entry_ix: usize, label: &str) -> Result<(), GpuError> {
        let memory = lowered.workgroup_memory_bytes(entry_ix);
        let limit = |what: &str, needed: String, allowed: String| {
            Err(GpuError::Limit { what: format!("{label}: {what}"), needed, allowed })
        };
        let allowed = u64::from(self.caps.max_workgroup_memory);
        if memory > allowed {
            return limit("workgroup memory", format!("{memory} B"), format!("{allowed} B"));
        }
        let size = lowered.module.entry_points[entry_ix].workgroup_size;
        let n: u64 = size.iter().map(|&s| u64::from(s)).product();
        if n > u64::from(self.caps.max_invocations) {
            return limit("workgroup", format!("{n} invocations"), self.caps.max_invocations.to_string());
        }
        Ok(())
    }

    /// The names of the buffers and textures that a plan's shaders bind: an operand that a prepared one
    /// replaces is not among them, and need not be uploaded. Makes the pipelines.
    pub fn bound_names(&self, plan: &Plan, language: Language) -> Result<BTreeSet<String>, GpuError> {
        let mut names = BTreeSet::new();
        for d in &plan.dispatches {
            let pipeline = self.pipeline(&d.shader, language)?;
            names.extend(pipeline.bindings.iter().map(|b| d.buffer_of(&b.name).to_string()));
        }
        Ok(names)
    }

    /// Binds a plan's dispatches to what `resources` gives for each buffer name. Makes pipelines, bind
    /// groups and one small uniform buffer per dispatch; submits nothing.
    pub fn bind<'a>(
        &self,
        plan: &Plan,
        language: Language,
        resources: &dyn Fn(&str) -> Option<BindSource<'a>>,
    ) -> Result<Recording, GpuError> {
        let mut steps = Vec::with_capacity(plan.dispatches.len());
        for d in &plan.dispatches {
            let label = d.shader.label();
            if let Some(&n) = d.workgroups.iter().find(|&&n| n > self.caps.max_workgroups) {
                return Err(GpuError::Limit {
                    what: format!("{label}: dispatch"),
                    needed: format!("{n} workgroups in one dimension"),
                    allowed: self.caps.max_workgroups.to_string(),
                });
            }
            let pipeline = self.pipeline(&d.shader, language)?;
            let params =
                (!d.params.is_empty()).then(|| self.create_uniform(&label, &d.params)).transpose()?;
            let mut entries = Vec::with_capacity(pipeline.bindings.len());
            for b in &pipeline.bindings {
                let resource = match (&params, b.resource) {
                    (Some(p), Resource::Uniform) => BindSource::Buffer(p.as_entire_buffer_binding()),
                    _ => resources(d.buffer_of(&b.name)).ok_or_else(|| GpuError::Unbound {
                        shader: label.clone(),
                        buffer: d.buffer_of(&b.name).to_string(),
                    })?,
                };
                let resource = match resource {
                    BindSource::Buffer(buffer) => {
                        self.check_binding(plan, d.buffer_of(&b.name), b, &buffer)?;
                        wgpu::BindingResource::Buffer(buffer)
                    }
                    BindSource::Texture(view) => wgpu::BindingResource::TextureView(view),
                };
                entries.push(wgpu::BindGroupEntry { binding: b.binding, resource });
            }
            check_aliases(d, &pipeline.bindings, &entries)?;
            let group = self.catch(&label, || {
                self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(&label),
                    layout: &pipeline.layout,
                    entries: &entries,
                })
            })?;
            steps.push((pipeline, group, d.workgroups));
        }
        Ok(Recording { steps })
    }

    /// Size, offset and limits of a storage buffer, by the name that the caller gave it.
    fn check_binding(
        &self,
        plan: &Plan,
        name: &str,
        binding: &Binding,
        given: &wgpu::BufferBinding<'_>,
    ) -> Result<(), GpuError> {
        if !matches!(binding.resource, Resource::Storage(_)) {
            return Ok(());
        }
        let size = bound_bytes(given);
        let least = BufferSpec { name: "", size_bytes: binding.min_size_bytes };
        let needed_bytes = plan.buffer(name).unwrap_or(&least).binding_bytes().max(least.binding_bytes());
        if size < needed_bytes {
            return Err(GpuError::Size { buffer: name.into(), needed_bytes, given_bytes: size });
        }
        let limit = |what: String, needed: String, allowed: String| GpuError::Limit { what, needed, allowed };
        if size > self.caps.max_binding_bytes {
            let allowed = format!("{} B", self.caps.max_binding_bytes);
            return Err(limit(format!("`{name}`"), format!("a binding of {size} B"), allowed));
        }
        let alignment = u64::from(self.device.limits().min_storage_buffer_offset_alignment);
        if !given.offset.is_multiple_of(alignment.max(1)) {
            let allowed = format!("multiples of {alignment} B");
            return Err(limit(format!("`{name}`"), format!("an offset of {} B", given.offset), allowed));
        }
        Ok(())
    }

    /// Runs `make` and turns the errors that wgpu reports meanwhile into one of ours.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn catch<T>(&self, what: &str, make: impl FnOnce() -> T) -> Result<T, GpuError> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [OutOfMemory, Internal, Validation].map(|f| self.device.push_error_scope(f));
        let made = make();
        let mut first = None;
        for scope in scopes.into_iter().rev() {
            let error = pollster::block_on(scope.pop());
            first = first.or(error);
        }
        let what = what.to_string();
        match first {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { source }) => {
                Err(GpuError::OutOfMemory { what, message: source.to_string() })
            }
            Some(e) => Err(GpuError::Validation { what, message: e.to_string() }),
        }
    }

    /// On the web errors arrive later, at the app's own handler.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn catch<T>(&self, _what: &str, make: impl FnOnce() -> T) -> Result<T, GpuError> {
        Ok(make())
    }
}

/// Bytes that a binding really has.
fn bound_bytes(binding: &wgpu::BufferBinding<'_>) -> u64 {
    let rest = binding.buffer.size().saturating_sub(binding.offset);
    binding.size.map_or(rest, |size| size.get().min(rest))
}

/// wgpu refuses a dispatch that writes a buffer it also reads, or writes the same bytes by two names; that would come up only
/// when the app's encoder is finished.
fn check_aliases(
    dispatch: &Dispatch,
    bindings: &[Binding],
    entries: &[wgpu::BindGroupEntry<'_>],
) -> Result<(), GpuError> {
    let buffer = |ix: usize| match &entries[ix].resource {
        wgpu::BindingResource::Buffer(buffer) => Some(buffer),
        _ => None,
    };
    let writes = |b: &Binding| b.resource == Resource::Storage(Access::ReadWrite);
    for (i, written) in bindings.iter().enumerate().filter(|(_, b)| writes(b)) {
        for (j, other) in bindings.iter().enumerate().filter(|(j, _)| *j != i) {
            let (Some(a), Some(b)) = (buffer(i), buffer(j)) else { continue };
            let apart = a.offset + bound_bytes(a) <= b.offset || b.offset + bound_bytes(b) <= a.offset;
            if a.buffer == b.buffer && !(apart && writes(other)) {
                return Err(GpuError::Aliased {
                    shader: dispatch.shader.label(),
                    written: dispatch.buffer_of(&written.name).into(),
                    other: dispatch.buffer_of(&other.name).into(),
                });
            }
        }
    }
    Ok(())
}

fn layout_entry(b: &Binding) -> wgpu::BindGroupLayoutEntry {
    let buffer = |ty| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: false,
        min_binding_size: std::num::NonZeroU64::new(b.min_size_bytes),
    };
    wgpu::BindGroupLayoutEntry {
        binding: b.binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: match b.resource {
            Resource::Storage(access) => {
                buffer(wgpu::BufferBindingType::Storage { read_only: access == Access::Read })
            }
            Resource::Uniform => buffer(wgpu::BufferBindingType::Uniform),
            Resource::Texture => wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Float { filterable: false },
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
        },
        count: None,
    }
}
