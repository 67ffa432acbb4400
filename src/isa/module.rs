//! A lowered kernel as SPIR-V with its pipeline layout, all read from naga's module.

use naga::{AddressSpace, ArraySize, ImageClass, TypeInner};

use super::IsaError;
use super::worker::{Bound, Kind, Matrix, Module};
use crate::lower::{Checks, Lowered};

/// One compute entry point, ready to be compiled for any GPU.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What results are told apart by: `family/variant case`, or a file and its entry point.
    pub label: String,
    /// Workgroup memory by the module's types.
    pub shared_bytes: u64,
    /// Threads of a workgroup.
    pub workgroup: [u32; 3],
    pub(super) module: Module,
}

impl Kernel {
    /// The entry point `entry` of a lowered module.
    ///
    /// # Errors
    /// No such entry point, or a module that naga's SPIR-V back end refuses.
    pub fn new(label: String, lowered: &Lowered, entry: &str, checks: Checks) -> Result<Self, IsaError> {
        let failed = |e: &dyn std::fmt::Display| IsaError::Lower(format!("{label}: {e}"));
        let words = lowered.to_spirv(entry, checks).map_err(|e| failed(&e))?;
        let ix = lowered.entry_index(entry).map_err(|e| failed(&e))?;
        let workgroup = lowered.workgroup_size(entry).map_err(|e| failed(&e))?;
        let types = &lowered.module.types;
        let info = lowered.info.get_entry_point(ix);
        let used = lowered.module.global_variables.iter().filter(|(h, _)| !info[*h].is_empty());
        let mut bindings = Vec::new();
        let mut immediates = false;
        for (_, variable) in used {
            immediates |= variable.space == AddressSpace::Immediate;
            let Some(at) = variable.binding else { continue };
            let (inner, count) = match &types[variable.ty].inner {
                TypeInner::BindingArray { base, size } => {
                    let count = if let ArraySize::Constant(n) = size { n.get() } else { 1 };
                    (&types[*base].inner, count)
                }
                inner => (inner, 1),
            };
            let kind = match (variable.space, inner) {
                (AddressSpace::Uniform, _) => Kind::Uniform,
                (AddressSpace::Storage { .. }, _) => Kind::Storage,
                (_, TypeInner::Sampler { .. }) => Kind::Sampler,
                (_, TypeInner::Image { class: ImageClass::Storage { .. }, .. }) => Kind::StorageTexture,
                (_, TypeInner::Image { .. }) => Kind::Texture,
                _ => {
                    let name = variable.name.clone().unwrap_or_default();
                    return Err(failed(&format!("`{name}` is a resource that isa has no layout for")));
                }
            };
            bindings.push(Bound { group: at.group, binding: at.binding, count, kind });
        }
        let mut matrices = Vec::new();
        for (_, t) in types.iter() {
            if let TypeInner::CooperativeMatrix { columns, rows, scalar, role } = t.inner {
                let role = match role {
                    naga::CooperativeRole::A => 'A',
                    naga::CooperativeRole::B => 'B',
                    naga::CooperativeRole::C => 'C',
                };
                let float_bits = scalar.width * 8;
                matrices.push(Matrix { rows: rows as u32, columns: columns as u32, float_bits, role });
            }
        }
        let shared_bytes = lowered.workgroup_memory_bytes(ix);
        let module = Module { id: 0, words, entry: entry.into(), bindings, immediates, matrices };
        Ok(Self { label, shared_bytes, workgroup, module })
    }
}
