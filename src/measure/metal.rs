//! Plans as Metal text on the CPU, through clang: the twins, and what naga makes of the WGSL.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::cpu::{self, FETCH_BLOCK_IX};
use super::{Outputs, RunError};
use crate::exec::TraceMode;
use crate::gpu::{Caps, Dispatch, GpuError, Plan};
use crate::kernels::spec::Problem;
use crate::lower::{Access, Binding, Checks, Lowered, Resource, Shader};
use crate::metal::{self, Bound, Clang, Memory, Program, RunOptions, SiteTraffic, Source};

/// Which Metal text of a shader is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetalText {
    /// The hand-written twin.
    Twin,
    /// What naga makes of the WGSL.
    Lowered(Checks),
}

/// The CPU as a device that runs Metal text.
#[derive(Debug)]
pub struct MetalCpu {
    clang: Clang,
    /// What kernels are chosen by.
    pub caps: Caps,
    /// Look for races, uninitialized reads and writes to what is bound for reading. Accesses out of bounds
    /// and divergent barriers end a run in any case.
    pub sanitize: bool,
    /// Which threadgroups are traced.
    pub trace: TraceMode,
    /// Run the lanes between two barriers from the last to the first.
    pub reverse_lanes: bool,
    built: Mutex<HashMap<(Shader, MetalText), Arc<Built>>>,
}

/// A shader's text, ready to run.
#[derive(Debug)]
struct Built {
    program: Program,
    entry: String,
    threads: [u32; 3],
    /// In slot order: buffers and textures are counted apart.
    bindings: Vec<Binding>,
    /// Slot of the array of buffer sizes, and the variables whose sizes it holds.
    sizes: Option<(u32, Vec<String>)>,
    /// Parameters of the kernel that are storage buffers, by their names in the text.
    storage_params: BTreeSet<String>,
}

/// An access of a shader's Metal text with its traffic.
#[derive(Clone, Debug)]
pub struct MetalSite {
    /// Which dispatch of the plan.
    pub dispatch_ix: usize,
    /// The shader's label.
    pub shader: String,
    /// What it asked of memory.
    pub traffic: SiteTraffic,
}

/// What a traced run of Metal text moved.
#[derive(Clone, Debug, Default)]
pub struct MetalTrace {
    /// Every access, in the order of dispatches and of the text.
    pub sites: Vec<MetalSite>,
    /// Bytes of the blocks that requests to storage buffers touched, as [`Trace`](super::Trace) counts them.
    pub fetched_bytes: u64,
    /// Whether every threadgroup was traced.
    pub complete: bool,
}

impl MetalText {
    /// The text of a shader as the compiler gets it, its entry point, and the slot of the buffer sizes if it
    /// reads them.
    pub fn source(
        self,
        shader: &Shader,
        lowered: &Lowered,
    ) -> Result<(Source, String, Option<u8>), GpuError> {
        let path = shader.wgsl.path;
        match self {
            Self::Twin => {
                let none = || GpuError::Validation {
                    what: shader.label(),
                    message: "there is no Metal twin".into(),
                };
                let text = shader.msl_text().ok_or_else(none)??;
                let name = shader.msl.map_or(path, |m| m.path);
                Ok((Source::new(name, text.text), Shader::MSL_ENTRY.into(), None))
            }
            Self::Lowered(checks) => {
                let msl = lowered
                    .to_msl(Shader::ENTRY, checks)
                    .map_err(|e| GpuError::Validation { what: shader.label(), message: e.to_string() })?;
                Ok((Source::new(format!("{path} as MSL"), msl.text), msl.entry, msl.sizes_slot))
            }
        }
    }
}

impl MetalCpu {
    /// Runs text through `clang`; kernels are chosen by `caps`, of the cooperative matrices only the 8×8 that
    /// Metal has. No sanitizer, and about 64 traced threadgroups per dispatch.
    pub fn new(clang: Clang, caps: &Caps) -> Self {
        let mut caps = caps.clone();
        caps.coop.retain(|c| (c.m, c.n, c.k) == (8, 8, 8));
        Self {
            clang,
            caps,
            sanitize: false,
            trace: TraceMode::Sample(64),
            reverse_lanes: false,
            built: Mutex::default(),
        }
    }

    /// The compiler.
    pub fn clang(&self) -> &Clang {
        &self.clang
    }

    /// Runs a plan once: outputs in the problem's order, and the trace. What the sanitizer finds is an error.
    pub fn run(
        &self,
        problem: &Problem,
        plan: &Plan,
        text: MetalText,
    ) -> Result<(Outputs, MetalTrace), RunError> {
        let operand = |name: &str| problem.input(name).map(|b| &b[..]);
        let mut buffers = host_buffers(problem, plan)?;
        let textures = cpu::textures(plan, operand)?;
        let mut trace = MetalTrace { complete: true, ..MetalTrace::default() };
        for (dispatch_ix, d) in plan.dispatches.iter().enumerate() {
            let label = d.shader.label();
            let unbound = |variable: &str| {
                RunError::Gpu(GpuError::Unbound { shader: label.clone(), buffer: variable.into() })
            };
            let built = self.built(&d.shader, text)?;
            // Buffers leave the map while a kernel has them.
            let mut taken: Vec<(&str, Vec<u8>, bool)> = Vec::new();
            let mut bound_textures = Vec::new();
            for b in &built.bindings {
                let name = d.buffer_of(&b.name);
                match b.resource {
                    Resource::Uniform if !d.params.is_empty() => taken.push(("", d.params.clone(), false)),
                    Resource::Texture => {
                        let t = textures.get(name).ok_or_else(|| unbound(&b.name))?;
                        let [width, height, _] = t.size();
                        let index = bound_textures.len() as u32;
                        let texels = t.texels();
                        bound_textures.push(metal::Texture {
                            index,
                            width,
                            height,
                            depth: 1,
                            layers: 1,
                            texels,
                        });
                    }
                    resource => {
                        let (name, bytes) = buffers
                            .remove_entry(name)
                            .or_else(|| taken.iter().find(|t| t.0 == name).map(|t| (t.0, t.1.clone())))
                            .ok_or_else(|| unbound(&b.name))?;
                        taken.push((name, bytes, resource == Resource::Storage(Access::ReadWrite)));
                    }
                }
            }
            let sizes = built.sizes.as_ref().map(|(slot, names)| (*slot, sizes_of(d, names, &taken)));
            let mut bound: Vec<Bound> = Vec::new();
            for (slot, (_, bytes, writes)) in taken.iter_mut().enumerate() {
                let slot = slot as u32;
                bound.push(if *writes { Bound::write(slot, bytes) } else { Bound::read(slot, bytes) });
            }
            if let Some((slot, sizes)) = &sizes {
                bound.push(Bound::read(*slot, bytemuck::cast_slice(sizes)));
            }
            let ran = built.program.run(
                &built.entry,
                d.workgroups,
                built.threads,
                &mut bound,
                &mut bound_textures,
                &self.options(),
            );
            drop(bound);
            let failed = |message: String| RunError::Metal { shader: label.clone(), message };
            let run = ran.map_err(|e| failed(e.to_string()))?;
            if let Some(fault) = run.faults.first() {
                let more = if run.faults.len() > 1 {
                    format!(" and {} more", run.faults.len() - 1)
                } else {
                    String::new()
                };
                return Err(failed(format!("{fault}{more}")));
            }
            buffers.extend(taken.into_iter().filter(|(name, ..)| !name.is_empty()).map(|(n, b, _)| (n, b)));
            let groups: u64 = d.workgroups.iter().map(|&n| u64::from(n)).product();
            trace.add((dispatch_ix, &label), &built, run, groups);
        }
        let outputs = problem.outputs.iter().map(|o| {
            let mut bytes = buffers.remove(o.name).unwrap_or_default();
            bytes.truncate(o.size_bytes());
            bytes
        });
        Ok((outputs.collect(), trace))
    }

    fn options(&self) -> RunOptions {
        RunOptions {
            sanitize: self.sanitize,
            trace: self.trace != TraceMode::Off,
            trace_sample: match self.trace {
                TraceMode::Sample(n) => Some(n),
                _ => None,
            },
            reverse_lanes: self.reverse_lanes,
            ..RunOptions::default()
        }
    }

    fn built(&self, shader: &Shader, text: MetalText) -> Result<Arc<Built>, RunError> {
        let key = (shader.clone(), text);
        if let Some(built) = self.built.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(built.clone());
        }
        let built = Arc::new(self.build(shader, text)?);
        self.built.lock().unwrap_or_else(PoisonError::into_inner).insert(key, built.clone());
        Ok(built)
    }

    fn build(&self, shader: &Shader, text: MetalText) -> Result<Built, RunError> {
        let lowered = shader.lower().map_err(GpuError::from)?;
        let entry_ix = lowered.entry_index(Shader::ENTRY).map_err(GpuError::from)?;
        let (source, entry, sizes_slot) = text.source(shader, &lowered)?;
        let failed = |message| RunError::Metal { shader: shader.label(), message };
        let program = Program::build(&self.clang, &source)
            .map_err(|list| failed(list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        let bindings = lowered.bindings(entry_ix);
        let buffers: Vec<&Binding> = bindings.iter().filter(|b| b.resource != Resource::Texture).collect();
        let kernel = program.kernels().iter().find(|k| k.name == entry);
        let is_storage = |slot: u32| {
            buffers.get(slot as usize).is_some_and(|b| matches!(b.resource, Resource::Storage(_)))
        };
        let storage_params = kernel
            .map_or(&[][..], |k| &k.params)
            .iter()
            .filter(|p| matches!(p.binding, metal::Binding::Buffer { slot } if is_storage(slot)))
            .map(|p| p.name.clone())
            .collect();
        Ok(Built {
            program,
            entry,
            threads: lowered.module.entry_points[entry_ix].workgroup_size,
            sizes: sizes_slot.map(|slot| (u32::from(slot), lowered.runtime_sized())),
            storage_params,
            bindings,
        })
    }
}

/// Every buffer of a plan by name: operands in the layouts that it wants; scratch and outputs filled with NaN.
fn host_buffers(problem: &Problem, plan: &Plan) -> Result<HashMap<&'static str, Vec<u8>>, RunError> {
    let prepared = plan.prepare(|name: &str| problem.input(name).map(|b| &b[..]))?;
    let inputs = problem.inputs.iter().map(|o| (o.name, o.bytes.to_vec()));
    let unwritten = |size: u64| vec![0xFF; size as usize];
    let scratch = plan.scratch.iter().map(|s| (s.name, unwritten(s.size_bytes)));
    let outputs = problem.outputs.iter().map(|o| (o.name, unwritten(o.size_bytes() as u64)));
    let padded = |(name, mut bytes): (&'static str, Vec<u8>)| {
        // Whole words, as on a GPU.
        bytes.resize(bytes.len().max(4).next_multiple_of(4), 0);
        (name, bytes)
    };
    Ok(inputs.chain(prepared).chain(scratch).chain(outputs).map(padded).collect())
}

/// Bytes of what each of the variables is bound to.
fn sizes_of(d: &Dispatch, names: &[String], taken: &[(&str, Vec<u8>, bool)]) -> Vec<u32> {
    let size = |name: &String| {
        let buffer = d.buffer_of(name);
        taken.iter().find(|t| t.0 == buffer).map_or(0, |t| t.1.len() as u32)
    };
    names.iter().map(size).collect()
}

impl MetalTrace {
    fn add(&mut self, (dispatch_ix, label): (usize, &str), built: &Built, run: metal::Run, groups: u64) {
        self.complete &= run.traced_threadgroups == groups;
        let fetched: u64 = run
            .traffic
            .iter()
            .filter(|s| matches!(s.memory, Memory::Device | Memory::Constant))
            .filter(|s| built.storage_params.contains(&s.buffer))
            .map(|s| s.traffic.fetched_bytes(FETCH_BLOCK_IX))
            .sum();
        self.fetched_bytes += cpu::of_all(fetched, run.traced_threadgroups, groups);
        let site = |traffic| MetalSite { dispatch_ix, shader: label.to_string(), traffic };
        self.sites.extend(run.traffic.into_iter().map(site));
    }
}
