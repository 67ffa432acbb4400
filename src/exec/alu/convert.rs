//! Conversions between scalar types.

use super::pick;
use crate::exec::layout::Elem;
use crate::exec::regs::{AluFn, map1};

/// The nearest `f16` value (ties to even), as an `f32`. Written without branches or calls so that
/// loops over lanes vectorize; the tests compare it with `half` on every `f16` and its neighbours.
#[inline(always)]
pub(in crate::exec) fn round_f16(x: f32) -> f32 {
    const SMALLEST_NORMAL: u32 = 0x3880_0000; // 2^-14
    const LARGEST: u32 = 0x477f_e000; // 65504
    const INFINITY: u32 = 0x7f80_0000;
    let sign = x.to_bits() & 0x8000_0000;
    let abs = x.to_bits() & 0x7fff_ffff;
    // Normal results keep 10 of the 23 mantissa bits.
    let normal = abs.wrapping_add(0xfff + ((abs >> 13) & 1)) & !0x1fff;
    // In [0.5, 1) an f32 is a multiple of 2^-24, the step of f16's subnormals.
    let subnormal = ((f32::from_bits(abs) + 0.5) - 0.5).to_bits();
    let rounded = if abs < SMALLEST_NORMAL { subnormal } else { normal };
    let finite = if rounded > LARGEST { INFINITY } else { rounded };
    let bits = if abs > INFINITY { 0x7fc0_0000 } else { finite };
    f32::from_bits(bits | sign)
}

/// 2^112, the factor between the exponent biases of `f32` and `f16`.
const BIAS_FACTOR: f32 = f32::from_bits((127 + 112) << 23);

/// The value of an `f16`'s bits.
#[inline(always)]
pub(in crate::exec) fn f16_value(bits: u16) -> f32 {
    let shifted = f32::from_bits(u32::from(bits & 0x7fff) << 13);
    let finite = (shifted * BIAS_FACTOR).to_bits();
    // Infinities and NaNs come out as 65536 and more: their exponent is all ones.
    let abs = if finite >= 0x4780_0000 { finite | 0x7f80_0000 } else { finite };
    f32::from_bits(abs | u32::from(bits & 0x8000) << 16)
}

/// The bits of a value that an `f16` holds exactly.
#[inline(always)]
pub(in crate::exec) fn f16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let abs = bits & 0x7fff_ffff;
    let scaled = (f32::from_bits(abs) * (1.0 / BIAS_FACTOR)).to_bits() >> 13;
    let special = if abs > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    let magnitude = if abs >= 0x4780_0000 { special } else { scaled };
    (magnitude | bits >> 16 & 0x8000) as u16
}

/// The largest float that is not above an integer type's maximum.
macro_rules! upper {
    ($float:ty, $int:ty) => {{
        const MAX: $float = {
            let max = <$int>::MAX as $float;
            if max as i128 > <$int>::MAX as i128 { max.next_down() } else { max }
        };
        MAX
    }};
}

/// Conversion to an integer type: integers wrap, floats are clamped to what both types hold and
/// truncated, NaN gives 0.
macro_rules! to_int {
    ($from:expr, $int:ty) => {
        match $from {
            Elem::Bool => Some(|r, o| map1(r, o, |x: bool| x as $int)),
            Elem::I16 => Some(|r, o| map1(r, o, |x: i16| x as $int)),
            Elem::U16 => Some(|r, o| map1(r, o, |x: u16| x as $int)),
            Elem::I32 => Some(|r, o| map1(r, o, |x: i32| x as $int)),
            Elem::U32 => Some(|r, o| map1(r, o, |x: u32| x as $int)),
            Elem::I64 => Some(|r, o| map1(r, o, |x: i64| x as $int)),
            Elem::U64 => Some(|r, o| map1(r, o, |x: u64| x as $int)),
            Elem::F16 => Some(|r, o| {
                // The largest f16 not above i16's maximum is 32752, not 32767.
                let upper = if <$int>::MAX as i128 == i16::MAX as i128 { 32752.0 } else { 65504f32 };
                map1(r, o, |x: f32| if x.is_nan() { 0 } else { x.max(-65504.0).min(upper) as $int })
            }),
            Elem::F32 => Some(|r, o| {
                map1(r, o, |x: f32| if x.is_nan() { 0 } else { x.min(upper!(f32, $int)) as $int })
            }),
            Elem::F64 => Some(|r, o| {
                map1(r, o, |x: f64| if x.is_nan() { 0 } else { x.min(upper!(f64, $int)) as $int })
            }),
            Elem::Matrix { .. } => None,
        }
    };
}

macro_rules! to_float {
    ($from:expr, $float:ty, |$y:ident| $round:expr) => {
        match $from {
            Elem::Bool => Some(|r, o| map1(r, o, |x: bool| f32::from(u8::from(x)) as $float)),
            Elem::I16 => Some(|r, o| {
                map1(r, o, |x: i16| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::U16 => Some(|r, o| {
                map1(r, o, |x: u16| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::I32 => Some(|r, o| {
                map1(r, o, |x: i32| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::U32 => Some(|r, o| {
                map1(r, o, |x: u32| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::I64 => Some(|r, o| {
                map1(r, o, |x: i64| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::U64 => Some(|r, o| {
                map1(r, o, |x: u64| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::F16 | Elem::F32 => Some(|r, o| {
                map1(r, o, |x: f32| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::F64 => Some(|r, o| {
                map1(r, o, |x: f64| {
                    let $y = x as $float;
                    $round
                })
            }),
            Elem::Matrix { .. } => None,
        }
    };
}

/// A value conversion of one component, as in `f32(x)`.
pub(in crate::exec) fn convert(from: Elem, to: Elem) -> Option<AluFn> {
    match to {
        Elem::Bool => match from {
            Elem::Bool => Some(|r, o| map1(r, o, |x: bool| x)),
            _ => pick!(from; I16: i16, U16: u16, I32: i32, U32: u32, I64: i64, U64: u64,
                F16: f32, F32: f32, F64: f64; map1 |x: T| x != 0 as T),
        },
        Elem::I16 => to_int!(from, i16),
        Elem::U16 => to_int!(from, u16),
        Elem::I32 => to_int!(from, i32),
        Elem::U32 => to_int!(from, u32),
        Elem::I64 => to_int!(from, i64),
        Elem::U64 => to_int!(from, u64),
        // From f64 directly: rounding to f32 first could round twice.
        Elem::F16 if from == Elem::F64 => Some(|r, o| map1(r, o, |x: f64| half::f16::from_f64(x).to_f32())),
        Elem::F16 => to_float!(from, f32, |y| round_f16(y)),
        Elem::F32 => to_float!(from, f32, |y| y),
        Elem::F64 => to_float!(from, f64, |y| y),
        Elem::Matrix { .. } => None,
    }
}

/// A reinterpretation of one component's bits; both types have the same width.
pub(in crate::exec) fn bitcast(from: Elem, to: Elem) -> Option<AluFn> {
    use Elem::{F16, F32, F64, I16, I32, I64, U16, U32, U64};
    match (from, to) {
        (F16, U16) => Some(|r, o| map1(r, o, f16_bits)),
        (F16, I16) => Some(|r, o| map1(r, o, |x: f32| f16_bits(x) as i16)),
        (U16 | I16, F16) => Some(|r, o| map1(r, o, f16_value)),
        (U16 | I16, U16) => Some(|r, o| map1(r, o, |x: u16| x)),
        (U16 | I16, I16) => Some(|r, o| map1(r, o, |x: i16| x)),
        (F16, F16) | (I32 | U32 | F32, I32 | U32 | F32) => Some(|r, o| map1(r, o, |x: u32| x)),
        (I64 | U64 | F64, I64 | U64 | F64) => Some(|r, o| map1(r, o, |x: u64| x)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_bits_and_values_equal_half() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits).to_f32();
            let got = f16_value(bits);
            assert!(got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()), "{bits:#x}");
            assert!(
                f16_bits(want) == bits || (want.is_nan() && f16_bits(want) & 0x7fff > 0x7c00),
                "{bits:#x}"
            );
        }
    }

    #[test]
    fn round_f16_equals_half_on_every_f16_and_its_neighbours() {
        for bits in 0..=u16::MAX {
            let x = half::f16::from_bits(bits).to_f32();
            // Neighbours in f32, the halfway point to the next f16 and its neighbours.
            let half_step = x.to_bits().wrapping_add(0x1000);
            for b in [
                x.to_bits(),
                x.to_bits() ^ 1,
                half_step,
                half_step.wrapping_add(1),
                half_step.wrapping_sub(1),
            ] {
                let x = f32::from_bits(b);
                let (got, want) = (round_f16(x), half::f16::from_f32(x).to_f32());
                assert!(
                    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                    "{x} -> {got}, want {want}"
                );
            }
        }
        for x in [1e-8f32, 2.98e-8, 2.980_232_5e-8, 3e-8, 65519.99, 65520.0, 1e9, -1e9, -2.98e-8, 6.1e-5] {
            assert_eq!(round_f16(x).to_bits(), half::f16::from_f32(x).to_f32().to_bits(), "{x}");
        }
    }
}
