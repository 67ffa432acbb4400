//! The child process: opens the one Vulkan driver that its environment names, compiles, and prints what the
//! driver reports. A driver may crash or hang here without harm to the caller.

use std::ffi::{CStr, CString};
use std::io::Write;

use ash::vk;
use serde::{Deserialize, Serialize};

use super::record::Raw;

/// Starts each line that is ours: drivers print to standard output too.
pub(super) const MARK: &str = "marlin-isa ";

/// What the child reads as JSON from the file named by its argument.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) subgroup: Option<u32>,
    pub(super) robust: bool,
    pub(super) listing: bool,
    pub(super) modules: Vec<Module>,
}

/// One entry point as SPIR-V, with what a pipeline layout needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Module {
    pub(super) id: usize,
    pub(super) words: Vec<u32>,
    pub(super) entry: String,
    pub(super) bindings: Vec<Bound>,
    pub(super) immediates: bool,
    pub(super) matrices: Vec<Matrix>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bound {
    pub(super) group: u32,
    pub(super) binding: u32,
    pub(super) count: u32,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    Storage,
    Uniform,
    Texture,
    StorageTexture,
    Sampler,
}

/// A cooperative matrix of a module, by the element's bits and place in a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Matrix {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) float_bits: u8,
    pub(super) role: char,
}

/// A line of the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// The driver came up.
    Device { device: String, driver: String },
    /// A module is begun: if nothing follows, it is to blame.
    Begin(usize),
    /// A module's figures.
    Done { id: usize, subgroup_size: u64, raw: Vec<Raw>, listing: Option<String> },
    /// A module that the driver can't or won't compile.
    Refused { id: usize, why: String },
    /// All modules are done.
    End,
    /// The driver did not come up.
    Failed(String),
}

/// Runs the job in the file `path`; the process's exit code.
///
/// `marlin` calls this for its hidden subcommand; nothing else should.
pub fn worker_main(path: &str) -> u8 {
    let job = std::fs::read(path)
        .map_err(|e| e.to_string())
        .and_then(|b| serde_json::from_slice::<Job>(&b).map_err(|e| format!("the job is unreadable: {e}")));
    match job.and_then(|job| work(&job)) {
        Ok(()) => 0,
        Err(why) => {
            say(&Line::Failed(why));
            1
        }
    }
}

fn say(line: &Line) {
    let text = serde_json::to_string(line).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    // A parent that went away has no use for what follows.
    let _ = writeln!(out, "{MARK}{text}").and_then(|()| out.flush());
}

fn work(job: &Job) -> Result<(), String> {
    // SAFETY: the loader and driver named by the environment are loaded as code, as any Vulkan program does;
    // every handle below is used on the one thread that made it and while its parents live.
    unsafe { compile_all(job) }
}

unsafe fn compile_all(job: &Job) -> Result<(), String> {
    // SAFETY: see `work`; each structure's chain outlives the call that reads it.
    unsafe {
        let entry = ash::Entry::load().map_err(|e| format!("no Vulkan loader: {e}"))?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        let instance = entry.create_instance(&info, None).map_err(|e| format!("no Vulkan instance: {e}"))?;
        let devices = instance.enumerate_physical_devices().map_err(|e| format!("no device: {e}"))?;
        let physical = *devices.first().ok_or("the driver finds no device")?;
        let extensions =
            instance.enumerate_device_extension_properties(physical).map_err(|e| e.to_string())?;
        let has = |name: &CStr| extensions.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
        let statistics = ash::khr::pipeline_executable_properties::NAME;
        if !has(statistics) {
            return Err("the driver lacks VK_KHR_pipeline_executable_properties".into());
        }
        let with_coop = has(ash::khr::cooperative_matrix::NAME);
        let with_robust2 = has(ash::ext::robustness2::NAME);

        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut widths = vk::PhysicalDeviceSubgroupSizeControlProperties::default();
        let mut properties =
            vk::PhysicalDeviceProperties2::default().push_next(&mut driver).push_next(&mut widths);
        instance.get_physical_device_properties2(physical, &mut properties);
        let device_name = text(&properties.properties.device_name);
        say(&Line::Device { device: device_name, driver: text(&driver.driver_info) });

        let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let mut robust2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut coop = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
        let mut f11 = vk::PhysicalDeviceVulkan11Features::default();
        let mut f12 = vk::PhysicalDeviceVulkan12Features::default();
        let mut f13 = vk::PhysicalDeviceVulkan13Features::default();
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut executable)
            .push_next(&mut f11)
            .push_next(&mut f12)
            .push_next(&mut f13);
        if with_coop {
            features = features.push_next(&mut coop);
        }
        if with_robust2 {
            features = features.push_next(&mut robust2);
        }
        instance.get_physical_device_features2(physical, &mut features);
        let mut base = features.features;
        if !job.robust {
            base.robust_buffer_access = vk::FALSE;
            (robust2.robust_buffer_access2, robust2.robust_image_access2) = (vk::FALSE, vk::FALSE);
            (f13.robust_image_access, coop.cooperative_matrix_robust_buffer_access) = (vk::FALSE, vk::FALSE);
        }
        f12.buffer_device_address_capture_replay = vk::FALSE;
        f12.buffer_device_address_multi_device = vk::FALSE;
        let lists = ash::khr::cooperative_matrix::Instance::new(&entry, &instance);
        let offered = Offered {
            f16: f12.shader_float16 == vk::TRUE,
            storage16: f11.storage_buffer16_bit_access == vk::TRUE,
            memory_model: f12.vulkan_memory_model == vk::TRUE,
            matrices: if with_coop && coop.cooperative_matrix == vk::TRUE {
                lists
                    .get_physical_device_cooperative_matrix_properties(physical)
                    .map_err(|e| format!("no list of cooperative matrices: {e}"))?
            } else {
                Vec::new()
            },
        };

        // The chain is made anew: what it was linked by before would close it to a ring.
        let none = std::ptr::null_mut();
        (executable.p_next, f11.p_next, f12.p_next, f13.p_next) = (none, none, none, none);
        (coop.p_next, robust2.p_next) = (none, none);
        let mut names = vec![statistics.as_ptr()];
        names.extend(with_coop.then(|| ash::khr::cooperative_matrix::NAME.as_ptr()));
        names.extend(with_robust2.then(|| ash::ext::robustness2::NAME.as_ptr()));
        let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let mut enabled = vk::PhysicalDeviceFeatures2::default()
            .features(base)
            .push_next(&mut executable)
            .push_next(&mut f11)
            .push_next(&mut f12)
            .push_next(&mut f13);
        if with_coop {
            enabled = enabled.push_next(&mut coop);
        }
        if with_robust2 {
            enabled = enabled.push_next(&mut robust2);
        }
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queue)
            .enabled_extension_names(&names)
            .push_next(&mut enabled);
        let device =
            instance.create_device(physical, &info, None).map_err(|e| format!("no logical device: {e}"))?;
        let reader = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
        let can_set = widths.required_subgroup_size_stages.contains(vk::ShaderStageFlags::COMPUTE);
        let fits = |n: u32| can_set && (widths.min_subgroup_size..=widths.max_subgroup_size).contains(&n);
        for module in &job.modules {
            say(&Line::Begin(module.id));
            let done = match job.subgroup.filter(|n| !fits(*n)) {
                Some(n) => Err(format!("the driver offers no subgroups of {n} lanes")),
                None => offered.check(module).and_then(|()| compile(&device, &reader, job, module)),
            };
            say(&match done {
                Ok(line) => line,
                Err(why) => Line::Refused { id: module.id, why },
            });
        }
        // Drivers may crash when they are torn down: all was said by then.
        say(&Line::End);
        Ok(())
    }
}

/// What the driver offers of the things that a module may need.
struct Offered<'a> {
    f16: bool,
    storage16: bool,
    memory_model: bool,
    matrices: Vec<vk::CooperativeMatrixPropertiesKHR<'a>>,
}

impl Offered<'_> {
    /// Drivers compile some of what they don't offer, and crash on the rest: their lists decide.
    fn check(&self, module: &Module) -> Result<(), String> {
        const OP_CAPABILITY: u32 = 2 << 16 | 17;
        let words = module.words.get(5..).unwrap_or_default();
        let capabilities = words.chunks_exact(2).take_while(|w| w[0] == OP_CAPABILITY).map(|w| w[1]);
        for capability in capabilities {
            let lacks = match capability {
                9 if !self.f16 => "f16",
                4433 if !self.storage16 => "16-bit storage",
                5345 if !self.memory_model => "the Vulkan memory model",
                _ => continue,
            };
            return Err(format!("the driver lacks {lacks}"));
        }
        for m in &module.matrices {
            if !self.matrices.iter().any(|offered| fits(m, offered)) {
                let (r, c, bits, role) = (m.rows, m.columns, m.float_bits, m.role);
                return Err(format!("the driver offers no cooperative matrix {role} of {r}x{c} f{bits}"));
            }
        }
        Ok(())
    }
}

fn fits(m: &Matrix, offered: &vk::CooperativeMatrixPropertiesKHR<'_>) -> bool {
    let bits = |t| match t {
        vk::ComponentTypeKHR::FLOAT16 => 16,
        vk::ComponentTypeKHR::FLOAT32 => 32,
        vk::ComponentTypeKHR::FLOAT64 => 64,
        _ => 0,
    };
    let (rows, columns, kind) = match m.role {
        'A' => (offered.m_size, offered.k_size, offered.a_type),
        'B' => (offered.k_size, offered.n_size, offered.b_type),
        _ => (offered.m_size, offered.n_size, offered.c_type),
    };
    (m.rows, m.columns, m.float_bits) == (rows, columns, bits(kind))
}

/// The text of a fixed-size array of characters.
fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

unsafe fn compile(
    device: &ash::Device,
    reader: &ash::khr::pipeline_executable_properties::Device,
    job: &Job,
    module: &Module,
) -> Result<Line, String> {
    let failed = |what: &'static str| move |e: vk::Result| format!("{what}: {e}");
    // SAFETY: see `work`; what the structures point to lives to the end of this function.
    unsafe {
        let info = vk::ShaderModuleCreateInfo::default().code(&module.words);
        let shader = device.create_shader_module(&info, None).map_err(failed("the module is refused"))?;
        let n_sets = module.bindings.iter().map(|b| b.group + 1).max().unwrap_or(0);
        let mut sets = Vec::new();
        for set in 0..n_sets {
            let of_set = module.bindings.iter().filter(|b| b.group == set);
            let bindings: Vec<_> = of_set
                .map(|b| {
                    vk::DescriptorSetLayoutBinding::default()
                        .binding(b.binding)
                        .descriptor_count(b.count)
                        .stage_flags(vk::ShaderStageFlags::COMPUTE)
                        .descriptor_type(match b.kind {
                            Kind::Storage => vk::DescriptorType::STORAGE_BUFFER,
                            Kind::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
                            Kind::Texture => vk::DescriptorType::SAMPLED_IMAGE,
                            Kind::StorageTexture => vk::DescriptorType::STORAGE_IMAGE,
                            Kind::Sampler => vk::DescriptorType::SAMPLER,
                        })
                })
                .collect();
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            sets.push(device.create_descriptor_set_layout(&info, None).map_err(failed("no set layout"))?);
        }
        let range = [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(128)];
        let ranges = if module.immediates { &range[..] } else { &[] };
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(ranges);
        let layout = device.create_pipeline_layout(&info, None).map_err(failed("no pipeline layout"))?;
        let name = CString::new(module.entry.as_str()).map_err(|e| e.to_string())?;
        // wgpu allows any width; a width that is asked for is required.
        let mut width = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default();
        let mut stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(shader)
            .name(&name);
        stage = match job.subgroup {
            Some(n) => {
                width = width.required_subgroup_size(n);
                stage.push_next(&mut width)
            }
            None => stage.flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE),
        };
        let mut flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR;
        if job.listing {
            flags |= vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
        }
        let info = [vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout)];
        let pipelines = device
            .create_compute_pipelines(vk::PipelineCache::null(), &info, None)
            .map_err(|(_, e)| format!("the driver does not compile it: {e}"))?;
        let pipeline = pipelines[0];
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        let parts = reader
            .get_pipeline_executable_properties(&info)
            .map_err(failed("no executables are reported"))?;
        // Intel compiles several widths and may run any: the widest is what it prefers.
        let widest = (0..parts.len()).max_by_key(|i| parts[*i].subgroup_size);
        let index = widest.ok_or("the driver reports no executable")?;
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(index as u32);
        let statistics =
            reader.get_pipeline_executable_statistics(&info).map_err(failed("no statistics are reported"))?;
        let raw = statistics
            .iter()
            .map(|s| Raw {
                name: text(&s.name),
                value: match s.format {
                    vk::PipelineExecutableStatisticFormatKHR::BOOL32 => f64::from(s.value.b32),
                    vk::PipelineExecutableStatisticFormatKHR::INT64 => s.value.i64 as f64,
                    vk::PipelineExecutableStatisticFormatKHR::FLOAT64 => s.value.f64,
                    _ => s.value.u64 as f64,
                },
            })
            .filter(|r| !r.name.to_ascii_lowercase().contains("hash"))
            .collect();
        let listing = if job.listing { representations(device, reader, &info)? } else { None };
        let subgroup_size = u64::from(parts[index].subgroup_size);
        device.destroy_pipeline(pipeline, None);
        device.destroy_pipeline_layout(layout, None);
        sets.iter().for_each(|s| device.destroy_descriptor_set_layout(*s, None));
        device.destroy_shader_module(shader, None);
        Ok(Line::Done { id: module.id, subgroup_size, raw, listing })
    }
}

/// The last of the driver's texts, which is the machine's.
unsafe fn representations(
    device: &ash::Device,
    reader: &ash::khr::pipeline_executable_properties::Device,
    info: &vk::PipelineExecutableInfoKHR<'_>,
) -> Result<Option<String>, String> {
    // SAFETY: the first call counts, the second fills in sizes, the third fills buffers of those sizes.
    unsafe {
        let ask = reader.fp().get_pipeline_executable_internal_representations_khr;
        let mut count = 0;
        let fail = |e: vk::Result| format!("no listing: {e}");
        ask(device.handle(), info, &mut count, std::ptr::null_mut()).result().map_err(fail)?;
        let mut list = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
        ask(device.handle(), info, &mut count, list.as_mut_ptr()).result().map_err(fail)?;
        let mut texts: Vec<Vec<u8>> = list.iter().map(|r| vec![0; r.data_size]).collect();
        for (r, t) in list.iter_mut().zip(&mut texts) {
            r.p_data = t.as_mut_ptr().cast();
        }
        ask(device.handle(), info, &mut count, list.as_mut_ptr()).result().map_err(fail)?;
        let mut texts = list.iter().zip(texts).filter(|(r, _)| r.is_text == vk::TRUE).map(|(_, t)| t);
        Ok(texts.next_back().map(|t| String::from_utf8_lossy(&t).trim_end_matches('\0').to_string()))
    }
}
