//! Bandwidth by access pattern: `out[i] = in[f(i)]`, with the write always coalesced.
//!
//! Every variant moves f32 elements; only the map `f` from invocation to element differs, so that a time
//! difference is a difference of access. Each input element that is read is read once in all, except
//! where re-use is the pattern (broadcast, scale): the bytes of the cost are bytes that must move.
//!
//! | variant | f(i) | bytes read per output element |
//! |---|---|---|
//! | copy, coalesced, vec2, vec4 | i | 4 |
//! | broadcast | i / 32 | 4 / 32 |
//! | strided_s | (i mod R)·s + i / R, R = n / s | 4 |
//! | scattered | a random permutation, its index read from memory | 4 + 4 |
//! | misaligned_o | i + o | 4 |
//! | scale_g | i, times scale[i / g] | 4 + 4 / g |
//! | workgroup_s | 64 reads of workgroup memory, lane stride s words | counted in workgroup memory |

use std::sync::Arc;

use super::spec::{
    Buffers, Case, CaseClass, Cost, Elem, Family, Operand, Output, Problem, Refusal, Rng, Role, Space,
    Variant, Want,
};
use crate::gpu::{BufferSpec, Caps, Dispatch, Plan, grid};
use crate::lower::{Defines, Shader, Source};
use crate::{msl, wgsl};

/// Uniform block of every pattern kernel.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    /// Output elements.
    n: u32,
    pad: [u32; 3],
}
const _: () = assert!(size_of::<Params>() == 16);

/// Invocations per workgroup.
const WORKGROUP: u64 = 256;
/// `n` is a multiple of this, so that every stride divides it.
pub const GRANULE: u64 = 1024;
/// Reads of workgroup memory per invocation in `workgroup_s`.
const WORKGROUP_READS: u64 = 64;
/// Words of workgroup memory that `workgroup_s` cycles through.
const WORKGROUP_WORDS: u64 = 4096;

/// How many f32 elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    n: u64,
}

impl Spec {
    /// `n` elements: a positive multiple of [`GRANULE`], below 2³⁰.
    pub fn new(n: u64) -> Result<Self, Refusal> {
        if n == 0 || !n.is_multiple_of(GRANULE) || n >= 1 << 30 {
            return Err(Refusal::argument(format!(
                "size {n} is not a positive multiple of {GRANULE} below 2^30"
            )));
        }
        Ok(Self { n })
    }
}

impl Buffers for Spec {
    /// The inputs differ from variant to variant.
    fn buffers(&self) -> Vec<BufferSpec> {
        vec![BufferSpec::new("output", self.n, Elem::F32.size_bytes())]
    }
}

/// The map from output element to input element.
#[derive(Clone, Copy)]
enum Map {
    Same,
    Broadcast,
    Strided(u64),
    Scattered,
    Misaligned(u64),
    Scale(u64),
    Workgroup(u64),
}

const SEED_SALT: u64 = 0x7061_7474;

fn problem(spec: &Spec, seed: u64, map: Map) -> Problem {
    let n = spec.n;
    let mut rng = Rng(seed ^ SEED_SALT);
    let n_input = match map {
        Map::Broadcast => n / 32,
        Map::Misaligned(o) => n + o,
        Map::Workgroup(_) => WORKGROUP_WORDS,
        _ => n,
    };
    let input: Arc<[f32]> = (0..n_input).map(|_| rng.unit()).collect();
    let mut inputs = vec![operand("input", &input)];
    let mut read_bytes = 4 * n_input;
    let mut second: Arc<[f32]> = Arc::new([]);
    let mut index: Arc<[u32]> = Arc::new([]);
    match map {
        Map::Scattered => {
            index = permutation(n, &mut rng);
            inputs.push(operand("index", &index));
            read_bytes += 4 * n;
        }
        Map::Scale(g) => {
            second = (0..n / g).map(|_| rng.unit()).collect();
            inputs.push(operand("scales", &second));
            read_bytes += 4 * (n / g);
        }
        _ => {}
    }
    const ROW: u64 = GRANULE;
    let row = move |row_ix: usize| -> Vec<Want> {
        let first = row_ix as u64 * ROW;
        (first..first + ROW).map(|i| want(map, i, n, &input, &second, &index)).collect()
    };
    let output = Output {
        name: "output",
        elem: Elem::F32,
        n_rows: (n / ROW) as usize,
        row_len: ROW as usize,
        row_cost: ROW * if matches!(map, Map::Workgroup(_)) { WORKGROUP_READS } else { 1 },
        row: Arc::new(row),
    };
    let (useful_bytes, space) = match map {
        Map::Workgroup(_) => (4 * n * WORKGROUP_READS, Space::Workgroup),
        _ => (read_bytes + 4 * n, Space::Storage),
    };
    Problem { inputs, outputs: vec![output], cost: Cost { useful_bytes, flops: 0, space } }
}

/// The reference: the map, one element at a time.
fn want(map: Map, i: u64, n: u64, input: &[f32], second: &[f32], index: &[u32]) -> Want {
    let at = |ix: u64| f64::from(input[ix as usize]);
    let exact = |value: f64| Want::Near { value, bound: 0.0 };
    match map {
        Map::Same => exact(at(i)),
        Map::Broadcast => exact(at(i / 32)),
        Map::Strided(s) => exact(at(i % (n / s) * s + i / (n / s))),
        Map::Scattered => exact(at(u64::from(index[i as usize]))),
        Map::Misaligned(o) => exact(at(i + o)),
        Map::Scale(g) => {
            let value = at(i) * f64::from(second[(i / g) as usize]);
            Want::Near { value, bound: Elem::F32.epsilon() * value.abs() }
        }
        Map::Workgroup(s) => {
            let lane = i % WORKGROUP;
            let reads = (0..WORKGROUP_READS).map(|k| at((lane * s + k) % WORKGROUP_WORDS));
            let (sum, size) = reads.fold((0.0, 0.0), |(sum, size), v| (sum + v, size + v.abs()));
            // Sequential f32 sum: at most one rounding of at most the partial sum per term.
            Want::Near { value: sum, bound: WORKGROUP_READS as f64 * Elem::F32.epsilon() * size }
        }
    }
}

/// A uniformly random permutation of 0..n (Fisher and Yates).
fn permutation(n: u64, rng: &mut Rng) -> Arc<[u32]> {
    let mut p: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        p.swap(i as usize, rng.below(i + 1) as usize);
    }
    p.into()
}

fn operand<T: bytemuck::NoUninit>(name: &'static str, values: &[T]) -> Operand {
    Operand { name, bytes: bytemuck::cast_slice(values).into() }
}

/// One dispatch over `n` elements, `per_invocation` each.
fn plan(
    spec: &Spec,
    wgsl: Source,
    msl: Source,
    per_invocation: u64,
    define: Option<(&str, u64)>,
) -> Result<Plan, Refusal> {
    let mut defines = Defines::new();
    if let Some((name, value)) = define {
        defines.set(name, value);
    }
    let workgroups = grid((spec.n / per_invocation).div_ceil(WORKGROUP));
    let params = Params { n: spec.n as u32, pad: [0; 3] };
    Ok(Plan::one(Dispatch::new(Shader::new(wgsl, defines).with_msl(msl), workgroups, &params)))
}

/// A row of the table below: name, role, what it shows, map, shader, elements per invocation, define.
macro_rules! row {
    ($name:literal, $role:ident, $about:literal, $map:expr, $file:literal, $per:literal $(, $def:literal = $value:literal)?) => {
        Variant {
            name: $name,
            role: Role::$role,
            about: $about,
            plan: |spec: &Spec, _: &Caps| {
                #[allow(unused_mut, unused_assignments, reason = "assigned only in rows with a define")]
                let mut define = None;
                $(define = Some(($def, $value));)?
                plan(
                    spec,
                    wgsl!(concat!("patterns/", $file, ".wgsl")),
                    msl!(concat!("patterns/", $file, ".metal")),
                    $per,
                    define,
                )
            },
            serves: |_, _| None,
            twin: true,
            problem: Some(|spec, seed| problem(spec, seed, $map)),
        }
    };
}

static VARIANTS: &[Variant<Spec>] = &[
    row!("copy", Ceiling, "16 bytes per invocation, consecutive", Map::Same, "vec4", 4),
    row!("coalesced", Optimized, "4 bytes per invocation, consecutive", Map::Same, "coalesced", 1),
    row!("vec2", Optimized, "8 bytes per invocation, consecutive", Map::Same, "vec2", 2),
    row!("vec4", Optimized, "16 bytes per invocation, consecutive", Map::Same, "vec4", 4),
    row!("broadcast", Optimized, "32 invocations read one element", Map::Broadcast, "broadcast", 1),
    row!("strided_2", Naive, "neighbours 8 bytes apart", Map::Strided(2), "strided", 1, "STRIDE" = 2),
    row!("strided_8", Naive, "neighbours 32 bytes apart", Map::Strided(8), "strided", 1, "STRIDE" = 8),
    row!("strided_32", Naive, "neighbours 128 bytes apart", Map::Strided(32), "strided", 1, "STRIDE" = 32),
    row!(
        "strided_1024",
        Naive,
        "neighbours 4096 bytes apart",
        Map::Strided(1024),
        "strided",
        1,
        "STRIDE" = 1024
    ),
    row!("scattered", Naive, "a random permutation", Map::Scattered, "scattered", 1),
    row!(
        "misaligned_1",
        Naive,
        "consecutive, 4 bytes off",
        Map::Misaligned(1),
        "misaligned",
        1,
        "OFFSET" = 1
    ),
    row!(
        "misaligned_8",
        Naive,
        "consecutive, 32 bytes off",
        Map::Misaligned(8),
        "misaligned",
        1,
        "OFFSET" = 8
    ),
    row!(
        "scale_32",
        Naive,
        "a scale per 32 elements beside the data",
        Map::Scale(32),
        "scale",
        1,
        "GROUP" = 32
    ),
    row!(
        "scale_128",
        Naive,
        "a scale per 128 elements beside the data",
        Map::Scale(128),
        "scale",
        1,
        "GROUP" = 128
    ),
    row!(
        "workgroup_1",
        Optimized,
        "workgroup memory, lane stride 1 word",
        Map::Workgroup(1),
        "workgroup",
        1,
        "STRIDE" = 1
    ),
    row!(
        "workgroup_2",
        Naive,
        "workgroup memory, lane stride 2 words",
        Map::Workgroup(2),
        "workgroup",
        1,
        "STRIDE" = 2
    ),
    row!(
        "workgroup_3",
        Naive,
        "workgroup memory, lane stride 3 words",
        Map::Workgroup(3),
        "workgroup",
        1,
        "STRIDE" = 3
    ),
    row!(
        "workgroup_4",
        Naive,
        "workgroup memory, lane stride 4 words",
        Map::Workgroup(4),
        "workgroup",
        1,
        "STRIDE" = 4
    ),
    row!(
        "workgroup_8",
        Naive,
        "workgroup memory, lane stride 8 words",
        Map::Workgroup(8),
        "workgroup",
        1,
        "STRIDE" = 8
    ),
    row!(
        "workgroup_16",
        Naive,
        "workgroup memory, lane stride 16 words",
        Map::Workgroup(16),
        "workgroup",
        1,
        "STRIDE" = 16
    ),
    row!(
        "workgroup_32",
        Naive,
        "workgroup memory, lane stride 32 words",
        Map::Workgroup(32),
        "workgroup",
        1,
        "STRIDE" = 32
    ),
    row!(
        "workgroup_33",
        Naive,
        "workgroup memory, lane stride 33 words",
        Map::Workgroup(33),
        "workgroup",
        1,
        "STRIDE" = 33
    ),
    row!(
        "workgroup_36",
        Naive,
        "workgroup memory, lane stride 36 words",
        Map::Workgroup(36),
        "workgroup",
        1,
        "STRIDE" = 36
    ),
];

/// A case of `n` elements.
pub fn case(spec: Spec, class: CaseClass) -> Case {
    Case::new(format!("n{}", spec.n), class, spec, VARIANTS, |spec, seed| problem(spec, seed, Map::Same))
}

/// The family.
pub fn family() -> Family {
    let cases = vec![
        case(Spec { n: 64 * GRANULE }, CaseClass::Smoke),
        case(Spec { n: GRANULE }, CaseClass::Edge),
        case(Spec { n: 65 * GRANULE }, CaseClass::Edge),
        case(Spec { n: 64 << 20 }, CaseClass::Bench),
    ];
    Family::new("patterns", "bandwidth by access pattern: out[i] = in[f(i)]", VARIANTS, cases)
}
