//! Abstract values of naga expressions.

use std::rc::Rc;

use naga::Handle;

use crate::audit::lanes::Value;
use crate::audit::site::Record;
use crate::memory::Space;

/// What an expression is known to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Val {
    /// An integer or a boolean (0 or 1).
    Int(Value),
    /// Something else; `Some(why)` if it differs between lanes.
    Other(Option<Rc<str>>),
    /// A vector, matrix, struct or small array.
    Composite(Rc<Vec<Val>>),
    /// A pointer to memory.
    Memory(Memory),
    /// A pointer to a variable of a function: frame (0 for private globals), variable, path.
    Local(usize, usize, Vec<Val>),
}

/// A pointer to memory that costs something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Memory {
    pub(super) global: Handle<naga::GlobalVariable>,
    pub(super) space: Space,
    pub(super) offset: Value,
    pub(super) record: Option<Record>,
    /// The index expression that differs between lanes.
    pub(super) index_span: Option<naga::Span>,
    /// Row lengths and factors of indices on the way, in bytes.
    pub(super) pitches: Vec<u64>,
    /// Names of fields on the way, for symbols.
    pub(super) path: String,
}

impl Val {
    pub(super) fn int(v: i64) -> Self {
        Val::Int(Value::int(v))
    }

    pub(super) fn component(&self, i: usize) -> Val {
        match self {
            Val::Composite(c) => c.get(i).cloned().unwrap_or(Val::Other(None)),
            other => other.clone(),
        }
    }
}
