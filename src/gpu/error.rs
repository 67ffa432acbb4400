//! What can go wrong with a device, as values.

use crate::lower::{ComposeError, LowerError};

/// Why a device could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No adapter of the wanted kind is present.
    #[error(
        "no GPU adapter found for `{wanted}`; install a driver (on Debian: `apt-get install \
         mesa-vulkan-drivers` for a software one), or use `--device cpu`"
    )]
    NoAdapter {
        /// What was asked for.
        wanted: String,
    },
    /// The choice of device is not understood.
    #[error(
        "unknown device `{given}`: expected auto, cpu, vulkan, metal, dx12 or an index of `marlin devices`"
    )]
    BadChoice {
        /// What was given.
        given: String,
    },
    /// The adapter gave no device.
    #[error("{adapter} gave no device: {message}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// The driver's or wgpu's message.
        message: String,
    },
    /// A shader could not be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// A Metal twin could not be composed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// wgpu's validation refused an object or a command.
    #[error("{what}: {message}")]
    Validation {
        /// What was being made.
        what: String,
        /// wgpu's message.
        message: String,
    },
    /// There is not enough memory.
    #[error("{what}: out of memory ({message})")]
    OutOfMemory {
        /// What was being made.
        what: String,
        /// wgpu's message.
        message: String,
    },
    /// The device was lost.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// A shader variable has no buffer.
    #[error("{shader}: nothing is bound to `{variable}`")]
    Unbound {
        /// The shader's label.
        shader: String,
        /// The WGSL variable.
        variable: String,
    },
    /// Something exceeds a limit of the device.
    #[error("{what} needs {needed}, but the device allows {allowed}")]
    Limit {
        /// What needs it.
        what: String,
        /// The amount with its unit.
        needed: String,
        /// The limit with its unit.
        allowed: String,
    },
    /// The shader needs a feature that the device lacks.
    #[error("{what} needs {feature}, which this device lacks")]
    Missing {
        /// What needs it.
        what: String,
        /// The feature's name in WebGPU's or wgpu's terms.
        feature: &'static str,
    },
}

impl From<wgpu::PollError> for GpuError {
    fn from(e: wgpu::PollError) -> Self {
        GpuError::Lost(e.to_string())
    }
}
