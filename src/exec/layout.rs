//! Types as the executor sees them: a list of scalar components, each with its byte offset.

use naga::proc::TypeResolution;
use naga::{ArraySize, CooperativeSize, Handle, Module, Scalar, ScalarKind, Type, TypeInner, VectorSize};

use super::regs::File;

/// The scalar types of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Elem {
    Bool,
    I16,
    U16,
    F16,
    I32,
    U32,
    F32,
    I64,
    U64,
    F64,
    /// A cooperative matrix with elements of `f16` (true) or `f32`.
    Matrix {
        half: bool,
    },
}

impl Elem {
    pub(super) fn of(scalar: Scalar) -> Option<Self> {
        Some(match (scalar.kind, scalar.width) {
            (ScalarKind::Bool, _) => Self::Bool,
            (ScalarKind::Sint, 2) => Self::I16,
            (ScalarKind::Uint, 2) => Self::U16,
            (ScalarKind::Float, 2) => Self::F16,
            (ScalarKind::Sint, 4) => Self::I32,
            (ScalarKind::Uint, 4) => Self::U32,
            (ScalarKind::Float, 4) => Self::F32,
            (ScalarKind::Sint, 8) => Self::I64,
            (ScalarKind::Uint, 8) => Self::U64,
            (ScalarKind::Float, 8) => Self::F64,
            _ => return None,
        })
    }

    pub(super) fn file(self) -> File {
        match self {
            Self::I64 | Self::U64 | Self::F64 => File::Wide,
            Self::Matrix { .. } => File::Matrix,
            _ => File::Narrow,
        }
    }

    /// Bytes in memory. naga lays `bool` out as one byte.
    pub(super) fn size_bytes(self) -> u32 {
        match self {
            Self::Bool => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
            Self::Matrix { .. } => 0,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    pub(super) fn is_signed(self) -> bool {
        matches!(self, Self::I16 | Self::I32 | Self::I64)
    }
}

/// A type, or a part of one that has no handle of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Handle(Handle<Type>),
    Vector(VectorSize, Scalar),
    Scalar(Scalar),
    /// Columns, rows.
    Matrix(VectorSize, VectorSize, Scalar),
    /// Columns, rows of a cooperative matrix.
    Cooperative(CooperativeSize, CooperativeSize, Scalar),
}

impl Ty {
    /// The type of an expression's value; `None` for pointers and opaque types.
    pub(super) fn of(resolution: &TypeResolution) -> Option<Self> {
        match *resolution {
            TypeResolution::Handle(h) => Some(Self::Handle(h)),
            TypeResolution::Value(ref inner) => Self::of_inner(inner),
        }
    }

    fn of_inner(inner: &TypeInner) -> Option<Self> {
        Some(match *inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => Self::Scalar(s),
            TypeInner::Vector { size, scalar } => Self::Vector(size, scalar),
            TypeInner::Matrix { columns, rows, scalar } => Self::Matrix(columns, rows, scalar),
            TypeInner::CooperativeMatrix { columns, rows, scalar, .. } => {
                Self::Cooperative(columns, rows, scalar)
            }
            _ => return None,
        })
    }
}

/// One scalar of a flattened type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) offset: u32,
    pub(super) elem: Elem,
}

/// How many elements an index chooses between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Fixed(u32),
    /// A runtime-sized array.
    Runtime,
}

/// The elements of a composite that is indexed: element i starts `i * stride` bytes and `i *
/// components` components after the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements {
    pub(super) ty: Ty,
    pub(super) count: Count,
    pub(super) stride: u32,
    pub(super) components: u32,
}

/// More components than this in one value are refused as too large.
pub(super) const MAX_COMPONENTS: u64 = 1 << 16;

/// The module's types, measured.
pub(super) struct Layout<'m> {
    module: &'m Module,
    /// Components per type, by handle index; `None` for what has no value (images, runtime arrays, ...).
    counts: Vec<Option<u64>>,
}

impl<'m> Layout<'m> {
    pub(super) fn new(module: &'m Module) -> Self {
        let mut this = Self { module, counts: Vec::with_capacity(module.types.len()) };
        for (_, ty) in module.types.iter() {
            let n = this.count_inner(&ty.inner);
            this.counts.push(n);
        }
        this
    }

    fn count_inner(&self, inner: &TypeInner) -> Option<u64> {
        match *inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => Elem::of(s).map(|_| 1),
            TypeInner::Vector { size, scalar } => Elem::of(scalar).map(|_| size as u64),
            TypeInner::Matrix { columns, rows, scalar } => {
                Elem::of(scalar).map(|_| columns as u64 * rows as u64)
            }
            TypeInner::CooperativeMatrix { .. } => Some(1),
            TypeInner::Array { base, size: ArraySize::Constant(n), .. } => {
                Some(self.counts[base.index()]?.saturating_mul(u64::from(n.get())))
            }
            TypeInner::Struct { ref members, .. } => {
                members.iter().try_fold(0u64, |sum, m| Some(sum.saturating_add(self.counts[m.ty.index()]?)))
            }
            _ => None,
        }
    }

    /// The type without its handle, where it needs none.
    pub(super) fn plain(&self, ty: Ty) -> Ty {
        match ty {
            Ty::Handle(h) => Ty::of_inner(&self.module.types[h].inner).unwrap_or(ty),
            _ => ty,
        }
    }

    pub(super) fn is_atomic(&self, ty: Ty) -> bool {
        matches!(ty, Ty::Handle(h) if matches!(self.module.types[h].inner, TypeInner::Atomic(_)))
    }

    /// The scalar type of a scalar, vector or matrix.
    pub(super) fn elem(&self, ty: Ty) -> Option<Elem> {
        match self.plain(ty) {
            Ty::Scalar(s) | Ty::Vector(_, s) | Ty::Matrix(_, _, s) => Elem::of(s),
            Ty::Cooperative(_, _, s) => Some(Elem::Matrix { half: s.width == 2 }),
            Ty::Handle(_) => None,
        }
    }

    /// How many components a value of the type has; `None` if it has no value or too many.
    pub(super) fn n_components(&self, ty: Ty) -> Option<u32> {
        let n = match ty {
            Ty::Handle(h) => self.counts[h.index()]?,
            Ty::Vector(size, _) => size as u64,
            Ty::Matrix(columns, rows, _) => columns as u64 * rows as u64,
            Ty::Scalar(_) | Ty::Cooperative(..) => 1,
        };
        (n <= MAX_COMPONENTS).then_some(n as u32)
    }

    /// The type's components in order; `None` as [`Self::n_components`].
    pub(super) fn components(&self, ty: Ty) -> Option<Vec<Component>> {
        let mut out = Vec::with_capacity(self.n_components(ty)? as usize);
        self.push_components(ty, 0, &mut out)?;
        Some(out)
    }

    fn push_components(&self, ty: Ty, offset: u32, out: &mut Vec<Component>) -> Option<()> {
        match self.plain(ty) {
            Ty::Scalar(_) | Ty::Cooperative(..) => out.push(Component { offset, elem: self.elem(ty)? }),
            plain => {
                if let Ty::Handle(h) = plain
                    && let TypeInner::Struct { ref members, .. } = self.module.types[h].inner
                {
                    for m in members {
                        self.push_components(Ty::Handle(m.ty), offset + m.offset, out)?;
                    }
                } else {
                    let elements = self.elements(plain)?;
                    let Count::Fixed(n) = elements.count else { return None };
                    for i in 0..n {
                        self.push_components(elements.ty, offset + i * elements.stride, out)?;
                    }
                }
            }
        }
        Some(())
    }

    /// What indexing a value of the type chooses between; `None` for what can't be indexed.
    pub(super) fn elements(&self, ty: Ty) -> Option<Elements> {
        Some(match self.plain(ty) {
            Ty::Vector(size, scalar) => Elements {
                ty: Ty::Scalar(scalar),
                count: Count::Fixed(size as u32),
                stride: u32::from(scalar.width),
                components: 1,
            },
            Ty::Matrix(columns, rows, scalar) => Elements {
                ty: Ty::Vector(rows, scalar),
                count: Count::Fixed(columns as u32),
                stride: u32::from(scalar.width) * if rows == VectorSize::Bi { 2 } else { 4 },
                components: rows as u32,
            },
            Ty::Handle(h) => {
                let TypeInner::Array { base, size, stride } = self.module.types[h].inner else {
                    return None;
                };
                let count = match size {
                    ArraySize::Constant(n) => Count::Fixed(n.get()),
                    ArraySize::Dynamic => Count::Runtime,
                    ArraySize::Pending(_) => return None,
                };
                // Only used for arrays that live in registers, which are never so large that it saturates.
                let components = u32::try_from(self.counts[base.index()]?).unwrap_or(u32::MAX);
                Elements { ty: Ty::Handle(base), count, stride, components }
            }
            Ty::Scalar(_) | Ty::Cooperative(..) => return None,
        })
    }

    /// A struct's member: its type, byte offset and first component.
    pub(super) fn member(&self, ty: Ty, index: u32) -> Option<(Ty, u32, u32)> {
        let Ty::Handle(h) = ty else { return None };
        let TypeInner::Struct { ref members, .. } = self.module.types[h].inner else { return None };
        let before: Option<u64> =
            members.get(..index as usize)?.iter().map(|m| self.counts[m.ty.index()]).sum();
        let member = members.get(index as usize)?;
        // A runtime array can only be the last member, and its components don't matter.
        Some((Ty::Handle(member.ty), member.offset, u32::try_from(before?).ok()?))
    }

    /// Bytes that a binding of the type must have: a runtime array counts as one element.
    pub(super) fn min_size_bytes(&self, ty: Handle<Type>) -> u64 {
        match self.module.types[ty].inner {
            TypeInner::Array { size: ArraySize::Dynamic, stride, .. } => u64::from(stride),
            TypeInner::Struct { ref members, span } => match members.last() {
                Some(last) if self.runtime_array(ty).is_some() => {
                    u64::from(last.offset) + self.min_size_bytes(last.ty)
                }
                _ => u64::from(span),
            },
            ref inner => u64::from(inner.try_size(self.module.to_ctx()).unwrap_or(u32::MAX)),
        }
    }

    /// The runtime array that ends the type: its byte offset and stride.
    pub(super) fn runtime_array(&self, ty: Handle<Type>) -> Option<(u32, u32)> {
        match self.module.types[ty].inner {
            TypeInner::Array { size: ArraySize::Dynamic, stride, .. } => Some((0, stride)),
            TypeInner::Struct { ref members, .. } => {
                let last = members.last()?;
                match self.module.types[last.ty].inner {
                    TypeInner::Array { size: ArraySize::Dynamic, stride, .. } => Some((last.offset, stride)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Bytes of the smallest scalar in the type, at most 4.
    pub(super) fn smallest_scalar(&self, ty: Handle<Type>) -> u32 {
        match self.module.types[ty].inner {
            TypeInner::Array { base, .. } => self.smallest_scalar(base),
            TypeInner::Struct { ref members, .. } => {
                members.iter().map(|m| self.smallest_scalar(m.ty)).min().unwrap_or(4)
            }
            TypeInner::Atomic(s) => u32::from(s.width).min(4),
            ref inner => inner.scalar().map_or(4, |s| u32::from(s.width).min(4)),
        }
    }
}
