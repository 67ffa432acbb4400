//! The executor's code: what a kernel is compiled to.
//!
//! A flat list of instructions over registers of lanes. Control flow is structured: constructs keep
//! lane masks in numbered mask slots, assigned at compile time, so that the whole state of a subgroup
//! is a position, a mask, the mask slots and the registers, and switching at a barrier is free.

use naga::{CollectiveOperation, Span, SubgroupOperation};

use super::layout::Elem;
use super::regs::{AluFn, Operands, Slot};

/// A position in the code. While compiling, the number of a label.
pub(super) type Target = u32;

/// A mask slot.
pub(super) type MaskIx = u32;

/// One index of an address: contributes `min(index, count - 1) * stride`.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) index: Slot,
    /// The index is a signed integer: only for messages.
    pub(super) signed: bool,
    /// In bytes for memory, in components for registers.
    pub(super) stride: u32,
    pub(super) count: TermCount,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum TermCount {
    Fixed(u32),
    /// The length of the runtime array in a memory global.
    Runtime {
        global: u32,
    },
}

/// The register, byte offset and type of one component of an access.
pub(super) type Part = (Slot, u32, Elem);

/// The destination and the source of one component.
pub(super) type Pair = (Slot, Slot);

/// An access to memory: storage, uniform, or workgroup.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) global: u32,
    /// Bytes before the first term.
    pub(super) offset: u32,
    pub(super) terms: Box<[Term]>,
    pub(super) parts: Box<[Part]>,
    pub(super) site: u32,
}

/// A dynamically indexed access to registers.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    /// Which table of registers.
    pub(super) table: u32,
    pub(super) first: u32,
    pub(super) terms: Box<[Term]>,
    /// Destinations of a load, sources of a store.
    pub(super) values: Box<[Slot]>,
    /// What is indexed, for messages.
    pub(super) name: Box<str>,
}

/// Registers that are indexed dynamically.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) slots: Box<[Slot]>,
    /// A variable's registers live as long as it does; a value's as long as they are used.
    pub(super) is_variable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtomicOp {
    Add,
    Subtract,
    And,
    Xor,
    Or,
    Min,
    Max,
    Exchange,
    CompareExchange,
}

#[derive(Clone, Debug)]
pub(super) struct AtomicAccess {
    /// With no parts.
    pub(super) access: Access,
    pub(super) op: AtomicOp,
    pub(super) elem: Elem,
    pub(super) value: Slot,
    pub(super) compare: Option<Slot>,
    /// Where the old value goes, and whether the exchange happened.
    pub(super) old: Option<Slot>,
    pub(super) exchanged: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GatherOp {
    BroadcastFirst,
    Shuffle,
    Broadcast,
    Down,
    Up,
    Xor,
    QuadBroadcast,
    /// Exchange with the lane whose number differs by these bits.
    QuadSwap(u32),
}

#[derive(Clone, Debug)]
pub(super) struct Gather {
    pub(super) op: GatherOp,
    pub(super) index: Option<Slot>,
    pub(super) pairs: Box<[Pair]>,
}

#[derive(Clone, Debug)]
pub(super) struct Collective {
    pub(super) op: SubgroupOperation,
    pub(super) scan: CollectiveOperation,
    pub(super) elem: Elem,
    pub(super) pairs: Box<[Pair]>,
}

/// A load or store of a cooperative matrix.
#[derive(Clone, Debug)]
pub(super) struct MatrixAccess {
    /// Addresses the first element; no parts.
    pub(super) access: Access,
    pub(super) matrix: Slot,
    pub(super) elem: Elem,
    /// Units between rows or columns.
    pub(super) stride: Slot,
    /// Bytes of a unit.
    pub(super) stride_unit_bytes: u32,
    pub(super) row_major: bool,
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) store: bool,
}

#[derive(Clone, Debug)]
pub(super) enum MatrixOp {
    /// `dst = a * b + c`; a is `rows` by `inner`.
    MultiplyAdd {
        dst: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
        rows: u32,
        columns: u32,
        inner: u32,
        half: bool,
    },
    /// Element by element.
    Binary {
        dst: Slot,
        a: Slot,
        b: Slot,
        op: naga::BinaryOperator,
        half: bool,
    },
    /// Times a scalar, which is taken from the first active lane.
    Scale {
        dst: Slot,
        a: Slot,
        scalar: Slot,
        half: bool,
    },
    Negate {
        dst: Slot,
        a: Slot,
    },
}

/// A texture access.
#[derive(Clone, Debug)]
pub(super) struct ImageAccess {
    pub(super) global: u32,
    pub(super) coordinate: Box<[Slot]>,
    pub(super) array_index: Option<Slot>,
    pub(super) level: Option<Slot>,
    /// Destinations of a load, sources of a store.
    pub(super) values: [Slot; 4],
    pub(super) site: u32,
    pub(super) store: bool,
}

/// What a barrier orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BarrierScope {
    pub(super) storage: bool,
    pub(super) workgroup: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Instr {
    /// In every lane, whatever the mask: what inactive lanes compute, nobody reads.
    Alu {
        f: AluFn,
        o: Operands,
    },
    /// An `Alu` whose result goes only to a variable: `o[0]` is scratch for when some lanes are inactive.
    AluStore {
        f: AluFn,
        o: Operands,
        variable: Slot,
    },
    Copy {
        dst: Slot,
        src: Slot,
    },
    /// Where the sanitizer looks at the amount of a shift.
    CheckShift {
        amount: Slot,
        bits: u32,
    },
    /// Sets a variable in the active lanes.
    Set {
        variable: Slot,
        src: Slot,
    },
    IndexedLoad(Box<Indexed>),
    IndexedStore(Box<Indexed>),
    Load(Box<Access>),
    Store(Box<Access>),
    Atomic(Box<AtomicAccess>),
    ArrayLength {
        dst: Slot,
        global: u32,
    },
    Image(Box<ImageAccess>),
    /// Width, height, depth or layers, levels: as many as there are destinations.
    ImageSize {
        dst: Box<[Slot]>,
        global: u32,
        query: ImageQueryOp,
    },

    /// Lanes where the condition is false wait in `saved`.
    If {
        condition: Slot,
        saved: MaskIx,
        otherwise: Target,
    },
    /// Exchanges the lanes that ran the first branch with those that wait.
    Else {
        saved: MaskIx,
        end: Target,
    },
    EndIf {
        saved: MaskIx,
        skip: Target,
    },
    /// `breaks` and `breaks + 1` (lanes that continue) become empty.
    Loop {
        breaks: MaskIx,
    },
    /// Moves all active lanes to a mask slot: break, continue and return.
    Leave {
        to: MaskIx,
        skip: Target,
    },
    /// Moves the active lanes whose condition is `when` to a mask slot.
    LeaveIf {
        condition: Slot,
        when: bool,
        to: MaskIx,
        skip: Target,
    },
    Continuing {
        continues: MaskIx,
        skip: Target,
    },
    EndLoop {
        breaks: MaskIx,
        start: Target,
        skip: Target,
    },
    /// Splits the active lanes by selector: mask slot `breaks + 1 + i` gets those of case i, `breaks`
    /// becomes empty. `values[i]` is case i's selector value; the default takes the rest.
    Switch {
        selector: Slot,
        breaks: MaskIx,
        values: Box<[Option<u32>]>,
        default: Option<u32>,
    },
    /// Activates the lanes of a mask slot in addition to those that fell through.
    Case {
        lanes: MaskIx,
        next: Target,
    },
    /// Activates the lanes that left: after a switch and after a call.
    Rejoin {
        lanes: MaskIx,
        skip: Target,
    },
    /// A function call begins: no lane has returned.
    Clear {
        mask: MaskIx,
    },

    Barrier(BarrierScope),
    SubgroupBarrier,
    Ballot {
        dst: [Slot; 4],
        predicate: Option<Slot>,
    },
    Gather(Box<Gather>),
    Collective(Box<Collective>),
    Matrix(Box<MatrixOp>),
    MatrixAccess(Box<MatrixAccess>),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageQueryOp {
    Size,
    Layers,
    Levels,
}

impl Instr {
    /// Visits every register: `f(slot, is_written)`. Tables are not visited.
    pub(super) fn slots(&mut self, f: &mut dyn FnMut(&mut Slot, bool)) {
        fn access(a: &mut Access, writes: bool, f: &mut dyn FnMut(&mut Slot, bool)) {
            a.terms.iter_mut().for_each(|t| f(&mut t.index, false));
            a.parts.iter_mut().for_each(|p| f(&mut p.0, writes));
        }
        fn operands(o: &mut Operands, f: &mut dyn FnMut(&mut Slot, bool)) {
            o[1..].iter_mut().for_each(|s| f(s, false));
            f(&mut o[0], true);
        }
        match self {
            Self::Alu { o, .. } => operands(o, f),
            Self::AluStore { o, variable, .. } => {
                operands(o, f);
                f(variable, true);
            }
            Self::Copy { dst, src } | Self::Set { variable: dst, src } => {
                f(src, false);
                f(dst, true);
            }
            Self::CheckShift { amount, .. } => f(amount, false),
            Self::IndexedLoad(x) => {
                x.terms.iter_mut().for_each(|t| f(&mut t.index, false));
                x.values.iter_mut().for_each(|s| f(s, true));
            }
            Self::IndexedStore(x) => {
                x.terms.iter_mut().for_each(|t| f(&mut t.index, false));
                x.values.iter_mut().for_each(|s| f(s, false));
            }
            Self::Load(a) => access(a, true, f),
            Self::Store(a) => access(a, false, f),
            Self::Atomic(a) => {
                access(&mut a.access, false, f);
                f(&mut a.value, false);
                a.compare.iter_mut().for_each(|s| f(s, false));
                a.old.iter_mut().for_each(|s| f(s, true));
                a.exchanged.iter_mut().for_each(|s| f(s, true));
            }
            Self::ArrayLength { dst, .. } => f(dst, true),
            Self::Image(i) => {
                i.coordinate.iter_mut().for_each(|s| f(s, false));
                i.array_index.iter_mut().for_each(|s| f(s, false));
                i.level.iter_mut().for_each(|s| f(s, false));
                let written = !i.store;
                i.values.iter_mut().for_each(|s| f(s, written));
            }
            Self::ImageSize { dst, .. } => dst.iter_mut().for_each(|s| f(s, true)),
            Self::If { condition, .. } | Self::LeaveIf { condition, .. } => f(condition, false),
            Self::Switch { selector, .. } => f(selector, false),
            Self::Ballot { dst, predicate } => {
                predicate.iter_mut().for_each(|s| f(s, false));
                dst.iter_mut().for_each(|s| f(s, true));
            }
            Self::Gather(g) => {
                g.index.iter_mut().for_each(|s| f(s, false));
                g.pairs.iter_mut().for_each(|p| f(&mut p.1, false));
                g.pairs.iter_mut().for_each(|p| f(&mut p.0, true));
            }
            Self::Collective(c) => {
                c.pairs.iter_mut().for_each(|p| f(&mut p.1, false));
                c.pairs.iter_mut().for_each(|p| f(&mut p.0, true));
            }
            Self::Matrix(m) => match &mut **m {
                MatrixOp::MultiplyAdd { dst, a, b, c, .. } => {
                    [a, b, c].into_iter().for_each(|s| f(s, false));
                    f(dst, true);
                }
                MatrixOp::Binary { dst, a, b, .. } => {
                    f(a, false);
                    f(b, false);
                    f(dst, true);
                }
                MatrixOp::Scale { dst, a, scalar, .. } => {
                    f(a, false);
                    f(scalar, false);
                    f(dst, true);
                }
                MatrixOp::Negate { dst, a } => {
                    f(a, false);
                    f(dst, true);
                }
            },
            Self::MatrixAccess(m) => {
                access(&mut m.access, false, f);
                f(&mut m.stride, false);
                let written = !m.store;
                f(&mut m.matrix, written);
            }
            Self::Else { .. }
            | Self::EndIf { .. }
            | Self::Loop { .. }
            | Self::Leave { .. }
            | Self::Continuing { .. }
            | Self::EndLoop { .. }
            | Self::Case { .. }
            | Self::Rejoin { .. }
            | Self::Clear { .. }
            | Self::Barrier(_)
            | Self::SubgroupBarrier
            | Self::End => {}
        }
    }

    /// Visits every jump target.
    pub(super) fn targets(&mut self, f: &mut dyn FnMut(&mut Target)) {
        match self {
            Self::If { otherwise: t, .. }
            | Self::Else { end: t, .. }
            | Self::EndIf { skip: t, .. }
            | Self::Leave { skip: t, .. }
            | Self::LeaveIf { skip: t, .. }
            | Self::Continuing { skip: t, .. }
            | Self::Case { next: t, .. }
            | Self::Rejoin { skip: t, .. } => f(t),
            Self::EndLoop { start, skip, .. } => {
                f(start);
                f(skip);
            }
            _ => {}
        }
    }

    /// Whether the instruction does nothing but write registers that it names.
    pub(super) fn is_pure(&self) -> bool {
        matches!(self, Self::Alu { .. } | Self::Copy { .. } | Self::ArrayLength { .. } | Self::IndexedLoad(_))
    }

    /// Whether the next instruction to run may be another than the next in the list, or the mask changes.
    pub(super) fn is_control(&self) -> bool {
        matches!(
            self,
            Self::If { .. }
                | Self::Else { .. }
                | Self::EndIf { .. }
                | Self::Loop { .. }
                | Self::Leave { .. }
                | Self::LeaveIf { .. }
                | Self::Continuing { .. }
                | Self::EndLoop { .. }
                | Self::Switch { .. }
                | Self::Case { .. }
                | Self::Rejoin { .. }
                | Self::Clear { .. }
                | Self::Barrier(_)
                | Self::SubgroupBarrier
                | Self::End
        )
    }
}

/// Where a global variable's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Binding { group: u32, binding: u32 },
    Immediates,
    Workgroup,
}

/// A global variable in memory, or a texture.
#[derive(Clone, Debug)]
pub(super) struct Global {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) space: super::Space,
    pub(super) writable: bool,
    /// Smallest binding, or the exact size of workgroup memory.
    pub(super) size_bytes: u64,
    /// Byte offset and stride of the runtime array at its end.
    pub(super) runtime_array: Option<(u32, u32)>,
    /// Bytes per cell at which the sanitizer tells accesses apart: the smallest scalar in the type.
    pub(super) granularity: u32,
    /// The texture's class and shape, if it is one.
    pub(super) image: Option<super::texture::ImageShape>,
}

/// A compiled entry point.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) workgroup_size: [u32; 3],
    pub(super) code: Vec<Instr>,
    /// The source of each instruction.
    pub(super) spans: Vec<Span>,
    pub(super) tables: Vec<Table>,
    pub(super) globals: Vec<Global>,
    pub(super) sites: Vec<super::trace::SiteKey>,
    /// Registers per file.
    pub(super) n_slots: [usize; 3],
    pub(super) n_masks: usize,
    pub(super) constants: Vec<(Slot, u64)>,
    pub(super) builtins: Vec<(super::compile::Builtin, Slot)>,
    /// Bytes of workgroup memory.
    pub(super) workgroup_bytes: u64,
}
