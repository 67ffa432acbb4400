//! Buffers by field: from bytes to the names that the auditor knows, and back.

use std::collections::BTreeMap;

use naga::{AddressSpace, ArraySize, Handle, Module, ScalarKind, StorageAccess, Type, TypeInner};

use super::settings::Settings;

/// An integer or float of a buffer.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// As the auditor names it: `params.shape.x`.
    path: String,
    offset: usize,
    kind: ScalarKind,
    width: usize,
}

/// A uniform or storage variable of a module.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) uniform: bool,
    pub(crate) read_only: bool,
    /// The least size, one element of a runtime array counted.
    pub(crate) size_bytes: usize,
    /// Where the runtime array begins, and the size of its elements, if there is one.
    pub(crate) runtime_offset: usize,
    pub(crate) runtime_stride: Option<usize>,
    fields: Vec<Field>,
}

/// Elements beyond this have no name.
const MOST_ELEMENTS: u32 = 256;

/// All uniform and storage variables.
pub(crate) fn variables(module: &Module) -> Vec<Variable> {
    let variable = |(_, var): (_, &naga::GlobalVariable)| {
        let (uniform, read_only) = match var.space {
            AddressSpace::Uniform => (true, true),
            AddressSpace::Storage { access } => (false, !access.contains(StorageAccess::STORE)),
            _ => return None,
        };
        let inner = &module.types[var.ty].inner;
        let mut variable = Variable {
            name: var.name.clone().unwrap_or_default(),
            uniform,
            read_only,
            size_bytes: inner.size(module.to_ctx()) as usize,
            runtime_offset: 0,
            runtime_stride: None,
            fields: Vec::new(),
        };
        let (last, offset) = match inner {
            TypeInner::Struct { members, .. } => {
                members.last().map_or((inner, 0), |m| (&module.types[m.ty].inner, m.offset))
            }
            inner => (inner, 0),
        };
        if let TypeInner::Array { size: ArraySize::Dynamic, stride, .. } = *last {
            (variable.runtime_offset, variable.runtime_stride) =
                (offset as usize, Some(stride.max(1) as usize));
        }
        collect(module, var.ty, &variable.name, 0, &mut variable.fields);
        Some(variable)
    };
    module.global_variables.iter().filter_map(variable).collect()
}

fn collect(module: &Module, ty: Handle<Type>, path: &str, offset: usize, out: &mut Vec<Field>) {
    match module.types[ty].inner {
        TypeInner::Scalar(s) => {
            out.push(Field { path: path.into(), offset, kind: s.kind, width: usize::from(s.width) });
        }
        TypeInner::Vector { size, scalar } => {
            let width = usize::from(scalar.width);
            for (i, c) in ["x", "y", "z", "w"][..size as usize].iter().enumerate() {
                let path = format!("{path}.{c}");
                out.push(Field { path, offset: offset + i * width, kind: scalar.kind, width });
            }
        }
        TypeInner::Struct { ref members, .. } => {
            for m in members {
                let path = format!("{path}.{}", m.name.as_deref().unwrap_or("?"));
                collect(module, m.ty, &path, offset + m.offset as usize, out);
            }
        }
        TypeInner::Array { base, size, stride } => {
            let n = match size {
                ArraySize::Constant(n) => n.get(),
                _ => MOST_ELEMENTS,
            };
            // Elements that are no numbers would multiply.
            if out.len() > 4 * MOST_ELEMENTS as usize {
                return;
            }
            for i in 0..n.min(MOST_ELEMENTS) {
                collect(module, base, &format!("{path}[{i}]"), offset + (i * stride) as usize, out);
            }
        }
        _ => {}
    }
}

impl Variable {
    /// The integers that a buffer with these bytes holds, by name.
    pub(crate) fn values(&self, bytes: &[u8]) -> BTreeMap<String, i64> {
        let read = |f: &Field| {
            let word = bytes.get(f.offset..f.offset + f.width)?;
            let value = match (f.kind, word) {
                (ScalarKind::Uint, &[a, b, c, d]) => i64::from(u32::from_le_bytes([a, b, c, d])),
                (ScalarKind::Sint, &[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
                _ => return None,
            };
            Some((f.path.clone(), value))
        };
        self.fields.iter().filter_map(read).collect()
    }

    /// The bytes with the numbers put in that the settings give.
    pub(crate) fn fill(&self, mut bytes: Vec<u8>, settings: &Settings) -> Vec<u8> {
        for f in &self.fields {
            let Some(value) = settings.number_of(&f.path) else { continue };
            let word = match (f.kind, f.width) {
                (ScalarKind::Uint | ScalarKind::Sint, 4) => (value as i64 as u32).to_le_bytes(),
                (ScalarKind::Float, 4) => (value as f32).to_le_bytes(),
                _ => continue,
            };
            if let Some(slot) = bytes.get_mut(f.offset..f.offset + 4) {
                slot.copy_from_slice(&word);
            }
        }
        bytes
    }

    /// The names of its numbers.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.path.as_str())
    }

    /// The integers for which the settings have no value; names of padding are left out.
    pub(crate) fn unset(&self, settings: &Settings) -> Vec<String> {
        let integer = |f: &&Field| matches!(f.kind, ScalarKind::Uint | ScalarKind::Sint);
        let padding =
            |f: &Field| f.path.split('.').any(|part| part.starts_with('_') || part.starts_with("pad"));
        let missing = self.fields.iter().filter(integer).filter(|f| !padding(f));
        missing.filter(|f| settings.value_of(&f.path).is_none()).map(|f| f.path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_structs_vectors_and_arrays_go_to_bytes_and_back() {
        let module = naga::front::wgsl::parse_str(
            "struct P { n: u32, scale: f32, shape: vec3<i32>, steps: array<vec4<u32>, 2> }
             @group(0) @binding(0) var<uniform> params: P;
             struct S { count: u32, rows: array<vec2<u32>> }
             @group(0) @binding(1) var<storage, read> s: S;
             @compute @workgroup_size(1) fn main() { _ = params.n; }",
        )
        .unwrap();
        let [uniform, storage] = &variables(&module)[..] else { panic!("two variables") };
        let mut settings = Settings::default();
        for (name, value) in [("params.n", 7), ("shape.y", -3), ("params.steps[1].w", 9), ("scale", 2)] {
            settings.values.insert(name.into(), value);
        }
        assert_eq!(uniform.unset(&settings).len(), 9, "{:?}", uniform.unset(&settings));
        let bytes = uniform.fill(vec![0; uniform.size_bytes], &settings);
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[4..8], 2f32.to_le_bytes());
        let values = uniform.values(&bytes);
        assert_eq!(values["params.n"], 7);
        assert_eq!(values["params.shape.y"], -3);
        assert_eq!(values["params.steps[1].w"], 9);
        assert!(!values.contains_key("params.scale"), "floats are no indices");
        assert!(storage.read_only && !storage.uniform);
        assert_eq!((storage.runtime_offset, storage.runtime_stride), (8, Some(8)));
        let mut settings = Settings::default();
        settings.values.insert("s.rows[1].x".into(), 5);
        assert_eq!(storage.values(&storage.fill(vec![0; 32], &settings))["s.rows[1].x"], 5);
    }
}
