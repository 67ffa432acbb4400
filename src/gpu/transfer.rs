//! Buffers and textures: made, filled and read back.

use super::{Gpu, GpuError, TextureSpec};

/// Bytes that are read back at once: bounds the staging buffer.
#[cfg(not(target_arch = "wasm32"))]
const READ_CHUNK_BYTES: u64 = 128 << 20;

impl Gpu {
    /// A storage buffer of `size_bytes` rounded up to 4, not filled, that can be copied from and to.
    pub fn create_buffer(&self, label: &str, size_bytes: u64) -> Result<wgpu::Buffer, GpuError> {
        self.check_size(label, size_bytes)?;
        self.catch(label, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size_bytes.max(4).next_multiple_of(4),
                usage: storage_usage(),
                mapped_at_creation: false,
            })
        })
    }

    /// A storage buffer with the given bytes, padded with zeros to a multiple of 4.
    pub fn create_buffer_with(&self, label: &str, bytes: &[u8]) -> Result<wgpu::Buffer, GpuError> {
        self.create_filled(label, bytes, storage_usage())
    }

    pub(super) fn create_uniform(&self, label: &str, bytes: &[u8]) -> Result<wgpu::Buffer, GpuError> {
        self.create_filled(label, bytes, wgpu::BufferUsages::UNIFORM)
    }

    fn create_filled(
        &self,
        label: &str,
        bytes: &[u8],
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, GpuError> {
        let size = (bytes.len() as u64).max(4).next_multiple_of(4);
        self.check_size(label, size)?;
        let buffer = self.catch(label, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: true,
            })
        })?;
        // A mapped range is a multiple of 4 long.
        let mut padded = std::borrow::Cow::Borrowed(bytes);
        if bytes.len() as u64 != size {
            padded.to_mut().resize(size as usize, 0);
        }
        match buffer.slice(..).get_mapped_range_mut() {
            Ok(mut view) => view.copy_from_slice(&padded),
            Err(e) => {
                return Err(GpuError::OutOfMemory { what: label.to_string(), message: e.to_string() });
            }
        }
        buffer.unmap();
        Ok(buffer)
    }

    fn check_size(&self, label: &str, size_bytes: u64) -> Result<(), GpuError> {
        if size_bytes > self.caps.max_buffer_bytes {
            return Err(GpuError::Limit {
                what: format!("buffer `{label}`"),
                needed: format!("{size_bytes} B"),
                allowed: format!("{} B", self.caps.max_buffer_bytes),
            });
        }
        Ok(())
    }

    /// A 2-D texture with the given texels, row by row. The upload is queued, not submitted.
    pub fn create_texture(&self, spec: &TextureSpec, texels: &[u8]) -> Result<wgpu::TextureView, GpuError> {
        let side = self.caps.max_texture_side;
        if spec.width > side || spec.height > side {
            return Err(GpuError::Limit {
                what: format!("texture `{}`", spec.name),
                needed: format!("{}×{} texels", spec.width, spec.height),
                allowed: format!("{side}×{side}"),
            });
        }
        let size = wgpu::Extent3d { width: spec.width, height: spec.height, depth_or_array_layers: 1 };
        let bytes_per_texel = spec.format.block_copy_size(None).unwrap_or(4);
        self.catch(spec.name, || {
            let texture = self.device.create_texture(&wgpu::TextureDescriptor {
                label: Some(spec.name),
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: spec.format,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            let layout = wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(spec.width * bytes_per_texel),
                rows_per_image: None,
            };
            self.queue.write_texture(texture.as_image_copy(), texels, layout, size);
            texture.create_view(&wgpu::TextureViewDescriptor::default())
        })
    }

    /// Reads `size_bytes` from `offset` (both multiples of 4) of a buffer. Submits and waits.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        size_bytes: u64,
    ) -> Result<Vec<u8>, GpuError> {
        let mut bytes = Vec::with_capacity(size_bytes as usize);
        if size_bytes == 0 {
            return Ok(bytes);
        }
        let chunk = size_bytes.min(READ_CHUNK_BYTES);
        let staging = self.catch("read-back", || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: chunk,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        let mut done = 0;
        while done < size_bytes {
            let n = chunk.min(size_bytes - done);
            self.submit_blocking("read-back", |encoder| {
                encoder.copy_buffer_to_buffer(buffer, offset + done, &staging, 0, n);
            })?;
            let (send, receive) = std::sync::mpsc::channel();
            let slice = staging.slice(..n);
            slice.map_async(wgpu::MapMode::Read, move |r| drop(send.send(r)));
            self.device.poll(wgpu::PollType::wait_indefinitely())?;
            match receive.recv() {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(GpuError::Lost(e.to_string())),
                Err(e) => return Err(GpuError::Lost(e.to_string())),
            }
            let view = slice.get_mapped_range().map_err(|e| GpuError::Lost(e.to_string()))?;
            bytes.extend_from_slice(&view);
            drop(view);
            staging.unmap();
            done += n;
        }
        Ok(bytes)
    }

    /// Encodes with `encode`, submits, waits, and returns errors that came up meanwhile.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn submit_blocking(
        &self,
        what: &str,
        encode: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<(), GpuError> {
        self.catch(what, || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some(what) };
            let mut encoder = self.device.create_command_encoder(&descriptor);
            encode(&mut encoder);
            self.queue.submit([encoder.finish()]);
        })?;
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let mut stray = self.stray_errors.lock().expect("no panic while locked");
        match stray.drain(..).next() {
            Some(e) => Err(GpuError::Lost(e)),
            None => Ok(()),
        }
    }

    /// Runs a recording in a compute pass of its own, and waits.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, recording: &super::Recording) -> Result<(), GpuError> {
        self.submit_blocking("run", |encoder| {
            recording.encode(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        })
    }
}

fn storage_usage() -> wgpu::BufferUsages {
    wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST
}
