//! What the auditor is told about the machine and the dispatch.

use std::collections::BTreeMap;

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
    /// Values of uniform fields, overrides and other parameters, by name (`params.n` or just `n`).
    pub values: BTreeMap<String, i64>,
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
        }
    }

    /// The value given for a name, by the whole name or by what follows a dot in it.
    pub(crate) fn value_of(&self, name: &str) -> Option<i64> {
        let mut rest = name;
        loop {
            if let Some(v) = self.values.get(rest) {
                return Some(*v);
            }
            rest = rest.split_once('.')?.1;
        }
    }
}
