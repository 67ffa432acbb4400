//! A plan bound on the page's device: one run between sentinels, and many for a time.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use wasm_bindgen::prelude::*;
use wgpu_marlin::gpu::{BindSource, Gpu, Language, Plan, Recording, wgpu};
use wgpu_marlin::kernels::spec::Problem;
use wgpu_marlin::lower::Checks;

/// Bytes of sentinel before and after each output: one binding alignment.
const GUARD_BYTES: usize = 256;
const SENTINEL: u8 = 0xA5;
/// What outputs hold before a run: NaN as f16 and f32.
const UNWRITTEN: u8 = 0xFF;
/// Most dispatches of one pass: a browser may take a device away that does not answer for seconds.
const MOST_RUNS: u32 = 4096;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub(crate) fn now_ms() -> f64;
}

/// A plan with its problem's buffers.
pub(crate) struct Bound<'a> {
    gpu: &'a Gpu,
    problem: &'a Problem,
    outputs: Vec<wgpu::Buffer>,
    recording: Recording,
}

impl<'a> Bound<'a> {
    /// Uploads and binds; what the browser says against it is the error.
    pub(crate) async fn new(gpu: &'a Gpu, problem: &'a Problem, plan: &Plan) -> Result<Self, String> {
        scoped(gpu, || Self::bind(gpu, problem, plan)).await?
    }

    fn bind(gpu: &'a Gpu, problem: &'a Problem, plan: &Plan) -> Result<Self, String> {
        let said = |e: wgpu_marlin::gpu::GpuError| e.to_string();
        let language = Language::Wgsl(Checks::Checked);
        let bound = gpu.bound_names(plan, language).map_err(said)?;
        let operand = |name: &str| problem.input(name).map(|b| &b[..]);
        let mut buffers = HashMap::new();
        for (name, bytes) in plan.prepare(operand).map_err(said)? {
            buffers.insert(name, gpu.create_buffer_with(name, &bytes).map_err(said)?);
        }
        for input in problem.inputs.iter().filter(|i| bound.contains(i.name)) {
            if !buffers.contains_key(input.name) {
                buffers.insert(input.name, gpu.create_buffer_with(input.name, &input.bytes).map_err(said)?);
            }
        }
        for spec in &plan.scratch {
            let bytes = vec![UNWRITTEN; spec.size_bytes.next_multiple_of(4) as usize];
            buffers.insert(spec.name, gpu.create_buffer_with(spec.name, &bytes).map_err(said)?);
        }
        let mut outputs = Vec::new();
        for output in &problem.outputs {
            let size = output.size_bytes().next_multiple_of(4);
            let mut bytes = vec![SENTINEL; GUARD_BYTES];
            bytes.resize(GUARD_BYTES + size, UNWRITTEN);
            bytes.resize(GUARD_BYTES + size + GUARD_BYTES, SENTINEL);
            outputs.push(gpu.create_buffer_with(output.name, &bytes).map_err(said)?);
        }
        let mut textures = HashMap::new();
        for spec in &plan.textures {
            let bytes = operand(spec.from).ok_or("a texture of an operand that there is not")?;
            textures.insert(spec.name, gpu.create_texture(spec, bytes).map_err(said)?);
        }
        let recording = gpu
            .bind(plan, language, &|name| {
                if let Some(ix) = problem.outputs.iter().position(|o| o.name == name) {
                    let size = problem.outputs[ix].size_bytes().next_multiple_of(4) as u64;
                    return Some(BindSource::Buffer(wgpu::BufferBinding {
                        buffer: &outputs[ix],
                        offset: GUARD_BYTES as u64,
                        size: wgpu::BufferSize::new(size),
                    }));
                }
                if let Some(view) = textures.get(name) {
                    return Some(BindSource::Texture(view));
                }
                Some(BindSource::Buffer(buffers.get(name)?.as_entire_buffer_binding()))
            })
            .map_err(said)?;
        Ok(Bound { gpu, problem, outputs, recording })
    }

    /// Runs once and reads every output back, whose guards must stand.
    pub(crate) async fn run(&self) -> Result<Vec<Vec<u8>>, String> {
        self.submit(1).await?;
        let mut outputs = Vec::new();
        for (output, buffer) in self.problem.outputs.iter().zip(&self.outputs) {
            let bytes = read(self.gpu, buffer).await?;
            let size = output.size_bytes();
            let end = GUARD_BYTES + size.next_multiple_of(4);
            let stands = |guard: &[u8]| guard.iter().all(|b| *b == SENTINEL);
            if !stands(&bytes[..GUARD_BYTES]) || !stands(&bytes[end..]) {
                return Err(format!("`{}` was written outside its bounds", output.name));
            }
            outputs.push(bytes[GUARD_BYTES..GUARD_BYTES + size].to_vec());
        }
        Ok(outputs)
    }

    /// Nanoseconds of one run: the difference between many and few in a pass, so that what a submission costs drops out.
    pub(crate) async fn time_ns(&self, budget_ms: f64) -> Result<f64, String> {
        let timed = async |runs: u32| -> Result<f64, String> {
            let start = now_ms();
            self.submit(runs).await?;
            read(self.gpu, &self.outputs[0]).await?;
            Ok(now_ms() - start)
        };
        let mut runs = 2;
        loop {
            let few_ms = timed(1).await?;
            let many_ms = timed(runs).await?;
            if many_ms - few_ms >= budget_ms || runs >= MOST_RUNS {
                return Ok((many_ms - few_ms).max(0.0) * 1e6 / f64::from(runs - 1));
            }
            runs *= 2;
        }
    }

    async fn submit(&self, runs: u32) -> Result<(), String> {
        scoped(self.gpu, || {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for _ in 0..runs {
                self.recording.encode(&mut pass);
            }
            drop(pass);
            self.gpu.queue.submit([encoder.finish()]);
        })
        .await
    }
}

/// Runs `make` in error scopes, and waits for what they caught.
async fn scoped<T>(gpu: &Gpu, make: impl FnOnce() -> T) -> Result<T, String> {
    use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
    let scopes = [OutOfMemory, Internal, Validation].map(|f| gpu.device.push_error_scope(f));
    let made = make();
    let mut first = None;
    for scope in scopes.into_iter().rev().map(|s| s.pop()).collect::<Vec<_>>() {
        let error = scope.await;
        first = first.or(error);
    }
    first.map_or(Ok(made), |e| Err(e.to_string()))
}

/// A buffer's bytes, when the device has come to it.
async fn read(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<u8>, String> {
    let staging = scoped(gpu, || {
        let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        gpu.queue.submit([encoder.finish()]);
        staging
    })
    .await?;
    type Slot = (Option<Result<(), wgpu::BufferAsyncError>>, Option<Waker>);
    let slot: Arc<Mutex<Slot>> = Arc::default();
    let given = slot.clone();
    staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
        let mut slot = given.lock().expect("no panic while locked");
        slot.0 = Some(result);
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    });
    let answer = poll_fn(move |context| {
        let mut slot = slot.lock().expect("no panic while locked");
        slot.0.take().map_or_else(
            || {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            },
            Poll::Ready,
        )
    });
    answer.await.map_err(|e| format!("the device did not answer: {e}"))?;
    let view = staging.slice(..).get_mapped_range().map_err(|e| e.to_string())?;
    Ok(view.to_vec())
}
