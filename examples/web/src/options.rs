//! Options as JSON: the names are those of the command's arguments.

use std::collections::BTreeMap;

use serde::Deserialize;
use wgpu_marlin::audit::{BankModel, Settings, Target};
use wgpu_marlin::lower::{Defines, Lowered};

/// Larger buffers for a trace are surely a slip: a module of 32 bits has 4 GiB in all.
const MOST_BUFFER_BYTES: usize = 256 << 20;

/// Everything may be left out; a name that is not here is an error.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Options {
    target: Option<String>,
    subgroup_size: Option<u32>,
    banks: Option<String>,
    workgroup_size: Option<Vec<u32>>,
    num_workgroups: Option<Vec<u32>>,
    budget: Option<usize>,
    /// Values of uniform fields and overrides.
    set: BTreeMap<String, Number>,
    /// Folders for included files, after the file's own.
    include: Vec<String>,
    /// Names for the preprocessor.
    defines: BTreeMap<String, String>,
    /// For a trace: sizes in bytes of storage buffers, filled with zeros.
    pub(crate) buffers: Option<BTreeMap<String, usize>>,
    /// For a trace: the size of each buffer that is not named and ends with an array without a length.
    pub(crate) buffer_bytes: Option<usize>,
    /// For Metal text: with the guards that WebGPU demands.
    pub(crate) checked: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Number {
    Truth(bool),
    Value(f64),
}

impl Options {
    /// An empty text has no options.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        if json.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(json).map_err(|e| format!("options: {e}"))
    }

    pub(crate) fn settings(&self) -> Result<(Settings, Defines), String> {
        let target: Target = self.target.as_deref().unwrap_or("apple").parse()?;
        let mut settings = Settings::for_target(target);
        if let Some(n) = self.subgroup_size {
            if !(1..=128).contains(&n) {
                return Err(format!("a subgroup of {n} lanes: choose 1 to 128"));
            }
            settings.subgroup_size = n;
        }
        if let Some(banks) = &self.banks {
            settings.banks = banks.parse::<BankModel>()?;
        }
        if let Some(points) = self.budget {
            settings.budget = points.max(1);
        }
        settings.workgroup_size = self.workgroup_size.as_deref().map(triple).transpose()?;
        settings.workgroups = self.num_workgroups.as_deref().map(triple).transpose()?;
        for (name, value) in &self.set {
            let value = match *value {
                Number::Truth(t) => f64::from(u8::from(t)),
                Number::Value(v) => v,
            };
            settings.set(name, value);
        }
        settings.include_dirs = self.include.iter().map(Into::into).collect();
        let mut defines = Defines::new();
        for (name, value) in &self.defines {
            defines.set(name, value);
        }
        let sizes = self.buffers.iter().flatten().map(|(_, n)| *n).chain(self.buffer_bytes);
        if let Some(n) = sizes.max().filter(|n| *n > MOST_BUFFER_BYTES) {
            return Err(format!("a buffer of {n} bytes: choose at most {MOST_BUFFER_BYTES}"));
        }
        Ok((settings, defines))
    }

    /// The buffers for a trace.
    pub(crate) fn contents(&self, lowered: &Lowered) -> BTreeMap<String, Vec<u8>> {
        let unnamed = self.buffer_bytes.map(|n| lowered.runtime_sized().into_iter().map(move |name| (name, n)));
        let mut sizes: BTreeMap<String, usize> = unnamed.into_iter().flatten().collect();
        sizes.extend(self.buffers.iter().flatten().map(|(name, n)| (name.clone(), *n)));
        sizes.into_iter().map(|(name, n)| (name, vec![0; n])).collect()
    }
}

/// One to three numbers, each at least 1.
fn triple(given: &[u32]) -> Result<[u32; 3], String> {
    let mut out = [1; 3];
    if given.is_empty() || given.len() > 3 || given.contains(&0) {
        return Err(format!("{given:?}: give one to three numbers, each at least 1"));
    }
    out[..given.len()].copy_from_slice(given);
    Ok(out)
}
