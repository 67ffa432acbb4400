//! Pointers: what they lead to, and loading and storing through them.

use std::rc::Rc;

use naga::{Expression, Handle};

use super::{Compiler, Frame, Result, Value, Variable};
use crate::exec::instr::{Access, Indexed, Instr, Part, Table, Term, TermCount};
use crate::exec::layout::{Count, Elem, Ty};
use crate::exec::regs::Slot;
use crate::memory::AccessKind;

/// A variable that a pointer leads to.
#[derive(Clone)]
pub(super) enum Root {
    Registers(Rc<Variable>),
    Memory(u32),
}

/// Where a pointer leads: a variable, and a way into it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) ty: Ty,
    /// Bytes, for memory.
    offset: u32,
    /// Components, for registers.
    component: u32,
    terms: Vec<PlaceTerm>,
}

#[derive(Clone)]
struct PlaceTerm {
    index: TermIndex,
    signed: bool,
    stride: u32,
    components: u32,
    count: TermCount,
}

/// An index is looked up when the pointer is used, since its registers may be replaced by a copy
/// between the two.
#[derive(Clone, Copy)]
enum TermIndex {
    Expression(Handle<Expression>),
    Slot(Slot),
}

impl Place {
    pub(super) fn new(root: Root, ty: Ty) -> Self {
        Self { root, ty, offset: 0, component: 0, terms: Vec::new() }
    }
}

impl<'m> Compiler<'m> {
    /// An index of any integer type as a narrow register, and whether it is signed.
    pub(super) fn index(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<(Slot, bool)> {
        let elem = self.elem_of(frame, h)?;
        let slot = self.slots(frame, h)?[0];
        let slot = match elem {
            // What doesn't fit is out of bounds of everything: its low bits would not be.
            Elem::I64 | Elem::U64 => {
                let max = self.constant_bits(crate::exec::regs::File::Wide, u64::from(u32::MAX))?;
                let min = crate::exec::alu::int_math(naga::MathFunction::Min, Elem::U64);
                let clamped = self.alu(min, Elem::U64, &[slot, max], "64-bit index")?;
                let convert = crate::exec::alu::convert(Elem::U64, Elem::U32);
                self.alu(convert, Elem::U32, &[clamped], "64-bit index")?
            }
            _ => slot,
        };
        Ok((slot, elem.is_signed()))
    }

    fn term_count(&self, place: &Place, count: Count) -> Result<TermCount> {
        match (count, &place.root) {
            (Count::Fixed(n), _) => Ok(TermCount::Fixed(n)),
            (Count::Runtime, Root::Memory(global)) => Ok(TermCount::Runtime { global: *global }),
            (Count::Runtime, Root::Registers(_)) => self.unsupported("a runtime-sized array in registers"),
        }
    }

    /// `&(*place)[index]` with a constant index, or `&(*place).member`.
    pub(super) fn place_at(&mut self, place: &Place, index: u32) -> Result<Place> {
        let mut to = place.clone();
        if let Some((ty, offset, component)) = self.layout.member(place.ty, index) {
            (to.ty, to.offset, to.component) = (ty, place.offset + offset, place.component + component);
            return Ok(to);
        }
        let Some(elements) = self.layout.elements(place.ty) else {
            return self.unsupported("indexing into this type");
        };
        to.ty = elements.ty;
        match elements.count {
            Count::Fixed(_) => {
                to.offset = place.offset.wrapping_add(index.wrapping_mul(elements.stride));
                to.component = place.component.wrapping_add(index.wrapping_mul(elements.components));
            }
            Count::Runtime => {
                let index = TermIndex::Slot(self.constant_u32(index)?);
                let (stride, components) = (elements.stride, elements.components);
                let count = self.term_count(place, elements.count)?;
                to.terms.push(PlaceTerm { index, signed: false, stride, components, count });
            }
        }
        Ok(to)
    }

    /// `&(*place)[index]` with a computed index.
    pub(super) fn place_indexed(
        &mut self,
        frame: &mut Frame<'m>,
        place: &Place,
        index: Handle<Expression>,
    ) -> Result<Place> {
        let Some(elements) = self.layout.elements(place.ty) else {
            return self.unsupported("indexing into this type");
        };
        let elem = self.elem_of(frame, index)?;
        let term_index = match elem {
            Elem::I32 | Elem::U32 => TermIndex::Expression(index),
            _ => TermIndex::Slot(self.index(frame, index)?.0),
        };
        let mut to = place.clone();
        to.ty = elements.ty;
        to.terms.push(PlaceTerm {
            index: term_index,
            signed: elem.is_signed(),
            stride: elements.stride,
            components: elements.components,
            count: self.term_count(place, elements.count)?,
        });
        Ok(to)
    }

    /// The same place, independent of the frame's expressions: for passing to another function.
    pub(super) fn detach(&mut self, frame: &mut Frame<'m>, place: &Place) -> Result<Place> {
        let mut place = place.clone();
        for term in &mut place.terms {
            if let TermIndex::Expression(h) = term.index {
                term.index = TermIndex::Slot(self.slots(frame, h)?[0]);
            }
        }
        Ok(place)
    }

    fn terms(&mut self, frame: &mut Frame<'m>, place: &Place) -> Result<Box<[Term]>> {
        let in_memory = matches!(place.root, Root::Memory(_));
        let mut term = |this: &mut Self, t: &PlaceTerm| {
            let index = match t.index {
                TermIndex::Expression(h) => this.slots(frame, h)?[0],
                TermIndex::Slot(slot) => slot,
            };
            let stride = if in_memory { t.stride } else { t.components };
            Ok(Term { index, signed: t.signed, stride, count: t.count })
        };
        place.terms.iter().map(|t| term(self, t)).collect()
    }

    /// An access to memory without its parts.
    pub(super) fn access(
        &mut self,
        frame: &mut Frame<'m>,
        place: &Place,
        kind: AccessKind,
        bytes_per_lane: u32,
    ) -> Result<Access> {
        let Root::Memory(global) = place.root else {
            return self.unsupported("this access to a variable that is not in memory");
        };
        let site = self.site(kind, global, bytes_per_lane);
        let terms = self.terms(frame, place)?;
        Ok(Access { global, offset: place.offset, terms, parts: Box::new([]), site })
    }

    /// Bytes and parts of an access to all of a place, one register for each component.
    fn parts(&mut self, place: &Place, slots: &[Slot]) -> Result<(u32, Box<[Part]>)> {
        let Some(components) = self.layout.components(place.ty) else {
            return self.unsupported_type(place.ty);
        };
        let bytes = components.iter().map(|c| c.offset + c.elem.size_bytes()).max().unwrap_or(0);
        let parts = components.iter().zip(slots).map(|(c, &slot)| (slot, c.offset, c.elem)).collect();
        Ok((bytes, parts))
    }

    /// `atomicLoad` and `atomicStore` are plain loads and stores of atomic types.
    fn access_kind(&self, place: &Place, plain: AccessKind) -> AccessKind {
        if self.layout.is_atomic(place.ty) { AccessKind::Atomic } else { plain }
    }

    fn indexed(
        &mut self,
        frame: &mut Frame<'m>,
        place: &Place,
        variable: &Variable,
        values: Box<[Slot]>,
    ) -> Result<Box<Indexed>> {
        let table = *variable.table.get_or_init(|| {
            self.tables.push(Table { slots: variable.slots.iter().copied().collect(), is_variable: true });
            self.tables.len() as u32 - 1
        });
        let terms = self.terms(frame, place)?;
        let name = variable.name.as_str().into();
        Ok(Box::new(Indexed { table, first: place.component, terms, values, name }))
    }

    /// Registers of the components of a place.
    fn fresh(&mut self, ty: Ty) -> Result<Rc<[Slot]>> {
        let Some(components) = self.layout.components(ty) else {
            return self.unsupported_type(ty);
        };
        components.iter().map(|c| self.new_slot(c.elem.file())).collect()
    }

    pub(super) fn load(&mut self, frame: &mut Frame<'m>, place: &Place) -> Result<Rc<[Slot]>> {
        match &place.root {
            Root::Registers(variable) if place.terms.is_empty() => {
                let Some(n) = self.layout.n_components(place.ty) else {
                    return self.unsupported_type(place.ty);
                };
                let first = place.component as usize;
                Ok(variable.slots[first..first + n as usize].into())
            }
            Root::Registers(variable) => {
                let values = self.fresh(place.ty)?;
                let indexed = self.indexed(frame, place, variable, values.iter().copied().collect())?;
                self.emit(Instr::IndexedLoad(indexed))?;
                Ok(values)
            }
            Root::Memory(_) => {
                let values = self.fresh(place.ty)?;
                let (bytes, parts) = self.parts(place, &values)?;
                let access = self.access(frame, place, self.access_kind(place, AccessKind::Load), bytes)?;
                self.emit(Instr::Load(Box::new(Access { parts, ..access })))?;
                Ok(values)
            }
        }
    }

    pub(super) fn store(
        &mut self,
        frame: &mut Frame<'m>,
        place: &Place,
        value: Handle<Expression>,
    ) -> Result<()> {
        match &place.root {
            Root::Registers(variable) => {
                let Some(n) = self.layout.n_components(place.ty) else {
                    return self.unsupported_type(place.ty);
                };
                let targets: &[Slot] = if place.terms.is_empty() {
                    &variable.slots[place.component as usize..][..n as usize]
                } else {
                    &variable.slots
                };
                self.preserve(frame, Some(targets))?;
                let values = self.slots(frame, value)?;
                if place.terms.is_empty() {
                    for (&variable, &src) in targets.iter().zip(values.iter()) {
                        self.emit(Instr::Set { variable, src })?;
                    }
                    Ok(())
                } else {
                    let indexed = self.indexed(frame, place, variable, values.iter().copied().collect())?;
                    self.emit(Instr::IndexedStore(indexed))
                }
            }
            Root::Memory(_) => {
                let values = self.slots(frame, value)?;
                let (bytes, parts) = self.parts(place, &values)?;
                let access = self.access(frame, place, self.access_kind(place, AccessKind::Store), bytes)?;
                self.emit(Instr::Store(Box::new(Access { parts, ..access })))
            }
        }
    }

    /// Copies what expressions show of variables' registers that are about to change: those of
    /// `changed`, or all, where control flow begins.
    pub(super) fn preserve(&mut self, frame: &mut Frame<'m>, changed: Option<&[Slot]>) -> Result<()> {
        let changes = |this: &Self, slot: Slot| match changed {
            Some(changed) => changed.contains(&slot),
            None => this.shows_variable(slot),
        };
        let mut copies = std::collections::HashMap::new();
        let shown = std::mem::take(&mut frame.shows_variables);
        for h in shown {
            let Some(Value::Slots(slots)) = frame.values[h.index()].clone() else { continue };
            if !slots.iter().any(|&s| changes(self, s)) {
                frame.shows_variables.push(h);
                continue;
            }
            let mut kept = Vec::with_capacity(slots.len());
            for &slot in slots.iter() {
                kept.push(match copies.get(&slot) {
                    _ if !changes(self, slot) => slot,
                    Some(&copy) => copy,
                    None => {
                        let copy = self.new_slot(slot.file())?;
                        self.emit(Instr::Copy { dst: copy, src: slot })?;
                        copies.insert(slot, copy);
                        copy
                    }
                });
            }
            if kept.iter().any(|&s| self.shows_variable(s)) {
                frame.shows_variables.push(h);
            }
            frame.values[h.index()] = Some(Value::Slots(kept.into()));
        }
        Ok(())
    }

    pub(super) fn shows_variable(&self, slot: Slot) -> bool {
        self.is_variable[slot.file() as usize][slot.index()]
    }
}
