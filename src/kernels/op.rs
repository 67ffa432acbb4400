//! What the public operations of all rooms are made of: a variant chosen for a device, operands uploaded
//! once, a recording for the caller's pass.
//!
//! All rooms go through the same steps, each explicit:
//!
//! 1. `Spec::new(…)` checks shapes and options, and names the argument that is wrong ([`Refusal`]);
//! 2. `operation(&spec, &caps)` chooses a variant for a device, or says why none can run; no device is needed;
//! 3. [`Operation::upload`] prepares and uploads the operands that stay (weights), once;
//! 4. [`Operation::bind`] makes pipelines and bind groups over the caller's buffers, whose names and sizes
//!    [`Operation::buffers`] and [`Operation::scratch`] list;
//! 5. [`Recording::encode`] goes into the caller's pass, any number of times.
//!
//! None of them submits or waits. What is wrong with a buffer (missing, unknown, too small, not aligned, written and read
//! at once) is a [`GpuError`] that names it, in steps 3 and 4, before anything is encoded. Without a GPU,
//! [`Cpu`](crate::measure::Cpu) takes the same operations through the same steps.

use std::borrow::Cow;
use std::collections::HashMap;

use super::spec::{Buffers, PassedOver, Refusal, Variant};
use crate::gpu::{BindSource, BufferSpec, Caps, Gpu, GpuError, Language, Plan, Recording};
use crate::lower::Checks;

/// An operand's name with its bytes, made here or the caller's.
type NamedBytes<'a> = (&'static str, Cow<'a, [u8]>);

/// A variant chosen for a spec and a device.
#[derive(Clone, Debug)]
pub struct Operation {
    variant: &'static str,
    plan: Plan,
    passed_over: Vec<PassedOver>,
}

impl Operation {
    /// The first of the variants that serve, in the order of their ranks, that can run. The refusal names all and why.
    pub(super) fn choose<S: Buffers>(
        variants: &[Variant<S>],
        spec: &S,
        caps: &Caps,
    ) -> Result<Self, Refusal> {
        let ranked = variants.iter().filter_map(|v| Some(((v.serves)(spec, caps)?, v)));
        let mut ranked: Vec<(u32, &Variant<S>)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut passed_over = Vec::new();
        for (_, v) in ranked {
            match v.plan_for(spec, caps) {
                Ok(plan) => return Ok(Self { variant: v.name, plan, passed_over }),
                Err(refusal) => passed_over.push(PassedOver { variant: v.name, refusal }),
            }
        }
        Err(Refusal::NoVariant(passed_over))
    }

    /// A variant under a tuning of the caller's.
    pub(super) fn of(variant: &'static str, plan: Plan) -> Self {
        Self { variant, plan, passed_over: Vec::new() }
    }

    /// The variants that would have served better, best first, and what each wanted of the device. Empty: it is the best one.
    pub fn why(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    /// What the variant runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Operands and results with their least sizes, whichever variant was chosen. Each goes to `upload` or to `bind`.
    pub fn buffers(&self) -> &[BufferSpec] {
        &self.plan.buffers
    }

    /// Buffers that the caller must own and pass to `bind`: they hold intermediate results while the
    /// recording runs, and may be shared by operations that do not overlap.
    pub fn scratch(&self) -> &[BufferSpec] {
        &self.plan.scratch
    }

    /// Operands as shaders bind them: those that `prepare` makes, and those that are bound as they are.
    ///
    /// # Errors
    /// An operand is not one of the operation's, or of another size than the spec says, or one that others are made of is
    /// missing.
    pub(crate) fn prepare<'a>(
        &self,
        operands: &[(&'static str, &'a [u8])],
    ) -> Result<Vec<NamedBytes<'a>>, GpuError> {
        for (name, bytes) in operands {
            self.plan.check_operand(name, bytes)?;
        }
        let prepared =
            self.plan.prepare(|name| operands.iter().find(|(n, _)| *n == name).map(|(_, b)| *b))?;
        let plain = operands.iter().map(|(name, bytes)| (*name, (*bytes).into()));
        Ok(plain.chain(prepared.into_iter().map(|(n, b)| (n, b.into()))).collect())
    }

    /// Uploads operands that stay the same from run to run, in the layouts that the variant wants.
    ///
    /// # Errors
    /// An operand that the operation does not have, or of another size than [`buffers`](Self::buffers) says; a device that
    /// is out of memory.
    pub fn upload(&self, gpu: &Gpu, operands: &[(&'static str, &[u8])]) -> Result<Uploaded, GpuError> {
        let ready = self.prepare(operands)?;
        let bound = gpu.bound_names(&self.plan, Language::Wgsl(Checks::Unchecked))?;
        let mut uploaded = Uploaded::default();
        for (name, bytes) in ready {
            if bound.contains(name) {
                uploaded.buffers.insert(name, gpu.create_buffer_with(name, &bytes)?);
            }
        }
        for spec in &self.plan.textures {
            let bytes = operands.iter().find(|(n, _)| *n == spec.from).map(|(_, b)| *b);
            let bytes = bytes.ok_or_else(|| GpuError::missing(spec.from))?;
            uploaded.textures.insert(spec.name, gpu.create_texture(spec, bytes)?);
        }
        Ok(uploaded)
    }

    /// Binds uploaded operands and the caller's buffers. `buffers` has the operands that change from run to
    /// run, the outputs, and the scratch buffers, by name. `uploaded` may come from another operation over the same
    /// operands: the variants that operations choose all take weights in one layout.
    ///
    /// # Errors
    /// A buffer that is missing, that the operation does not have, that is smaller than [`buffers`](Self::buffers) or
    /// [`scratch`](Self::scratch) says, whose offset the device does not allow, or that one dispatch would write under one
    /// name and have bound under another. The error names it.
    pub fn bind(
        &self,
        gpu: &Gpu,
        uploaded: &[&Uploaded],
        buffers: &[(&str, wgpu::BufferBinding<'_>)],
    ) -> Result<Recording, GpuError> {
        for (name, _) in buffers {
            self.plan.check_name(name)?;
        }
        gpu.bind(&self.plan, Language::Wgsl(Checks::Unchecked), &|name| {
            if let Some((_, b)) = buffers.iter().find(|(n, _)| *n == name) {
                return Some(BindSource::Buffer(b.clone()));
            }
            uploaded.iter().find_map(|u| {
                let buffer = u.buffers.get(name).map(|b| BindSource::Buffer(b.as_entire_buffer_binding()));
                buffer.or_else(|| u.textures.get(name).map(BindSource::Texture))
            })
        })
    }
}

/// Operands on the device, in the layouts that one variant wants.
#[derive(Debug, Default)]
pub struct Uploaded {
    buffers: HashMap<&'static str, wgpu::Buffer>,
    textures: HashMap<&'static str, wgpu::TextureView>,
}
