//! Operations on lanes: for each of naga's operators and each scalar type, one function over a
//! whole register. All are total and follow WGSL: integers wrap, division by zero has a value,
//! shifts take their amount modulo the width, `f16` is rounded after each operation.

mod arith;
mod bits;
mod convert;
mod math;

pub(super) use arith::{binary, unary};
pub(super) use bits::{dot4, extract_bits, insert_bits, int_math, pack_part, put_part, unpack_part};
pub(super) use convert::{bitcast, convert, f16_bits, f16_value, round_f16};
pub(super) use math::{float_math, frexp_exponent, frexp_fraction, ldexp, modf_fraction, modf_whole};

use super::layout::Elem;
use super::regs::{AluFn, map1, map3};

/// Picks the instance for an element type out of a list; `T` names the type in the body.
macro_rules! pick {
    ($elem:expr; $($v:ident: $t:ty),*; $map:ident $f:expr) => {
        match $elem {
            $(Elem::$v => {
                #[allow(dead_code, reason = "not every body names its type")]
                type T = $t;
                Some(|r, o| $map(r, o, $f))
            })*
            _ => None,
        }
    };
}

/// An operation on integers of any width: `int!(elem, map2 |x: T, y: T| x.wrapping_add(y))`.
macro_rules! int {
    ($elem:expr, $($rest:tt)*) => {
        $crate::exec::alu::pick!($elem; I16: i16, U16: u16, I32: i32, U32: u32, I64: i64, U64: u64; $($rest)*)
    };
}

/// An operation on floats of any width with a float result: `float!(elem, map2 |x, y| x + y)`.
macro_rules! float {
    ($elem:expr, $map:ident |$($x:ident),*| $body:expr) => {
        match $elem {
            Elem::F16 => {
                #[allow(dead_code, reason = "not every body names its type")]
                type T = f32;
                Some(|r, o| $map(r, o, |$($x: T),*| -> T { $crate::exec::alu::round_f16($body) }))
            }
            Elem::F32 => {
                #[allow(dead_code, reason = "not every body names its type")]
                type T = f32;
                // The result's type is stated: a literal would else make it f64.
                Some(|r, o| $map(r, o, |$($x: T),*| -> T { $body }))
            }
            Elem::F64 => {
                #[allow(dead_code, reason = "not every body names its type")]
                type T = f64;
                Some(|r, o| $map(r, o, |$($x: T),*| -> T { $body }))
            }
            _ => None,
        }
    };
}

/// An operation on numbers whose result has another type, so that no rounding is needed.
macro_rules! number {
    ($elem:expr, $($rest:tt)*) => {
        $crate::exec::alu::pick!($elem; I16: i16, U16: u16, I32: i32, U32: u32, I64: i64, U64: u64,
            F16: f32, F32: f32, F64: f64; $($rest)*)
    };
}

pub(super) use {float, int, number, pick};

/// `dst = c ? a : b` with the condition as the last operand.
pub(super) fn select(elem: Elem) -> Option<AluFn> {
    match elem.file() {
        super::regs::File::Narrow => Some(|r, o| map3(r, o, |a: u32, b: u32, c: bool| if c { a } else { b })),
        super::regs::File::Wide => Some(|r, o| map3(r, o, |a: u64, b: u64, c: bool| if c { a } else { b })),
        super::regs::File::Matrix => None,
    }
}

/// `isNan` and `isInf` of one component.
pub(super) fn is_nan(elem: Elem) -> Option<AluFn> {
    pick!(elem; F16: f32, F32: f32, F64: f64; map1 |x: T| x.is_nan())
}

pub(super) fn is_inf(elem: Elem) -> Option<AluFn> {
    pick!(elem; F16: f32, F32: f32, F64: f64; map1 |x: T| x.is_infinite())
}
