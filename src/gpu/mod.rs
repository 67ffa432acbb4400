//! Devices, capabilities, buffers, pipelines and timing on wgpu.
