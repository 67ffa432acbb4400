//! Unary and binary operators.

use naga::{BinaryOperator as Op, UnaryOperator};

use super::{float, int, number, pick};
use crate::exec::layout::Elem;
use crate::exec::regs::{AluFn, map1, map2};

/// The operator on one component.
pub(in crate::exec) fn unary(op: UnaryOperator, elem: Elem) -> Option<AluFn> {
    match op {
        UnaryOperator::Negate if elem.is_float() => {
            pick!(elem; F16: f32, F32: f32, F64: f64; map1 |x: T| -x)
        }
        UnaryOperator::Negate => int!(elem, map1 |x: T| x.wrapping_neg()),
        UnaryOperator::LogicalNot => pick!(elem; Bool: bool; map1 |x: T| !x),
        UnaryOperator::BitwiseNot => int!(elem, map1 |x: T| !x),
    }
}

/// The operator on one component of each operand; `elem` is the left operand's type.
pub(in crate::exec) fn binary(op: Op, elem: Elem) -> Option<AluFn> {
    match op {
        Op::Add if elem.is_float() => float!(elem, map2 | x, y | x + y),
        Op::Subtract if elem.is_float() => float!(elem, map2 | x, y | x - y),
        Op::Multiply if elem.is_float() => float!(elem, map2 | x, y | x * y),
        Op::Divide if elem.is_float() => float!(elem, map2 | x, y | x / y),
        // The specification's formula, not fmod: that is also what GPUs compute.
        Op::Modulo if elem.is_float() => float!(elem, map2 | x, y | x - y * (x / y).trunc()),
        Op::Add => int!(elem, map2 |x: T, y: T| x.wrapping_add(y)),
        Op::Subtract => int!(elem, map2 |x: T, y: T| x.wrapping_sub(y)),
        Op::Multiply => int!(elem, map2 |x: T, y: T| x.wrapping_mul(y)),
        Op::Divide => int!(elem, map2 |x: T, y: T| if y == 0 { x } else { x.wrapping_div(y) }),
        Op::Modulo => int!(elem, map2 |x: T, y: T| if y == 0 { 0 } else { x.wrapping_rem(y) }),
        Op::Equal | Op::NotEqual if elem == Elem::Bool => {
            if op == Op::Equal {
                pick!(elem; Bool: bool; map2 |x: T, y: T| x == y)
            } else {
                pick!(elem; Bool: bool; map2 |x: T, y: T| x != y)
            }
        }
        Op::Equal => number!(elem, map2 |x: T, y: T| x == y),
        Op::NotEqual => number!(elem, map2 |x: T, y: T| x != y),
        Op::Less => number!(elem, map2 |x: T, y: T| x < y),
        Op::LessEqual => number!(elem, map2 |x: T, y: T| x <= y),
        Op::Greater => number!(elem, map2 |x: T, y: T| x > y),
        Op::GreaterEqual => number!(elem, map2 |x: T, y: T| x >= y),
        Op::And | Op::LogicalAnd if elem == Elem::Bool => pick!(elem; Bool: bool; map2 |x: T, y: T| x & y),
        Op::InclusiveOr | Op::LogicalOr if elem == Elem::Bool => {
            pick!(elem; Bool: bool; map2 |x: T, y: T| x | y)
        }
        Op::ExclusiveOr if elem == Elem::Bool => pick!(elem; Bool: bool; map2 |x: T, y: T| x ^ y),
        Op::And => int!(elem, map2 |x: T, y: T| x & y),
        Op::InclusiveOr => int!(elem, map2 |x: T, y: T| x | y),
        Op::ExclusiveOr => int!(elem, map2 |x: T, y: T| x ^ y),
        Op::LogicalAnd | Op::LogicalOr => None,
        Op::ShiftLeft => int!(elem, map2 |x: T, n: u32| x.wrapping_shl(n)),
        Op::ShiftRight => int!(elem, map2 |x: T, n: u32| x.wrapping_shr(n)),
    }
}
