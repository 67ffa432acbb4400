//! Where the example runs: an app's encoder on a GPU, or the CPU executor. Both take the same operations.

use std::collections::HashMap;

use wgpu_marlin::exec::{self, Kernel};
use wgpu_marlin::gpu::{Caps, Gpu};
use wgpu_marlin::kernels::op::{Operation, Uploaded};
use wgpu_marlin::measure::{Cpu, HostOperands};

/// Anything that went wrong.
pub(crate) type Error = Box<dyn std::error::Error>;
/// Its result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The app's own kernels.
const APP: &str = include_str!("app.wgsl");
/// Their entry points.
const APP_KERNELS: [&str; 7] = ["norm", "norm16", "add", "swiglu", "swiglu16", "store", "store16"];
/// Invocations of their workgroups.
const APP_WORKGROUP: u32 = 64;

/// Bindings of an app kernel's buffers: `a`, `b` if there are three, `result` or `packed`.
fn app_slots(entry: &str, n_buffers: usize) -> &'static [u32] {
    match (n_buffers, entry.ends_with("16")) {
        (3, _) => &[1, 2, 3],
        (_, false) => &[1, 3],
        (_, true) => &[1, 4],
    }
}

/// Workgroups of an app kernel.
fn app_workgroups(entry: &str, rows: u32, columns: u32) -> u32 {
    let invocations = match entry {
        "norm" | "norm16" => rows,
        "swiglu16" | "store16" => rows * columns / 2,
        _ => rows * columns,
    };
    invocations.div_ceil(APP_WORKGROUP)
}

/// What the example needs of a place to run.
pub(crate) trait Device {
    /// Memory for f32 or u32.
    type Buffer;
    /// Weights of one operation.
    type Operands;
    /// What is recorded before it runs.
    type Step;

    fn caps(&self) -> &Caps;
    fn buffer(&self, size_bytes: u64) -> Result<Self::Buffer>;
    fn write(&self, buffer: &Self::Buffer, bytes: &[u8]);
    fn read(&self, buffer: &Self::Buffer) -> Result<Vec<u8>>;
    fn upload(&self, operation: &Operation, operands: &[(&'static str, &[u8])]) -> Result<Self::Operands>;
    fn begin(&self) -> Self::Step;
    /// Records an operation, with scratch of its own.
    fn run(
        &self,
        step: &mut Self::Step,
        operation: &Operation,
        weights: Option<&Self::Operands>,
        buffers: &[(&str, &Self::Buffer)],
    ) -> Result<()>;
    /// Records a kernel of the app over `rows` by `columns` results.
    fn app(
        &self,
        step: &mut Self::Step,
        entry: &'static str,
        buffers: &[&Self::Buffer],
        rows: u32,
        columns: u32,
    ) -> Result<()>;
    fn copy(&self, step: &mut Self::Step, from: &Self::Buffer, to: &Self::Buffer, at: u64, size_bytes: u64);
    fn submit(&self, step: Self::Step) -> Result<()>;
}

/// A device of the app, as it would be in an engine: everything of a step goes into one encoder.
pub(crate) struct GpuDevice {
    gpu: Gpu,
    kernels: HashMap<&'static str, wgpu::ComputePipeline>,
}

impl GpuDevice {
    pub(crate) fn new(gpu: Gpu) -> Result<Self> {
        let source = wgpu::ShaderSource::Wgsl(APP.into());
        let module =
            gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("app"), source });
        let pipeline = |entry: &'static str| {
            let descriptor = wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: Default::default(),
                cache: None,
            };
            (entry, gpu.device.create_compute_pipeline(&descriptor))
        };
        let kernels = APP_KERNELS.map(pipeline).into();
        Ok(Self { gpu, kernels })
    }
}

impl Device for GpuDevice {
    type Buffer = wgpu::Buffer;
    type Operands = Uploaded;
    type Step = wgpu::CommandEncoder;

    fn caps(&self) -> &Caps {
        &self.gpu.caps
    }

    fn buffer(&self, size_bytes: u64) -> Result<wgpu::Buffer> {
        Ok(self.gpu.create_buffer("moe_block", size_bytes)?)
    }

    fn write(&self, buffer: &wgpu::Buffer, bytes: &[u8]) {
        self.gpu.queue.write_buffer(buffer, 0, bytes);
    }

    fn read(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>> {
        Ok(self.gpu.read_blocking(buffer, 0, buffer.size())?)
    }

    fn upload(&self, operation: &Operation, operands: &[(&'static str, &[u8])]) -> Result<Uploaded> {
        Ok(operation.upload(&self.gpu, operands)?)
    }

    fn begin(&self) -> wgpu::CommandEncoder {
        self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    fn run(
        &self,
        step: &mut wgpu::CommandEncoder,
        operation: &Operation,
        weights: Option<&Uploaded>,
        buffers: &[(&str, &wgpu::Buffer)],
    ) -> Result<()> {
        // An engine would keep these and share them between operations.
        let mut scratch = Vec::new();
        for spec in operation.scratch() {
            scratch.push((spec.name, self.gpu.create_buffer(spec.name, spec.size_bytes)?));
        }
        let scratch = scratch.iter().map(|(name, buffer)| (*name, buffer));
        let bindings: Vec<(&str, wgpu::BufferBinding<'_>)> =
            buffers.iter().copied().chain(scratch).map(|(n, b)| (n, b.as_entire_buffer_binding())).collect();
        let weights: Vec<&Uploaded> = weights.into_iter().collect();
        let recording = operation.bind(&self.gpu, &weights, &bindings)?;
        recording.encode(&mut step.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        Ok(())
    }

    fn app(
        &self,
        step: &mut wgpu::CommandEncoder,
        entry: &'static str,
        buffers: &[&wgpu::Buffer],
        rows: u32,
        columns: u32,
    ) -> Result<()> {
        let params = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: 8,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.gpu.queue.write_buffer(&params, 0, bytemuck::cast_slice(&[rows, columns]));
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() }];
        for (&binding, buffer) in app_slots(entry, buffers.len()).iter().zip(buffers) {
            entries.push(wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
        }
        let pipeline = &self.kernels[entry];
        let group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(entry),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut pass = step.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(app_workgroups(entry, rows, columns), 1, 1);
        Ok(())
    }

    fn copy(
        &self,
        step: &mut wgpu::CommandEncoder,
        from: &wgpu::Buffer,
        to: &wgpu::Buffer,
        at: u64,
        size_bytes: u64,
    ) {
        step.copy_buffer_to_buffer(from, 0, to, at, size_bytes);
    }

    fn submit(&self, step: wgpu::CommandEncoder) -> Result<()> {
        self.gpu.queue.submit([step.finish()]);
        Ok(())
    }
}

/// The CPU executor: runs at once what a GPU would record.
pub(crate) struct CpuDevice {
    cpu: Cpu,
    kernels: HashMap<&'static str, Kernel>,
}

impl CpuDevice {
    pub(crate) fn new(cpu: Cpu) -> Result<Self> {
        let lowered =
            wgpu_marlin::lower::Lowered::new(wgpu_marlin::lower::Composed::verbatim("app.wgsl", APP))?;
        let mut kernels = HashMap::new();
        for entry in APP_KERNELS {
            kernels.insert(entry, Kernel::new(&lowered.module, &lowered.info, entry, &Default::default())?);
        }
        Ok(Self { cpu, kernels })
    }
}

impl Device for CpuDevice {
    type Buffer = exec::Buffer;
    type Operands = HostOperands;
    type Step = ();

    fn caps(&self) -> &Caps {
        &self.cpu.caps
    }

    fn buffer(&self, size_bytes: u64) -> Result<exec::Buffer> {
        Ok(exec::Buffer::zeroed(size_bytes as usize))
    }

    fn write(&self, buffer: &exec::Buffer, bytes: &[u8]) {
        buffer.write(0, bytes);
    }

    fn read(&self, buffer: &exec::Buffer) -> Result<Vec<u8>> {
        Ok(buffer.to_bytes())
    }

    fn upload(&self, operation: &Operation, operands: &[(&'static str, &[u8])]) -> Result<HostOperands> {
        Ok(self.cpu.upload(operation, operands)?)
    }

    fn begin(&self) {}

    fn run(
        &self,
        (): &mut (),
        operation: &Operation,
        weights: Option<&HostOperands>,
        buffers: &[(&str, &exec::Buffer)],
    ) -> Result<()> {
        let scratch: Vec<(&str, exec::Buffer)> = operation
            .scratch()
            .iter()
            .map(|spec| (spec.name, exec::Buffer::zeroed(spec.size_bytes as usize)))
            .collect();
        let scratch = scratch.iter().map(|(name, buffer)| (*name, buffer));
        let bindings: Vec<(&str, &exec::Buffer)> = buffers.iter().copied().chain(scratch).collect();
        let weights: Vec<&HostOperands> = weights.into_iter().collect();
        self.cpu.run_operation(operation, &weights, &bindings)?;
        Ok(())
    }

    fn app(
        &self,
        (): &mut (),
        entry: &'static str,
        buffers: &[&exec::Buffer],
        rows: u32,
        columns: u32,
    ) -> Result<()> {
        let params = exec::Buffer::from_slice(&[rows, columns]);
        let mut bindings = exec::Bindings::new().buffer(0, 0, &params);
        for (&binding, buffer) in app_slots(entry, buffers.len()).iter().zip(buffers) {
            bindings = bindings.buffer(0, binding, buffer);
        }
        let options = exec::Options { sanitize: true, ..exec::Options::default() };
        let _traffic =
            self.kernels[entry].run([app_workgroups(entry, rows, columns), 1, 1], &bindings, &options)?;
        Ok(())
    }

    fn copy(&self, (): &mut (), from: &exec::Buffer, to: &exec::Buffer, at: u64, size_bytes: u64) {
        to.write(at as usize, &from.to_bytes()[..size_bytes as usize]);
    }

    fn submit(&self, (): ()) -> Result<()> {
        Ok(())
    }
}
