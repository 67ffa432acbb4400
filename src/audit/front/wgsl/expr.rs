//! Expressions as abstract values.

use std::rc::Rc;

use naga::{
    BinaryOperator, Expression, Handle, Literal, RelationalFunction, ScalarKind, Type, TypeInner,
    UnaryOperator, VectorSize,
};

use super::value::{Memory, Val};
use super::{WalkError, Walker};
use crate::audit::lanes::{Int, Op, Symbol, SymbolKind, Value};
use crate::memory::{AccessKind, Space};

/// Largest array that is followed element by element.
const MOST_ELEMENTS: u32 = 256;

impl<'a> Walker<'a> {
    pub(super) fn set(&mut self, handle: Handle<Expression>, value: Val) {
        if let Some(slot) = self.frames.last_mut().and_then(|f| f.values.get_mut(handle.index())) {
            *slot = Some(value);
        }
    }

    pub(super) fn expression(&mut self, handle: Handle<Expression>) -> Result<Val, WalkError> {
        if let Some(Some(v)) = self.frame().values.get(handle.index()) {
            return Ok(v.clone());
        }
        let value = self.compute(handle)?;
        self.set(handle, value.clone());
        Ok(value)
    }

    /// The type of an expression of the current function.
    pub(super) fn type_of(&self, handle: Handle<Expression>) -> &'a TypeInner {
        let frame = self.frame();
        frame.info[handle].ty.inner_with(&self.module.types)
    }

    pub(super) fn int_type(&self, handle: Handle<Expression>) -> Option<Int> {
        int_of(self.type_of(handle))
    }

    /// Computes an expression anew; loads are recorded.
    pub(super) fn compute(&mut self, handle: Handle<Expression>) -> Result<Val, WalkError> {
        let function = self.frame().function;
        Ok(match function.expressions[handle] {
            Expression::Literal(l) => literal(l),
            Expression::Constant(c) => self.constant(self.module.constants[c].init),
            Expression::Override(o) => self.override_value(o),
            Expression::ZeroValue(ty) => self.zero(ty),
            Expression::Compose { ty, ref components } => {
                let parts = components.iter().map(|&c| self.expression(c)).collect::<Result<Vec<_>, _>>()?;
                compose(&self.module.types[ty].inner, parts)
            }
            Expression::Splat { size, value } => {
                let v = self.expression(value)?;
                Val::Composite(Rc::new(vec![v; size as usize]))
            }
            Expression::Swizzle { size, vector, pattern } => {
                let v = self.expression(vector)?;
                Val::Composite(Rc::new(
                    pattern[..size as usize].iter().map(|&p| v.component(p as usize)).collect(),
                ))
            }
            Expression::Access { base, index } => {
                let base_value = self.expression(base)?;
                let index_value = self.expression(index)?;
                self.access(base, base_value, index_value, Some(index))
            }
            Expression::AccessIndex { base, index } => {
                let base_value = self.expression(base)?;
                self.access(base, base_value, Val::int(i64::from(index)), None)
            }
            Expression::FunctionArgument(i) => {
                self.frame().args.get(i as usize).cloned().unwrap_or(Val::Other(None))
            }
            Expression::GlobalVariable(g) => self.global(g),
            Expression::LocalVariable(v) => Val::Local(self.frames.len(), v.index(), Vec::new()),
            Expression::Load { pointer } => return self.load(handle, pointer),
            Expression::ImageLoad { image, coordinate, .. } => {
                let c = self.expression(coordinate)?;
                self.texture(handle, image, AccessKind::Load)?;
                let why = self.why(&c).map(|_| Rc::from("a texture"));
                self.unknown_like(handle, why)
            }
            Expression::ImageSample { image, coordinate, .. } => {
                let c = self.expression(coordinate)?;
                self.texture(handle, image, AccessKind::Load)?;
                let why = self.why(&c).map(|_| Rc::from("a texture"));
                self.unknown_like(handle, why)
            }
            Expression::ImageQuery { .. } => self.unknown_like(handle, None),
            Expression::Unary { op, expr } => {
                let v = self.expression(expr)?;
                let ty = self.int_type(expr);
                self.componentwise(&v, &mut |w, v| w.unary(op, v, ty))
            }
            Expression::Binary { op, left, right } => {
                let (a, b) = (self.expression(left)?, self.expression(right)?);
                let ty = self.int_type(left);
                self.pairwise(&a, &b, &mut |w, a, b| w.binary(op, a, b, ty))
            }
            Expression::Select { condition, accept, reject } => {
                let c = self.expression(condition)?;
                let (a, b) = (self.expression(accept)?, self.expression(reject)?);
                match &c {
                    Val::Composite(cs) => Val::Composite(Rc::new(
                        cs.iter()
                            .enumerate()
                            .map(|(i, c)| {
                                let c = self.truth(c);
                                self.merge(&c, &a.component(i), &b.component(i))
                            })
                            .collect(),
                    )),
                    c => {
                        let c = self.truth(c);
                        self.merge(&c, &a, &b)
                    }
                }
            }
            Expression::Derivative { .. } => Val::Other(Some("a derivative".into())),
            Expression::Relational { fun, argument } => {
                let v = self.expression(argument)?;
                match (fun, &v) {
                    (RelationalFunction::All | RelationalFunction::Any, Val::Composite(parts)) => {
                        let mut parts = parts.iter();
                        let first = parts.next().cloned().unwrap_or(Val::int(1));
                        let mut sum = self.truth(&first);
                        for p in parts {
                            let p = self.truth(p);
                            sum = if fun == RelationalFunction::All {
                                self.walk.alg.both(&sum, &p)
                            } else {
                                self.walk.alg.either(&sum, &p)
                            };
                        }
                        Val::Int(sum)
                    }
                    (RelationalFunction::All | RelationalFunction::Any, v) => v.clone(),
                    (_, v) => Val::Other(self.why(v)),
                }
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                let mut args = vec![self.expression(arg)?];
                for a in [arg1, arg2, arg3].into_iter().flatten() {
                    args.push(self.expression(a)?);
                }
                self.math(handle, fun, &args, self.int_type(arg))
            }
            Expression::As { expr, kind, convert } => {
                let v = self.expression(expr)?;
                let from = self.int_type(expr);
                self.componentwise(&v, &mut |w, v| w.convert(v, from, kind, convert))
            }
            Expression::ArrayLength(pointer) => {
                let name = match self.expression(pointer)? {
                    Val::Memory(m) => format!("arrayLength({})", self.global_name(m.global)),
                    _ => "arrayLength".into(),
                };
                Val::Int(self.walk.parameter(&name))
            }
            Expression::CooperativeLoad { .. } => return self.cooperative_load(handle),
            Expression::CooperativeMultiplyAdd { .. } => Val::Other(None),
            // Set by the statements that they belong to.
            _ => self.unknown_like(handle, Some("a result that is not followed".into())),
        })
    }

    /// A constant of the module.
    pub(super) fn constant(&mut self, handle: Handle<Expression>) -> Val {
        match self.module.global_expressions[handle] {
            Expression::Literal(l) => literal(l),
            Expression::Constant(c) => self.constant(self.module.constants[c].init),
            Expression::Override(o) => self.override_value(o),
            Expression::ZeroValue(ty) => self.zero(ty),
            Expression::Splat { size, value } => {
                let v = self.constant(value);
                Val::Composite(Rc::new(vec![v; size as usize]))
            }
            Expression::Compose { ty, ref components } => {
                let parts = components.iter().map(|&c| self.constant(c)).collect();
                compose(&self.module.types[ty].inner, parts)
            }
            Expression::Binary { .. } | Expression::Unary { .. } | Expression::As { .. } => {
                Val::Int(self.walk.fresh("a constant expression"))
            }
            _ => Val::Other(None),
        }
    }

    fn override_value(&mut self, o: Handle<naga::Override>) -> Val {
        let constant = &self.module.overrides[o];
        let name = constant.name.clone().unwrap_or_else(|| format!("override {}", o.index()));
        let given = self.walk.settings.value_of(&name).is_some();
        if let (Some(init), false) = (constant.init, given) {
            return self.constant(init);
        }
        match int_of(&self.module.types[constant.ty].inner) {
            Some(Int::BOOL) if !given => Val::Int(self.walk.flag(&name)),
            Some(_) => Val::Int(self.walk.parameter(&name)),
            None => Val::Other(None),
        }
    }

    pub(super) fn zero(&mut self, ty: Handle<Type>) -> Val {
        match self.module.types[ty].inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => match s.kind {
                ScalarKind::Float | ScalarKind::AbstractFloat => Val::Other(None),
                _ => Val::int(0),
            },
            TypeInner::Vector { size, scalar } => {
                let v = match scalar.kind {
                    ScalarKind::Float | ScalarKind::AbstractFloat => Val::Other(None),
                    _ => Val::int(0),
                };
                Val::Composite(Rc::new(vec![v; size as usize]))
            }
            TypeInner::Array { base, size: naga::ArraySize::Constant(n), .. } if n.get() <= MOST_ELEMENTS => {
                let v = self.zero(base);
                Val::Composite(Rc::new(vec![v; n.get() as usize]))
            }
            TypeInner::Struct { ref members, .. } if members.len() <= 64 => {
                Val::Composite(Rc::new(members.iter().map(|m| self.zero(m.ty)).collect()))
            }
            _ => Val::Other(None),
        }
    }

    /// A value of a type about which only this is known: whether it differs between lanes.
    pub(super) fn unknown_of(&mut self, inner: &TypeInner, why: Option<Rc<str>>, name: &str) -> Val {
        match *inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => match (s.kind, why) {
                (ScalarKind::Uint | ScalarKind::Sint | ScalarKind::AbstractInt, Some(why)) => {
                    Val::Int(self.walk.alg.data(&why, s.kind == ScalarKind::Uint))
                }
                (ScalarKind::Uint | ScalarKind::Sint | ScalarKind::AbstractInt, None) => {
                    Val::Int(self.walk.alg.symbol(Symbol {
                        name: name.into(),
                        kind: SymbolKind::Loaded,
                        count: None,
                    }))
                }
                (ScalarKind::Bool, Some(why)) => {
                    Val::Int(self.walk.alg.data_in_range(&why, (Some(0), Some(1))))
                }
                (ScalarKind::Bool, None) => Val::Int(self.walk.flag(name)),
                (_, why) => Val::Other(why),
            },
            TypeInner::Vector { size, scalar } => {
                let inner = TypeInner::Scalar(scalar);
                Val::Composite(Rc::new(
                    (0..size as usize)
                        .map(|i| {
                            let name = format!("{name}.{}", ["x", "y", "z", "w"][i]);
                            self.unknown_of(&inner, why.clone(), &name)
                        })
                        .collect(),
                ))
            }
            TypeInner::Struct { ref members, .. } if members.len() <= 64 => {
                let members: Vec<_> = members.iter().map(|m| (m.ty, m.name.clone())).collect();
                Val::Composite(Rc::new(
                    members
                        .into_iter()
                        .map(|(ty, member)| {
                            let name = format!("{name}.{}", member.unwrap_or_default());
                            self.unknown_of(&self.module.types[ty].inner, why.clone(), &name)
                        })
                        .collect(),
                ))
            }
            TypeInner::Array { base, size: naga::ArraySize::Constant(n), .. } if n.get() <= 16 => {
                Val::Composite(Rc::new(
                    (0..n.get())
                        .map(|i| {
                            let name = format!("{name}[{i}]");
                            self.unknown_of(&self.module.types[base].inner, why.clone(), &name)
                        })
                        .collect(),
                ))
            }
            _ => Val::Other(why),
        }
    }

    pub(super) fn unknown_like(&mut self, handle: Handle<Expression>, why: Option<Rc<str>>) -> Val {
        let inner = self.type_of(handle);
        self.unknown_of(inner, why, "a uniform value")
    }

    fn global(&mut self, g: Handle<naga::GlobalVariable>) -> Val {
        let space = match self.module.global_variables[g].space {
            naga::AddressSpace::Storage { .. } => Space::Storage,
            naga::AddressSpace::Uniform | naga::AddressSpace::Immediate => Space::Uniform,
            naga::AddressSpace::WorkGroup => Space::Workgroup,
            naga::AddressSpace::Private => {
                return match self.private.iter().position(|&p| p == g) {
                    Some(ix) => Val::Local(0, ix, Vec::new()),
                    None => Val::Other(None),
                };
            }
            _ => return Val::Other(None),
        };
        Val::Memory(Memory {
            global: g,
            space,
            offset: Value::int(0),
            record: None,
            index_span: None,
            pitches: Vec::new(),
            path: self.global_name(g),
        })
    }

    pub(super) fn componentwise(&mut self, v: &Val, f: &mut dyn FnMut(&mut Self, &Val) -> Val) -> Val {
        match v {
            Val::Composite(c) => {
                Val::Composite(Rc::new(c.iter().map(|v| self.componentwise(v, f)).collect()))
            }
            v => f(self, v),
        }
    }

    pub(super) fn pairwise(
        &mut self,
        a: &Val,
        b: &Val,
        f: &mut dyn FnMut(&mut Self, &Val, &Val) -> Val,
    ) -> Val {
        match (a, b) {
            (Val::Composite(x), Val::Composite(y)) if x.len() == y.len() => {
                Val::Composite(Rc::new(x.iter().zip(y.iter()).map(|(a, b)| self.pairwise(a, b, f)).collect()))
            }
            (Val::Composite(x), b) if !matches!(b, Val::Composite(_)) => {
                Val::Composite(Rc::new(x.iter().map(|a| self.pairwise(a, b, f)).collect()))
            }
            (a, Val::Composite(y)) if !matches!(a, Val::Composite(_)) => {
                Val::Composite(Rc::new(y.iter().map(|b| self.pairwise(a, b, f)).collect()))
            }
            (a, b) => f(self, a, b),
        }
    }

    fn unary(&mut self, op: UnaryOperator, v: &Val, ty: Option<Int>) -> Val {
        match (op, v) {
            (UnaryOperator::Negate, Val::Int(v)) => Val::Int(v.scale(-1)),
            (UnaryOperator::LogicalNot, v) => {
                let v = self.truth(v);
                Val::Int(self.walk.alg.not(&v))
            }
            // ~x is -x - 1.
            (UnaryOperator::BitwiseNot, Val::Int(v)) => match (v.as_lanes(), ty) {
                (Some(l), Some(t)) => Val::Int(Value::lanes(l.map(|x| t.wrap(!x)))),
                _ => Val::Int(v.scale(-1).sub(&Value::int(1))),
            },
            (_, v) => Val::Other(self.why(v)),
        }
    }

    fn binary(&mut self, op: BinaryOperator, a: &Val, b: &Val, ty: Option<Int>) -> Val {
        use BinaryOperator as B;
        if matches!(op, B::LogicalAnd | B::LogicalOr) {
            let (a, b) = (self.truth(a), self.truth(b));
            return Val::Int(if op == B::LogicalAnd {
                self.walk.alg.both(&a, &b)
            } else {
                self.walk.alg.either(&a, &b)
            });
        }
        let (Val::Int(x), Val::Int(y), Some(t)) = (a, b, ty) else {
            let why = self.why(a).or_else(|| self.why(b));
            return match op {
                B::Equal | B::NotEqual | B::Less | B::LessEqual | B::Greater | B::GreaterEqual => {
                    self.unknown_of(&TypeInner::Scalar(naga::Scalar::BOOL), why, "a uniform comparison")
                }
                _ => Val::Other(why),
            };
        };
        let alg = &mut self.walk.alg;
        Val::Int(match op {
            B::Add => alg.add(x, y),
            B::Subtract => alg.add(x, &y.scale(-1)),
            B::Multiply => alg.mul(x, y),
            B::Divide => alg.apply(Op::Div(t), &[x.clone(), y.clone()]),
            B::Modulo => alg.apply(Op::Rem(t), &[x.clone(), y.clone()]),
            B::And => alg.apply(Op::And(t), &[x.clone(), y.clone()]),
            B::InclusiveOr => alg.apply(Op::Or(t), &[x.clone(), y.clone()]),
            B::ExclusiveOr => alg.apply(Op::Xor(t), &[x.clone(), y.clone()]),
            B::ShiftLeft => alg.apply(Op::Shl(t), &[x.clone(), y.clone()]),
            B::ShiftRight => alg.apply(Op::Shr(t), &[x.clone(), y.clone()]),
            B::Equal => alg.apply(Op::Eq(t), &[x.clone(), y.clone()]),
            B::NotEqual => {
                let eq = alg.apply(Op::Eq(t), &[x.clone(), y.clone()]);
                alg.not(&eq)
            }
            B::Less => alg.apply(Op::Lt(t), &[x.clone(), y.clone()]),
            B::Greater => alg.apply(Op::Lt(t), &[y.clone(), x.clone()]),
            B::LessEqual => {
                let gt = alg.apply(Op::Lt(t), &[y.clone(), x.clone()]);
                alg.not(&gt)
            }
            B::GreaterEqual => {
                let lt = alg.apply(Op::Lt(t), &[x.clone(), y.clone()]);
                alg.not(&lt)
            }
            B::LogicalAnd | B::LogicalOr => return Val::Other(None),
        })
    }

    fn convert(&mut self, v: &Val, from: Option<Int>, kind: ScalarKind, width: Option<u8>) -> Val {
        match (v, kind) {
            (Val::Int(x), ScalarKind::Sint | ScalarKind::Uint) => {
                let narrower = width.filter(|&w| from.is_some_and(|f| w * 8 < f.bits));
                match narrower {
                    Some(w) => {
                        let mask = Value::int((1i64 << (w * 8)) - 1);
                        Val::Int(self.walk.alg.apply(Op::And(Int::U32), &[x.clone(), mask]))
                    }
                    None => v.clone(),
                }
            }
            (Val::Int(x), ScalarKind::Bool) => {
                let zero = self.walk.alg.apply(Op::Eq(Int::U32), &[x.clone(), Value::int(0)]);
                Val::Int(self.walk.alg.not(&zero))
            }
            (v, ScalarKind::Sint | ScalarKind::Uint | ScalarKind::Bool) => {
                let why = self.why(v).map(|_| Rc::from("a floating-point computation"));
                let scalar = naga::Scalar { kind, width: if kind == ScalarKind::Bool { 1 } else { 4 } };
                self.unknown_of(&TypeInner::Scalar(scalar), why, "a uniform conversion")
            }
            (v, _) => Val::Other(self.why(v)),
        }
    }
}

fn literal(l: Literal) -> Val {
    match l {
        Literal::U16(v) => Val::int(i64::from(v)),
        Literal::I16(v) => Val::int(i64::from(v)),
        Literal::U32(v) => Val::int(i64::from(v)),
        Literal::I32(v) => Val::int(i64::from(v)),
        Literal::U64(v) => Val::int(v as i64),
        Literal::I64(v) | Literal::AbstractInt(v) => Val::int(v),
        Literal::Bool(v) => Val::int(i64::from(v)),
        _ => Val::Other(None),
    }
}

/// Vectors made of vectors are flat.
fn compose(inner: &TypeInner, parts: Vec<Val>) -> Val {
    if !matches!(inner, TypeInner::Vector { .. }) {
        return Val::Composite(Rc::new(parts));
    }
    let size = match inner {
        TypeInner::Vector { size: VectorSize::Bi, .. } => 2,
        TypeInner::Vector { size: VectorSize::Tri, .. } => 3,
        _ => 4,
    };
    let mut flat = Vec::with_capacity(size);
    for p in parts {
        match p {
            Val::Composite(c) => flat.extend(c.iter().cloned()),
            other => flat.push(other),
        }
    }
    flat.resize(size, Val::Other(None));
    Val::Composite(Rc::new(flat))
}

/// The integer type of a scalar or of a vector's components.
pub(super) fn int_of(inner: &TypeInner) -> Option<Int> {
    let scalar = inner.scalar()?;
    let bits = scalar.width * 8;
    match scalar.kind {
        ScalarKind::Sint => Some(Int { signed: true, bits }),
        ScalarKind::Uint => Some(Int { signed: false, bits }),
        ScalarKind::Bool => Some(Int::BOOL),
        ScalarKind::AbstractInt => Some(Int { signed: true, bits: 64 }),
        ScalarKind::Float | ScalarKind::AbstractFloat => None,
    }
}
