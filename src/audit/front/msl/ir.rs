//! LLVM IR as data: only what clang writes for kernels at `-O1`.

use std::collections::HashMap;

use super::parse::{Names, Reader};

/// A local value or a label, by its place in [`Function::names`].
pub(super) type Name = u32;

/// A type, as far as sizes and integers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Void,
    Int(u32),
    /// Floating point of so many bytes.
    Float(u64),
    Ptr,
    Vector(u64, Box<Ty>),
    Array(u64, Box<Ty>),
    Struct(Vec<Ty>, bool),
    Named(String),
    Other,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// `%name`
    Local(Name),
    /// `@name`
    Global(String),
    Int(i64),
    /// `<4 x i32> <i32 0, …>`
    Vector(Vec<Operand>),
    /// Zero of any type.
    Zero,
    /// Something that is no integer.
    Other,
}

pub(super) type Typed = (Ty, Operand);

#[derive(Clone, Debug)]
pub(super) enum Op {
    Binary(String, Ty, Operand, Operand),
    Compare(String, Ty, Operand, Operand),
    Select(Typed, Typed, Typed),
    Phi(Ty, Vec<(Operand, Name)>),
    /// Conversion: name, from, operand, to.
    Cast(String, Ty, Operand, Ty),
    /// Element type, pointer, indices.
    Gep(Ty, Operand, Vec<Typed>),
    Load(Ty, Operand),
    Store(Typed, Operand),
    Atomic(Ty, Operand),
    Call(String, Ty, Vec<Typed>),
    Extract(Ty, Operand, Operand),
    Insert(Ty, Operand, Operand, Operand),
    Shuffle(Ty, Operand, Operand, Operand),
    ExtractValue(Operand, Vec<usize>),
    Alloca,
    /// Result unknown, operands listed: differs between lanes if one of them does.
    Opaque(Ty, Vec<Operand>),
}

#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub(super) result: Option<Name>,
    pub(super) op: Op,
    pub(super) debug: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Jump(Name),
    Branch(Operand, Name, Name),
    Switch(Operand, Name, Vec<(i64, Name)>),
    Return,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) label: Name,
    pub(super) code: Vec<Instruction>,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) params: Vec<Name>,
    pub(super) blocks: Vec<Block>,
    /// The text of each name.
    pub(super) names: Vec<String>,
}

/// A module's functions by name, and its struct types.
#[derive(Debug, Default)]
pub(in crate::audit) struct Module {
    pub(super) functions: HashMap<String, Function>,
    structs: HashMap<String, Ty>,
}

impl Module {
    pub(super) fn parse(text: &str) -> Self {
        let mut module = Module::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with('%') {
                if let Some((name, body)) = line.split_once(" = type ") {
                    let ty = Reader::new(body, &Names::default()).ty();
                    module.structs.insert(name.trim_start_matches('%').trim_matches('"').to_string(), ty);
                }
            } else if line.starts_with("define ") {
                let mut body = Vec::new();
                for l in lines.by_ref() {
                    if l == "}" {
                        break;
                    }
                    body.push(l);
                }
                if let Some((name, function)) = super::parse::function(line, &body) {
                    module.functions.insert(name, function);
                }
            }
        }
        module
    }

    /// Size and alignment in bytes.
    pub(super) fn layout(&self, ty: &Ty, depth: usize) -> (u64, u64) {
        if depth > 32 {
            return (0, 1);
        }
        match ty {
            Ty::Int(bits) => {
                let bytes = u64::from(*bits).div_ceil(8).next_power_of_two();
                (bytes, bytes.min(16))
            }
            Ty::Float(bytes) => (*bytes, *bytes),
            Ty::Ptr => (8, 8),
            Ty::Vector(n, e) => {
                let bytes = n.saturating_mul(self.layout(e, depth + 1).0).max(1);
                let rounded = bytes.checked_next_power_of_two().unwrap_or(bytes);
                (rounded, rounded)
            }
            Ty::Array(n, e) => {
                let (size, align) = self.layout(e, depth + 1);
                (n.saturating_mul(size), align)
            }
            Ty::Struct(members, packed) => {
                let (mut at, mut most) = (0u64, 1u64);
                for m in members {
                    let (size, align) = self.layout(m, depth + 1);
                    let align = if *packed { 1 } else { align.max(1) };
                    at = at.div_ceil(align).saturating_mul(align).saturating_add(size);
                    most = most.max(align);
                }
                (at.div_ceil(most).saturating_mul(most), most)
            }
            Ty::Named(name) => self.structs.get(name).map_or((0, 1), |t| self.layout(t, depth + 1)),
            Ty::Void | Ty::Other => (0, 1),
        }
    }

    /// Bytes that a load or store of the type touches.
    pub(super) fn access_bytes(&self, ty: &Ty) -> u64 {
        match ty {
            Ty::Vector(n, e) => n.saturating_mul(self.layout(e, 0).0),
            t => self.layout(t, 0).0,
        }
    }

    /// The size of the scalars that a type is made of, which its address is a multiple of.
    pub(super) fn element_bytes(&self, ty: &Ty) -> u64 {
        match ty {
            Ty::Vector(_, e) | Ty::Array(_, e) => self.element_bytes(e),
            t => match self.layout(t, 0).0 {
                bytes @ (1 | 2 | 4 | 8) => bytes,
                _ => 1,
            },
        }
    }

    /// Offset and type of a member.
    pub(super) fn member(&self, ty: &Ty, index: usize) -> Option<(u64, Ty)> {
        match ty {
            Ty::Named(name) => self.member(self.structs.get(name)?, index),
            Ty::Struct(members, packed) => {
                let mut at = 0u64;
                for (i, m) in members.iter().enumerate() {
                    let (size, align) = self.layout(m, 0);
                    let align = if *packed { 1 } else { align.max(1) };
                    at = at.div_ceil(align).saturating_mul(align);
                    if i == index {
                        return Some((at, m.clone()));
                    }
                    at = at.saturating_add(size);
                }
                None
            }
            _ => None,
        }
    }

    /// Whether the type is a struct, by name or in place.
    pub(super) fn is_struct(&self, ty: &Ty) -> bool {
        matches!(ty, Ty::Struct(..))
            || matches!(ty, Ty::Named(n) if self.structs.get(n).is_some_and(|t| matches!(t, Ty::Struct(..))))
    }
}
