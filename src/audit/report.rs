//! The result of an audit: rows of data, with the names that the JSON contract gives them.

use serde::Serialize;

use super::classify::{Classified, Confidence, Pattern};
use super::finding::Finding;
use super::settings::Settings;
use crate::memory::{Access, AccessKind, BLOCK_SIZES, Location, Space, Traffic};

/// One access of a kernel, with what it costs. Counts are averages per request.
#[derive(Clone, Debug, Serialize)]
pub struct Site {
    /// Source file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// Entry point.
    pub kernel: String,
    /// Name of the buffer.
    pub buffer: String,
    /// Kind of memory.
    pub space: Space,
    /// What is done.
    pub op: AccessKind,
    /// Bytes that each lane touches.
    pub bytes_per_lane: u64,
    /// Lanes that take part.
    pub active_lanes: Option<f64>,
    /// The verdict.
    pub pattern: Pattern,
    /// Bytes between consecutive lanes, where that is a number.
    pub stride_bytes: Option<i64>,
    /// The same where it depends on a parameter, in bytes.
    pub stride_symbol: Option<String>,
    /// Blocks of 32 bytes.
    pub blocks32: Option<f64>,
    /// Blocks of 64 bytes.
    pub blocks64: Option<f64>,
    /// Blocks of 128 bytes.
    pub blocks128: Option<f64>,
    /// Blocks of 32 bytes if the lowest address began a block.
    pub blocks32_if_aligned: Option<f64>,
    /// Blocks of 64 bytes if the lowest address began a block.
    pub blocks64_if_aligned: Option<f64>,
    /// Blocks of 128 bytes if the lowest address began a block.
    pub blocks128_if_aligned: Option<f64>,
    /// Distinct bytes that lanes asked for.
    pub useful_bytes: Option<f64>,
    /// Bytes in the target's blocks.
    pub fetched_bytes: Option<f64>,
    /// How sure this is.
    pub confidence: Confidence,
    /// What was assumed, or why nothing is known.
    pub assumptions: Vec<String>,
    /// How often the access stands in the kernel after calls are inlined and loops unrolled. The figures are those of
    /// the worst copy.
    pub copies: usize,
    /// How many of the copies are of this pattern.
    pub copies_alike: usize,
    /// Words that the busiest bank must deliver per request, in workgroup memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_ways: Option<u64>,
    /// The bank model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_model: Option<String>,
    /// What a traced run counted at the same access, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traced: Option<Traced>,
    /// The access's text.
    #[serde(skip)]
    pub source: String,
    /// One request with the most active lanes: each lane's number in the workgroup and its byte offset in the buffer,
    /// as it would be for some values of what is not known. Empty where the addresses are data.
    #[serde(skip)]
    pub request: Vec<(usize, i64)>,
    /// The sums over the whole dispatch, where every request was counted.
    #[serde(skip)]
    pub traffic: Option<Traffic>,
}

impl Site {
    pub(crate) fn new(
        c: &Classified,
        at: (String, u32, u32),
        kernel: &str,
        source: String,
        settings: &Settings,
    ) -> Self {
        let blocks = |i: usize| c.average(|s| s.blocks[i]);
        let aligned = |i: usize| c.average(|s| s.blocks_if_aligned[i]);
        let ix = settings.target.block().ix();
        let in_workgroup = c.raw.space == Space::Workgroup && c.bank_ways.is_some();
        Site {
            file: at.0,
            line: at.1,
            column: at.2,
            kernel: kernel.into(),
            buffer: c.raw.buffer.clone(),
            space: c.raw.space,
            op: c.raw.kind,
            bytes_per_lane: c.raw.width,
            active_lanes: c.average(|s| s.active_lanes).or(c.lanes),
            pattern: c.pattern,
            stride_bytes: c.stride_bytes,
            stride_symbol: c.stride_symbol.clone(),
            blocks32: blocks(0),
            blocks64: blocks(1),
            blocks128: blocks(2),
            blocks32_if_aligned: aligned(0),
            blocks64_if_aligned: aligned(1),
            blocks128_if_aligned: aligned(2),
            useful_bytes: c.average(|s| s.useful_bytes),
            fetched_bytes: blocks(ix).map(|b| b * BLOCK_SIZES[ix] as f64),
            confidence: c.confidence,
            assumptions: reasons(c),
            copies: c.n_copies,
            copies_alike: c.n_alike,
            bank_ways: c.bank_ways.map(|w| w.0).filter(|_| in_workgroup),
            bank_model: in_workgroup.then(|| settings.banks.name()),
            traced: None,
            source,
            request: c.example.clone(),
            traffic: c.traffic(),
        }
    }

    /// An access that was traced and that the static walk did not find.
    pub(super) fn unforeseen(access: Access, kernel: &str, traffic: Traffic) -> Self {
        Site {
            file: access.at.file,
            line: access.at.line,
            column: access.at.column,
            kernel: kernel.into(),
            buffer: access.buffer,
            space: access.space,
            op: access.kind,
            bytes_per_lane: access.bytes_per_lane,
            active_lanes: None,
            pattern: Pattern::Unknown,
            stride_bytes: None,
            stride_symbol: None,
            blocks32: None,
            blocks64: None,
            blocks128: None,
            blocks32_if_aligned: None,
            blocks64_if_aligned: None,
            blocks128_if_aligned: None,
            useful_bytes: None,
            fetched_bytes: None,
            confidence: Confidence::Unknown,
            assumptions: vec!["traced, but not found by the static walk".into()],
            copies: 1,
            copies_alike: 1,
            bank_ways: None,
            bank_model: None,
            traced: Some(Traced::new(traffic, None)),
            source: String::new(),
            request: Vec::new(),
            traffic: None,
        }
    }

    /// What tells it apart from the kernel's other accesses.
    pub(super) fn access(&self) -> Access {
        let at = Location { file: self.file.clone(), line: self.line, column: self.column };
        let (kind, space, buffer) = (self.op, self.space, self.buffer.clone());
        Access { at, kind, space, buffer, bytes_per_lane: self.bytes_per_lane }
    }

    /// Useful bytes over fetched bytes at 128-byte lines, 0 to 1; `None` where nothing was counted.
    pub fn efficiency(&self) -> Option<f64> {
        Some(self.useful_bytes? / self.fetched_bytes?)
    }

    /// Whether the verdict is one: neither unknown nor a texture.
    pub fn is_classified(&self) -> bool {
        self.pattern != Pattern::Unknown
    }
}

/// What a traced run counted at one access. All but the number of requests are averages per request.
#[derive(Clone, Debug, Serialize)]
pub struct Traced {
    /// Requests with at least one active lane.
    pub requests: u64,
    /// Lanes that took part.
    pub active_lanes: Option<f64>,
    /// Blocks of 32 bytes.
    pub blocks32: Option<f64>,
    /// Blocks of 64 bytes.
    pub blocks64: Option<f64>,
    /// Blocks of 128 bytes.
    pub blocks128: Option<f64>,
    /// Blocks of 32 bytes if the lowest address began a block.
    pub blocks32_if_aligned: Option<f64>,
    /// Blocks of 64 bytes if the lowest address began a block.
    pub blocks64_if_aligned: Option<f64>,
    /// Blocks of 128 bytes if the lowest address began a block.
    pub blocks128_if_aligned: Option<f64>,
    /// Distinct bytes that lanes asked for.
    pub useful_bytes: Option<f64>,
    /// Whether the static count is the same; `None` where it does not claim to be exact.
    pub agrees: Option<bool>,
    /// The sums.
    #[serde(skip)]
    pub traffic: Traffic,
}

impl Traced {
    pub(super) fn new(traffic: Traffic, predicted: Option<Traffic>) -> Self {
        let average = |sum: u64| (traffic.requests > 0).then(|| sum as f64 / traffic.requests as f64);
        let [b32, b64, b128] = traffic.blocks;
        let [a32, a64, a128] = traffic.blocks_if_aligned;
        Self {
            requests: traffic.requests,
            active_lanes: average(traffic.active_lanes),
            blocks32: average(b32),
            blocks64: average(b64),
            blocks128: average(b128),
            blocks32_if_aligned: average(a32),
            blocks64_if_aligned: average(a64),
            blocks128_if_aligned: average(a128),
            useful_bytes: average(traffic.useful_bytes),
            agrees: predicted.map(|p| p == traffic),
            traffic,
        }
    }
}

/// What was assumed; where nothing was and not every request is counted all the same, why not.
fn reasons(c: &Classified) -> Vec<String> {
    let why = match c.confidence {
        Confidence::Averaged => "how often it runs is not known: the grid or the length of a loop is not",
        Confidence::Estimated => "counted over a sample of its requests, which are many",
        Confidence::Exact | Confidence::Unknown => return c.assumptions.clone(),
    };
    if c.assumptions.is_empty() { vec![why.into()] } else { c.assumptions.clone() }
}

/// One entry point.
#[derive(Clone, Debug, Serialize)]
pub struct Kernel {
    /// Source file.
    pub file: String,
    /// Entry point.
    pub name: String,
    /// Whether its accesses are in the report.
    pub analysed: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The line of the file at which that shows, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Invocations of a workgroup in x, y and z, by which its accesses were counted.
    pub workgroup_size: Option<[u32; 3]>,
    /// Whether the text leaves them to the host, so that they are a guess: then as many as the text allows, or 256.
    pub workgroup_size_assumed: bool,
    /// Accesses found.
    pub accesses: usize,
    /// Accesses with a verdict.
    pub classified: usize,
    /// Accesses without.
    pub unknown: usize,
    /// What its accesses to storage and uniform buffers ask of memory in an average workgroup.
    pub per_workgroup: Option<KernelBytes>,
    /// The same for the whole dispatch, where the number of workgroups is known.
    pub per_dispatch: Option<KernelBytes>,
}

/// Sums over the accesses of a kernel to storage and uniform buffers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KernelBytes {
    /// Bytes that lanes ask for, each lane's counted.
    pub asked_bytes: f64,
    /// Distinct bytes of each request.
    pub useful_bytes: f64,
    /// Bytes in the target's blocks, if no cache kept any between requests.
    pub fetched_bytes: f64,
    /// Accesses that are not in the sums: how often they happen, or where they go, is not known.
    pub uncounted: usize,
}

impl KernelBytes {
    pub(crate) fn of(sites: &[Classified], settings: &Settings) -> Self {
        let mut sum = Self { asked_bytes: 0.0, useful_bytes: 0.0, fetched_bytes: 0.0, uncounted: 0 };
        let block = settings.target.block();
        for site in sites.iter().filter(|s| matches!(s.raw.space, Space::Storage | Space::Uniform)) {
            match &site.per_group {
                Some(one) => {
                    sum.asked_bytes += one.asked_bytes;
                    sum.useful_bytes += one.useful_bytes;
                    sum.fetched_bytes += one.blocks[block.ix()] * block.bytes() as f64;
                }
                None if site.pattern == Pattern::Unreached => {}
                None => sum.uncounted += 1,
            }
        }
        sum
    }

    pub(crate) fn times(self, groups: f64) -> Self {
        Self {
            asked_bytes: self.asked_bytes * groups,
            useful_bytes: self.useful_bytes * groups,
            fetched_bytes: self.fetched_bytes * groups,
            ..self
        }
    }
}

/// Everything that an audit found.
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Report {
    /// Version of this form: 1.
    pub schema: u32,
    /// Findings, worst first.
    pub findings: Vec<Finding>,
    /// Every access, good ones included.
    pub sites: Vec<Site>,
    /// Every entry point.
    pub kernels: Vec<Kernel>,
    /// Source texts by file name, for rendering.
    #[serde(skip)]
    pub sources: std::collections::BTreeMap<String, String>,
    /// Names of the parameters that kernels have, to which [`Settings`] can give values.
    #[serde(skip)]
    pub parameters: std::collections::BTreeSet<String>,
}

impl Default for Report {
    fn default() -> Self {
        Report {
            schema: 1,
            findings: Vec::new(),
            sites: Vec::new(),
            kernels: Vec::new(),
            sources: std::collections::BTreeMap::new(),
            parameters: std::collections::BTreeSet::new(),
        }
    }
}

impl Report {
    /// The access whose source text contains `text`: for assertions about one's own kernels. Stores
    /// count as their left side.
    ///
    /// ```
    /// use wgpu_marlin::audit::{Settings, audit_wgsl};
    /// let report = audit_wgsl("copy.wgsl", "
    ///     @group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
    ///     @group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
    ///     @compute @workgroup_size(64)
    ///     fn main(@builtin(global_invocation_id) g: vec3<u32>) { y[g.x] = x[g.x]; }
    /// ", &Settings::default());
    /// let load = report.site("x[g.x]").unwrap();
    /// assert_eq!(load.blocks128, Some(4.0));
    /// assert_eq!(load.efficiency(), Some(1.0));
    /// ```
    pub fn site(&self, text: &str) -> Option<&Site> {
        self.sites.iter().find(|s| s.source.contains(text))
    }

    /// The kernels, and files as a whole, that could not be analysed.
    pub fn not_analysed(&self) -> impl Iterator<Item = &Kernel> {
        self.kernels.iter().filter(|k| !k.analysed)
    }

    /// The worst severity found.
    pub fn worst(&self) -> Option<super::finding::Severity> {
        self.findings.iter().map(|f| f.severity).max()
    }

    /// Takes out findings that say the same of one place, and orders the rest: worst first, then by what they cost, then
    /// by place.
    pub(crate) fn finish(mut self) -> Self {
        let place = |f: &Finding| f.place().map(|l| (l.file.clone(), l.line, l.column));
        let mut seen = std::collections::HashSet::new();
        self.findings.retain(|f| seen.insert((f.code, place(f), f.message.clone())));
        // Bytes are whole or nearly so; what is not known comes after what is.
        let cost = |f: &Finding| f.wasted_bytes.map_or(-1, |b| b as i64);
        self.findings.sort_by_cached_key(|f| (std::cmp::Reverse((f.severity, cost(f))), place(f), f.code));
        self
    }

    /// Adds another report's rows.
    pub fn merge(&mut self, other: Report) {
        self.findings.extend(other.findings);
        self.sites.extend(other.sites);
        self.kernels.extend(other.kernels);
        self.sources.extend(other.sources);
        self.parameters.extend(other.parameters);
    }
}
