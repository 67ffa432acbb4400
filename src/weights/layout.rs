//! The layouts that quantizers write into safetensors files: which tensors make one weight, and how its bits are ordered.
//!
//! | layout | tensors | becomes |
//! |---|---|---|
//! | GPTQ | `qweight` i32 `[K/8, N]` along K, `qzeros` `[K/g, N/8]`, `scales` `[K/g, N]`, `g_idx` `[K]` | `Int4Sym` where every zero point is 8, else `Int4Asym`, or `Int4Asym5` with a zero point of 16 |
//! | AWQ | `qweight` i32 `[K, N/8]` along N in the order 0 2 4 6 1 3 5 7, `qzeros`, `scales` as above | `Int4Asym` |
//! | ModelOpt NVFP4 | `weight` u8 `[N, K/2]`, `weight_scale` E4M3 `[N, K/16]`, `weight_scale_2` | `Nvfp4`, `t` = `weight_scale_2` |
//! | compressed-tensors NVFP4 | `weight_packed`, `weight_scale`, `weight_global_scale` | `Nvfp4`, `t` = 1 / `weight_global_scale`, rounded once |
//! | compressed-tensors MXFP4 | `weight_packed`, `weight_scale` u8 `[N, K/32]` | `Mxfp4` |
//! | gpt-oss MXFP4 | `…_blocks` u8 `[E, N, K/32, 16]`, `…_scales` u8 `[E, N, K/32]` | `Mxfp4`, E·N rows; gate and up alternate |
//! | MLX affine | `weight` u32 `[N, K/8]`, `scales`, `biases` `[N, K/g]` | `Int4Affine` or its bf16 or f32 form |
//! | MLX mxfp4, nvfp4 | `weight` u32 `[N, K/8]`, `scales` u8 `[N, K/32]` or `[N, K/16]` | `Mxfp4`, `Nvfp4` |
//!
//! Extents before these are experts: their rows follow one another. In all of them code `2i` of a byte is its low nibble, so
//! that little-endian bytes are words already, but for GPTQ and AWQ, which are transposed.

use std::borrow::Cow;
use std::fmt;

use half::f16;
use rayon::prelude::*;

use super::tensor::words_of;
use super::{Dtype, Safetensors, Tensor, WeightsError};
use crate::quant::{Format, GroupSize, QuantizedMatrix, Scales, Shape, WeightSpec};

/// How a weight lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// A tensor of numbers, or of GGUF's blocks.
    Tensor,
    /// GPTQ.
    Gptq,
    /// AWQ's GEMM layout.
    Awq,
    /// NVIDIA ModelOpt's NVFP4.
    ModelOptNvfp4,
    /// compressed-tensors' `nvfp4-pack-quantized`.
    CompressedNvfp4,
    /// compressed-tensors' `mxfp4-pack-quantized`.
    CompressedMxfp4,
    /// gpt-oss's experts.
    GptOssMxfp4,
    /// MLX's affine quantization.
    MlxAffine,
    /// MLX's mxfp4.
    MlxMxfp4,
    /// MLX's nvfp4.
    MlxNvfp4,
    /// Scales, zero points or an order that belong to another tensor's weight.
    Part,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Layout::Tensor => "tensor",
            Layout::Gptq => "GPTQ",
            Layout::Awq => "AWQ",
            Layout::ModelOptNvfp4 => "ModelOpt NVFP4",
            Layout::CompressedNvfp4 => "compressed-tensors NVFP4",
            Layout::CompressedMxfp4 => "compressed-tensors MXFP4",
            Layout::GptOssMxfp4 => "gpt-oss MXFP4",
            Layout::MlxAffine => "MLX affine",
            Layout::MlxMxfp4 => "MLX mxfp4",
            Layout::MlxNvfp4 => "MLX nvfp4",
            Layout::Part => "part of another weight",
        })
    }
}

/// What tensors alone don't say. [`Checkpoint::open`](super::Checkpoint::open) takes it from the `config.json` and
/// `quantize_config.json` beside the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// GPTQ's zero points are stored as they are (`"checkpoint_format": "gptq_v2"`), not less 1.
    pub gptq_v2: bool,
    /// Bits per code. Without it 4 bits are assumed, and a tensor that contradicts is refused.
    pub bits: Option<u64>,
}

impl Hints {
    /// What a `config.json` (its `quantization_config` or `quantization`) or a `quantize_config.json` says.
    pub fn from_json(text: &[u8]) -> Option<Hints> {
        let root: serde_json::Value = serde_json::from_slice(text).ok()?;
        let inner = root.get("quantization_config").or_else(|| root.get("quantization")).unwrap_or(&root);
        let bits = inner.get("bits").or_else(|| inner.get("w_bit")).and_then(serde_json::Value::as_u64);
        let format = inner.get("checkpoint_format").and_then(serde_json::Value::as_str);
        Some(Hints { gptq_v2: format == Some("gptq_v2"), bits })
    }
}

/// A weight ready for kernels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Weight {
    /// `n` rows of each expert, one after the other.
    pub matrix: QuantizedMatrix,
    /// How many experts' rows the matrix has; 1 where the file has no such extent.
    pub n_experts: usize,
    /// With GPTQ's `desc_act` columns lie in another order than the activations: column `j` is to be multiplied by element
    /// `x_order[j]`. [`permute_x`](Self::permute_x) does it.
    pub x_order: Option<Vec<u32>>,
    /// Even rows are the gate's, odd rows the up-projection's: [`split_gate_up`](Self::split_gate_up).
    pub gate_up: bool,
}

impl Weight {
    pub(super) fn plain(matrix: QuantizedMatrix, n_experts: usize) -> Weight {
        Weight { matrix, n_experts, x_order: None, gate_up: false }
    }

    /// Activations `[…, k]` in the order of the matrix's columns; as they are where the weight has none of its own.
    pub fn permute_x<'a>(&self, x: &'a [f32]) -> Cow<'a, [f32]> {
        let Some(order) = &self.x_order else { return x.into() };
        x.chunks_exact(order.len()).flat_map(|x| order.iter().map(|&k| x[k as usize])).collect()
    }

    /// The gate's and the up-projection's matrices of rows that alternate; `None` where they don't.
    pub fn split_gate_up(&self) -> Option<(QuantizedMatrix, QuantizedMatrix)> {
        let n = self.matrix.shape().n();
        if !self.gate_up || !n.is_multiple_of(2) {
            return None;
        }
        let half = |first| self.matrix.select_rows(&(first..n).step_by(2).collect::<Vec<_>>()).ok();
        Some((half(0)?, half(1)?))
    }
}

/// Which weight a tensor of `files` is the main part of.
pub(super) fn layout_of(files: &Safetensors, name: &str) -> Layout {
    let has = |base: &str, suffix: &str| files.info(&format!("{base}{suffix}")).is_some();
    let is = |dtypes: &[Dtype]| files.info(name).is_some_and(|(dtype, _)| dtypes.contains(dtype));
    let base_of = |suffix| name.strip_suffix(suffix);
    if let Some(base) = base_of(".qweight") {
        let rank_2 = |suffix: &str| match files.info(&format!("{base}{suffix}")) {
            Some((_, &[rows, columns])) => Some((rows, columns)),
            _ => None,
        };
        return match (rank_2(".qweight"), rank_2(".scales")) {
            (Some((_, columns)), Some((_, n))) if columns == n => Layout::Gptq,
            (Some((_, columns)), Some((_, n))) if columns * 8 == n => Layout::Awq,
            _ => Layout::Tensor,
        };
    }
    for suffix in [".qzeros", ".g_idx", ".scales"] {
        if base_of(suffix).is_some_and(|base| has(base, ".qweight")) {
            return Layout::Part;
        }
    }
    if let Some(base) = base_of(".weight_packed") {
        return match (has(base, ".weight_global_scale"), has(base, ".weight_scale")) {
            (true, true) if is(&[Dtype::U8]) => Layout::CompressedNvfp4,
            (false, true) if is(&[Dtype::U8]) => Layout::CompressedMxfp4,
            _ => Layout::Tensor,
        };
    }
    for suffix in [".weight_scale", ".weight_global_scale", ".input_global_scale", ".weight_shape"] {
        if base_of(suffix).is_some_and(|base| has(base, ".weight_packed")) {
            return Layout::Part;
        }
    }
    if let Some(base) = base_of("_blocks")
        && has(base, "_scales")
    {
        return Layout::GptOssMxfp4;
    }
    if base_of("_scales").is_some_and(|base| has(base, "_blocks")) {
        return Layout::Part;
    }
    if let Some(base) = base_of(".weight") {
        if is(&[Dtype::U8]) && has(base, ".weight_scale") && has(base, ".weight_scale_2") {
            return Layout::ModelOptNvfp4;
        }
        if is(&[Dtype::U32]) && has(base, ".scales") {
            if has(base, ".biases") {
                return Layout::MlxAffine;
            }
            let last = |name: &str| files.info(name).and_then(|(_, shape)| shape.last().copied());
            return match (last(name), last(&format!("{base}.scales"))) {
                (Some(words), Some(groups)) if words * 8 == groups * 32 => Layout::MlxMxfp4,
                (Some(words), Some(groups)) if words * 8 == groups * 16 => Layout::MlxNvfp4,
                _ => Layout::Tensor,
            };
        }
    }
    for suffix in [".scales", ".biases", ".weight_scale", ".weight_scale_2", ".input_scale"] {
        let weight = base_of(suffix).map(|base| format!("{base}.weight"));
        if weight.is_some_and(|weight| !matches!(layout_of(files, &weight), Layout::Tensor | Layout::Part)) {
            return Layout::Part;
        }
    }
    Layout::Tensor
}

/// Loads the weight whose main part is `name`.
pub(super) fn load(files: &Safetensors, name: &str, hints: &Hints) -> Result<Weight, WeightsError> {
    let layout = layout_of(files, name);
    let main = files.tensor(name)?;
    let bits = hints.bits.unwrap_or(4);
    if matches!(layout, Layout::Gptq | Layout::Awq | Layout::MlxAffine) && bits != 4 {
        let reason = format!("{layout} of {bits} bits: 4 bits are read");
        return Err(WeightsError::unsupported(name, main.dtype, reason));
    }
    match layout {
        Layout::Tensor => {
            let n_experts =
                if main.shape.len() > 2 { main.shape[..main.shape.len() - 2].iter().product() } else { 1 };
            Ok(Weight::plain(main.to_matrix()?, n_experts))
        }
        Layout::Part => {
            Err(WeightsError::unsupported(name, main.dtype, "it is a part of another tensor's weight"))
        }
        Layout::Gptq => gptq(files, &main, base(name, ".qweight"), hints.gptq_v2),
        Layout::Awq => awq(files, &main, base(name, ".qweight")),
        Layout::ModelOptNvfp4 => {
            let base = base(name, ".weight");
            let t = one_f32(&files.tensor(&format!("{base}.weight_scale_2"))?)?;
            packed(&main, &files.tensor(&format!("{base}.weight_scale"))?, Format::Nvfp4, t)
        }
        Layout::CompressedNvfp4 => {
            let base = base(name, ".weight_packed");
            let global = one_f32(&files.tensor(&format!("{base}.weight_global_scale"))?)?;
            packed(&main, &files.tensor(&format!("{base}.weight_scale"))?, Format::Nvfp4, 1.0 / global)
        }
        Layout::CompressedMxfp4 => {
            let base = base(name, ".weight_packed");
            packed(&main, &files.tensor(&format!("{base}.weight_scale"))?, Format::Mxfp4, 1.0)
        }
        Layout::GptOssMxfp4 => {
            let base = base(name, "_blocks");
            let mut weight = packed(&main, &files.tensor(&format!("{base}_scales"))?, Format::Mxfp4, 1.0)?;
            weight.gate_up = base.ends_with("gate_up_proj");
            Ok(weight)
        }
        Layout::MlxMxfp4 => {
            packed(&main, &files.tensor(&format!("{}.scales", base(name, ".weight")))?, Format::Mxfp4, 1.0)
        }
        Layout::MlxNvfp4 => {
            let base = base(name, ".weight");
            let t = match files.tensor(&format!("{base}.global_scale")) {
                Ok(scale) => one_f32(&scale)?,
                Err(_) => 1.0,
            };
            packed(&main, &files.tensor(&format!("{base}.scales"))?, Format::Nvfp4, t)
        }
        Layout::MlxAffine => mlx_affine(files, &main, base(name, ".weight")),
    }
}

fn base<'a>(name: &'a str, suffix: &str) -> &'a str {
    name.strip_suffix(suffix).unwrap_or(name)
}

/// Codes in order in bytes or words, with a byte of scale per group: NVFP4 and MXFP4 however they are called.
fn packed(main: &Tensor<'_>, scales: &Tensor<'_>, format: Format, t: f32) -> Result<Weight, WeightsError> {
    let group = format.group_sizes()[0];
    if !matches!(scales.dtype, Dtype::U8 | Dtype::F8E4M3 | Dtype::F8E8M0) {
        let reason = format!("scales of {format} are bytes");
        return Err(WeightsError::unsupported(scales.name, scales.dtype, reason));
    }
    let (shape, n_experts) = packed_shape(main, scales, group)?;
    let error = WeightsError::quant(main.name);
    let spec = WeightSpec::new(shape, format, group).map_err(&error)?;
    let words = words_of(&main.bytes);
    let matrix = QuantizedMatrix::from_parts(spec, words, Scales::Bytes(&scales.bytes), &[], t);
    Ok(Weight::plain(matrix.map_err(&error)?, n_experts))
}

/// Rows of all experts by K, and the number of experts, from the shapes of 4-bit codes and of scales
/// `[experts…, N, K/g]`.
fn packed_shape(
    main: &Tensor<'_>,
    scales: &Tensor<'_>,
    group: GroupSize,
) -> Result<(Shape, usize), WeightsError> {
    let fit = || {
        let reason = format!(
            "codes {:?} of {} and scales {:?} don't fit groups of {group}",
            main.shape, main.dtype, scales.shape
        );
        WeightsError::inconsistent(main.name, reason)
    };
    let (&groups, rows) = scales.shape.split_last().ok_or_else(fit)?;
    let k = groups.checked_mul(group.get()).ok_or_else(fit)?;
    let n_rows = rows.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent)).ok_or_else(fit)?;
    let shape = Shape::new(n_rows, k).map_err(WeightsError::quant(main.name))?;
    let leads = main.shape.len() >= rows.len() && main.shape[..rows.len()] == *rows;
    if rows.is_empty() || !leads || main.bytes.len() * 2 != shape.elements() {
        return Err(fit());
    }
    Ok((shape, rows[..rows.len() - 1].iter().product()))
}

fn mlx_affine(files: &Safetensors, main: &Tensor<'_>, base: &str) -> Result<Weight, WeightsError> {
    let scales = files.tensor(&format!("{base}.scales"))?;
    let biases = files.tensor(&format!("{base}.biases"))?;
    let words_per_row = main.shape.last().copied().unwrap_or(0);
    let groups_per_row = scales.shape.last().copied().unwrap_or(0);
    let group = (words_per_row * 8).checked_div(groups_per_row).unwrap_or(0);
    let unfit = |_| {
        let reason = format!(
            "codes {:?} and scales {:?} are no 4-bit groups of 32, 64 or 128: other widths are not read",
            main.shape, scales.shape
        );
        WeightsError::unsupported(main.name, main.dtype, reason)
    };
    let group = GroupSize::try_from(group).map_err(unfit)?;
    if biases.shape != scales.shape || biases.dtype != scales.dtype {
        return Err(WeightsError::inconsistent(biases.name, "biases don't fit the scales"));
    }
    let (shape, n_experts) = packed_shape(main, &scales, group)?;
    let halves = |t: &Tensor<'_>| -> Vec<u32> {
        t.bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).collect()
    };
    let pairs = || halves(&scales).into_iter().zip(halves(&biases)).map(|(s, b)| s | b << 16).collect();
    let (format, factors): (_, Vec<u32>) = match scales.dtype {
        Dtype::F16 => (Format::Int4Affine, pairs()),
        Dtype::Bf16 => (Format::Int4AffineBf16, pairs()),
        Dtype::F32 => {
            let both = words_of(&scales.bytes).into_iter().zip(words_of(&biases.bytes));
            (Format::Int4AffineF32, both.flat_map(|(s, b)| [s, b]).collect())
        }
        other => return Err(WeightsError::unsupported(scales.name, other, "scales are F16, BF16 or F32")),
    };
    let error = WeightsError::quant(main.name);
    let spec = WeightSpec::new(shape, format, group).map_err(&error)?;
    let matrix = QuantizedMatrix::from_parts(spec, words_of(&main.bytes), Scales::Words(&factors), &[], 1.0);
    Ok(Weight::plain(matrix.map_err(&error)?, n_experts))
}

/// What GPTQ and AWQ share: groups along K, scales and packed zero points `[K/g, N]`.
struct Grouped {
    n: usize,
    k: usize,
    /// Weights of K per stored scale.
    group: usize,
    scales: Vec<f16>,
    zeros: Vec<u32>,
}

impl Grouped {
    fn read(
        files: &Safetensors,
        main: &Tensor<'_>,
        base: &str,
        (n, k): (usize, usize),
    ) -> Result<Grouped, WeightsError> {
        let scales = files.tensor(&format!("{base}.scales"))?;
        let zeros = files.tensor(&format!("{base}.qzeros"))?;
        for tensor in [main, &zeros] {
            if !matches!(tensor.dtype, Dtype::I32 | Dtype::U32) {
                return Err(WeightsError::unsupported(tensor.name, tensor.dtype, "codes lie in I32"));
            }
        }
        let groups = scales.shape.first().copied().unwrap_or(0);
        if groups == 0 || !k.is_multiple_of(groups) || scales.shape != [groups, n] {
            let reason = format!("scales {:?} don't fit a weight of {n} rows and K = {k}", scales.shape);
            return Err(WeightsError::inconsistent(scales.name, reason));
        }
        if !n.is_multiple_of(8) || zeros.shape != [groups, n / 8] {
            let reason = format!("zero points {:?} don't fit scales {:?}", zeros.shape, scales.shape);
            return Err(WeightsError::inconsistent(zeros.name, reason));
        }
        let halves: Option<Vec<f16>> = scales
            .to_f32()?
            .into_iter()
            .map(|scale| Some(f16::from_f32(scale)).filter(|half| half.to_f32() == scale))
            .collect();
        let halves = halves.ok_or_else(|| {
            WeightsError::unsupported(scales.name, scales.dtype, "a scale is no f16, which the format stores")
        })?;
        Ok(Grouped { n, k, group: k / groups, scales: halves, zeros: words_of(&zeros.bytes) })
    }

    /// The matrix of codes `code(k, n)` and zero points `zero(word, n)`.
    fn build(
        self,
        name: &str,
        code: impl Fn(usize, usize) -> u32 + Sync,
        zero: impl Fn(u32, usize) -> u8,
    ) -> Result<QuantizedMatrix, WeightsError> {
        let Grouped { n, k, group, .. } = self;
        let error = WeightsError::quant(name);
        // A scale for all of K, or for a size that kernels don't have, is repeated.
        let held = GroupSize::ALL.into_iter().rev().find(|held| group.is_multiple_of(held.get()));
        let held = held.ok_or_else(|| {
            WeightsError::unsupported(name, "I32", format!("groups of {group}: multiples of 16 are read"))
        })?;
        let (per_row, repeat) = (k / held.get(), group / held.get());
        let (mut scales, mut zeros) = (Vec::with_capacity(n * per_row), Vec::with_capacity(n * per_row));
        for row in 0..n {
            for g in 0..per_row {
                scales.push(self.scales[g / repeat * n + row]);
                zeros.push(zero(self.zeros[g / repeat * (n / 8) + row / 8], row));
            }
        }
        let format = match zeros.iter().copied().max() {
            _ if zeros.iter().all(|&zero| zero == 8) => Format::Int4Sym,
            Some(16..) => Format::Int4Asym5,
            _ => Format::Int4Asym,
        };
        if format == Format::Int4Sym {
            zeros.clear();
        }
        let shape = Shape::new(n, k).map_err(&error)?;
        let spec = WeightSpec::new(shape, format, held).map_err(&error)?;
        let mut words = vec![0_u32; spec.word_count()];
        words.par_chunks_exact_mut(k / 8).enumerate().for_each(|(row, words)| {
            for (i, word) in words.iter_mut().enumerate() {
                *word = (0..8).fold(0, |word, j| word | code(8 * i + j, row) << (4 * j));
            }
        });
        QuantizedMatrix::from_parts(spec, words, Scales::F16(&scales), &zeros, 1.0).map_err(error)
    }
}

fn gptq(files: &Safetensors, main: &Tensor<'_>, base: &str, v2: bool) -> Result<Weight, WeightsError> {
    let &[words, n] = main.shape else {
        return Err(WeightsError::inconsistent(main.name, "codes are [K/8, N]"));
    };
    let k = words * 8;
    let grouped = Grouped::read(files, main, base, (n, k))?;
    let order = match files.tensor(&format!("{base}.g_idx")) {
        Ok(g_idx) => gptq_order(&g_idx, k, grouped.group)?,
        Err(_) => None,
    };
    let codes = words_of(&main.bytes);
    let code = |k: usize, n_: usize| {
        let k = order.as_ref().map_or(k, |order| order[k] as usize);
        codes[k / 8 * n + n_] >> (4 * (k % 8)) & 15
    };
    let less = if v2 { 0 } else { 1 };
    let zero = |word: u32, n: usize| (word >> (4 * (n % 8)) & 15) as u8 + less;
    let matrix = grouped.build(main.name, code, zero)?;
    Ok(Weight { matrix, n_experts: 1, x_order: order, gate_up: false })
}

/// The order in which `g_idx` puts K, groups one after the other; `None` where it is K's own.
fn gptq_order(g_idx: &Tensor<'_>, k: usize, group: usize) -> Result<Option<Vec<u32>>, WeightsError> {
    if g_idx.shape != [k] || !matches!(g_idx.dtype, Dtype::I32 | Dtype::U32) {
        let reason = format!(
            "{} of {} for K = {k}: it is of as many I32, or codes are not of 4 bits",
            g_idx.dtype,
            g_idx.shape.iter().product::<usize>()
        );
        return Err(WeightsError::inconsistent(g_idx.name, reason));
    }
    let groups = words_of(&g_idx.bytes);
    if groups.iter().enumerate().all(|(k, &g)| g as usize == k / group) {
        return Ok(None);
    }
    let mut order: Vec<u32> = (0..k as u32).collect();
    order.sort_by_key(|&k| groups[k as usize]);
    let even = order.iter().enumerate().all(|(j, &k)| groups[k as usize] as usize == j / group);
    if !even {
        let reason = format!("its groups are not of {group} each, so no order of K makes runs of them");
        return Err(WeightsError::unsupported(g_idx.name, g_idx.dtype, reason));
    }
    Ok(Some(order))
}

fn awq(files: &Safetensors, main: &Tensor<'_>, base: &str) -> Result<Weight, WeightsError> {
    // Where column `c` of eight lies: nibble i holds column 0 2 4 6 1 3 5 7.
    const NIBBLE: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
    let &[k, words] = main.shape else {
        return Err(WeightsError::inconsistent(main.name, "codes are [K, N/8]"));
    };
    let grouped = Grouped::read(files, main, base, (words * 8, k))?;
    let codes = words_of(&main.bytes);
    let code = |k: usize, n: usize| codes[k * words + n / 8] >> (4 * NIBBLE[n % 8]) & 15;
    let zero = |word: u32, n: usize| (word >> (4 * NIBBLE[n % 8]) & 15) as u8;
    Ok(Weight::plain(grouped.build(main.name, code, zero)?, 1))
}

/// A scalar, or the one value that all elements (of experts) have.
pub(super) fn one_f32(tensor: &Tensor<'_>) -> Result<f32, WeightsError> {
    let values = tensor.to_f32()?;
    match values.first() {
        Some(&first) if values.iter().all(|value| value.to_bits() == first.to_bits()) => Ok(first),
        Some(_) => {
            let reason = "experts have factors of their own: one factor per tensor can be held";
            Err(WeightsError::unsupported(tensor.name, tensor.dtype, reason))
        }
        None => Err(WeightsError::inconsistent(tensor.name, "it has no element")),
    }
}
