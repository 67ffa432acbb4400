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
    /// A buffer or an operand was not given.
    #[error("{shader}: nothing is bound to `{buffer}`")]
    Unbound {
        /// The shader's label, or `upload`.
        shader: String,
        /// The name that it is bound by.
        buffer: String,
    },
    /// A buffer or an operand has another size than the spec says.
    #[error("`{buffer}` takes {needed_bytes} B, but {given_bytes} B were given")]
    Size {
        /// The name that it is bound by.
        buffer: String,
        /// The size that the spec's shapes need.
        needed_bytes: u64,
        /// The size given.
        given_bytes: u64,
    },
    /// A buffer or an operand was given that nothing binds.
    #[error("there is no buffer `{buffer}` here; there are {known}")]
    UnknownBuffer {
        /// The name given.
        buffer: String,
        /// The names that there are.
        known: String,
    },
    /// A dispatch would write a buffer that it also has bound under another name.
    #[error("{shader}: `{written}` and `{other}` are the same buffer, and `{written}` is written")]
    Aliased {
        /// The shader's label.
        shader: String,
        /// The buffer that is written.
        written: String,
        /// The other.
        other: String,
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

impl GpuError {
    /// An operand that `upload` was not given.
    pub(crate) fn missing(operand: &str) -> Self {
        Self::Unbound { shader: "upload".into(), buffer: operand.into() }
    }
}

impl From<wgpu::PollError> for GpuError {
    fn from(e: wgpu::PollError) -> Self {
        GpuError::Lost(e.to_string())
    }
}
