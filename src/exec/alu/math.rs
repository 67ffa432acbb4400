//! Component-wise math of floats.

use naga::MathFunction as Mf;

use super::{float, pick};
use crate::exec::layout::Elem;
use crate::exec::regs::{AluFn, map1, map2, map3};

/// A float function that works on each component by itself and gives the same type.
pub(in crate::exec) fn float_math(fun: Mf, elem: Elem) -> Option<AluFn> {
    match fun {
        Mf::Abs => float!(elem, map1 | x | x.abs()),
        Mf::Min => float!(elem, map2 | x, y | x.min(y)),
        Mf::Max => float!(elem, map2 | x, y | x.max(y)),
        Mf::Clamp => float!(elem, map3 | x, lo, hi | x.max(lo).min(hi)),
        Mf::Saturate => float!(elem, map1 | x | x.clamp(0.0, 1.0)),
        Mf::Cos => float!(elem, map1 | x | x.cos()),
        Mf::Cosh => float!(elem, map1 | x | x.cosh()),
        Mf::Sin => float!(elem, map1 | x | x.sin()),
        Mf::Sinh => float!(elem, map1 | x | x.sinh()),
        Mf::Tan => float!(elem, map1 | x | x.tan()),
        Mf::Tanh => float!(elem, map1 | x | x.tanh()),
        Mf::Acos => float!(elem, map1 | x | x.acos()),
        Mf::Asin => float!(elem, map1 | x | x.asin()),
        Mf::Atan => float!(elem, map1 | x | x.atan()),
        Mf::Atan2 => float!(elem, map2 | y, x | y.atan2(x)),
        Mf::Asinh => float!(elem, map1 | x | x.asinh()),
        Mf::Acosh => float!(elem, map1 | x | x.acosh()),
        Mf::Atanh => float!(elem, map1 | x | x.atanh()),
        Mf::Radians => float!(elem, map1 | x | x.to_radians()),
        Mf::Degrees => float!(elem, map1 | x | x.to_degrees()),
        Mf::Ceil => float!(elem, map1 | x | x.ceil()),
        Mf::Floor => float!(elem, map1 | x | x.floor()),
        Mf::Round => float!(elem, map1 | x | x.round_ties_even()),
        Mf::Fract => float!(elem, map1 | x | x - x.floor()),
        Mf::Trunc => float!(elem, map1 | x | x.trunc()),
        Mf::Exp => float!(elem, map1 | x | x.exp()),
        Mf::Exp2 => float!(elem, map1 | x | x.exp2()),
        Mf::Log => float!(elem, map1 | x | x.ln()),
        Mf::Log2 => float!(elem, map1 | x | x.log2()),
        Mf::Pow => float!(elem, map2 | x, y | x.powf(y)),
        Mf::Sign => float!(elem, map1 | x | f32::from(i8::from(x > 0.0) - i8::from(x < 0.0)) as T),
        Mf::Fma => match elem {
            // The product of two f32 is exact in f64, so this rounds at most twice where a library
            // call for each lane would round once; WGSL asks for no more than x * y + z.
            Elem::F32 => Some(|r, o| {
                map3(r, o, |x: f32, y: f32, z: f32| (f64::from(x) * f64::from(y) + f64::from(z)) as f32)
            }),
            _ => float!(elem, map3 | x, y, z | x * y + z),
        },
        Mf::Mix => float!(elem, map3 | x, y, t | x * (1.0 - t) + y * t),
        Mf::Step => float!(elem, map2 | edge, x | if edge <= x { 1.0 } else { 0.0 }),
        Mf::SmoothStep => float!(
            elem,
            map3 | lo,
            hi,
            x | {
                let t = ((x - lo) / (hi - lo)).clamp(0.0, 1.0);
                t * t * (3.0 - 2.0 * t)
            }
        ),
        Mf::Sqrt => float!(elem, map1 | x | x.sqrt()),
        Mf::InverseSqrt => float!(elem, map1 | x | 1.0 / x.sqrt()),
        Mf::QuantizeToF16 => pick!(elem; F32: f32; map1 |x: T| super::round_f16(x)),
        _ => None,
    }
}

/// The fractional part that `modf` gives: it has the sign of the argument.
pub(in crate::exec) fn modf_fraction(elem: Elem) -> Option<AluFn> {
    float!(elem, map1 | x | if x.is_infinite() { (0.0 as T).copysign(x) } else { x - x.trunc() })
}

/// The whole part that `modf` gives.
pub(in crate::exec) fn modf_whole(elem: Elem) -> Option<AluFn> {
    float!(elem, map1 | x | x.trunc())
}

/// `x = fraction * 2^exponent` with the fraction's magnitude in [0.5, 1), or zero; what isn't finite
/// is given back with exponent 0.
fn frexp(x: impl Into<f64>) -> (f64, i32) {
    let x = x.into();
    if x == 0.0 || !x.is_finite() {
        return (x, 0);
    }
    let (x, extra) = if x.abs() < f64::MIN_POSITIVE { (x * 2f64.powi(64), -64) } else { (x, 0) };
    let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1022;
    (f64::from_bits(x.to_bits() & !(0x7ff << 52) | 1022 << 52), exponent + extra)
}

/// `frexp(x).fract`.
pub(in crate::exec) fn frexp_fraction(elem: Elem) -> Option<AluFn> {
    pick!(elem; F16: f32, F32: f32, F64: f64; map1 |x: T| frexp(x).0 as T)
}

/// `frexp(x).exp`.
pub(in crate::exec) fn frexp_exponent(elem: Elem) -> Option<AluFn> {
    pick!(elem; F16: f32, F32: f32, F64: f64; map1 |x: T| frexp(x).1)
}

/// `ldexp(x, e)`, rounded once.
pub(in crate::exec) fn ldexp(elem: Elem) -> Option<AluFn> {
    /// Beyond this every float of up to 32 bits has become 0 or infinity.
    const LIMIT: i32 = 400;
    match elem {
        Elem::F16 => Some(|r, o| {
            map2(r, o, |x: f32, e: i32| {
                half::f16::from_f64(f64::from(x) * 2f64.powi(e.clamp(-LIMIT, LIMIT))).to_f32()
            })
        }),
        Elem::F32 => Some(|r, o| {
            map2(r, o, |x: f32, e: i32| (f64::from(x) * 2f64.powi(e.clamp(-LIMIT, LIMIT))) as f32)
        }),
        // In steps, since 2^e itself may overflow where the result does not.
        Elem::F64 => Some(|r, o| {
            map2(r, o, |x: f64, e: i32| {
                let e = e.clamp(-2200, 2200);
                let (a, b) = (e / 3, e - 2 * (e / 3));
                x * 2f64.powi(a) * 2f64.powi(a) * 2f64.powi(b)
            })
        }),
        _ => None,
    }
}
