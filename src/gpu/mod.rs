//! Devices, capabilities, buffers, pipelines and timing on wgpu.
//!
//! [`Gpu`] is a device with what is known of it, opened here or adopted from an app. A [`Plan`] says in
//! data which shaders run over which named buffers; [`Gpu::bind`] turns it into a [`Recording`], which
//! goes into any compute pass. Only functions whose names end in `_blocking` submit work or wait.

mod caps;
mod error;
mod open;
mod pipeline;
mod plan;
mod timing;
mod transfer;

pub use caps::{Caps, CoopShape, DeviceClass, ScalarType};
pub use error::GpuError;
pub use open::{AdapterSummary, DeviceChoice, Gpu, adapters};
pub use pipeline::{BindSource, Language, Pipeline, Recording};
pub use plan::{BufferSpec, Dispatch, Plan, PrepareFn, Prepared, TextureSpec, grid, params_bytes};
pub use timing::{TimingMethod, Timings};
pub use wgpu;
