//! What kernels run on: a GPU through wgpu, or this crate's executor.

use super::Cpu;
use crate::gpu::{Caps, Gpu};

/// A place to run kernels.
#[derive(Debug)]
pub enum Device {
    /// An adapter through wgpu.
    Gpu(Box<Gpu>),
    /// The CPU executor.
    Cpu(Cpu),
}

impl Device {
    /// What kernels are chosen by.
    pub fn caps(&self) -> &Caps {
        match self {
            Self::Gpu(gpu) => &gpu.caps,
            Self::Cpu(cpu) => &cpu.caps,
        }
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Gpu(gpu) => &gpu.info.name,
            Self::Cpu(_) => "cpu",
        }
    }
}
