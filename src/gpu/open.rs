//! Opening a device with all that its adapter has, or adopting an app's own.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use super::GpuError;
use super::caps::{Caps, CoopShape, DeviceClass, ScalarType};
use super::pipeline::{Language, Pipeline};
use crate::lower::Shader;

/// Which device is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best GPU; the CPU executor where there is none.
    Auto,
    /// The CPU executor.
    Cpu,
    /// The best adapter of one backend.
    Backend(wgpu::Backend),
    /// The adapter with this index in [`adapters`].
    Index(usize),
}

impl FromStr for DeviceChoice {
    type Err = GpuError;

    fn from_str(s: &str) -> Result<Self, GpuError> {
        Ok(match s {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "vulkan" => Self::Backend(wgpu::Backend::Vulkan),
            "metal" => Self::Backend(wgpu::Backend::Metal),
            "dx12" => Self::Backend(wgpu::Backend::Dx12),
            _ => Self::Index(s.parse().map_err(|_| GpuError::BadChoice { given: s.to_string() })?),
        })
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Backend(b) => f.write_str(b.to_str()),
            Self::Index(i) => write!(f, "{i}"),
        }
    }
}

/// An adapter of this machine.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// wgpu's description.
    pub info: wgpu::AdapterInfo,
    /// Whether it computes on the CPU.
    pub class: DeviceClass,
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

fn class_of(info: &wgpu::AdapterInfo) -> DeviceClass {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceClass::DiscreteGpu,
        wgpu::DeviceType::IntegratedGpu => DeviceClass::IntegratedGpu,
        wgpu::DeviceType::Cpu => DeviceClass::Software,
        wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => DeviceClass::OtherGpu,
    }
}

async fn list(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    instance.enumerate_adapters(wgpu::Backends::PRIMARY).await
}

/// The adapters of this machine, in the order that [`DeviceChoice::Index`] counts.
pub async fn adapters() -> Vec<AdapterSummary> {
    let adapters = list(&instance()).await;
    let infos = adapters.iter().map(wgpu::Adapter::get_info);
    infos.map(|info| AdapterSummary { class: class_of(&info), info }).collect()
}

/// A device, its queue, and what is known of it.
#[derive(Debug)]
pub struct Gpu {
    /// The device, for everything that this crate does not do.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// wgpu's description of the adapter.
    pub info: wgpu::AdapterInfo,
    /// What kernels are chosen by.
    pub caps: Caps,
    pub(super) pipelines: Mutex<HashMap<(Shader, Language), Arc<Pipeline>>>,
    /// Errors that no scope caught, on devices that were opened here.
    pub(super) stray_errors: Arc<Mutex<Vec<String>>>,
}

impl Gpu {
    /// Opens a device with the features and limits that its adapter really has, and finds its subgroup
    /// width by a probe where the driver reports a range. [`DeviceChoice::Cpu`] is no GPU and is refused.
    pub async fn open(choice: &DeviceChoice) -> Result<Self, GpuError> {
        let none = || GpuError::NoAdapter { wanted: choice.to_string() };
        let instance = instance();
        let adapters = list(&instance).await;
        let rank = |a: &&wgpu::Adapter| match class_of(&a.get_info()) {
            DeviceClass::DiscreteGpu => 0,
            DeviceClass::IntegratedGpu => 1,
            DeviceClass::OtherGpu => 2,
            _ => 3,
        };
        let adapter = match choice {
            DeviceChoice::Cpu => None,
            // A software driver is never chosen for `auto`: this crate's executor tells more.
            DeviceChoice::Auto => adapters.iter().filter(|a| rank(a) < 3).min_by_key(rank),
            DeviceChoice::Backend(b) => {
                adapters.iter().filter(|a| a.get_info().backend == *b).min_by_key(rank)
            }
            DeviceChoice::Index(i) => adapters.get(*i),
        };
        let adapter = adapter.ok_or_else(none)?;
        let features = adapter.features() & wanted_features();
        let experimental = if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            // SAFETY: asks for access to experimental features; cooperative matrices are used only in the
            // shapes that the adapter reports, in kernels that are verified before they are timed.
            unsafe { wgpu::ExperimentalFeatures::enabled() }
        } else {
            wgpu::ExperimentalFeatures::disabled()
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-marlin"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: experimental,
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let name = adapter.get_info().name;
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| GpuError::NoDevice { adapter: name, message: e.to_string() })?;
        let gpu = Self::adopt(device, queue, Some(adapter));
        let stray = gpu.stray_errors.clone();
        gpu.device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            if let Ok(mut errors) = stray.lock() {
                errors.push(e.to_string());
            }
        }));
        #[cfg(not(target_arch = "wasm32"))]
        let gpu = if gpu.caps.subgroups && gpu.caps.subgroup_size.is_none() {
            let subgroup_size = gpu.probe_subgroup_size_blocking()?;
            Self { caps: Caps { subgroup_size, ..gpu.caps.clone() }, ..gpu }
        } else {
            gpu
        };
        Ok(gpu)
    }

    /// Adopts an app's own device. Nothing is submitted and no handler is replaced; features count only as
    /// far as the app enabled them. Give the adapter where you have it: only it knows the
    /// cooperative-matrix shapes. Where the driver reports a range of subgroup widths,
    /// [`probe_subgroup_size_blocking`](Self::probe_subgroup_size_blocking) finds the real one.
    pub fn adopt(device: wgpu::Device, queue: wgpu::Queue, adapter: Option<&wgpu::Adapter>) -> Self {
        let info = device.adapter_info();
        let features = device.features();
        let limits = device.limits();
        let has = |f: wgpu::Features| features.contains(f);
        let coop = match adapter {
            Some(a) if has(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) => coop_shapes(a),
            _ => Vec::new(),
        };
        // wgpu's table of a browser's features has no subgroups yet (gfx-rs/wgpu#10146), though the app may have asked the
        // browser for them: the browser's own object knows.
        #[cfg(target_arch = "wasm32")]
        let subgroups = device.as_webgpu().is_some_and(|d| d.features().has("subgroups"));
        #[cfg(not(target_arch = "wasm32"))]
        let subgroups = has(wgpu::Features::SUBGROUP);
        let fixed = info.subgroup_min_size == info.subgroup_max_size && info.subgroup_min_size > 0;
        let caps = Caps {
            class: class_of(&info),
            f16: has(wgpu::Features::SHADER_F16),
            int16: has(wgpu::Features::SHADER_I16),
            subgroups,
            subgroup_size: (subgroups && fixed).then_some(info.subgroup_min_size),
            coop,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_size: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_texture_side: limits.max_texture_dimension_2d,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            timestamps: has(wgpu::Features::TIMESTAMP_QUERY),
            msl: info.backend == wgpu::Backend::Metal && has(wgpu::Features::PASSTHROUGH_SHADERS),
        };
        Self { device, queue, info, caps, pipelines: Mutex::default(), stray_errors: Arc::default() }
    }

    /// Runs a small kernel that asks each invocation for the subgroup width; `None` if they disagree.
    /// Submits and waits.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn probe_subgroup_size_blocking(&self) -> Result<Option<u32>, GpuError> {
        use super::{Dispatch, Plan};
        use crate::lower::{Checks, Defines};
        const LANES: usize = 256;
        let shader = Shader::new(crate::wgsl!("probe/subgroup_size.wgsl"), Defines::new());
        let plan = Plan::one(Dispatch { shader, workgroups: [1, 1, 1], params: vec![], renamed: vec![] });
        let widths = self.create_buffer("widths", 4 * LANES as u64)?;
        let recording = self.bind(&plan, Language::Wgsl(Checks::Checked), &|name| {
            (name == "widths").then(|| super::BindSource::Buffer(widths.as_entire_buffer_binding()))
        })?;
        self.run_blocking(&recording)?;
        let bytes = self.read_blocking(&widths, 0, 4 * LANES as u64)?;
        let mut lanes = bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        let first = lanes.next();
        Ok(first.filter(|f| lanes.all(|l| l == *f)))
    }
}

/// Optional features that kernels of this crate know how to use.
fn wanted_features() -> wgpu::Features {
    wgpu::Features::SHADER_F16
        | wgpu::Features::SHADER_I16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::PASSTHROUGH_SHADERS
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
}

fn coop_shapes(adapter: &wgpu::Adapter) -> Vec<CoopShape> {
    let scalar = |t: &wgpu::CooperativeScalarType| match t {
        wgpu::CooperativeScalarType::F16 => Some(ScalarType::F16),
        wgpu::CooperativeScalarType::F32 => Some(ScalarType::F32),
        _ => None,
    };
    let properties = adapter.cooperative_matrix_properties();
    let mut shapes: Vec<CoopShape> = properties
        .iter()
        .filter(|p| !p.saturating_accumulation)
        .filter_map(|p| {
            Some(CoopShape {
                m: p.m_size,
                n: p.n_size,
                k: p.k_size,
                ab: scalar(&p.ab_type)?,
                c: scalar(&p.cr_type)?,
            })
        })
        .collect();
    shapes.sort_unstable();
    shapes.dedup();
    shapes
}
