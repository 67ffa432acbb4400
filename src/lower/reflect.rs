//! What an entry point binds: read from the lowered module, so that no host code repeats it.

use super::Lowered;

/// How an entry point uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// What kind of resource a binding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A storage buffer.
    Storage(Access),
    /// A uniform buffer.
    Uniform,
    /// A sampled 2-D texture, read with `textureLoad`.
    Texture,
}

/// One resource variable of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The variable's name: what operands are matched by.
    pub name: String,
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// What kind of resource it is.
    pub resource: Resource,
    /// The least size in bytes: one element of a runtime array counted. `u64::MAX` for one that naga can't count.
    pub min_size_bytes: u64,
}

impl Lowered {
    /// The resources that an entry point uses, in (group, binding) order.
    ///
    /// Resources of kinds that this crate does not bind (samplers, storage textures) are left out; a
    /// module that uses them is refused when its pipeline is made.
    pub fn bindings(&self, entry_ix: usize) -> Vec<Binding> {
        let info = self.info.get_entry_point(entry_ix);
        let mut bindings: Vec<Binding> = self
            .module
            .global_variables
            .iter()
            .filter(|(handle, _)| !info[*handle].is_empty())
            .filter_map(|(_, var)| {
                let at = var.binding?;
                let inner = &self.module.types[var.ty].inner;
                let resource = match (var.space, inner) {
                    (naga::AddressSpace::Uniform, _) => Resource::Uniform,
                    (naga::AddressSpace::Storage { access }, _) => {
                        let writes = access.contains(naga::StorageAccess::STORE);
                        Resource::Storage(if writes { Access::ReadWrite } else { Access::Read })
                    }
                    (
                        naga::AddressSpace::Handle,
                        naga::TypeInner::Image {
                            dim: naga::ImageDimension::D2,
                            arrayed: false,
                            class: naga::ImageClass::Sampled { multi: false, .. },
                        },
                    ) => Resource::Texture,
                    _ => return None,
                };
                Some(Binding {
                    name: var.name.clone().unwrap_or_default(),
                    group: at.group,
                    binding: at.binding,
                    resource,
                    min_size_bytes: inner.try_size(self.module.to_ctx()).map_or(u64::MAX, u64::from),
                })
            })
            .collect();
        bindings.sort_by_key(|b| (b.group, b.binding));
        bindings
    }
}

impl Lowered {
    /// The variables with a runtime array, in order of declaration: what the sizes buffer of
    /// [`Msl`](super::Msl) has a word for.
    pub fn runtime_sized(&self) -> Vec<String> {
        let types = &self.module.types;
        let is_sized = |var: &naga::GlobalVariable| match types[var.ty].inner {
            naga::TypeInner::Array { size, .. } => size == naga::ArraySize::Dynamic,
            naga::TypeInner::Struct { ref members, .. } => members.last().is_some_and(|m| {
                matches!(types[m.ty].inner, naga::TypeInner::Array { size: naga::ArraySize::Dynamic, .. })
            }),
            _ => false,
        };
        let sized = self.module.global_variables.iter().filter(|(_, var)| is_sized(var));
        sized.map(|(_, var)| var.name.clone().unwrap_or_default()).collect()
    }
}

impl Lowered {
    /// Bytes of workgroup memory that an entry point uses; arrays whose length is an override without value count
    /// nothing.
    pub fn workgroup_memory_bytes(&self, entry_ix: usize) -> u64 {
        self.workgroup_variables(entry_ix).fold(0, u64::saturating_add)
    }

    /// Bytes of each workgroup variable that an entry point uses; `u64::MAX` for one that naga can't count.
    fn workgroup_variables(&self, entry_ix: usize) -> impl Iterator<Item = u64> {
        let info = self.info.get_entry_point(entry_ix);
        self.module
            .global_variables
            .iter()
            .filter(|(handle, var)| var.space == naga::AddressSpace::WorkGroup && !info[*handle].is_empty())
            .map(|(_, var)| {
                self.module.types[var.ty].inner.try_size(self.module.to_ctx()).map_or(u64::MAX, u64::from)
            })
    }
}

/// What an entry point asks of a device beyond its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// Bytes of workgroup memory as WebGPU counts them: each variable rounded up to 16.
    pub workgroup_bytes: u64,
    /// The workgroup's size.
    pub workgroup_size: [u32; 3],
    /// Storage buffers that it binds.
    pub storage_buffers: u32,
    /// The module has 16-bit floats.
    pub f16: bool,
    /// The module has subgroup operations.
    pub subgroups: bool,
    /// The module has cooperative matrices.
    pub coop: bool,
}

impl Lowered {
    /// What a compute entry point asks of a device.
    ///
    /// # Errors
    /// There is no such entry point.
    pub fn demands(&self, entry: &str) -> Result<Demands, super::LowerError> {
        let ix = self.entry_index(entry)?;
        let module = &self.module;
        let workgroup_bytes = self
            .workgroup_variables(ix)
            .map(|bytes| bytes.checked_next_multiple_of(16).unwrap_or(u64::MAX))
            .fold(0, u64::saturating_add);
        let bindings = self.bindings(ix);
        let storage = bindings.iter().filter(|b| matches!(b.resource, Resource::Storage(_))).count();
        let half = naga::Scalar { kind: naga::ScalarKind::Float, width: 2 };
        let inners = || module.types.iter().map(|(_, ty)| &ty.inner);
        let functions = module.entry_points.iter().map(|e| &e.function);
        let mut functions = functions.chain(module.functions.iter().map(|(_, f)| f));
        Ok(Demands {
            workgroup_bytes,
            workgroup_size: module.entry_points[ix].workgroup_size,
            storage_buffers: storage as u32,
            f16: inners().any(|inner| inner.scalar() == Some(half)),
            subgroups: functions.any(uses_subgroups),
            coop: inners().any(|inner| matches!(inner, naga::TypeInner::CooperativeMatrix { .. })),
        })
    }
}

/// Whether a function has subgroup operations or asks for its place in a subgroup.
fn uses_subgroups(function: &naga::Function) -> bool {
    use naga::BuiltIn::{NumSubgroups, SubgroupId, SubgroupInvocationId, SubgroupSize};
    let built_in = |binding: &naga::Binding| {
        matches!(
            binding,
            naga::Binding::BuiltIn(NumSubgroups | SubgroupId | SubgroupInvocationId | SubgroupSize)
        )
    };
    function.arguments.iter().any(|a| a.binding.as_ref().is_some_and(built_in))
        || function.expressions.iter().any(|(_, e)| {
            matches!(
                e,
                naga::Expression::SubgroupBallotResult | naga::Expression::SubgroupOperationResult { .. }
            )
        })
}
