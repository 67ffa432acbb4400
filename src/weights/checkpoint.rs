//! One door to both kinds of files.

use std::path::Path;

use super::layout::{Hints, Layout, Weight, layout_of, load, one_f32};
use super::{Dtype, Ggml, Gguf, Safetensors, Tensor, WeightsError};

/// A file, or a folder, of weights of either kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Checkpoint {
    /// A GGUF file.
    Gguf(Gguf),
    /// Safetensors files, and what their configuration says.
    Safetensors(Safetensors, Hints),
}

/// What is known of a tensor without reading it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// Name in the file.
    pub name: String,
    /// Type of the elements or blocks.
    pub dtype: Dtype,
    /// Extents, the slowest first.
    pub shape: Vec<usize>,
    /// How the weight lies that it is the main part of.
    pub layout: Layout,
}

impl Entry {
    /// What the tensor loads as, from type and shape alone: a format's name, `f32` for vectors and rows that no kernel takes,
    /// `bytes`, or `part of another weight`; else why it can't be held. What lies in its numbers (a scale that is not
    /// finite, an order of K without runs) only loading tells.
    ///
    /// # Errors
    /// The reason, a sentence part.
    pub fn loads_as(&self) -> Result<&'static str, String> {
        let rank = self.shape.len();
        Ok(match (self.layout, &self.dtype) {
            (Layout::Part, _) => "part of another weight",
            (Layout::Gptq, _) => "int4, int4-asym or int4-asym5",
            (Layout::Awq, _) => "int4-asym",
            (Layout::ModelOptNvfp4 | Layout::CompressedNvfp4 | Layout::MlxNvfp4, _) => "nvfp4",
            (Layout::CompressedMxfp4 | Layout::GptOssMxfp4 | Layout::MlxMxfp4, _) => "mxfp4",
            (Layout::MlxAffine, _) => "int4-affine",
            (Layout::Tensor, Dtype::F16 | Dtype::Bf16 | Dtype::F32) => {
                let whole = self.shape.last().is_some_and(|k| *k > 0 && k.is_multiple_of(16));
                match self.dtype {
                    _ if rank < 2 || !whole => "f32",
                    Dtype::F16 => "f16",
                    Dtype::Bf16 => "bf16",
                    _ => "f32",
                }
            }
            (Layout::Tensor, Dtype::Ggml(block)) => match block {
                Ggml::Q4_0 => "int4",
                Ggml::Q4_1 => "int4-affine",
                Ggml::Q8_0 => "int8",
                Ggml::Q4_K => "q4k",
                Ggml::Q6_K => "q6k",
                Ggml::MXFP4 => "mxfp4",
                Ggml::NVFP4 => "nvfp4",
                other => return Err(format!("no format holds {} exactly", Dtype::Ggml(*other))),
            },
            (Layout::Tensor, Dtype::Unknown(name)) => return Err(format!("{name} is not known")),
            (Layout::Tensor, Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E8M0) => "f32",
            (Layout::Tensor, _) => "bytes",
        })
    }
}

impl Checkpoint {
    /// Opens a `.gguf` file, a `.safetensors` file, a `.safetensors.index.json` or a folder with either of the latter two. Which
    /// of them a file is, its first bytes say.
    ///
    /// # Errors
    /// A file can't be read or is not well-formed.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint, WeightsError> {
        use std::io::Read;
        let path = path.as_ref();
        let mut magic = Vec::new();
        if !path.is_dir() {
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(4).read_to_end(&mut magic));
            read.map_err(|source| WeightsError::Io { path: path.into(), source })?;
        }
        if magic == b"GGUF" || path.extension().is_some_and(|extension| extension == "gguf") {
            return Gguf::open(path).map(Checkpoint::Gguf);
        }
        let files = Safetensors::open(path)?;
        let folder = files.path().parent().unwrap_or(Path::new("")).to_path_buf();
        let mut hints = Hints::default();
        for name in ["config.json", "quantize_config.json"] {
            if let Some(found) =
                std::fs::read(folder.join(name)).ok().and_then(|text| Hints::from_json(&text))
            {
                hints.gptq_v2 |= found.gptq_v2;
                hints.bits = hints.bits.or(found.bits);
            }
        }
        Ok(Checkpoint::Safetensors(files, hints))
    }

    /// All tensors.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(name, dtype, shape): (&str, &Dtype, &[usize])| Entry {
            name: name.to_string(),
            dtype: dtype.clone(),
            shape: shape.to_vec(),
            layout: match self {
                Checkpoint::Gguf(_) => Layout::Tensor,
                Checkpoint::Safetensors(files, _) => layout_of(files, name),
            },
        };
        match self {
            Checkpoint::Gguf(file) => file.tensors().map(entry).collect(),
            Checkpoint::Safetensors(files, _) => files.tensors().map(entry).collect(),
        }
    }

    /// A tensor with its bytes.
    ///
    /// # Errors
    /// There is none of that name; reading fails.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, WeightsError> {
        match self {
            Checkpoint::Gguf(file) => file.tensor(name),
            Checkpoint::Safetensors(files, _) => files.tensor(name),
        }
    }

    /// The weight whose main part (codes, or the numbers themselves) is the tensor `name`, value for value.
    ///
    /// # Errors
    /// There is none of that name; no format holds it exactly, and why; its parts don't fit together.
    pub fn weight(&self, name: &str) -> Result<Weight, WeightsError> {
        match self {
            Checkpoint::Gguf(file) => gguf_weight(file, name),
            Checkpoint::Safetensors(files, hints) => load(files, name, hints),
        }
    }
}

/// A tensor of a GGUF file, NVFP4 with the factor that lies in a tensor of its own.
fn gguf_weight(file: &Gguf, name: &str) -> Result<Weight, WeightsError> {
    let tensor = file.tensor(name)?;
    let mut matrix = tensor.to_matrix()?;
    if *tensor.dtype == Dtype::Ggml(Ggml::NVFP4) {
        let scale = name.strip_suffix(".weight").map(|base| format!("{base}.scale"));
        if let Some(scale) = scale.and_then(|scale| file.tensor(&scale).ok()) {
            let t = one_f32(&scale)?;
            matrix = matrix.with_tensor_scale(t).map_err(WeightsError::quant(name))?;
        }
    }
    let lead = tensor.shape.len().saturating_sub(2);
    Ok(Weight::plain(matrix, tensor.shape[..lead].iter().product()))
}
