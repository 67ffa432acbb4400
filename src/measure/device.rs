//! What kernels run on: a GPU through wgpu, or this crate's executor.

use crate::gpu::{Caps, Gpu};

/// A place to run kernels.
#[derive(Debug)]
pub enum Device {
    /// An adapter through wgpu.
    Gpu(Box<Gpu>),
}

impl Device {
    /// What kernels are chosen by.
    pub fn caps(&self) -> &Caps {
        match self {
            Self::Gpu(gpu) => &gpu.caps,
        }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Gpu(gpu) => &gpu.info.name,
        }
    }
}
