//! What the public operations of all rooms are made of: a variant chosen for a device, operands uploaded
//! once, a recording for the caller's pass.
//!
//! An operation goes through four steps, each explicit: choose (no device needed), upload (allocates and
//! fills buffers), bind (makes pipelines and bind groups), encode ([`Recording::encode`]). None submits.

use std::collections::HashMap;

use super::spec::{Refusal, Variant};
use crate::gpu::{BindSource, Caps, Gpu, GpuError, Language, Plan, Recording, Scratch};
use crate::lower::Checks;

/// A variant chosen for a spec and a device.
#[derive(Clone, Debug)]
pub struct Operation {
    variant: &'static str,
    plan: Plan,
}

impl Operation {
    /// The first of the variants named in `order` that can run. The refusal names all and why.
    pub(super) fn choose<S>(
        variants: &[Variant<S>],
        order: &[&str],
        spec: &S,
        caps: &Caps,
    ) -> Result<Self, Refusal> {
        let mut reasons = Vec::new();
        for name in order {
            let Some(v) = variants.iter().find(|v| v.name == *name) else {
                reasons.push(format!("{name}: no such variant"));
                continue;
            };
            match (v.plan)(spec, caps) {
                Ok(plan) => return Ok(Self { variant: v.name, plan }),
                Err(refusal) => reasons.push(format!("{name}: {refusal}")),
            }
        }
        Err(Refusal(format!("no variant can run: {}", reasons.join("; "))))
    }

    /// The variant's name.
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    /// Buffers that the caller must own and pass to `bind`: they hold intermediate results while the
    /// recording runs, and may be shared by operations that do not overlap.
    pub fn scratch(&self) -> &[Scratch] {
        &self.plan.scratch
    }

    /// Uploads operands that stay the same from run to run, in the layouts that the variant wants.
    pub fn upload(&self, gpu: &Gpu, operands: &[(&'static str, &[u8])]) -> Result<Uploaded, GpuError> {
        let find = |name: &str| operands.iter().find(|(n, _)| *n == name).map(|(_, b)| *b);
        let unbound = |variable: &str| GpuError::Unbound {
            shader: self.variant.to_string(),
            variable: variable.to_string(),
        };
        let bound = gpu.bound_names(&self.plan, Language::Wgsl(Checks::Unchecked))?;
        let prepared = self.plan.prepare(find).map_err(unbound)?;
        let mut uploaded = Uploaded::default();
        let plain = operands.iter().map(|(name, bytes)| (*name, *bytes));
        for (name, bytes) in plain.chain(prepared.iter().map(|(n, b)| (*n, &b[..]))) {
            if bound.contains(name) {
                uploaded.buffers.insert(name, gpu.create_buffer_with(name, bytes)?);
            }
        }
        for spec in &self.plan.textures {
            let bytes = find(spec.from).ok_or_else(|| unbound(spec.from))?;
            uploaded.textures.insert(spec.name, gpu.create_texture(spec, bytes)?);
        }
        Ok(uploaded)
    }

    /// Binds uploaded operands and the caller's buffers. `buffers` has the operands that change from run to
    /// run, the outputs, and the scratch buffers, by name.
    pub fn bind(
        &self,
        gpu: &Gpu,
        uploaded: &[&Uploaded],
        buffers: &[(&str, wgpu::BufferBinding<'_>)],
    ) -> Result<Recording, GpuError> {
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
