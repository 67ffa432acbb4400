//! The layer on a device: which operations run over which buffers.

use half::f16;
use wgpu_marlin::kernels::{
    attention, expert_gemm, gemm, gemv, op::Operation, router, spec::Elem, weight_operands,
};
use wgpu_marlin::quant::QuantizedMatrix;

use super::device::{Device, Result};
use super::reference::{self, Weights};
use super::{CAPACITY, EXPERTS, HEAD_DIM, HEADS, HIDDEN, INNER, KV_HEADS, TOP_K};

/// Bytes of an f32.
const F32: u64 = 4;

/// What a step is checked by.
pub(crate) struct Step {
    pub(crate) attention: Vec<f32>,
    pub(crate) hidden: Vec<f32>,
    pub(crate) expert_ids: Vec<u32>,
    pub(crate) probabilities: Vec<f32>,
    pub(crate) output: Vec<f32>,
}

/// The layer on a device: weights, and the cache of what it has seen.
pub(crate) struct Block<'a, D: Device> {
    device: D,
    weights: &'a Weights,
    /// What products, attention and the router read, and the cache holds: f32 or f16. Sums between them are f32.
    elem: Elem,
    /// Uploaded once, by the operations of the first call that needs them; those of other shapes bind the same.
    uploaded: [Option<D::Operands>; 7],
    k_cache: D::Buffer,
    v_cache: D::Buffer,
    cached: u32,
    /// The variants that the last call ran.
    pub(crate) chosen: Vec<String>,
}

/// Places of weights in [`Block::uploaded`].
const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const ROUTER: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

impl<'a, D: Device> Block<'a, D> {
    pub(crate) fn new(device: D, weights: &'a Weights, elem: Elem) -> Result<Self> {
        let cache_bytes = u64::from(CAPACITY * KV_HEADS * HEAD_DIM) * elem.size_bytes() as u64;
        let (k_cache, v_cache) = (device.buffer(cache_bytes)?, device.buffer(cache_bytes)?);
        let uploaded = Default::default();
        Ok(Self { device, weights, elem, uploaded, k_cache, v_cache, cached: 0, chosen: Vec::new() })
    }

    /// `tokens` new rows of x through the layer. Records everything, submits once, reads back.
    pub(crate) fn forward(&mut self, x: &[f32], tokens: u32) -> Result<Step> {
        let n_keys = self.cached + tokens;
        self.chosen.clear();
        let elem_bytes = self.elem.size_bytes() as u64;
        let floats = |rows: u32, columns: u32| self.device.buffer(u64::from(rows * columns) * F32);
        let elems = |rows: u32, columns: u32| self.device.buffer(u64::from(rows * columns) * elem_bytes);
        let (q_columns, kv_columns, pairs) = (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, tokens * TOP_K);
        let (input, normed) = (floats(tokens, HIDDEN)?, elems(tokens, HIDDEN)?);
        let (q, k, v) = (elems(tokens, q_columns)?, elems(tokens, kv_columns)?, elems(tokens, kv_columns)?);
        let q_product = floats(tokens, q_columns)?;
        let (k_product, v_product) = (floats(tokens, kv_columns)?, floats(tokens, kv_columns)?);
        let (attended, projected) = (elems(tokens, q_columns)?, floats(tokens, HIDDEN)?);
        let hidden = floats(tokens, HIDDEN)?;
        let (expert_ids, probabilities) = (floats(tokens, TOP_K)?, floats(tokens, TOP_K)?);
        let (up, inner) = (floats(pairs, 2 * INNER)?, elems(pairs, INNER)?);
        let (down, output) = (floats(tokens, HIDDEN)?, floats(tokens, HIDDEN)?);
        self.device.write(&input, bytemuck::cast_slice(x));

        let mut step = self.device.begin();
        self.app(&mut step, "norm", &[&input, &normed], tokens, HIDDEN)?;
        for (ix, product, to, columns) in
            [(Q, &q_product, &q, q_columns), (K, &k_product, &k, kv_columns), (V, &v_product, &v, kv_columns)]
        {
            self.project(&mut step, ix, tokens, &normed, product)?;
            self.app(&mut step, "store", &[product, to], tokens, columns)?;
        }
        let row_bytes = u64::from(kv_columns) * elem_bytes;
        let (at, appended) = (u64::from(self.cached) * row_bytes, u64::from(tokens) * row_bytes);
        self.device.copy(&mut step, &k, &self.k_cache, at, appended);
        self.device.copy(&mut step, &v, &self.v_cache, at, appended);
        let shape = attention::Shape {
            n_queries: tokens,
            n_keys,
            heads: HEADS,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
        };
        let layout = attention::Layout::TokenMajor;
        let options = attention::Options { causal: true, mask: false, layout, kv_capacity: Some(CAPACITY) };
        let spec = attention::Spec::new(shape, self.elem, options)?;
        let attention = attention::operation(&spec, self.device.caps())?;
        let cache = [("q", &q), ("k", &self.k_cache), ("v", &self.v_cache), ("output", &attended)];
        self.device.run(&mut step, &attention, None, &cache)?;
        self.chosen.push(format!("attention {}", attention.variant()));
        self.project(&mut step, O, tokens, &attended, &projected)?;
        self.device.app(&mut step, "add", &[&input, &projected, &hidden], tokens, HIDDEN)?;

        self.app(&mut step, "norm", &[&hidden, &normed], tokens, HIDDEN)?;
        let shape = router::Shape { n_tokens: tokens, hidden: HIDDEN, experts: EXPERTS, top_k: TOP_K };
        let spec = router::Spec::new(shape, self.elem, true)?;
        let router = router::operation(&spec, self.device.caps())?;
        let gate = bytes_of(&self.weights.router, self.elem);
        let buffers =
            [("activations", &normed), ("expert_ids", &expert_ids), ("probabilities", &probabilities)];
        self.operate(&mut step, ROUTER, "router", &router, &[("weights", &gate)], &buffers)?;
        let buffers = [("x", &normed), ("expert_ids", &expert_ids), ("y", &up)];
        self.expert_product(&mut step, UP, tokens, &buffers)?;
        self.app(&mut step, "swiglu", &[&up, &inner], pairs, INNER)?;
        let buffers =
            [("x", &inner), ("expert_ids", &expert_ids), ("probabilities", &probabilities), ("y", &down)];
        self.expert_product(&mut step, DOWN, tokens, &buffers)?;
        self.device.app(&mut step, "add", &[&hidden, &down, &output], tokens, HIDDEN)?;
        self.device.submit(step)?;
        self.cached = n_keys;

        let read = |buffer: &D::Buffer| -> Result<Vec<f32>> {
            Ok(bytemuck::pod_collect_to_vec(&self.device.read(buffer)?))
        };
        let attention = match self.elem {
            Elem::F16 => {
                let halves: Vec<f16> = bytemuck::pod_collect_to_vec(&self.device.read(&attended)?);
                halves.into_iter().map(f16::to_f32).collect()
            }
            _ => read(&attended)?,
        };
        Ok(Step {
            attention,
            hidden: read(&hidden)?,
            expert_ids: bytemuck::pod_collect_to_vec(&self.device.read(&expert_ids)?),
            probabilities: read(&probabilities)?,
            output: read(&output)?,
        })
    }

    /// A kernel of the app whose results are elements.
    fn app(
        &self,
        step: &mut D::Step,
        entry: &'static str,
        buffers: &[&D::Buffer],
        rows: u32,
        columns: u32,
    ) -> Result<()> {
        let entry = match (self.elem, entry) {
            (Elem::F16, "norm") => "norm16",
            (Elem::F16, "swiglu") => "swiglu16",
            (Elem::F16, "store") => "store16",
            _ => entry,
        };
        self.device.app(step, entry, buffers, rows, columns)
    }

    /// A row of `x` per token times one of the four matrices: matrix-vector for few tokens, else matrix-matrix.
    fn project(
        &mut self,
        step: &mut D::Step,
        ix: usize,
        tokens: u32,
        x: &D::Buffer,
        y: &D::Buffer,
    ) -> Result<()> {
        let matrix: &QuantizedMatrix = &self.weights.projections[ix];
        let (caps, spec, scale) = (self.device.caps(), matrix.spec(), matrix.tensor_scale());
        let (name, operation) = if tokens <= gemv::MAX_BATCH {
            ("gemv", gemv::operation(&gemv::Spec::new(spec, scale, tokens, self.elem)?, caps)?)
        } else {
            ("gemm", gemm::operation(&gemm::Spec::new(tokens, spec, scale, self.elem, Elem::F32)?, caps)?)
        };
        self.operate(step, ix, name, &operation, &weight_operands(matrix), &[("x", x), ("y", y)])
    }

    /// The first or the second product of the chosen experts.
    fn expert_product(
        &mut self,
        step: &mut D::Step,
        ix: usize,
        tokens: u32,
        buffers: &[(&str, &D::Buffer)],
    ) -> Result<()> {
        use expert_gemm::Rows::{Pair, Token};
        let (matrix, [x, y]) = match ix {
            UP => (&self.weights.up, [Token, Pair]),
            _ => (&self.weights.down, [Pair, Token]),
        };
        let expert = reference::expert_spec(matrix)?;
        let scale = matrix.tensor_scale();
        let mixture = expert_gemm::Mixture { n_tokens: tokens, top_k: TOP_K, experts: EXPERTS };
        let spec = expert_gemm::Spec::new(mixture, expert, scale, self.elem, Elem::F32)?;
        let operation = expert_gemm::operation(&spec.with_rows(x, y)?, self.device.caps())?;
        self.operate(step, ix, "expert_gemm", &operation, &weight_operands(matrix), buffers)
    }

    /// Runs an operation with weights that are uploaded when they are first needed.
    fn operate(
        &mut self,
        step: &mut D::Step,
        ix: usize,
        family: &str,
        operation: &Operation,
        operands: &[(&'static str, &[u8])],
        buffers: &[(&str, &D::Buffer)],
    ) -> Result<()> {
        if self.uploaded[ix].is_none() {
            self.uploaded[ix] = Some(self.device.upload(operation, operands)?);
        }
        let chosen = format!("{family} {}", operation.variant());
        if !self.chosen.contains(&chosen) {
            self.chosen.push(chosen);
        }
        self.device.run(step, operation, self.uploaded[ix].as_ref(), buffers)
    }
}

/// Values as elements.
fn bytes_of(values: &[f32], elem: Elem) -> Vec<u8> {
    match elem {
        Elem::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(values).to_vec(),
    }
}
