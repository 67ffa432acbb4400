//! What the auditor is told about the machine, the dispatch, and how text is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::target::Target;
use crate::memory::BankModel;

/// Parameters of an audit. The default knows nothing and assumes an Apple GPU.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kind of GPU.
    pub target: Target,
    /// How workgroup memory is banked.
    pub banks: BankModel,
    /// Lanes of a subgroup.
    pub subgroup_size: u32,
    /// Number of workgroups, where it is known.
    pub workgroups: Option<[u32; 3]>,
    /// Replaces the workgroup size of every compute entry point.
    pub workgroup_size: Option<[u32; 3]>,
    /// Upper bound on points times lanes that are looked at per access, where not all repeat.
    pub budget: usize,
    /// Values of uniform fields, overrides and other parameters, by name (`params.n` or just `n`). Truth values are
    /// 1 and 0.
    pub values: BTreeMap<String, i64>,
    /// The same that are no integers.
    pub floats: BTreeMap<String, f64>,
    /// Folders for included files, after the file's own.
    pub include_dirs: Vec<PathBuf>,
    /// More arguments for the preprocessor of Metal text, clang's.
    pub clang_args: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings::for_target(Target::Apple)
    }
}

impl Settings {
    /// Nothing known but the kind of GPU.
    pub fn for_target(target: Target) -> Self {
        Settings {
            target,
            banks: target.banks(),
            subgroup_size: target.subgroup_size(),
            workgroups: None,
            workgroup_size: None,
            budget: 1 << 18,
            values: BTreeMap::new(),
            floats: BTreeMap::new(),
            include_dirs: Vec::new(),
            clang_args: Vec::new(),
        }
    }

    /// Gives a parameter a value.
    pub fn set(&mut self, name: &str, value: f64) {
        if value.fract() == 0.0 && value.abs() < 9e15 {
            self.values.insert(name.into(), value as i64);
            self.floats.remove(name);
        } else {
            self.floats.insert(name.into(), value);
            self.values.remove(name);
        }
    }

    /// The integer given for a name: see [`names`](Self::names) for what it may be called.
    pub(crate) fn value_of(&self, name: &str) -> Option<i64> {
        Self::names(name).find_map(|n| self.values.get(&n).copied())
    }

    /// The number given for a name.
    pub(crate) fn number_of(&self, name: &str) -> Option<f64> {
        Self::names(name)
            .find_map(|n| self.floats.get(&n).copied().or_else(|| self.values.get(&n).map(|v| *v as f64)))
    }

    /// What a parameter may be called: by its whole name or what follows a dot in it, a component as `dims.x` or
    /// `dims[0]`.
    fn names(name: &str) -> impl Iterator<Item = String> + '_ {
        let mut rest = Some(name);
        let ends = std::iter::from_fn(move || {
            let this = rest?;
            rest = this.split_once('.').map(|(_, after)| after);
            Some(this)
        });
        ends.flat_map(move |end| {
            let component = ["x", "y", "z", "w"].iter().position(|c| end.ends_with(&format!(".{c}")));
            let indexed = component.map(|i| format!("{}[{i}]", &end[..end.len() - 2]));
            // A component by itself is no name.
            let plain = (!["x", "y", "z", "w"].contains(&end) || end == name).then(|| end.to_string());
            plain.into_iter().chain(indexed)
        })
    }

    /// The given names that are names of none of these parameters.
    pub fn unused<'a>(&'a self, parameters: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let known: std::collections::BTreeSet<String> =
            parameters.into_iter().flat_map(Self::names).collect();
        self.values
            .keys()
            .chain(self.floats.keys())
            .filter(|n| !known.contains(*n))
            .map(String::as_str)
            .collect()
    }
}
