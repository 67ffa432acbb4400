//! Attention: `output[i, h] = softmax_j(q[i, h]·k[j, h / group]/√head_dim + mask[i, j]) · v[j, h / group]`.
//!
//! | operand | elements | layout |
//! |---|---|---|
//! | `q` | f16 or f32 | `[n_queries, heads, head_dim]`, or `[heads, n_queries, head_dim]`: see [`Layout`] |
//! | `k`, `v` | as `q` | `[capacity, kv_heads, head_dim]` or `[kv_heads, capacity, head_dim]`, `n_keys` of them filled |
//! | `mask` | f32 `[n_queries, n_keys]` | added to the scores of every head; −10³⁰ and below (−∞ too) hides the key |
//! | `output` | as `q` | as `q` |
//!
//! `group = heads / kv_heads` query heads share a key head. With `causal`, query i sees the keys to
//! `i + n_keys − n_queries`: the last query sees all. A query that sees no key gets zeros, and what the K and V of a key
//! hold that it does not see, NaN and infinities too, never reaches its result. Scores, sums and outputs are
//! accumulated in f32; the exponentials that enter the second product are f16 in `flash_coop` and f32 elsewhere.
//!
//! | variant | path | what it shows |
//! |---|---|---|
//! | naive | two steps | a key row per thread, scores and softmax through memory |
//! | tiled | two steps | the advice to stage K in workgroup memory |
//! | transposed | two steps | the advice to store K transposed |
//! | shuffle | two steps | the advice to transpose K between registers |
//! | flash | one pass | online softmax, register tiles; neither f16 nor subgroups |
//! | flash_coop | one pass | the same with cooperative matrices |
//! | split | one pass, keys split | decoding: few queries, many keys |
//!
//! # Where the advice loses
//!
//! `naive`'s lanes read 4 bytes each from rows 256 B apart (f16, head_dim 128): 32 lines per request. But a lane's next
//! 31 requests are to the same line, and the lines of one workgroup's 128 rows are 32 KB: where they fit the first-level
//! cache, memory sees each line once. All three pieces of advice mend the request and leave what costs more: each
//! query fetches all of K anew, and scores make four trips through memory. `tiled` stages each element for *one* use,
//! so that it adds a store, a barrier and a load to what the cache did. `transposed` makes requests of 128 consecutive
//! bytes, at the price that appending a token to the cache becomes head_dim scattered stores. `shuffle` pays
//! log₂(width)/2 shuffles per element loaded. The one-pass kernels re-use a K tile for 32 or 64 queries, or for all heads
//! of a group, and keep scores on chip.
//!
//! # Rescaling without knowing where matrix elements are
//!
//! See `wgsl/attention/flash_coop.wgsl`: the maximum follows lazily, so that the accumulators pass through
//! workgroup memory only when a row's greatest score grows by more than 2⁸-fold in weight.

//! # What was measured
//!
//! 22 November 2026, H100 (Vulkan, driver 580), copy ceiling 3,013 GB/s, unchecked WGSL, 32 query heads on 8 key heads,
//! head_dim 128, f16.
//!
//! Decode, 1 query, 32,768 keys, GB/s of K and V (naive 27, tiled 24, transposed 20, shuffle 31, flash 17; PyTorch's best
//! 1,932): `split` by workgroups wanted, 4 rows ahead: 264: 2,000 · 528: **2,337** · 1056: 2,156 · 2112: 1,907; by rows ahead
//! at 1056: 1: 1,829 · 2: 2,034 · 4: 2,156 · 8: 1,903.
//!
//! Prefill, 4096 × 4096, causal, TFLOPS (PyTorch's best fused kernel 465, its next 264):
//!
//! | `flash_coop` | |
//! |---|---|
//! | 32 keys a tile, K and V in workgroup memory, fetched one tile ahead | 108.8 |
//! | the same, not fetched ahead | 109.7 |
//! | 32 keys, K as matrices straight from storage | 10.7 |
//! | 32 keys, V as matrices straight from storage | 11.1 |
//! | 16 keys, in workgroup memory, fetched one tile ahead: **as it is** | **130.6** |
//! | 16 keys, a loop in place of the `if` round the rescaling | 26.4 |
//! | the same with two buffers of tiles and a barrier less | 27.2 |
//!
//! The small tile leaves room for more workgroups on a core. Staging K and V wins by ten times: 16 × 16 matrices
//! loaded from storage are many small requests. A loop that runs at most once round code that changes the matrices costs
//! five sixths of the rate: they no longer stay in registers. `flash` gave 3.6 with tiles fetched by loops that wait for each
//! load, and 12.5 unrolled.
//!
//! Prefill, 2048 × 2048, causal, TFLOPS: naive 1.75 · tiled 2.99 · transposed 8.41 · shuffle 5.76 · flash 11.8. (At 4096 the
//! scores take 2 GiB, more than one binding holds.) With many queries in flight the advice does help the two-step path, up to
//! 4.8 times; at one query `tiled` and `transposed` are slower than `naive`; and one pass beats all of them.

mod plans;
mod problem;

use super::op::Operation;
use super::spec::{Buffers, Case, CaseClass, Elem, Family, Refusal, Role, Variant};
use crate::gpu::{BufferSpec, Caps};

/// How tokens and heads are ordered in memory, in all four buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[tokens, heads, head_dim]`: what a projection writes, and what a cache appends to.
    TokenMajor,
    /// `[heads, tokens, head_dim]`.
    HeadMajor,
}

/// Sizes of the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Queries: all prompt tokens, or the new ones of a decoding step.
    pub n_queries: u32,
    /// Keys and values to attend to.
    pub n_keys: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads: a divisor of `heads`.
    pub kv_heads: u32,
    /// Elements of a head: one of [`HEAD_DIMS`].
    pub head_dim: u32,
}

/// Head sizes that the kernels are made for.
pub const HEAD_DIMS: [u32; 4] = [64, 80, 128, 256];

/// What else can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Queries see no later keys.
    pub causal: bool,
    /// There is a `mask`.
    pub mask: bool,
    /// Order of tokens and heads.
    pub layout: Layout,
    /// Keys that the buffers of `k` and `v` have room for; `None` for exactly `n_keys`.
    pub kv_capacity: Option<u32>,
}

impl Default for Options {
    /// No mask, not causal, `[tokens, heads, head_dim]`, keys and values without spare room.
    fn default() -> Self {
        Self { causal: false, mask: false, layout: Layout::TokenMajor, kv_capacity: None }
    }
}

/// What to compute: validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    shape: Shape,
    elem: Elem,
    options: Options,
    values: problem::Values,
}

impl Spec {
    /// Attention over a shape with f16 or f32 elements.
    ///
    /// # Errors
    /// Names the argument that is out of range.
    pub fn new(shape: Shape, elem: Elem, options: Options) -> Result<Self, Refusal> {
        let Shape { n_queries, n_keys, heads, kv_heads, head_dim } = shape;
        let needs = |what: String| Err(Refusal::needs(what));
        if n_queries == 0 || n_keys == 0 {
            return needs(format!("`n_queries` ({n_queries}) and `n_keys` ({n_keys}) of at least 1"));
        }
        if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
            return needs(format!(
                "`heads` ({heads}) to be a multiple of `kv_heads` ({kv_heads}), both at least 1"
            ));
        }
        if !HEAD_DIMS.contains(&head_dim) {
            return needs(format!("`head_dim` of 64, 80, 128 or 256, got {head_dim}"));
        }
        if elem == Elem::U32 {
            return needs("`elem` to be f16 or f32".into());
        }
        let capacity = options.kv_capacity.unwrap_or(n_keys);
        if capacity < n_keys {
            return needs(format!("`kv_capacity` of at least `n_keys` = {n_keys}, got {capacity}"));
        }
        let elements = |tokens: u32, heads: u32| {
            (u64::from(tokens) * u64::from(heads)).saturating_mul(u64::from(head_dim))
        };
        if elements(n_queries, heads) >= 1 << 32 || elements(capacity, kv_heads) >= 1 << 32 {
            return needs("fewer than 2^32 elements in each of `q`, `k` and `v`".into());
        }
        if n_queries >= 1 << 30 || n_keys >= 1 << 30 {
            return needs(format!("`n_queries` ({n_queries}) and `n_keys` ({n_keys}) below 2^30"));
        }
        if options.mask && u64::from(n_queries) * u64::from(n_keys) >= 1 << 32 {
            return needs("fewer than 2^32 elements in `mask`".into());
        }
        Ok(Self { shape, elem, options, values: problem::Values::Random })
    }

    /// Query heads per key head.
    fn group(&self) -> u32 {
        self.shape.heads / self.shape.kv_heads
    }

    /// Keys that there is room for.
    fn capacity(&self) -> u32 {
        self.options.kv_capacity.unwrap_or(self.shape.n_keys)
    }

    /// Element distances of neighbouring tokens and neighbouring heads, of `tokens` by `heads`.
    fn strides(&self, tokens: u32, heads: u32) -> [u32; 2] {
        let d = self.shape.head_dim;
        match self.options.layout {
            Layout::TokenMajor => [heads * d, d],
            Layout::HeadMajor => [d, tokens * d],
        }
    }

    /// Query i sees the keys below `i + diagonal`.
    fn diagonal(&self) -> i32 {
        let Shape { n_queries, n_keys, .. } = self.shape;
        if self.options.causal { n_keys as i32 - n_queries as i32 + 1 } else { n_keys as i32 }
    }

    /// The number of keys that a query sees, from the first.
    fn visible_keys(&self, query: u32) -> u32 {
        (query as i32 + self.diagonal()).clamp(0, self.shape.n_keys as i32) as u32
    }

    fn name(&self) -> String {
        let Shape { n_queries, n_keys, heads, kv_heads, head_dim } = self.shape;
        let elem = self.elem.name();
        let mut name = format!("q{n_queries}-k{n_keys}-h{heads}x{kv_heads}-d{head_dim}-{elem}");
        for (on, suffix) in [
            (self.options.causal, "-causal"),
            (self.options.mask, "-mask"),
            (self.options.layout == Layout::HeadMajor, "-headmajor"),
            (self.options.kv_capacity.is_some(), "-cache"),
            (self.values == problem::Values::Large, "-large"),
            (self.values == problem::Values::Rising, "-rising"),
            (self.values == problem::Values::Strays, "-strays"),
        ] {
            if on {
                name.push_str(suffix);
            }
        }
        name
    }
}

impl Buffers for Spec {
    fn buffers(&self) -> Vec<BufferSpec> {
        let Shape { n_queries, n_keys, heads, kv_heads, head_dim } = self.shape;
        let rows = |name, tokens: u32, heads: u32| {
            let elements = u64::from(tokens) * u64::from(heads) * u64::from(head_dim);
            BufferSpec::new(name, elements, self.elem.size_bytes())
        };
        let (k, v) = (rows("k", self.capacity(), kv_heads), rows("v", self.capacity(), kv_heads));
        let mut buffers = vec![rows("q", n_queries, heads), k, v, rows("output", n_queries, heads)];
        if self.options.mask {
            let elements = u64::from(n_queries) * u64::from(n_keys);
            buffers.push(BufferSpec::new("mask", elements, Elem::F32.size_bytes()));
        }
        buffers
    }
}

/// Most queries that `split` is preferred for: its workgroups read K and V once per query.
///
/// | queries | capabilities | choice | why |
/// |---|---|---|---|
/// | to 8 | subgroups of known width | split | bound by reading K and V once; a tile of queries would be mostly edge |
/// | any | f16 matrices, subgroups of 32 | flash_coop | bound by multiply-adds |
/// | any | any | flash | the same without matrices, f16 or subgroups |
const FEW_QUERIES: u32 = 8;

/// The best variant for a device. Its buffers: `q`, `k`, `v`, `mask` if there is one, and `output`.
///
/// # Errors
/// The device can run no variant.
pub fn operation(spec: &Spec, caps: &Caps) -> Result<Operation, Refusal> {
    Operation::choose(VARIANTS, spec, caps)
}

static VARIANTS: &[Variant<Spec>] = &[
    Variant::new(
        "naive",
        Role::Naive,
        true,
        "two steps, a thread per key row, scores through memory",
        plans::naive,
    ),
    Variant::new("tiled", Role::Advised, false, "two steps, K tiles in workgroup memory", plans::tiled),
    Variant::new(
        "transposed",
        Role::Advised,
        false,
        "two steps, K stored [head_dim, keys]",
        plans::transposed,
    ),
    Variant::new(
        "shuffle",
        Role::Advised,
        false,
        "two steps, K transposed between registers of a subgroup",
        plans::shuffle,
    ),
    Variant::new(
        "flash",
        Role::Optimized,
        true,
        "online softmax, 32 queries × 32 keys in registers",
        plans::flash,
    )
    .serves(|_, _| Some(1)),
    Variant::new(
        "flash_coop",
        Role::Optimized,
        true,
        "online softmax, 64 queries × 16 keys by cooperative matrices",
        plans::flash_coop,
    )
    .serves(|s, _| (s.shape.n_queries > FEW_QUERIES).then_some(0)),
    Variant::new(
        "split",
        Role::Optimized,
        true,
        "keys split over workgroups, K and V shared by the heads of a group",
        plans::split,
    )
    .serves(|s, _| (s.shape.n_queries <= FEW_QUERIES).then_some(0)),
];

fn cases() -> Vec<Case> {
    use CaseClass::{Bench, Edge, Smoke};
    use Elem::{F16, F32};
    use problem::Values::{Large, Random, Rising, Strays};
    let plain = Options::default();
    let causal = Options { causal: true, ..plain };
    let mask = Options { mask: true, ..plain };
    let head_major = Options { layout: Layout::HeadMajor, ..causal };
    let cache = |n| Options { kv_capacity: Some(n), ..causal };
    // n_queries, n_keys, heads, kv_heads, head_dim.
    let rows: [(CaseClass, [u32; 5], Elem, Options, problem::Values); 35] = [
        (Smoke, [65, 129, 4, 2, 64], F16, causal, Random),
        (Smoke, [1, 300, 8, 2, 128], F16, plain, Random),
        (Smoke, [9, 33, 2, 1, 80], F32, mask, Random),
        (Edge, [1, 1, 1, 1, 64], F16, plain, Random),
        (Edge, [1, 1, 2, 2, 128], F32, causal, Random),
        (Edge, [31, 31, 1, 1, 64], F16, causal, Random),
        (Edge, [32, 32, 2, 1, 80], F16, causal, Random),
        (Edge, [33, 65, 2, 1, 128], F16, head_major, Random),
        (Edge, [63, 15, 2, 2, 64], F32, plain, Random),
        (Edge, [64, 64, 1, 1, 256], F16, causal, Random),
        (Edge, [65, 63, 2, 2, 128], F16, causal, Random),
        (Edge, [40, 7, 1, 1, 64], F16, causal, Random),
        (Edge, [17, 95, 2, 1, 128], F16, mask, Random),
        (Edge, [66, 47, 2, 2, 80], F16, Options { causal: true, ..mask }, Random),
        (Edge, [3, 511, 6, 2, 64], F32, cache(600), Random),
        (Edge, [1, 513, 16, 2, 80], F16, cache(520), Random),
        (Edge, [2, 257, 8, 1, 256], F16, Options { layout: Layout::HeadMajor, ..cache(300) }, Random),
        (Edge, [1, 64, 7, 7, 256], F32, mask, Random),
        (Edge, [8, 1000, 4, 4, 64], F16, mask, Random),
        (Edge, [20, 100, 2, 1, 64], F16, causal, Large),
        (Edge, [20, 100, 2, 1, 64], F32, mask, Large),
        (Edge, [40, 200, 1, 1, 64], F16, plain, Rising),
        (Edge, [33, 65, 2, 1, 64], F16, causal, Strays),
        (Edge, [70, 90, 2, 2, 128], F16, head_major, Strays),
        (Edge, [40, 50, 2, 1, 80], F32, causal, Strays),
        (Edge, [36, 70, 2, 1, 64], F16, mask, Strays),
        (Edge, [70, 66, 1, 1, 80], F16, Options { causal: true, ..mask }, Strays),
        (Edge, [21, 40, 2, 1, 64], F32, Options { causal: true, ..mask }, Strays),
        (Edge, [1, 300, 4, 2, 128], F16, mask, Strays),
        (Edge, [5, 200, 4, 1, 64], F32, mask, Strays),
        (Edge, [6, 130, 2, 2, 256], F16, causal, Strays),
        (Bench, [4096, 4096, 32, 8, 128], F16, head_major, Random),
        (Bench, [1, 32768, 32, 8, 128], F16, Options { causal: false, ..head_major }, Random),
        (Bench, [1, 32768, 32, 8, 128], F16, plain, Random),
        (Bench, [2048, 2048, 32, 8, 128], F16, head_major, Random),
    ];
    rows.into_iter()
        .map(|(class, [n_queries, n_keys, heads, kv_heads, head_dim], elem, options, values)| {
            let shape = Shape { n_queries, n_keys, heads, kv_heads, head_dim };
            let spec = Spec { shape, elem, options, values };
            Case::new(spec.name(), class, spec, VARIANTS, problem::problem)
        })
        .collect()
}

/// The family.
pub fn family() -> Family {
    Family::new("attention", "softmax(q·k/√d + mask)·v, heads grouped", VARIANTS, cases())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { n_queries: 3, n_keys: 5, heads: 4, kv_heads: 2, head_dim: 64 };

    #[test]
    fn arguments_out_of_range_are_named() {
        let refused = |shape, options| Spec::new(shape, Elem::F16, options).unwrap_err().to_string();
        let plain = Options::default();
        assert!(
            refused(Shape { head_dim: 96, ..SHAPE }, plain)
                .contains("`head_dim` of 64, 80, 128 or 256, got 96")
        );
        assert!(refused(Shape { kv_heads: 3, ..SHAPE }, plain).contains("`heads` (4)"));
        assert!(refused(Shape { kv_heads: 0, ..SHAPE }, plain).contains("`kv_heads` (0)"));
        assert!(refused(Shape { n_keys: 0, ..SHAPE }, plain).contains("`n_keys` (0)"));
        assert!(refused(SHAPE, Options { kv_capacity: Some(4), ..plain }).contains("`kv_capacity`"));
        assert!(refused(Shape { n_keys: 1 << 26, ..SHAPE }, plain).contains("2^32 elements"));
        assert!(Spec::new(SHAPE, Elem::U32, plain).unwrap_err().to_string().contains("`elem`"));
    }

    #[test]
    fn the_last_causal_query_sees_all_and_earlier_ones_less() {
        let causal = Options { causal: true, ..Options::default() };
        let seen = |n_queries, n_keys| -> Vec<u32> {
            let spec = Spec::new(Shape { n_queries, n_keys, ..SHAPE }, Elem::F32, causal).unwrap();
            (0..n_queries).map(|i| spec.visible_keys(i)).collect()
        };
        assert_eq!(seen(3, 5), [3, 4, 5]);
        assert_eq!(seen(5, 2), [0, 0, 0, 1, 2]);
    }
}
