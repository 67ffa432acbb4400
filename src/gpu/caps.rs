//! What a device can do, as plain data: kernels choose or refuse by this alone.

/// Element types of cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScalarType {
    /// 16-bit float.
    F16,
    /// 32-bit float.
    F32,
}

/// A cooperative-matrix product `C[m,n] += A[m,k]·B[k,n]` that a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoopShape {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// Element type of A and B.
    pub ab: ScalarType,
    /// Element type of C.
    pub c: ScalarType,
}

/// What runs the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// A GPU with its own memory.
    DiscreteGpu,
    /// A GPU that shares memory with the CPU, as all of Apple's do.
    IntegratedGpu,
    /// A GPU in a virtual machine, or one of unknown kind.
    OtherGpu,
    /// A driver that computes on the CPU (llvmpipe, SwiftShader): its times say nothing about GPUs.
    Software,
    /// This crate's own executor.
    Executor,
}

/// Capabilities that kernels are chosen or refused by.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// What runs the work.
    pub class: DeviceClass,
    /// WGSL `f16`.
    pub f16: bool,
    /// WGSL `i16`/`u16` (naga's `wgpu_int16`).
    pub int16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Lanes of a subgroup, where it is one known number; measured by a probe where the driver only
    /// reports a range.
    pub subgroup_size: Option<u32>,
    /// Cooperative-matrix shapes.
    pub coop: Vec<CoopShape>,
    /// Workgroup memory in bytes.
    pub max_workgroup_memory: u32,
    /// Invocations per workgroup.
    pub max_invocations: u32,
    /// Invocations per workgroup in each dimension.
    pub max_workgroup_size: [u32; 3],
    /// Storage buffers that one shader can bind.
    pub max_storage_buffers: u32,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Largest 2-D texture side in texels.
    pub max_texture_side: u32,
    /// Workgroups per dimension of a dispatch.
    pub max_workgroups: u32,
    /// Timestamps at the boundaries of compute passes.
    pub timestamps: bool,
    /// Metal source can be passed through.
    pub msl: bool,
}

impl Caps {
    /// What an Apple GPU of family 7 or later offers through wgpu: for lowering, auditing and testing without
    /// one.
    pub fn apple() -> Self {
        let coop = |ab, c| CoopShape { m: 8, n: 8, k: 8, ab, c };
        Self {
            class: DeviceClass::IntegratedGpu,
            f16: true,
            int16: true,
            subgroups: true,
            subgroup_size: Some(32),
            coop: vec![
                coop(ScalarType::F16, ScalarType::F16),
                coop(ScalarType::F16, ScalarType::F32),
                coop(ScalarType::F32, ScalarType::F32),
            ],
            max_workgroup_memory: 32 << 10,
            max_invocations: 1024,
            max_workgroup_size: [1024; 3],
            max_storage_buffers: 31,
            max_binding_bytes: 4 << 30,
            max_buffer_bytes: 4 << 30,
            max_texture_side: 16_384,
            max_workgroups: 65_535,
            timestamps: true,
            msl: true,
        }
    }

    /// The least that a WebGPU device may offer: the default limits and no optional feature.
    pub fn webgpu_defaults() -> Self {
        Self {
            class: DeviceClass::OtherGpu,
            f16: false,
            int16: false,
            subgroups: false,
            subgroup_size: None,
            coop: Vec::new(),
            max_workgroup_memory: 16 << 10,
            max_invocations: 256,
            max_workgroup_size: [256, 256, 64],
            max_storage_buffers: 8,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            max_texture_side: 8192,
            max_workgroups: 65_535,
            timestamps: false,
            msl: false,
        }
    }

    /// Whether subgroup kernels written for `width` lanes can run: the real width is known and equal.
    pub fn has_subgroup_size(&self, width: u32) -> bool {
        self.subgroups && self.subgroup_size == Some(width)
    }

    /// Whether a cooperative-matrix shape is offered.
    pub fn has_coop(&self, m: u32, n: u32, k: u32, ab: ScalarType, c: ScalarType) -> bool {
        self.coop.contains(&CoopShape { m, n, k, ab, c })
    }
}
