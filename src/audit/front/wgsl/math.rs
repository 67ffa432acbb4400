//! Built-in functions on integers, and the built-in inputs of an entry point.

use std::rc::Rc;

use naga::{BuiltIn, Expression, Handle, MathFunction, TypeInner};

use super::Walker;
use super::value::Val;
use crate::audit::lanes::{Int, Op, Value};

impl Walker<'_> {
    pub(super) fn math(
        &mut self,
        handle: Handle<Expression>,
        fun: MathFunction,
        args: &[Val],
        ty: Option<Int>,
    ) -> Val {
        use MathFunction as M;
        if let Some(t) = ty {
            match fun {
                M::Min | M::Max => {
                    return self.pairwise(&args[0], &args[1], &mut |w, a, b| match (a, b) {
                        (Val::Int(a), Val::Int(b)) => {
                            let op = if fun == M::Min { Op::Min(t) } else { Op::Max(t) };
                            Val::Int(w.walk.alg.apply(op, &[a.clone(), b.clone()]))
                        }
                        (a, b) => Val::Other(w.why(a).or_else(|| w.why(b))),
                    });
                }
                M::Clamp => {
                    let low = self.pairwise(&args[0], &args[1], &mut |w, a, b| match (a, b) {
                        (Val::Int(a), Val::Int(b)) => {
                            Val::Int(w.walk.alg.apply(Op::Max(t), &[a.clone(), b.clone()]))
                        }
                        (a, b) => Val::Other(w.why(a).or_else(|| w.why(b))),
                    });
                    return self.pairwise(&low, &args[2], &mut |w, a, b| match (a, b) {
                        (Val::Int(a), Val::Int(b)) => {
                            Val::Int(w.walk.alg.apply(Op::Min(t), &[a.clone(), b.clone()]))
                        }
                        (a, b) => Val::Other(w.why(a).or_else(|| w.why(b))),
                    });
                }
                M::Abs => {
                    return self.componentwise(&args[0], &mut |w, v| match v {
                        Val::Int(v) => Val::Int(w.walk.alg.apply(Op::Max(t), &[v.clone(), v.scale(-1)])),
                        v => Val::Other(w.why(v)),
                    });
                }
                M::ReverseBits
                | M::CountOneBits
                | M::CountLeadingZeros
                | M::CountTrailingZeros
                | M::FirstTrailingBit
                | M::FirstLeadingBit => {
                    return self.componentwise(&args[0], &mut |w, v| match v {
                        Val::Int(v) => Val::Int(match fun {
                            M::ReverseBits => w.walk.alg.apply(Op::ReverseBits(t), std::slice::from_ref(v)),
                            M::CountOneBits => w.walk.alg.apply(Op::CountOnes(t), std::slice::from_ref(v)),
                            M::CountLeadingZeros => {
                                w.walk.alg.apply(Op::LeadingZeros(t), std::slice::from_ref(v))
                            }
                            M::FirstLeadingBit => {
                                let zeros = w.walk.alg.apply(Op::LeadingZeros(t), std::slice::from_ref(v));
                                Value::int(i64::from(t.bits) - 1).sub(&zeros)
                            }
                            _ => w.walk.alg.apply(Op::TrailingZeros(t), std::slice::from_ref(v)),
                        }),
                        v => Val::Other(w.why(v)),
                    });
                }
                M::ExtractBits | M::InsertBits => {
                    if let Some(v) = self.bit_field(fun, args, t) {
                        return Val::Int(v);
                    }
                }
                M::Dot => {
                    let products = self.pairwise(&args[0], &args[1], &mut |w, a, b| match (a, b) {
                        (Val::Int(a), Val::Int(b)) => Val::Int(w.walk.alg.mul(a, b)),
                        (a, b) => Val::Other(w.why(a).or_else(|| w.why(b))),
                    });
                    if let Val::Composite(parts) = &products {
                        let mut sum = Value::int(0);
                        for p in parts.iter() {
                            let Val::Int(p) = p else {
                                let why = self.why(&products);
                                return self.unknown_like(handle, why);
                            };
                            sum = self.walk.alg.add(&sum, p);
                        }
                        return Val::Int(sum);
                    }
                }
                _ => {}
            }
        }
        let why = args.iter().find_map(|a| self.why(a));
        self.unknown_like(handle, why)
    }

    /// `extractBits` and `insertBits` of a field whose place is known.
    pub(super) fn bit_field(&mut self, fun: MathFunction, args: &[Val], t: Int) -> Option<Value> {
        let ints: Vec<&Value> = args
            .iter()
            .map(|a| match a {
                Val::Int(v) => Some(v),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let (&[.., offset, count], first) = (ints.as_slice(), *ints.first()?) else { return None };
        let bits = i64::from(t.bits);
        let offset = offset.as_int()?.clamp(0, bits);
        let count = count.as_int()?.clamp(0, bits - offset);
        let alg = &mut self.walk.alg;
        let mask = if count >= 63 { i64::MAX } else { (1i64 << count) - 1 };
        if fun == MathFunction::InsertBits {
            let field = alg.apply(Op::And(t), &[first.clone(), Value::int(t.wrap(mask << offset))]);
            let new = alg.apply(Op::And(t), &[ints.get(1).copied()?.clone(), Value::int(t.wrap(mask))]);
            return Some(first.sub(&field).add(&new.scale(1i64 << offset.min(62))));
        }
        if count == 0 {
            return Some(Value::int(0));
        }
        if t.signed {
            // The field's highest bit is its sign, which only known numbers show.
            let known = first.as_lanes()?;
            let up = (64 - offset - count) as u32;
            return Some(Value::lanes(known.map(|x| x.wrapping_shl(up) >> (64 - count))));
        }
        let shifted = alg.apply(Op::Shr(t), &[first.clone(), Value::int(offset)]);
        Some(if count == bits { shifted } else { alg.apply(Op::And(t), &[shifted, Value::int(mask)]) })
    }

    /// An argument of an entry point.
    pub(super) fn argument(&mut self, argument: &naga::FunctionArgument) -> Val {
        match &argument.binding {
            Some(naga::Binding::BuiltIn(b)) => self.builtin(*b),
            Some(_) => self.unknown_of(
                &self.module.types[argument.ty].inner,
                Some("an interpolated input".into()),
                "",
            ),
            None => match &self.module.types[argument.ty].inner {
                TypeInner::Struct { members, .. } => Val::Composite(Rc::new(
                    members
                        .iter()
                        .map(|m| match &m.binding {
                            Some(naga::Binding::BuiltIn(b)) => self.builtin(*b),
                            _ => {
                                let inner = &self.module.types[m.ty].inner;
                                self.unknown_of(inner, Some("an interpolated input".into()), "")
                            }
                        })
                        .collect(),
                )),
                inner => self.unknown_of(inner, Some("an input".into()), ""),
            },
        }
    }

    pub(super) fn builtin(&mut self, builtin: BuiltIn) -> Val {
        let size = i64::from(self.walk.settings.subgroup_size);
        let total = self.walk.alg.lanes() as i64;
        let triple = |v: [Value; 3]| Val::Composite(Rc::new(v.into_iter().map(Val::Int).collect()));
        match builtin {
            BuiltIn::LocalInvocationId => triple(std::array::from_fn(|a| self.walk.local_id(a))),
            BuiltIn::WorkGroupId => triple(self.walk.group_ids.clone()),
            BuiltIn::GlobalInvocationId => triple(std::array::from_fn(|a| self.walk.global_id(a))),
            BuiltIn::LocalInvocationIndex => Val::Int(self.walk.lanes(|l| l)),
            BuiltIn::WorkGroupSize => triple(self.walk.workgroup.map(|n| Value::int(i64::from(n)))),
            BuiltIn::NumWorkGroups => match self.walk.settings.workgroups {
                Some(n) => triple(n.map(|n| Value::int(i64::from(n)))),
                None => {
                    triple(["x", "y", "z"].map(|axis| self.walk.parameter(&format!("num_workgroups.{axis}"))))
                }
            },
            BuiltIn::SubgroupSize => Val::int(size),
            BuiltIn::SubgroupInvocationId => Val::Int(self.walk.lanes(|l| l % size)),
            BuiltIn::SubgroupId => Val::Int(self.walk.lanes(|l| l / size)),
            BuiltIn::NumSubgroups => Val::int((total + size - 1) / size),
            BuiltIn::VertexIndex => Val::Int(self.walk.lanes(|l| l)),
            BuiltIn::InstanceIndex => Val::Int(self.walk.parameter("instance_index")),
            _ => Val::Other(Some("a graphics input".into())),
        }
    }
}
