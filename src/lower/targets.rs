//! A lowered module as MSL, SPIR-V, HLSL or WGSL text, with the options that wgpu itself uses.

use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

use super::guard::guarded;
use super::{Composed, LowerError, Lowered, Resource, causes};
use std::borrow::Cow;

/// Whether generated code guards indices, divisions and loops, and zeroes workgroup memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checks {
    /// As WebGPU demands: safe for any input.
    #[default]
    Checked,
    /// No guards: sound only for shapes that the host validated.
    Unchecked,
}

impl Checks {
    /// The runtime checks that wgpu is asked for.
    pub fn runtime_checks(self) -> wgpu::ShaderRuntimeChecks {
        match self {
            Checks::Checked => wgpu::ShaderRuntimeChecks::checked(),
            Checks::Unchecked => wgpu::ShaderRuntimeChecks::unchecked(),
        }
    }

    /// What they are, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Checks::Checked => {
                "bounds checks on (restrict), workgroup memory zeroed, loop bounds on, division checks on"
            }
            Checks::Unchecked => {
                "bounds checks off, workgroup memory not zeroed, loop bounds off, division checks off"
            }
        }
    }

    fn bounds(self) -> BoundsCheckPolicies {
        let policy = match self {
            Checks::Checked => BoundsCheckPolicy::Restrict,
            Checks::Unchecked => BoundsCheckPolicy::Unchecked,
        };
        BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        }
    }
}

/// Why a back end gave no text.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// There is no such entry point.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// naga's back end refused the module.
    #[error("{file} as {target}: {message}")]
    Backend {
        /// The composed file.
        file: String,
        /// `msl`, `spirv`, `hlsl`, `wgsl`, or `overrides`: the step before them.
        target: &'static str,
        /// naga's message with its causes, in a sentence where the cause is known.
        message: String,
    },
    /// naga panicked: a fault of naga's, reached by this module.
    #[error("{file} as {target}: naga can't write it: {message} (a fault of naga 30; it names no place)")]
    Panicked {
        /// The composed file.
        file: String,
        /// As for [`Backend`](Self::Backend).
        target: &'static str,
        /// The panic's message.
        message: String,
    },
}

/// MSL text and what is needed to run it.
#[derive(Clone, Debug)]
pub struct Msl {
    /// The program.
    pub text: String,
    /// The entry point's name there: naga renames `main`.
    pub entry: String,
    /// `[[buffer(n)]]` of the array of buffer sizes, if the program reads it: one `u32` of bytes per
    /// global with a runtime array, in order of declaration.
    pub sizes_slot: Option<u8>,
    /// The options, in words: the first line of what `marlin lower` prints.
    pub options: String,
}

/// The Metal version that text is made for: the least with all that the kernels need.
const MSL_VERSION: (u8, u8) = (3, 1);

impl Lowered {
    /// One back end, behind the boundary to naga.
    fn back<T: Send>(
        &self,
        target: &'static str,
        write: impl FnOnce() -> Result<T, TargetError> + Send,
    ) -> Result<T, TargetError> {
        guarded(write).unwrap_or_else(|message| {
            Err(TargetError::Panicked { file: self.name().to_string(), target, message })
        })
    }

    fn refused(&self, target: &'static str, message: impl Into<String>) -> TargetError {
        TargetError::Backend { file: self.name().to_string(), target, message: message.into() }
    }

    /// MSL as wgpu's Metal backend would make it: buffers and textures in slots counted apart, from 0, in
    /// (group, binding) order, the sizes buffer behind them.
    ///
    /// # Errors
    /// [`TargetError`]: no such entry point, an override without a value, or what naga can't write.
    pub fn to_msl(&self, entry: &str, checks: Checks) -> Result<Msl, TargetError> {
        let entry_ix = self.entry_index(entry)?;
        let mut resources = msl::EntryPointResources::default();
        let (mut n_buffers, mut n_textures) = (0, 0);
        for b in self.bindings(entry_ix) {
            let mut target = msl::BindTarget::default();
            match b.resource {
                Resource::Texture => {
                    target.texture = Some(n_textures);
                    n_textures += 1;
                }
                Resource::Uniform | Resource::Storage(_) => {
                    target.buffer = Some(n_buffers);
                    target.mutable = b.resource == Resource::Storage(super::Access::ReadWrite);
                    n_buffers += 1;
                }
            }
            resources.resources.insert(naga::ResourceBinding { group: b.group, binding: b.binding }, target);
        }
        resources.sizes_buffer = Some(n_buffers);
        let unchecked = checks == Checks::Unchecked;
        let options = msl::Options {
            lang_version: MSL_VERSION,
            fake_missing_bindings: false,
            per_entry_point_map: [(entry.to_string(), resources)].into_iter().collect(),
            bounds_check_policies: checks.bounds(),
            zero_initialize_workgroup_memory: !unchecked,
            force_loop_bounding: !unchecked,
            emit_int_div_checks: !unchecked,
            ..msl::Options::default()
        };
        let pipeline = msl::PipelineOptions {
            entry_point: Some((naga::ShaderStage::Compute, entry.to_string())),
            allow_and_force_point_size: false,
            vertex_pulling_transform: true,
            vertex_buffer_mappings: Vec::new(),
            binding_array_length_map: Default::default(),
        };
        let (text, translation) = self.back("msl", || {
            let (module, info) = self.specialised(entry)?;
            msl::write_string(&module, &info, &options, &pipeline)
                .map_err(|e| self.refused("msl", causes(&e)))
        })?;
        let entry = match translation.entry_point_names.first() {
            Some(Ok(name)) => name.clone(),
            Some(Err(e)) => return Err(self.refused("msl", e.to_string())),
            None => return Err(self.refused("msl", "no entry point")),
        };
        let sizes_slot = text.contains("_buffer_sizes [[buffer(").then_some(n_buffers);
        let options = format!("Metal {}.{}, {}", MSL_VERSION.0, MSL_VERSION.1, checks.describe());
        Ok(Msl { text, entry, sizes_slot, options })
    }

    /// SPIR-V 1.4 words as for Vulkan.
    ///
    /// # Errors
    /// [`TargetError`]: no such entry point, an override without a value, or what naga can't write.
    pub fn to_spirv(&self, entry: &str, checks: Checks) -> Result<Vec<u32>, TargetError> {
        self.entry_index(entry)?;
        let unchecked = checks == Checks::Unchecked;
        let options = spv::Options {
            lang_version: (1, 4),
            flags: spv::WriterFlags::empty(),
            bounds_check_policies: checks.bounds(),
            zero_initialize_workgroup_memory: match checks {
                Checks::Checked => spv::ZeroInitializeWorkgroupMemoryMode::Native,
                Checks::Unchecked => spv::ZeroInitializeWorkgroupMemoryMode::None,
            },
            force_loop_bounding: !unchecked,
            emit_int_div_checks: !unchecked,
            ..spv::Options::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: entry.to_string() };
        self.back("spirv", || {
            let (module, info) = self.specialised(entry)?;
            spv::write_vec(&module, &info, &options, Some(&pipeline))
                .map_err(|e| self.refused("spirv", causes(&e)))
        })
    }

    /// HLSL for shader model 6.2 and later.
    ///
    /// # Errors
    /// [`TargetError`]: no such entry point, an override without a value, or what naga can't write.
    pub fn to_hlsl(&self, entry: &str, checks: Checks) -> Result<String, TargetError> {
        self.entry_index(entry)?;
        let unchecked = checks == Checks::Unchecked;
        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_2,
            zero_initialize_workgroup_memory: !unchecked,
            restrict_indexing: !unchecked,
            force_loop_bounding: !unchecked,
            ..hlsl::Options::default()
        };
        let pipeline =
            hlsl::PipelineOptions { entry_point: Some((naga::ShaderStage::Compute, entry.to_string())) };
        let matrices =
            |(_, t): (_, &naga::Type)| matches!(t.inner, naga::TypeInner::CooperativeMatrix { .. });
        if self.module.types.iter().any(matrices) {
            return Err(self.refused("hlsl", "HLSL has no cooperative matrices: take a variant without them"));
        }
        self.back("hlsl", || {
            let (module, info) = self.specialised(entry)?;
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &options, &pipeline)
                .write(&module, &info, None)
                .map_err(|e| self.refused("hlsl", causes(&e)))?;
            Ok(text)
        })
    }

    /// WGSL as naga prints the module: composed, specialised, without comments.
    ///
    /// # Errors
    /// [`TargetError`] where naga prints something else than it read: what it prints is read again.
    pub fn to_wgsl(&self) -> Result<String, TargetError> {
        let text = self.back("wgsl", || {
            let (module, info) = if self.constants.is_empty() {
                (Cow::Borrowed(&self.module), Cow::Borrowed(&self.info))
            } else {
                self.with_constants(None)?
            };
            wgsl::write_string(&module, &info, wgsl::WriterFlags::empty())
                .map_err(|e| self.refused("wgsl", causes(&e)))
        })?;
        match Lowered::new(Composed::verbatim("naga.wgsl", &text)) {
            Ok(_) => Ok(text),
            Err(e) => Err(self.refused("wgsl", format!("naga can't read again what it printed: {e}"))),
        }
    }

    /// The module with values for its overrides, and without what the entry point does not use.
    fn specialised(&self, entry: &str) -> Result<Specialised<'_>, TargetError> {
        self.with_constants(Some((naga::ShaderStage::Compute, entry)))
    }

    fn with_constants(
        &self,
        entry: Option<(naga::ShaderStage, &str)>,
    ) -> Result<Specialised<'_>, TargetError> {
        process_overrides(&self.module, &self.info, entry, &self.constants)
            .map_err(|e| self.refused("overrides", causes(&e)))
    }
}

type Specialised<'a> = (Cow<'a, naga::Module>, Cow<'a, naga::valid::ModuleInfo>);
