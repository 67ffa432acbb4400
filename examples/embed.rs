//! An app's own device, one matrix-vector product in the app's own encoder.
//!
//! `cargo run --release --example embed`. Everything from "The ten lines" on is what an app adds; the rest
//! is what it has anyway.

use half::f16;
use wgpu_marlin::gpu::Gpu;
use wgpu_marlin::kernels::{gemv, spec::Elem, weight_operands};
use wgpu_marlin::quant::{Format, GroupSize, Shape, quantize};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What the app has: an adapter, a device with the features it wants, buffers, an encoder, weights.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: adapter.features() & wanted,
        required_limits: adapter.limits(),
        ..Default::default()
    }))?;
    let (n, k) = (256, 512);
    let weights: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.731).sin()).collect();
    let x: Vec<f16> = (0..k).map(|i| f16::from_f32((i as f32 * 0.377).cos())).collect();
    let x_buffer = buffer(&device, 2 * k as u64);
    let y_buffer = buffer(&device, 4 * n as u64);
    queue.write_buffer(&x_buffer, 0, bytemuck::cast_slice(&x));

    // The ten lines. Only `bind` and `upload` allocate, and nothing submits.
    let gpu = Gpu::adopt(device.clone(), queue.clone(), Some(&adapter));
    let matrix = quantize(&weights, Shape::new(n, k)?, Format::Fp4, GroupSize::G32)?;
    let spec = gemv::Spec::new(matrix.spec(), matrix.tensor_scale(), 1, Elem::F16)?;
    let product = gemv::operation(&spec, &gpu.caps)?;
    let uploaded = product.upload(&gpu, &weight_operands(&matrix))?;
    let bindings = [("x", x_buffer.as_entire_buffer_binding()), ("y", y_buffer.as_entire_buffer_binding())];
    let recording = product.bind(&gpu, &[&uploaded], &bindings)?;
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    recording.encode(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    queue.submit([encoder.finish()]);

    // Read back and compare with the plain product of the quantized weights.
    let bytes = gpu.read_blocking(&y_buffer, 0, 4 * n as u64)?;
    let y: &[f32] = bytemuck::cast_slice(&bytes);
    let mut worst = 0.0f64;
    for (row, got) in y.iter().enumerate() {
        let terms = (0..k).map(|col| matrix.value(row, col) * x[col].to_f64());
        let (want, magnitude) = terms.fold((0.0, 0.0), |(s, m), t: f64| (s + t, m + t.abs()));
        worst = worst.max((f64::from(*got) - want).abs() / magnitude);
    }
    println!(
        "{} on {}: largest error {worst:.1e} of the sum of magnitudes",
        product.variant(),
        gpu.info.name
    );
    if worst > 1e-5 {
        return Err("the product is wrong".into());
    }
    Ok(())
}

fn buffer(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}
