//! `marlin weights FILE`, and `marlin compare --weights FILE --tensor NAME`: families with quantized weights on a real matrix.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use wgpu_marlin::kernels::spec::{Case, Elem, Family};
use wgpu_marlin::kernels::{dequant, gemv};
use wgpu_marlin::quant::{ErrorStats, Format, GroupSize, QuantizedMatrix, quantize};
use wgpu_marlin::weights::{Checkpoint, Entry, Layout};

use super::{Failure, print_out, table, write_out};

#[derive(Args)]
pub(crate) struct WeightsArgs {
    /// A .gguf or .safetensors file, a .safetensors.index.json, or a folder with one of the latter two.
    file: String,
    /// Load every weight, not only look at types and shapes; end 1 if one can't be held.
    #[arg(long)]
    check: bool,
    /// Write the list as JSON to a file, or to standard output for `-`.
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
}

/// Lists a file's tensors and what each loads as.
pub(crate) fn run(args: &WeightsArgs) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.file)?;
    let entries = checkpoint.entries();
    let mut refused = 0;
    let mut rows = Vec::new();
    for entry in &entries {
        let loads = loads(&checkpoint, entry, args.check);
        refused += usize::from(loads.is_err());
        rows.push((entry, loads));
    }
    if let Some(path) = &args.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|(entry, loads)| {
                json!({
                    "name": entry.name,
                    "type": entry.dtype.to_string(),
                    "shape": entry.shape,
                    "layout": entry.layout.to_string(),
                    "loads_as": loads.as_ref().ok(),
                    "refused": loads.as_ref().err(),
                })
            })
            .collect();
        write_out(path, &super::json(&json!({ "schema": 1, "checked": args.check, "tensors": rows }))?)?;
    } else {
        let lines = rows.iter().map(|(entry, loads)| {
            let what = match loads {
                Ok(what) => format!("loads as {what}"),
                Err(reason) => format!("NOT LOADED: {reason}"),
            };
            let layout = match entry.layout {
                Layout::Tensor | Layout::Part => String::new(),
                layout => layout.to_string(),
            };
            vec![entry.name.clone(), entry.dtype.to_string(), format!("{:?}", entry.shape), layout, what]
        });
        let how = if args.check { "" } else { " by type and shape" };
        let text = table::plain(lines);
        let counts = format!("{} tensors, {refused} can't be loaded{how}\n", entries.len());
        print_out(&(text + &counts))?;
    }
    match refused {
        n if args.check && n > 0 => {
            Err(Failure::wrong_result(format!("{n} of {} tensors can't be loaded", entries.len())))
        }
        _ => Ok(()),
    }
}

/// What a tensor loads as, tried if `check`.
fn loads(checkpoint: &Checkpoint, entry: &Entry, check: bool) -> Result<String, String> {
    let expected = entry.loads_as()?;
    let tried = match expected {
        _ if !check => return Ok(expected.into()),
        "bytes" | "part of another weight" => checkpoint.tensor(&entry.name).map(|_| expected.into()),
        "f32" => checkpoint.tensor(&entry.name).and_then(|tensor| tensor.to_f32()).map(|_| "f32".into()),
        _ => checkpoint.weight(&entry.name).map(|weight| {
            let spec = weight.matrix.spec();
            let group = if spec.format().is_plain() { String::new() } else { format!(" g{}", spec.group()) };
            format!("{}{group}", spec.format())
        }),
    };
    tried.map_err(|error| error.to_string())
}

/// What quantizing a matrix cost in precision.
pub(crate) struct Quantization {
    format: String,
    stats: ErrorStats,
}

/// The formats that a plain matrix is quantized to, each with its usual group.
const FORMATS: [(Format, GroupSize); 5] = [
    (Format::Fp4, GroupSize::G32),
    (Format::Int4Sym, GroupSize::G32),
    (Format::Int4Asym, GroupSize::G32),
    (Format::Mxfp4, GroupSize::G32),
    (Format::Nvfp4, GroupSize::G16),
];

/// Replaces the cases of `dequant` and `gemv` by those of the matrix: as it is if the file has it quantized, else quantized
/// to each of [`FORMATS`]. Other families are refused, since a weight matrix says nothing to them.
pub(crate) fn replace_cases(
    families: &mut Vec<Family>,
    named: bool,
    file: &str,
    tensor: &str,
) -> Result<Vec<Quantization>, Failure> {
    let takes_weights = |f: &Family| matches!(f.name, "dequant" | "gemv");
    if named && let Some(other) = families.iter().find(|f| !takes_weights(f)) {
        return Err(Failure::new(format!("--weights is for dequant and gemv, not {}", other.name)));
    }
    families.retain(takes_weights);
    let matrix = Checkpoint::open(file)?.weight(tensor)?.matrix;
    let mut quantizations = Vec::new();
    for family in families.iter_mut() {
        family.cases.clear();
    }
    let mut add = |matrix: QuantizedMatrix| -> Result<(), Failure> {
        let matrix = Arc::new(matrix);
        let spec = matrix.spec();
        let name = format!("{tensor} {}-g{} {}", spec.format(), spec.group(), spec.shape());
        for family in families.iter_mut() {
            let case: Case = match family.name {
                "dequant" => dequant::case_of(&name, matrix.clone(), Elem::F16)?,
                _ => gemv::case_of(&name, matrix.clone(), 1, Elem::F16)?,
            };
            family.cases.push(case);
        }
        Ok(())
    };
    if !matrix.format().is_plain() {
        add(matrix)?;
        return Ok(quantizations);
    }
    let values = matrix.dequantize();
    for (format, group) in FORMATS {
        let quantized = quantize(&values, matrix.shape(), format, group)?;
        quantizations.push(Quantization {
            format: format!("{format}-g{group}"),
            stats: ErrorStats::between(&values, &quantized.dequantize()),
        });
        add(quantized)?;
    }
    Ok(quantizations)
}

impl Quantization {
    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let s = &self.stats;
        format!(
            "quantization error {:14} relative {:.4}, rms {:.3e}, max {:.3e}",
            self.format, s.relative, s.rms, s.max_abs
        )
    }

    /// The same for scripts.
    pub(crate) fn json(&self) -> Value {
        let s = &self.stats;
        json!({ "format": self.format, "relative": s.relative, "rms": s.rms, "max": s.max_abs })
    }
}
