//! The vocabulary of rooms: families, variants, cases, problems with their reference, and costs.
//!
//! A room's own spec type (shapes, format, options) stays inside the room: [`Family::new`] takes typed
//! tables and hands out cases that hide the type, so that drivers treat all families alike.

use std::sync::Arc;

use super::op::Operation;
use crate::gpu::{BufferSpec, Caps, Plan, ScalarType};

/// What a variant stands for in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The measure of what the device can do: a plain copy.
    Ceiling,
    /// As commonly written.
    Naive,
    /// As common advice recommends; measured, not believed.
    Advised,
    /// The best known here.
    Optimized,
}

impl Role {
    /// The name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Naive => "naive",
            Self::Advised => "advised",
            Self::Optimized => "optimized",
        }
    }
}

/// Why a spec cannot be, or why a variant cannot run a case on a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An argument is out of range: no device would help. The message names it.
    #[error("{0}")]
    Argument(String),
    /// A variant needs a feature that the device lacks, or a shape that the spec does not have: a sentence part such
    /// as "needs shader-f16".
    #[error("needs {0}")]
    Needs(String),
    /// A variant needs more than a limit of the device allows.
    #[error("needs {what} of {needed}, but the device allows {limit} of at most {allowed}{hint}")]
    Limit {
        /// What needs it: a buffer's name in backquotes, or a shader.
        what: String,
        /// How much, with its unit.
        needed: String,
        /// The limit, in words.
        limit: &'static str,
        /// What the device allows, with its unit.
        allowed: String,
        /// How to mend it, from "; " on; empty where there is no more to say.
        hint: String,
    },
    /// None of the variants that could serve can run.
    #[error("no variant can run: {}", listed(.0))]
    NoVariant(Vec<PassedOver>),
}

impl Refusal {
    /// A refusal because of a missing capability or an unsupported shape.
    pub fn needs(what: impl std::fmt::Display) -> Self {
        Self::Needs(what.to_string())
    }

    /// A refusal of an argument: a sentence that names it.
    pub(super) fn argument(what: impl Into<String>) -> Self {
        Self::Argument(what.into())
    }
}

/// A variant that would have served better than the chosen one, and what it wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The variant's name.
    pub variant: &'static str,
    /// Why it cannot run.
    pub refusal: Refusal,
}

impl std::fmt::Display for PassedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.variant, self.refusal)
    }
}

fn listed(passed_over: &[PassedOver]) -> String {
    passed_over.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Refuses devices without cooperative matrices of `side` × `side` × `side`, `ab` with sums in f32.
pub(super) fn needs_coop(caps: &Caps, side: u32, ab: Elem) -> Result<(), Refusal> {
    let elem = if ab == Elem::F16 { ScalarType::F16 } else { ScalarType::F32 };
    let name = ab.name();
    if caps.has_coop(side, side, side, elem, ScalarType::F32) {
        return Ok(());
    }
    Err(Refusal::needs(format!("cooperative matrices {side}x{side}x{side} of {name} with sums in f32")))
}

/// The larger side of the f16 cooperative matrices with sums in f32 that a device offers: 16 or 8.
pub(super) fn coop_side(caps: &Caps) -> Result<u32, Refusal> {
    [16, 8]
        .into_iter()
        .find(|&side| needs_coop(caps, side, Elem::F16).is_ok())
        .ok_or_else(|| Refusal::needs("8×8 or 16×16 cooperative matrices, f16 to f32"))
}

/// What a room's spec says of the buffers that its variants bind.
pub trait Buffers {
    /// Operands and results with their sizes, the same for every variant. Bindings are checked against them.
    fn buffers(&self) -> Vec<BufferSpec>;

    /// Rows of the weight matrix, which an app can cut into parts of fewer rows; `None` where there is none.
    fn weight_rows(&self) -> Option<u64> {
        None
    }
}

/// Whether a variant serves a spec on a device, and before which others: the least rank first. `None`: it is for comparison
/// alone, and no operation chooses it.
pub type Serves<S> = fn(&S, &Caps) -> Option<u32>;

/// A row of a room's table of variants.
pub struct Variant<S> {
    /// Name, as in `FAMILY/NAME`.
    pub name: &'static str,
    /// What it stands for.
    pub role: Role,
    /// How it lays out its work, in one phrase.
    pub about: &'static str,
    /// What it runs for a spec on a device, or why it cannot.
    pub plan: fn(&S, &Caps) -> Result<Plan, Refusal>,
    /// When and in which order an operation tries it.
    pub serves: Serves<S>,
    /// Whether its shaders have Metal twins.
    pub twin: bool,
    /// Its own problem, where it does not compute what the room's other variants do, or rounds otherwise.
    pub problem: Option<fn(&S, u64) -> Problem>,
}

impl<S> Variant<S> {
    /// A row of a table of variants: for comparison alone, with the room's problem, until the methods below say otherwise.
    pub(super) const fn new(
        name: &'static str,
        role: Role,
        twin: bool,
        about: &'static str,
        plan: fn(&S, &Caps) -> Result<Plan, Refusal>,
    ) -> Self {
        Self { name, role, about, plan, serves: |_, _| None, twin, problem: None }
    }

    /// With the rank at which an operation tries it.
    pub(super) const fn serves(mut self, serves: Serves<S>) -> Self {
        self.serves = serves;
        self
    }

    /// With a problem of its own.
    pub(super) const fn problem(mut self, problem: fn(&S, u64) -> Problem) -> Self {
        self.problem = Some(problem);
        self
    }
}

impl<S: Buffers> Variant<S> {
    /// The variant's plan with the buffers that the spec names; refused where it exceeds a limit of the device.
    pub(super) fn plan_for(&self, spec: &S, caps: &Caps) -> Result<Plan, Refusal> {
        completed((self.plan)(spec, caps)?, spec, caps)
    }
}

/// A plan with the buffers that the spec names; refused where it exceeds a limit of the device.
pub(super) fn completed<S: Buffers>(plan: Plan, spec: &S, caps: &Caps) -> Result<Plan, Refusal> {
    let plan = Plan { buffers: spec.buffers(), ..plan };
    super::limits::check(&plan, spec.weight_rows(), caps)?;
    Ok(plan)
}

/// What is known of a variant without its room's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantInfo {
    /// The index that [`Case`]'s methods take.
    pub ix: usize,
    /// Name, as in `FAMILY/NAME`.
    pub name: &'static str,
    /// What it stands for.
    pub role: Role,
    /// How it lays out its work, in one phrase.
    pub about: &'static str,
    /// Whether its shaders have Metal twins.
    pub twin: bool,
}

/// What a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaseClass {
    /// Small, quick, telling: what `compare` runs by default.
    Smoke,
    /// Tile edges, odd shapes, extreme values: for verification only.
    Edge,
    /// Large enough to time on a real GPU.
    Bench,
}

type ProblemFn = Arc<dyn Fn(usize, u64) -> Problem + Send + Sync>;
type PlanFn = Arc<dyn Fn(usize, &Caps) -> Result<Plan, Refusal> + Send + Sync>;
type OperationFn = Arc<dyn Fn(&Caps) -> Result<Operation, Refusal> + Send + Sync>;

/// One shape with its options, ready to be generated, planned and run.
#[derive(Clone)]
pub struct Case {
    /// Unique within the family.
    pub name: String,
    /// What it is for.
    pub class: CaseClass,
    problem: ProblemFn,
    plan: PlanFn,
    operation: OperationFn,
    own_problem: Vec<bool>,
}

impl Case {
    /// A room's spec as a case over that room's variants.
    pub fn new<S: Buffers + Clone + Send + Sync + 'static>(
        name: impl Into<String>,
        class: CaseClass,
        spec: S,
        variants: &'static [Variant<S>],
        problem: impl Fn(&S, u64) -> Problem + Send + Sync + 'static,
    ) -> Self {
        Self::per_variant(name, class, spec, variants, move |spec, variant, seed| match variant.problem {
            Some(own) => own(spec, seed),
            None => problem(spec, seed),
        })
    }

    /// The same where even variants with a problem of their own get it from `problem`.
    pub fn per_variant<S: Buffers + Clone + Send + Sync + 'static>(
        name: impl Into<String>,
        class: CaseClass,
        spec: S,
        variants: &'static [Variant<S>],
        problem: impl Fn(&S, &Variant<S>, u64) -> Problem + Send + Sync + 'static,
    ) -> Self {
        let (for_plan, for_operation) = (spec.clone(), spec.clone());
        Self {
            name: name.into(),
            class,
            problem: Arc::new(move |ix, seed| problem(&spec, &variants[ix], seed)),
            plan: Arc::new(move |ix, caps| variants[ix].plan_for(&for_plan, caps)),
            operation: Arc::new(move |caps| Operation::choose(variants, &for_operation, caps)),
            own_problem: variants.iter().map(|v| v.problem.is_some()).collect(),
        }
    }

    /// Inputs, reference and cost for the variant with this index, generated from `seed`.
    pub fn problem(&self, variant_ix: usize, seed: u64) -> Problem {
        (self.problem)(variant_ix, seed)
    }

    /// Whether the variant computes something else than its room's other variants.
    pub fn has_own_problem(&self, variant_ix: usize) -> bool {
        self.own_problem[variant_ix]
    }

    /// What the variant runs on a device, or why it cannot.
    pub fn plan(&self, variant_ix: usize, caps: &Caps) -> Result<Plan, Refusal> {
        (self.plan)(variant_ix, caps)
    }

    /// What the room's `operation` chooses for the case on a device.
    ///
    /// # Errors
    /// The device can run no variant; all are named with what they want.
    pub fn operation(&self, caps: &Caps) -> Result<Operation, Refusal> {
        (self.operation)(caps)
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("class", &self.class).finish_non_exhaustive()
    }
}

/// A kernel family: what drivers see of a room.
#[derive(Clone, Debug)]
pub struct Family {
    /// One word, the same in `src/kernels/`, `wgsl/`, `msl/`, the command and reports.
    pub name: &'static str,
    /// What it computes, in one line.
    pub summary: &'static str,
    /// All variants, in the order that reports print them.
    pub variants: Vec<VariantInfo>,
    /// All cases.
    pub cases: Vec<Case>,
}

impl Family {
    /// A room as a family.
    pub fn new<S>(
        name: &'static str,
        summary: &'static str,
        variants: &'static [Variant<S>],
        cases: Vec<Case>,
    ) -> Self {
        let info = |(ix, v): (usize, &Variant<S>)| VariantInfo {
            ix,
            name: v.name,
            role: v.role,
            about: v.about,
            twin: v.twin,
        };
        Self { name, summary, variants: variants.iter().enumerate().map(info).collect(), cases }
    }

    /// Keeps the variants whose names pass.
    pub fn keep_variants(&mut self, keep: impl Fn(&str) -> bool) {
        self.variants.retain(|v| keep(v.name));
    }
}

/// Element type of an output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    /// 16-bit float.
    F16,
    /// 32-bit float.
    F32,
    /// 32-bit unsigned integer.
    U32,
}

impl Elem {
    /// Its name in WGSL and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::U32 => "u32",
        }
    }

    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::U32 => 4,
        }
    }

    /// The spacing of values near 1.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::F16 => 2f64.powi(-10),
            Self::F32 => f64::from(f32::EPSILON),
            Self::U32 => 0.0,
        }
    }
}

/// An input buffer.
#[derive(Clone, Debug)]
pub struct Operand {
    /// The name that shaders bind it by.
    pub name: &'static str,
    /// Its contents.
    pub bytes: Arc<[u8]>,
}

/// What one output element must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// |got − value| ≤ bound, or both are the same infinity. NaN never passes.
    Near {
        /// The reference's value.
        value: f64,
        /// The derived tolerance.
        bound: f64,
    },
    /// One of these integers, where the reference is a tie within rounding.
    OneOf(Vec<u32>),
    /// NaN, and not the one that outputs are filled with before a run: NaN that went in and counts must show.
    Nan,
}

impl Want {
    /// With `error` more of tolerance; integers have none.
    pub(super) fn wider(self, error: f64) -> Self {
        match self {
            Want::Near { value, bound } => Want::Near { value, bound: bound + error },
            exact => exact,
        }
    }
}

/// An output buffer with its reference, computed row by row so that large ones can be sampled.
#[derive(Clone)]
pub struct Output {
    /// The name that shaders bind it by.
    pub name: &'static str,
    /// Element type.
    pub elem: Elem,
    /// Rows that the reference computes one by one.
    pub n_rows: usize,
    /// Elements of a row.
    pub row_len: usize,
    /// Multiply-adds that the reference spends on a row: decides how many rows can be checked.
    pub row_cost: u64,
    /// The reference.
    pub row: Arc<dyn Fn(usize) -> Vec<Want> + Send + Sync>,
}

impl Output {
    /// Size of the buffer in bytes.
    pub fn size_bytes(&self) -> usize {
        self.n_rows * self.row_len * self.elem.size_bytes()
    }
}

/// What a computation costs at least, whatever kernel does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that must move: each input read once, each output written once.
    pub useful_bytes: u64,
    /// Floating-point operations, a multiply-add counted as two.
    pub flops: u64,
    /// Which memory the bytes move through.
    pub space: Space,
}

/// Which memory a cost is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Device memory: comparable with the copy ceiling.
    Storage,
    /// Workgroup memory: not comparable with it.
    Workgroup,
}

/// Inputs, outputs with their reference, and cost: all that is needed to judge any variant.
#[derive(Clone)]
pub struct Problem {
    /// Input buffers.
    pub inputs: Vec<Operand>,
    /// Output buffers.
    pub outputs: Vec<Output>,
    /// The least cost.
    pub cost: Cost,
}

impl Problem {
    /// The bytes of an input.
    pub fn input(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.inputs.iter().find(|o| o.name == name).map(|o| &o.bytes)
    }
}

/// Seeded pseudo-random numbers for inputs (SplitMix64, Steele et al. 2014): the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// An integer below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A float in −1 .. 1.
    pub fn unit(&mut self) -> f32 {
        ((self.bits() >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }
}
