//! Built-in math functions.

use std::rc::Rc;

use naga::{BinaryOperator as Op, Expression, Handle, MathFunction as Mf};

use super::{Compiler, Frame, Result};
use crate::exec::alu;
use crate::exec::layout::{Elem, Ty};
use crate::exec::regs::Slot;

impl<'m> Compiler<'m> {
    pub(super) fn math(
        &mut self,
        frame: &mut Frame<'m>,
        h: Handle<Expression>,
        fun: Mf,
        arg: Handle<Expression>,
        rest: [Option<Handle<Expression>>; 3],
    ) -> Result<Rc<[Slot]>> {
        let elem = self.elem_of(frame, arg)?;
        let mut args = vec![self.slots(frame, arg)?];
        for h in rest.into_iter().flatten() {
            args.push(self.slots(frame, h)?);
        }
        let name = format!("{fun:?} of this type");
        let a = args[0].clone();
        match fun {
            Mf::Dot => Ok(Rc::new([self.dot(elem, &a, &args[1])?])),
            Mf::Dot4I8Packed => {
                Ok(Rc::new([self.alu(alu::dot4(fun), Elem::I32, &[a[0], args[1][0]], &name)?]))
            }
            Mf::Dot4U8Packed => {
                Ok(Rc::new([self.alu(alu::dot4(fun), Elem::U32, &[a[0], args[1][0]], &name)?]))
            }
            Mf::Cross => self.cross(elem, &a, &args[1]),
            Mf::Length if a.len() == 1 => {
                Ok(Rc::new([self.alu(alu::float_math(Mf::Abs, elem), elem, &[a[0]], &name)?]))
            }
            Mf::Length => Ok(Rc::new([self.length(elem, &a)?])),
            Mf::Distance => {
                let difference = self.zip(Op::Subtract, elem, &a, &args[1])?;
                Ok(Rc::new([self.length(elem, &difference)?]))
            }
            Mf::Normalize => {
                let length = self.length(elem, &a)?;
                self.zip(Op::Divide, elem, &a, &[length])
            }
            Mf::FaceForward => {
                // faceForward(n, i, nref) = dot(nref, i) < 0 ? n : -n
                let d = self.dot(elem, &args[2], &args[1])?;
                let zero = self.zero(elem)?;
                let front = self.alu(alu::binary(Op::Less, elem), Elem::Bool, &[d, zero], &name)?;
                a.iter()
                    .map(|&n| {
                        let back =
                            self.alu(alu::unary(naga::UnaryOperator::Negate, elem), elem, &[n], &name)?;
                        self.alu(alu::select(elem), elem, &[n, back, front], &name)
                    })
                    .collect()
            }
            Mf::Reflect => {
                // i - 2 dot(n, i) n
                let d = self.dot(elem, &args[1], &a)?;
                let twice = self.op(Op::Add, elem, d, d)?;
                let along = self.zip(Op::Multiply, elem, &args[1], &[twice])?;
                self.zip(Op::Subtract, elem, &a, &along)
            }
            Mf::Refract => self.refract(elem, &a, &args[1], args[2][0]),
            Mf::Outer => {
                let mut out = Vec::new();
                for &c in args[1].iter() {
                    for &r in a.iter() {
                        out.push(self.op(Op::Multiply, elem, r, c)?);
                    }
                }
                Ok(out.into())
            }
            Mf::Transpose => {
                let Ty::Matrix(columns, rows, _) = self.layout.plain(self.ty_of(frame, arg)?) else {
                    return self.unsupported(name);
                };
                let (columns, rows) = (columns as usize, rows as usize);
                Ok((0..rows * columns).map(|i| a[(i % columns) * rows + i / columns]).collect())
            }
            Mf::Determinant => {
                let n = a.len().isqrt();
                let all: Vec<usize> = (0..n).collect();
                Ok(Rc::new([self.determinant(elem, &a, n, 0, &all)?]))
            }
            Mf::Modf | Mf::Frexp => {
                let (first, second, second_elem) = match fun {
                    Mf::Modf => (alu::modf_fraction(elem), alu::modf_whole(elem), elem),
                    _ => (alu::frexp_fraction(elem), alu::frexp_exponent(elem), Elem::I32),
                };
                let mut out = Vec::new();
                for &s in a.iter() {
                    out.push(self.alu(first, elem, &[s], &name)?);
                }
                for &s in a.iter() {
                    out.push(self.alu(second, second_elem, &[s], &name)?);
                }
                Ok(out.into())
            }
            Mf::Ldexp => self.each(alu::ldexp(elem), elem, &args, &name),
            Mf::ExtractBits => self.each(alu::extract_bits(elem), elem, &args, &name),
            Mf::InsertBits => {
                let (offset, count) = (args[2][0], args[3][0]);
                let (limit, eight) = (self.constant_u32(255)?, self.constant_u32(8)?);
                let min = alu::int_math(Mf::Min, Elem::U32);
                let offset = self.alu(min, Elem::U32, &[offset, limit], &name)?;
                let count = self.alu(min, Elem::U32, &[count, limit], &name)?;
                let count = self.op(Op::ShiftLeft, Elem::U32, count, eight)?;
                let field = self.op(Op::InclusiveOr, Elem::U32, offset, count)?;
                self.each(alu::insert_bits(elem), elem, &[a, args[1].clone(), Rc::new([field])], &name)
            }
            Mf::Pack4x8snorm
            | Mf::Pack4x8unorm
            | Mf::Pack2x16snorm
            | Mf::Pack2x16unorm
            | Mf::Pack2x16float
            | Mf::Pack4xI8
            | Mf::Pack4xU8
            | Mf::Pack4xI8Clamp
            | Mf::Pack4xU8Clamp => {
                let Some((part, bits)) = alu::pack_part(fun) else { return self.unsupported(name) };
                let mut word = self.constant_u32(0)?;
                for (i, &s) in a.iter().enumerate() {
                    let shift = self.constant_u32(bits * i as u32)?;
                    let value = self.alu(Some(part), Elem::U32, &[s], &name)?;
                    word = self.alu(Some(alu::put_part(bits)), Elem::U32, &[word, value, shift], &name)?;
                }
                Ok(Rc::new([word]))
            }
            Mf::Unpack4x8snorm
            | Mf::Unpack4x8unorm
            | Mf::Unpack2x16snorm
            | Mf::Unpack2x16unorm
            | Mf::Unpack2x16float
            | Mf::Unpack4xI8
            | Mf::Unpack4xU8 => {
                let Some((part, bits)) = alu::unpack_part(fun) else { return self.unsupported(name) };
                let result = self.elem_of(frame, h)?;
                (0..32 / bits)
                    .map(|i| {
                        let shift = self.constant_u32(bits * i)?;
                        self.alu(Some(part), result, &[a[0], shift], &name)
                    })
                    .collect()
            }
            Mf::Inverse => self.unsupported("inverse"),
            _ if elem.is_float() => self.each(alu::float_math(fun, elem), elem, &args, &name),
            _ => self.each(alu::int_math(fun, elem), elem, &args, &name),
        }
    }

    /// One operation for each component; an argument with one component serves all.
    fn each(
        &mut self,
        f: Option<crate::exec::regs::AluFn>,
        elem: Elem,
        args: &[Rc<[Slot]>],
        name: &str,
    ) -> Result<Rc<[Slot]>> {
        (0..args[0].len())
            .map(|i| {
                let sources: Vec<Slot> =
                    args.iter().map(|a| if a.len() == 1 { a[0] } else { a[i] }).collect();
                self.alu(f, elem, &sources, name)
            })
            .collect()
    }

    fn op(&mut self, op: Op, elem: Elem, a: Slot, b: Slot) -> Result<Slot> {
        self.alu(alu::binary(op, elem), elem, &[a, b], "operator on this type")
    }

    /// The operator on each component; `b` may be one scalar for all.
    fn zip(&mut self, op: Op, elem: Elem, a: &[Slot], b: &[Slot]) -> Result<Rc<[Slot]>> {
        a.iter()
            .enumerate()
            .map(|(i, &a)| self.op(op, elem, a, if b.len() == 1 { b[0] } else { b[i] }))
            .collect()
    }

    pub(super) fn dot(&mut self, elem: Elem, a: &[Slot], b: &[Slot]) -> Result<Slot> {
        let mut sum = self.op(Op::Multiply, elem, a[0], b[0])?;
        for (&a, &b) in a.iter().zip(b).skip(1) {
            let product = self.op(Op::Multiply, elem, a, b)?;
            sum = self.op(Op::Add, elem, sum, product)?;
        }
        Ok(sum)
    }

    fn length(&mut self, elem: Elem, a: &[Slot]) -> Result<Slot> {
        let squares = self.dot(elem, a, a)?;
        self.alu(alu::float_math(Mf::Sqrt, elem), elem, &[squares], "length")
    }

    fn cross(&mut self, elem: Elem, a: &[Slot], b: &[Slot]) -> Result<Rc<[Slot]>> {
        [(1, 2), (2, 0), (0, 1)]
            .into_iter()
            .map(|(i, j)| {
                let left = self.op(Op::Multiply, elem, a[i], b[j])?;
                let right = self.op(Op::Multiply, elem, a[j], b[i])?;
                self.op(Op::Subtract, elem, left, right)
            })
            .collect()
    }

    /// `refract(i, n, eta)`: zero where the light is reflected totally.
    fn refract(&mut self, elem: Elem, i: &[Slot], n: &[Slot], eta: Slot) -> Result<Rc<[Slot]>> {
        let one = match elem {
            Elem::F64 => self.literal(naga::Literal::F64(1.0))?,
            _ => self.literal(naga::Literal::F32(1.0))?,
        };
        let zero = self.zero(elem)?;
        let d = self.dot(elem, n, i)?;
        let d2 = self.op(Op::Multiply, elem, d, d)?;
        let sin2 = self.op(Op::Subtract, elem, one, d2)?;
        let eta2 = self.op(Op::Multiply, elem, eta, eta)?;
        let scaled = self.op(Op::Multiply, elem, eta2, sin2)?;
        let k = self.op(Op::Subtract, elem, one, scaled)?;
        let total = self.alu(alu::binary(Op::Less, elem), Elem::Bool, &[k, zero], "refract")?;
        let root = self.alu(alu::float_math(Mf::Sqrt, elem), elem, &[k], "refract")?;
        let along = self.op(Op::Multiply, elem, eta, d)?;
        let along = self.op(Op::Add, elem, along, root)?;
        i.iter()
            .zip(n)
            .map(|(&i, &n)| {
                let x = self.op(Op::Multiply, elem, eta, i)?;
                let y = self.op(Op::Multiply, elem, along, n)?;
                let bent = self.op(Op::Subtract, elem, x, y)?;
                self.alu(alu::select(elem), elem, &[zero, bent, total], "refract")
            })
            .collect()
    }

    /// Expansion along the first of the remaining columns; `rows` are the rows not yet used.
    fn determinant(
        &mut self,
        elem: Elem,
        m: &[Slot],
        n: usize,
        column: usize,
        rows: &[usize],
    ) -> Result<Slot> {
        if let [row] = rows {
            return Ok(m[column * n + row]);
        }
        let mut sum = None;
        for (i, &row) in rows.iter().enumerate() {
            let rest: Vec<usize> = rows.iter().copied().filter(|&r| r != row).collect();
            let minor = self.determinant(elem, m, n, column + 1, &rest)?;
            let product = self.op(Op::Multiply, elem, m[column * n + row], minor)?;
            sum = Some(match sum {
                None => product,
                Some(sum) => self.op(if i % 2 == 0 { Op::Add } else { Op::Subtract }, elem, sum, product)?,
            });
        }
        sum.map_or_else(|| self.unsupported("determinant"), Ok)
    }
}
