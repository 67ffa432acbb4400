//! The executor's counts beside the static ones, access by access.
//!
//! Both count the same thing in the same unit, so that a static answer that claims to be exact must equal the
//! trace of the whole dispatch. Where it does not, one of the two is wrong: [`Report::disagreements`].

use std::collections::{BTreeMap, BTreeSet};

use super::analyse::{audit_lowered, constants, missing_overrides};
use super::error::AuditError;
#[cfg(not(target_arch = "wasm32"))]
use super::metal::place_label;
use super::report::{Report, Site, Traced};
use super::settings::Settings;
use super::variable::variables;
use crate::exec;
use crate::lower::{LowerError, Lowered};
#[cfg(not(target_arch = "wasm32"))]
use crate::memory::AccessKind;
use crate::memory::{Access, Location, Space, Traffic};
#[cfg(not(target_arch = "wasm32"))]
use crate::metal::{self, SiteTraffic};

/// A traced access.
#[derive(Clone, Debug)]
struct Counted {
    access: Access,
    traffic: Traffic,
}

impl Report {
    /// Puts what the executor traced in a kernel beside the static counts.
    pub(crate) fn attach_executor<'a>(
        &mut self,
        kernel: &str,
        sites: impl IntoIterator<Item = (&'a exec::Site, Location)>,
    ) {
        let counted = sites.into_iter().map(|(site, at)| {
            let (kind, space) = (site.kind, site.space);
            let buffer = site.buffer.clone();
            let access = Access { at, kind, space, buffer, bytes_per_lane: site.bytes_per_lane };
            Counted { access, traffic: site.traffic }
        });
        self.attach(kernel, counted, false);
    }

    /// Puts what a run of Metal text traced beside the static counts. Parameters that the text takes by reference are
    /// no accesses to the auditor.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn attach_metal<'a>(
        &mut self,
        kernel: &str,
        sites: impl IntoIterator<Item = &'a SiteTraffic>,
        name: &str,
        text: &str,
    ) {
        let lines: Vec<&str> = text.lines().collect();
        let counted = sites.into_iter().map(|site| {
            let kind = match site.op {
                metal::Op::Store => AccessKind::Store,
                metal::Op::Atomic => AccessKind::Atomic,
                _ => AccessKind::Load,
            };
            let l = place_label(site.place.clone(), &lines, name);
            let access = Access {
                at: Location { file: l.file, line: l.line, column: l.column },
                kind,
                space: site.memory.into(),
                buffer: site.buffer.clone(),
                bytes_per_lane: site.bytes_per_lane,
            };
            Counted { access, traffic: site.traffic }
        });
        let counted: Vec<_> = counted.filter(|c| c.access.space != Space::Uniform).collect();
        self.attach(kernel, counted, true);
    }

    /// An access that was not foreseen becomes a row of its own.
    fn attach(&mut self, kernel: &str, traced: impl IntoIterator<Item = Counted>, metal: bool) {
        let mut by_access: BTreeMap<Access, Traffic> = BTreeMap::new();
        for t in traced {
            by_access.entry(t.access).or_default().merge(&t.traffic);
        }
        let mut in_pieces = BTreeSet::new();
        let foreseen: BTreeSet<Access> = self.sites.iter().map(Site::access).collect();
        for s in self.sites.iter_mut().filter(|s| s.kernel == kernel) {
            let mut access = s.access();
            let of_any_size =
                |a: &Access| Access { bytes_per_lane: access.bytes_per_lane, ..a.clone() } == access;
            // The code that is run may copy a struct or vector in pieces, of which there are more.
            if s.space != Space::Texture
                && !by_access.contains_key(&access)
                && let Some((pieces, traffic)) =
                    by_access.iter().find(|(a, _)| of_any_size(a) && !foreseen.contains(*a))
            {
                let size = pieces.bytes_per_lane;
                s.assumptions.push(if size < access.bytes_per_lane {
                    format!("the run accesses it in pieces of {size} B")
                } else {
                    format!("the run accesses all {size} B at once, used or not")
                });
                s.traced = Some(Traced::new(*traffic, None));
                in_pieces.insert(pieces.clone());
                continue;
            }
            if s.space == Space::Texture {
                // Only the format of the texture knows the size of a texel.
                let texel = by_access.keys().find(|a| of_any_size(a)).map(|a| a.bytes_per_lane);
                access.bytes_per_lane = texel.unwrap_or(access.bytes_per_lane);
            }
            // A trace of Metal has no rows for what never happened.
            let never = (metal && s.space != Space::Texture).then(Traffic::default);
            s.traced = by_access.remove(&access).or(never).map(|t| Traced::new(t, s.traffic));
        }
        by_access.retain(|access, traffic| traffic.requests > 0 && !in_pieces.contains(access));
        for (access, traffic) in by_access {
            self.sites.push(Site::unforeseen(access, kernel, traffic));
        }
    }

    /// The accesses whose static count claims to be exact and is not what was traced.
    pub fn disagreements(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|s| s.traced.as_ref().is_some_and(|t| t.agrees == Some(false)))
    }
}

/// An access beyond the end of a buffer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{at}: in kernel `{kernel}` {what} ({invocation}): give `{buffer}` more bytes, or guard the access")]
pub struct OutOfBounds {
    /// Entry point.
    pub kernel: String,
    /// Where.
    pub at: Location,
    /// The variable.
    pub buffer: String,
    /// Index and length.
    pub what: String,
    /// The first invocation that does it.
    pub invocation: String,
}

/// Why nothing was traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] AuditError),
    /// A file that is no valid WGSL.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The executor cannot run this kernel.
    #[error("{kernel}: {message}")]
    Executor {
        /// Entry point.
        kernel: String,
        /// What it said.
        message: String,
    },
    /// The kernel goes beyond a buffer: the buffer is too small, or the kernel lacks a guard.
    #[error(transparent)]
    OutOfBounds(Box<OutOfBounds>),
    /// A buffer of a name that no kernel has.
    #[error("no buffer `{name}`: there are {}", .known.join(", "))]
    NoBuffer {
        /// The name given.
        name: String,
        /// The variables that can be given.
        known: Vec<String>,
    },
    /// A trace is of a whole dispatch.
    #[error("the number of workgroups is not known: give num_workgroups=X,Y,Z")]
    NoGrid,
    /// Parameters decide what a kernel does.
    #[error("give values for: {0}")]
    Unset(String),
    /// The size of a buffer is not in the shader.
    #[error("give the size in bytes of buffer `{0}`")]
    NoSize(String),
    /// The buffer is smaller than its type.
    #[error("buffer `{name}` has {given} bytes and needs at least {needed}")]
    TooSmall {
        /// The variable.
        name: String,
        /// Its size.
        given: usize,
        /// The least size.
        needed: u64,
    },
    /// A kernel that reads textures.
    #[error("`{0}` is a texture: kernels with textures are traced only where they are this crate's")]
    Texture(String),
    /// A program that no stack holds.
    #[error("{0}")]
    TooDeep(String),
    /// No compute entry point.
    #[error("there is no compute entry point to trace")]
    NothingToTrace,
}

/// Audits the compute entry points of any WGSL and traces them on the executor. The settings must give the number
/// of workgroups and the integers of uniform buffers; `buffers` gives the contents of storage buffers (and of uniform
/// ones that are not given by field) by the names of their variables. Integers of buffers that the settings name, such
/// as `dims[1]`, are put in.
///
/// ```
/// use std::collections::BTreeMap;
/// use wgpu_marlin::audit::{Settings, trace_wgsl};
/// use wgpu_marlin::lower::{Composed, Lowered};
///
/// let lowered = Lowered::new(Composed::verbatim("column.wgsl", "
///     @group(0) @binding(0) var<uniform> n: u32;
///     @group(0) @binding(1) var<storage, read> x: array<f32>;
///     @group(0) @binding(2) var<storage, read_write> y: array<f32>;
///     @compute @workgroup_size(64)
///     fn main(@builtin(global_invocation_id) g: vec3<u32>) { y[g.x] = x[g.x * n]; }
/// "))?;
/// let mut settings = Settings { workgroups: Some([4, 1, 1]), ..Settings::default() };
/// settings.values.insert("n".into(), 16);
/// let buffers = BTreeMap::from([("x".into(), vec![0; 16384]), ("y".into(), vec![0; 1024])]);
///
/// let report = trace_wgsl(&lowered, &settings, &buffers)?;
/// let load = report.site("x[g.x * n]").unwrap();
/// let traced = load.traced.as_ref().unwrap();
/// assert_eq!((load.blocks128, traced.blocks128), (Some(16.0), Some(16.0)));
/// assert_eq!((traced.requests, traced.agrees), (8, Some(true)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn trace_wgsl(
    lowered: &Lowered,
    settings: &Settings,
    buffers: &BTreeMap<String, Vec<u8>>,
) -> Result<Report, TraceError> {
    let grid = settings.workgroups.ok_or(TraceError::NoGrid)?;
    let mut known = settings.clone();
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut unset = missing_overrides(&lowered.module, settings);
    let all = variables(&lowered.module);
    if let Some(name) = buffers.keys().find(|name| all.iter().all(|v| v.name != **name)) {
        let known = all.iter().map(|v| v.name.clone()).collect();
        return Err(TraceError::NoBuffer { name: name.clone(), known });
    }
    for v in all {
        let bytes = match (buffers.get(&v.name), v.runtime_stride) {
            (Some(given), _) if given.len() < v.size_bytes => {
                let (given, needed) = (given.len(), v.size_bytes as u64);
                return Err(TraceError::TooSmall { name: v.name, given, needed });
            }
            (Some(given), _) => v.fill(given.clone(), settings),
            (None, Some(_)) => return Err(TraceError::NoSize(v.name)),
            (None, None) => {
                if v.uniform {
                    unset.extend(v.unset(settings));
                }
                v.fill(vec![0; v.size_bytes], settings)
            }
        };
        if let Some(stride) = v.runtime_stride {
            let length = (bytes.len() - v.runtime_offset) / stride;
            known.values.insert(format!("arrayLength({})", v.name), length as i64);
        }
        if v.read_only {
            known.values.extend(v.values(&bytes));
        }
        contents.insert(v.name, bytes);
    }
    if !unset.is_empty() {
        return Err(TraceError::Unset(unset.join(", ")));
    }
    let mut report = audit_lowered(lowered, &known);
    let mut module = lowered.module.clone();
    let constants = constants(&module, settings);
    if let Some(size) = settings.workgroup_size {
        module.entry_points.iter_mut().for_each(|e| e.workgroup_size = size);
    }
    let is_compute = |e: &&naga::EntryPoint| e.stage == naga::ShaderStage::Compute;
    if !module.entry_points.iter().any(|e| is_compute(&e)) {
        return Err(TraceError::NothingToTrace);
    }
    for entry in module.entry_points.iter().filter(is_compute) {
        let failed = |e: &dyn std::fmt::Display| TraceError::Executor {
            kernel: entry.name.clone(),
            message: e.to_string(),
        };
        let kernel =
            exec::Kernel::new(&module, &lowered.info, &entry.name, &constants).map_err(|e| failed(&e))?;
        // Each entry point begins with the same contents.
        let bound: Vec<_> = kernel
            .bindings()
            .into_iter()
            .map(|b| {
                let bytes = contents.get(&b.name).ok_or_else(|| TraceError::Texture(b.name.clone()))?;
                Ok((b, exec::Buffer::from_bytes(bytes)))
            })
            .collect::<Result<_, TraceError>>()?;
        let bindings = bound
            .iter()
            .fold(exec::Bindings::new(), |bindings, (b, buffer)| bindings.buffer(b.group, b.binding, buffer));
        let options = exec::Options {
            subgroup_size: settings.subgroup_size,
            trace: exec::TraceMode::All,
            ..exec::Options::default()
        };
        let at = |span: naga::Span| lowered.composed.locate(span.to_range().map_or(0, |r| r.start as u32));
        // Where lanes leave a buffer, the run clamps and the count does not: that is the kernel's or the caller's slip.
        // The sanitizer writes to the buffers too, so that it has its own.
        let spare: Vec<_> =
            bound.iter().map(|(b, _)| (b, exec::Buffer::from_bytes(&contents[&b.name]))).collect();
        let spare_bindings = spare
            .iter()
            .fold(exec::Bindings::new(), |bindings, (b, buffer)| bindings.buffer(b.group, b.binding, buffer));
        let watched = exec::Options { sanitize: true, trace: exec::TraceMode::Off, ..options.clone() };
        if let Err(e) = kernel.run(grid, &spare_bindings, &watched)
            && let Some(fault) = e.fault()
            && let exec::FaultKind::OutOfBounds { name, .. } = &fault.kind
        {
            return Err(TraceError::OutOfBounds(Box::new(OutOfBounds {
                kernel: entry.name.clone(),
                at: at(fault.span),
                buffer: name.clone(),
                what: fault.kind.to_string(),
                invocation: fault.invocation.to_string(),
            })));
        }
        let run = kernel.run(grid, &bindings, &options).map_err(|e| failed(&e))?;
        report.attach_executor(&entry.name, run.sites.iter().map(|s| (s, at(s.span))));
    }
    Ok(report)
}
