//! Expressions.

use std::rc::Rc;

use naga::{AddressSpace, BinaryOperator, Expression, Handle, ScalarKind};

use super::place::{Place, Root};
use super::{Compiler, Frame, MAX_TABLE_ENTRIES, Result, Value};
use crate::exec::alu;
use crate::exec::instr::{
    ImageAccess, ImageQueryOp, Indexed, Instr, MatrixAccess, MatrixOp, Table, Term, TermCount,
};
use crate::exec::layout::{Count, Elem, Ty};
use crate::exec::regs::{File, Slot};
use crate::memory::AccessKind;

impl<'m> Compiler<'m> {
    /// The type of an expression's value.
    pub(super) fn ty_of(&self, frame: &Frame<'m>, h: Handle<Expression>) -> Result<Ty> {
        match Ty::of(&frame.info[h].ty) {
            Some(ty) => Ok(ty),
            None => self.unsupported("a value of opaque type"),
        }
    }

    /// The scalar type of a scalar, vector or matrix expression.
    pub(super) fn elem_of(&self, frame: &Frame<'m>, h: Handle<Expression>) -> Result<Elem> {
        let ty = self.ty_of(frame, h)?;
        match self.layout.elem(ty) {
            Some(elem) => Ok(elem),
            None => self.unsupported_type(ty),
        }
    }

    /// The registers of an expression's value.
    pub(super) fn slots(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<Rc<[Slot]>> {
        match self.value(frame, h)? {
            Value::Slots(slots) => Ok(slots),
            _ => self.unsupported("a pointer or texture as a value"),
        }
    }

    pub(super) fn place(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<Rc<Place>> {
        match self.value(frame, h)? {
            Value::Place(place) => Ok(place),
            _ => self.unsupported("this use of a value as a pointer"),
        }
    }

    pub(super) fn value(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<Value> {
        if let Some(value) = &frame.values[h.index()] {
            return Ok(value.clone());
        }
        // Whatever no statement emits has no moment at which it is evaluated: any will do.
        let span = self.span;
        self.evaluate_into(frame, h)?;
        self.span = span;
        match &frame.values[h.index()] {
            Some(value) => Ok(value.clone()),
            None => self.unsupported("an expression without a value"),
        }
    }

    /// Evaluates an expression now.
    pub(super) fn evaluate_into(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<()> {
        let span = frame.function.expressions.get_span(h);
        self.span = if span.is_defined() { span } else { frame.span };
        let value = self.evaluate(frame, h)?;
        if let Value::Slots(slots) = &value
            && slots.iter().any(|&s| self.shows_variable(s))
        {
            frame.shows_variables.push(h);
        }
        frame.values[h.index()] = Some(value);
        Ok(())
    }

    fn evaluate(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<Value> {
        let module = self.module;
        let one = |slot: Slot| Value::Slots(Rc::new([slot]));
        let function = frame.function;
        Ok(match function.expressions[h] {
            Expression::Literal(literal) => one(self.literal(literal)?),
            Expression::Constant(c) => Value::Slots(self.global_expression(module.constants[c].init)?),
            Expression::ZeroValue(ty) => Value::Slots(self.zero_value(Ty::Handle(ty))?),
            Expression::Compose { ref components, .. } => {
                let mut slots = Vec::new();
                for &c in components {
                    slots.extend_from_slice(&self.slots(frame, c)?);
                }
                Value::Slots(slots.into())
            }
            Expression::Splat { size, value } => {
                let slot = self.slots(frame, value)?[0];
                Value::Slots(std::iter::repeat_n(slot, size as usize).collect())
            }
            Expression::Swizzle { size, vector, pattern } => {
                let slots = self.slots(frame, vector)?;
                Value::Slots(pattern[..size as usize].iter().map(|&p| slots[p as usize]).collect())
            }
            Expression::Access { base, index } => match self.value(frame, base)? {
                Value::Place(place) => Value::Place(Rc::new(self.place_indexed(frame, &place, index)?)),
                Value::Slots(slots) => Value::Slots(self.element(frame, base, &slots, index)?),
                Value::Opaque(_) => return self.unsupported("binding arrays"),
            },
            Expression::AccessIndex { base, index } => match self.value(frame, base)? {
                Value::Place(place) => Value::Place(Rc::new(self.place_at(&place, index)?)),
                Value::Slots(slots) => {
                    let ty = self.ty_of(frame, base)?;
                    let part = match self.layout.member(ty, index) {
                        Some((member, _, first)) => self.layout.n_components(member).map(|n| (first, n)),
                        None => self.layout.elements(ty).map(|e| (index * e.components, e.components)),
                    };
                    let Some((first, n)) = part else { return self.unsupported("indexing into this value") };
                    Value::Slots(slots[first as usize..][..n as usize].into())
                }
                Value::Opaque(_) => return self.unsupported("binding arrays"),
            },
            Expression::FunctionArgument(i) => frame.arguments[i as usize].clone(),
            Expression::GlobalVariable(g) => match module.global_variables[g].space {
                AddressSpace::Private => {
                    let Some(variable) = self.private.get(&g).cloned() else {
                        return self.unsupported("this private variable");
                    };
                    let ty = Ty::Handle(module.global_variables[g].ty);
                    Value::Place(Rc::new(Place::new(Root::Registers(variable), ty)))
                }
                AddressSpace::Handle => Value::Opaque(g),
                _ => {
                    let root = Root::Memory(self.global(g)?);
                    Value::Place(Rc::new(Place::new(root, Ty::Handle(module.global_variables[g].ty))))
                }
            },
            Expression::LocalVariable(l) => {
                let ty = Ty::Handle(function.local_variables[l].ty);
                let root = Root::Registers(frame.locals[l.index()].clone());
                Value::Place(Rc::new(Place::new(root, ty)))
            }
            Expression::Load { pointer } => {
                let place = self.place(frame, pointer)?;
                Value::Slots(self.load(frame, &place)?)
            }
            Expression::Unary { op, expr } => {
                let elem = self.elem_of(frame, expr)?;
                let slots = self.slots(frame, expr)?;
                if let Elem::Matrix { .. } = elem {
                    let dst = self.new_slot(File::Matrix)?;
                    self.emit(Instr::Matrix(Box::new(MatrixOp::Negate { dst, a: slots[0] })))?;
                    return Ok(one(dst));
                }
                let each =
                    |this: &mut Self, &s: &Slot| this.alu(alu::unary(op, elem), elem, &[s], "operator");
                Value::Slots(slots.iter().map(|s| each(self, s)).collect::<Result<_>>()?)
            }
            Expression::Binary { op, left, right } => Value::Slots(self.binary(frame, op, left, right)?),
            Expression::Select { condition, accept, reject } => {
                let c = self.slots(frame, condition)?;
                let (a, b) = (self.slots(frame, accept)?, self.slots(frame, reject)?);
                let mut slots = Vec::with_capacity(a.len());
                for (i, (&a, &b)) in a.iter().zip(b.iter()).enumerate() {
                    let elem = match a.file() {
                        File::Narrow => Elem::U32,
                        File::Wide => Elem::U64,
                        File::Matrix => return self.unsupported("select on cooperative matrices"),
                    };
                    let c = if c.len() == 1 { c[0] } else { c[i] };
                    slots.push(self.alu(alu::select(elem), elem, &[a, b, c], "select")?);
                }
                Value::Slots(slots.into())
            }
            Expression::Relational { fun, argument } => {
                use naga::RelationalFunction as Rf;
                let elem = self.elem_of(frame, argument)?;
                let slots = self.slots(frame, argument)?;
                let (op, each) = match fun {
                    Rf::All => (Some(BinaryOperator::LogicalAnd), None),
                    Rf::Any => (Some(BinaryOperator::LogicalOr), None),
                    Rf::IsNan => (None, alu::is_nan(elem)),
                    Rf::IsInf => (None, alu::is_inf(elem)),
                };
                if let Some(op) = op {
                    let mut acc = slots[0];
                    for &s in &slots[1..] {
                        acc = self.alu(alu::binary(op, Elem::Bool), Elem::Bool, &[acc, s], "all or any")?;
                    }
                    one(acc)
                } else {
                    let each =
                        |this: &mut Self, &s: &Slot| this.alu(each, Elem::Bool, &[s], "isNan or isInf");
                    Value::Slots(slots.iter().map(|s| each(self, s)).collect::<Result<_>>()?)
                }
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                Value::Slots(self.math(frame, h, fun, arg, [arg1, arg2, arg3])?)
            }
            Expression::As { expr, kind, convert } => {
                let from = self.elem_of(frame, expr)?;
                let slots = self.slots(frame, expr)?;
                let to = match (convert, from) {
                    (Some(width), _) => Elem::of(naga::Scalar { kind, width }),
                    (None, Elem::Bool) => (kind == ScalarKind::Bool).then_some(Elem::Bool),
                    (None, from) => Elem::of(naga::Scalar { kind, width: from.size_bytes() as u8 }),
                };
                let Some(to) = to else { return self.unsupported("this conversion") };
                if from == to {
                    return Ok(Value::Slots(slots));
                }
                let f = if convert.is_some() { alu::convert(from, to) } else { alu::bitcast(from, to) };
                let each = |this: &mut Self, &s: &Slot| this.alu(f, to, &[s], "this conversion");
                Value::Slots(slots.iter().map(|s| each(self, s)).collect::<Result<_>>()?)
            }
            Expression::ArrayLength(pointer) => {
                let place = self.place(frame, pointer)?;
                let Root::Memory(global) = place.root else { return self.unsupported("arrayLength of this") };
                let dst = self.new_slot(File::Narrow)?;
                self.emit(Instr::ArrayLength { dst, global })?;
                one(dst)
            }
            Expression::ImageLoad { image, coordinate, array_index, sample, level } => {
                if sample.is_some() {
                    return self.unsupported("multisampled textures");
                }
                let values = self.image_load(frame, h, image, coordinate, array_index, level)?;
                Value::Slots(values)
            }
            Expression::ImageQuery { image, query } => {
                let n = self.layout.n_components(self.ty_of(frame, h)?).unwrap_or(1);
                let global = self.image(frame, image)?;
                let query = match query {
                    // Textures here have one level; asking for the size of another gives that of the first.
                    naga::ImageQuery::Size { .. } => ImageQueryOp::Size,
                    naga::ImageQuery::NumLevels => ImageQueryOp::Levels,
                    naga::ImageQuery::NumLayers => ImageQueryOp::Layers,
                    naga::ImageQuery::NumSamples => return self.unsupported("multisampled textures"),
                };
                let dst: Box<[Slot]> = (0..n).map(|_| self.new_slot(File::Narrow)).collect::<Result<_>>()?;
                let slots = dst.iter().copied().collect();
                self.emit(Instr::ImageSize { dst, global, query })?;
                Value::Slots(slots)
            }
            Expression::CooperativeLoad { columns, rows, role: _, ref data } => {
                let ty = self.ty_of(frame, h)?;
                let Some(Elem::Matrix { half }) = self.layout.elem(ty) else {
                    return self.unsupported_type(ty);
                };
                let matrix = self.new_slot(File::Matrix)?;
                let shape = (columns as u32, rows as u32);
                self.matrix_access(frame, data, matrix, half, shape, false)?;
                one(matrix)
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => {
                let (Ty::Cooperative(inner, rows, _), Ty::Cooperative(columns, _, scalar)) =
                    (self.plain_ty(frame, a)?, self.plain_ty(frame, c)?)
                else {
                    return self.unsupported("coopMultiplyAdd of these types");
                };
                let (a, b, c) =
                    (self.slots(frame, a)?[0], self.slots(frame, b)?[0], self.slots(frame, c)?[0]);
                let dst = self.new_slot(File::Matrix)?;
                let (rows, columns, inner) = (rows as u32, columns as u32, inner as u32);
                let half = scalar.width == 2;
                let op = MatrixOp::MultiplyAdd { dst, a, b, c, rows, columns, inner, half };
                self.emit(Instr::Matrix(Box::new(op)))?;
                one(dst)
            }
            // Statements give these their values.
            Expression::CallResult(_)
            | Expression::AtomicResult { .. }
            | Expression::WorkGroupUniformLoadResult { .. }
            | Expression::SubgroupBallotResult
            | Expression::SubgroupOperationResult { .. } => {
                return self.unsupported("a result used before its statement");
            }
            Expression::Override(_) => return self.unsupported("an override without a value"),
            Expression::ImageSample { .. } => return self.unsupported("textureSample"),
            Expression::Derivative { .. } => return self.unsupported("derivatives"),
            Expression::RayQueryVertexPositions { .. }
            | Expression::RayQueryProceedResult
            | Expression::RayQueryGetIntersection { .. } => return self.unsupported("ray queries"),
        })
    }

    fn plain_ty(&self, frame: &Frame<'m>, h: Handle<Expression>) -> Result<Ty> {
        Ok(self.layout.plain(self.ty_of(frame, h)?))
    }

    /// A computed index into a value.
    fn element(
        &mut self,
        frame: &mut Frame<'m>,
        base: Handle<Expression>,
        slots: &Rc<[Slot]>,
        index: Handle<Expression>,
    ) -> Result<Rc<[Slot]>> {
        let ty = self.ty_of(frame, base)?;
        let Some(elements) = self.layout.elements(ty) else {
            return self.unsupported("indexing into this value");
        };
        let Count::Fixed(count) = elements.count else {
            return self.unsupported("a runtime-sized array as a value");
        };
        let (index, signed) = self.index(frame, index)?;
        // The table belongs to this use; the registers of variables are copied, so that they count as used.
        let mut kept = Vec::with_capacity(slots.len());
        for &slot in slots.iter() {
            kept.push(if self.shows_variable(slot) {
                let copy = self.new_slot(slot.file())?;
                self.emit(Instr::Copy { dst: copy, src: slot })?;
                copy
            } else {
                slot
            });
        }
        let files: Vec<File> = slots[..elements.components as usize].iter().map(|s| s.file()).collect();
        let values: Box<[Slot]> = files.into_iter().map(|f| self.new_slot(f)).collect::<Result<_>>()?;
        self.table_entries += kept.len();
        if self.table_entries > MAX_TABLE_ENTRIES {
            return self.too_large("computed indices into large values");
        }
        self.tables.push(Table { slots: kept.into(), is_variable: false });
        let result = values.iter().copied().collect();
        let stride = elements.components;
        let term = Term { index, signed, stride, count: TermCount::Fixed(count) };
        self.emit(Instr::IndexedLoad(Box::new(Indexed {
            table: self.tables.len() as u32 - 1,
            first: 0,
            terms: Box::new([term]),
            values,
            name: "a value".into(),
        })))?;
        Ok(result)
    }

    fn binary(
        &mut self,
        frame: &mut Frame<'m>,
        op: BinaryOperator,
        left: Handle<Expression>,
        right: Handle<Expression>,
    ) -> Result<Rc<[Slot]>> {
        use BinaryOperator as Op;
        let (elem, right_elem) = (self.elem_of(frame, left)?, self.elem_of(frame, right)?);
        let (a, b) = (self.slots(frame, left)?, self.slots(frame, right)?);
        let result = match op {
            Op::Equal | Op::NotEqual | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                Elem::Bool
            }
            _ => elem,
        };
        if let Elem::Matrix { half } = elem {
            return self.matrix_binary(op, a[0], b[0], right_elem, half);
        }
        if let Elem::Matrix { half } = right_elem {
            return self.matrix_binary(op, b[0], a[0], elem, half);
        }
        if op == Op::Multiply {
            use Ty::{Matrix, Vector};
            match (self.plain_ty(frame, left)?, self.plain_ty(frame, right)?) {
                (Matrix(inner, rows, _), Matrix(columns, ..)) => {
                    return self.matrix_product(elem, &a, &b, [rows as u32, inner as u32, columns as u32]);
                }
                (Matrix(inner, rows, _), Vector(..)) => {
                    return self.matrix_product(elem, &a, &b, [rows as u32, inner as u32, 1]);
                }
                (Vector(..), Matrix(columns, inner, _)) => {
                    return self.matrix_product(elem, &a, &b, [1, inner as u32, columns as u32]);
                }
                _ => {}
            }
        }
        if matches!(op, Op::ShiftLeft | Op::ShiftRight) {
            let bits = 8 * elem.size_bytes();
            for &amount in b.iter() {
                let known = self.constants.iter().find(|(_, slot)| **slot == amount).map(|((_, v), _)| *v);
                if known.is_none_or(|v| v >= u64::from(bits)) {
                    self.emit(Instr::CheckShift { amount, bits })?;
                }
            }
        }
        // Operands are of one shape, or one is a scalar.
        (0..a.len().max(b.len()))
            .map(|i| {
                let pick = |s: &[Slot]| if s.len() == 1 { s[0] } else { s[i] };
                self.alu(alu::binary(op, elem), result, &[pick(&a), pick(&b)], "operator on this type")
            })
            .collect()
    }

    /// `rows × inner` times `inner × columns`, both column-major.
    fn matrix_product(
        &mut self,
        elem: Elem,
        a: &[Slot],
        b: &[Slot],
        [rows, inner, columns]: [u32; 3],
    ) -> Result<Rc<[Slot]>> {
        let mut out = Vec::with_capacity((rows * columns) as usize);
        for c in 0..columns {
            for r in 0..rows {
                let column: Vec<Slot> = (0..inner).map(|k| a[(k * rows + r) as usize]).collect();
                let row: Vec<Slot> = (0..inner).map(|k| b[(c * inner + k) as usize]).collect();
                out.push(self.dot(elem, &column, &row)?);
            }
        }
        Ok(out.into())
    }

    fn matrix_binary(
        &mut self,
        op: BinaryOperator,
        a: Slot,
        b: Slot,
        b_elem: Elem,
        half: bool,
    ) -> Result<Rc<[Slot]>> {
        let dst = self.new_slot(File::Matrix)?;
        let op = match b_elem {
            Elem::Matrix { .. } => MatrixOp::Binary { dst, a, b, op, half },
            _ if op == BinaryOperator::Multiply => MatrixOp::Scale { dst, a, scalar: b, half },
            _ => return self.unsupported("this operator on cooperative matrices"),
        };
        self.emit(Instr::Matrix(Box::new(op)))?;
        Ok(Rc::new([dst]))
    }

    /// A cooperative load or store.
    pub(super) fn matrix_access(
        &mut self,
        frame: &mut Frame<'m>,
        data: &naga::CooperativeData,
        matrix: Slot,
        half: bool,
        (columns, rows): (u32, u32),
        store: bool,
    ) -> Result<()> {
        let place = self.place(frame, data.pointer)?;
        let elem = match self.layout.elem(place.ty) {
            Some(elem) if elem.size_bytes() == if half { 2 } else { 4 } => elem,
            _ => return self.unsupported("a cooperative load or store through a pointer to another type"),
        };
        // The stride counts what the pointer points to: scalars, or whole vectors (SPV_KHR_cooperative_matrix).
        let stride_unit_bytes = elem.size_bytes() * self.layout.n_components(place.ty).unwrap_or(1);
        let kind = if store { AccessKind::Store } else { AccessKind::Load };
        let (stride, _) = self.index(frame, data.stride)?;
        let row_major = data.row_major;
        let line_bytes = elem.size_bytes() * if row_major { columns } else { rows };
        let access = self.access(frame, &place, kind, line_bytes)?;
        let access =
            MatrixAccess { access, matrix, elem, stride, stride_unit_bytes, row_major, columns, rows, store };
        self.emit(Instr::MatrixAccess(Box::new(access)))
    }

    /// The texture that an expression names.
    pub(super) fn image(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>) -> Result<u32> {
        match self.value(frame, h)? {
            Value::Opaque(global) => self.global(global),
            _ => self.unsupported("this texture expression"),
        }
    }

    fn image_load(
        &mut self,
        frame: &mut Frame<'m>,
        h: Handle<Expression>,
        image: Handle<Expression>,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
        level: Option<Handle<Expression>>,
    ) -> Result<Rc<[Slot]>> {
        let elem = self.elem_of(frame, h)?;
        if elem.file() != File::Narrow {
            return self.unsupported("textures of 64-bit components");
        }
        let global = self.image(frame, image)?;
        let bytes = self.globals[global as usize].image.map_or(0, |i| i.texel_bytes());
        let site = self.site(AccessKind::Load, global, bytes);
        let coordinate = self.slots(frame, coordinate)?.iter().copied().collect();
        let array_index = array_index.map(|h| self.index(frame, h)).transpose()?.map(|i| i.0);
        let level = level.map(|h| self.index(frame, h)).transpose()?.map(|i| i.0);
        let mut values = [self.zero(elem)?; 4];
        for v in &mut values {
            *v = self.new_slot(File::Narrow)?;
        }
        let access = ImageAccess { global, coordinate, array_index, level, values, site, store: false };
        self.emit(Instr::Image(Box::new(access)))?;
        let n = self.layout.n_components(self.ty_of(frame, h)?).unwrap_or(4) as usize;
        Ok(values[..n.min(4)].into())
    }
}
