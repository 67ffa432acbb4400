//! Parts of elements and lengths of rows: what of a struct is used, and what indices are multiplied by.

use naga::{BinaryOperator, Expression, Handle, TypeInner};

use super::Walker;
use super::value::{Memory, Val};
use crate::audit::lanes::Value;
use crate::memory::AccessKind;

impl Walker<'_> {
    /// What an index is multiplied by in the source, times `unit` bytes.
    pub(super) fn factors(&mut self, index: Handle<Expression>, unit: u64, out: &mut Vec<u64>, depth: usize) {
        let Expression::Binary { op, left, right } = self.frame().function.expressions[index] else { return };
        if depth > 16 || out.len() > 16 {
            return;
        }
        let known = |w: &Self, h: Handle<Expression>| match w.frame().values.get(h.index())? {
            Some(Val::Int(v)) => v.as_int().and_then(|v| u64::try_from(v).ok()),
            _ => match w.frame().function.expressions[h] {
                Expression::Literal(naga::Literal::U32(v)) => Some(u64::from(v)),
                Expression::Literal(naga::Literal::I32(v)) => u64::try_from(v).ok(),
                _ => None,
            },
        };
        match op {
            BinaryOperator::Multiply => {
                for (factor, other) in [(right, left), (left, right)] {
                    let Some(pitch) = known(self, factor).and_then(|f| f.checked_mul(unit)) else { continue };
                    out.push(pitch);
                    self.factors(other, pitch, out, depth + 1);
                }
            }
            BinaryOperator::ShiftLeft => {
                if let Some(pitch) = known(self, right).and_then(|by| unit.checked_shl(by as u32)) {
                    out.push(pitch);
                    self.factors(left, pitch, out, depth + 1);
                }
            }
            BinaryOperator::Add
            | BinaryOperator::Subtract
            | BinaryOperator::InclusiveOr
            | BinaryOperator::ExclusiveOr => {
                self.factors(left, unit, out, depth + 1);
                self.factors(right, unit, out, depth + 1);
            }
            _ => {}
        }
    }

    /// The bytes of a loaded struct that the function uses, as (offset, length): the fields that are taken out of it,
    /// or all but padding where it is used whole.
    pub(super) fn used_parts(
        &self,
        value: Handle<Expression>,
        inner: &TypeInner,
        at: u64,
        out: &mut Vec<(u64, u64)>,
    ) {
        let TypeInner::Struct { members, .. } = inner else { return self.parts_of(inner, at, out) };
        let frame = self.frame();
        let taken: Vec<(Handle<Expression>, u32)> = frame
            .function
            .expressions
            .iter()
            .filter_map(|(h, e)| match *e {
                Expression::AccessIndex { base, index } if base == value => Some((h, index)),
                _ => None,
            })
            .collect();
        if taken.len() != frame.info[value].ref_count {
            return self.parts_of(inner, at, out);
        }
        for (part, index) in taken {
            if let Some(member) = members.get(index as usize).filter(|_| frame.info[part].ref_count > 0) {
                let inner = &self.module.types[member.ty].inner;
                self.used_parts(part, inner, at + u64::from(member.offset), out);
            }
        }
    }

    /// The bytes of a type that are not padding, as (offset, length).
    pub(super) fn parts_of(&self, inner: &TypeInner, at: u64, out: &mut Vec<(u64, u64)>) {
        match *inner {
            TypeInner::Struct { ref members, .. } => {
                for m in members {
                    self.parts_of(&self.module.types[m.ty].inner, at + u64::from(m.offset), out);
                }
            }
            TypeInner::Array { base, size: naga::ArraySize::Constant(n), stride } if n.get() <= 64 => {
                for i in 0..u64::from(n.get()) {
                    self.parts_of(&self.module.types[base].inner, at + i * u64::from(stride), out);
                }
            }
            ref other => out.push((at, self.size_of(other))),
        }
    }

    /// One access to the stretches of bytes that are used.
    pub(super) fn record_parts(
        &mut self,
        m: &Memory,
        kind: AccessKind,
        mut parts: Vec<(u64, u64)>,
        span: naga::Span,
    ) {
        parts.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (at, length) in parts {
            match runs.last_mut() {
                Some(last) if last.0 + last.1 >= at => last.1 = last.1.max(at + length - last.0),
                _ => runs.push((at, length)),
            }
        }
        let (Some(&(start, _)), Some(&(at, length))) = (runs.first(), runs.last()) else { return };
        let place = Memory { offset: m.offset.add(&Value::int(start as i64)), ..m.clone() };
        self.record(&place, kind, at + length - start, span);
        if let (Some(site), true, 0) = (self.walk.sites.last_mut(), runs.len() > 1, self.walk.quiet) {
            site.parts = runs.iter().map(|(at, length)| (at - start, *length)).collect();
        }
    }
}
