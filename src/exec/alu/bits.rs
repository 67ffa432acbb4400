//! Component-wise math of integers, bit fields, and packing.

use naga::MathFunction as Mf;

use super::{int, pick};
use crate::exec::layout::Elem;
use crate::exec::regs::{AluFn, map1, map2, map3};

/// An integer function that works on each component by itself and gives the same type.
pub(in crate::exec) fn int_math(fun: Mf, elem: Elem) -> Option<AluFn> {
    match fun {
        Mf::Abs if elem.is_signed() => {
            pick!(elem; I16: i16, I32: i32, I64: i64; map1 |x: T| x.wrapping_abs())
        }
        Mf::Abs => int!(elem, map1 |x: T| x),
        Mf::Min => int!(elem, map2 |x: T, y: T| x.min(y)),
        Mf::Max => int!(elem, map2 |x: T, y: T| x.max(y)),
        Mf::Clamp => int!(elem, map3 |x: T, lo: T, hi: T| x.max(lo).min(hi)),
        Mf::Sign => pick!(elem; I16: i16, I32: i32, I64: i64; map1 |x: T| x.signum()),
        Mf::CountTrailingZeros => int!(elem, map1 |x: T| x.trailing_zeros() as T),
        Mf::CountLeadingZeros => int!(elem, map1 |x: T| x.leading_zeros() as T),
        Mf::CountOneBits => int!(elem, map1 |x: T| x.count_ones() as T),
        Mf::ReverseBits => int!(elem, map1 |x: T| x.reverse_bits()),
        // Without a bit: all ones, which is -1.
        Mf::FirstTrailingBit => {
            int!(elem, map1 |x: T| if x == 0 { !0 } else { x.trailing_zeros() as T })
        }
        Mf::FirstLeadingBit if elem.is_signed() => {
            pick!(elem; I16: i16, I32: i32, I64: i64; map1 |x: T| {
                let differs = if x < 0 { !x } else { x };
                if differs == 0 { -1 } else { (T::BITS - 1 - differs.leading_zeros()) as T }
            })
        }
        Mf::FirstLeadingBit => {
            int!(elem, map1 |x: T| if x == 0 { !0 } else { (T::BITS - 1 - x.leading_zeros()) as T })
        }
        _ => None,
    }
}

/// `extractBits(x, offset, count)`.
pub(in crate::exec) fn extract_bits(elem: Elem) -> Option<AluFn> {
    int!(elem, map3 |x: T, offset: u32, count: u32| {
        let offset = offset.min(T::BITS);
        let count = count.min(T::BITS - offset);
        // Shifting right in T extends the sign of signed types.
        if count == 0 { 0 } else { (x << (T::BITS - offset - count)) >> (T::BITS - count) }
    })
}

/// `insertBits`: the operands are the old value, the new bits, and `offset | count << 8`, both
/// already clamped to 255.
pub(in crate::exec) fn insert_bits(elem: Elem) -> Option<AluFn> {
    int!(elem, map3 |x: T, new: T, field: u32| {
        let offset = (field & 0xff).min(T::BITS);
        let count = (field >> 8).min(T::BITS - offset);
        if count == 0 {
            x
        } else {
            let ones: T = !0;
            let low = if count == T::BITS { ones } else { !(ones << count) };
            let mask = low << offset;
            (x & !mask) | ((new << offset) & mask)
        }
    })
}

fn snorm(x: f32, scale: f32) -> u32 {
    (x.clamp(-1.0, 1.0) * scale).round_ties_even() as i32 as u32
}

fn unorm(x: f32, scale: f32) -> u32 {
    (x.clamp(0.0, 1.0) * scale).round_ties_even() as u32
}

fn half_bits(x: f32) -> u32 {
    u32::from(half::f16::from_f32(x).to_bits())
}

/// The bits of one component of a pack function, and how many of them count.
pub(in crate::exec) fn pack_part(fun: Mf) -> Option<(AluFn, u32)> {
    let (f, bits): (AluFn, u32) = match fun {
        Mf::Pack4x8snorm => (|r, o| map1(r, o, |x: f32| snorm(x, 127.0)), 8),
        Mf::Pack4x8unorm => (|r, o| map1(r, o, |x: f32| unorm(x, 255.0)), 8),
        Mf::Pack2x16snorm => (|r, o| map1(r, o, |x: f32| snorm(x, 32767.0)), 16),
        Mf::Pack2x16unorm => (|r, o| map1(r, o, |x: f32| unorm(x, 65535.0)), 16),
        Mf::Pack2x16float => (|r, o| map1(r, o, half_bits), 16),
        Mf::Pack4xI8 | Mf::Pack4xU8 => (|r, o| map1(r, o, |x: u32| x), 8),
        Mf::Pack4xI8Clamp => (|r, o| map1(r, o, |x: i32| x.clamp(-128, 127)), 8),
        Mf::Pack4xU8Clamp => (|r, o| map1(r, o, |x: u32| x.min(255)), 8),
        _ => return None,
    };
    Some((f, bits))
}

/// `acc | (part's low bits) << shift`, with `shift` in lanes and `bits` 8 or 16.
pub(in crate::exec) fn put_part(bits: u32) -> AluFn {
    if bits == 8 {
        |r, o| map3(r, o, |acc: u32, x: u32, shift: u32| acc | (x & 0xff).wrapping_shl(shift))
    } else {
        |r, o| map3(r, o, |acc: u32, x: u32, shift: u32| acc | (x & 0xffff).wrapping_shl(shift))
    }
}

fn byte(x: u32, shift: u32) -> u32 {
    x.wrapping_shr(shift) & 0xff
}

fn word(x: u32, shift: u32) -> u32 {
    x.wrapping_shr(shift) & 0xffff
}

/// One component of an unpack function from the packed word and a shift, and the bits per component.
pub(in crate::exec) fn unpack_part(fun: Mf) -> Option<(AluFn, u32)> {
    let (f, bits): (AluFn, u32) = match fun {
        Mf::Unpack4x8snorm => {
            (|r, o| map2(r, o, |x: u32, s: u32| (f32::from(byte(x, s) as i8) / 127.0).max(-1.0)), 8)
        }
        Mf::Unpack4x8unorm => (|r, o| map2(r, o, |x: u32, s: u32| byte(x, s) as f32 / 255.0), 8),
        Mf::Unpack2x16snorm => {
            (|r, o| map2(r, o, |x: u32, s: u32| (f32::from(word(x, s) as i16) / 32767.0).max(-1.0)), 16)
        }
        Mf::Unpack2x16unorm => (|r, o| map2(r, o, |x: u32, s: u32| word(x, s) as f32 / 65535.0), 16),
        Mf::Unpack2x16float => {
            (|r, o| map2(r, o, |x: u32, s: u32| half::f16::from_bits(word(x, s) as u16).to_f32()), 16)
        }
        Mf::Unpack4xI8 => (|r, o| map2(r, o, |x: u32, s: u32| i32::from(byte(x, s) as i8)), 8),
        Mf::Unpack4xU8 => (|r, o| map2(r, o, |x: u32, s: u32| byte(x, s)), 8),
        _ => return None,
    };
    Some((f, bits))
}

/// `dot4I8Packed` and `dot4U8Packed`.
pub(in crate::exec) fn dot4(fun: Mf) -> Option<AluFn> {
    match fun {
        Mf::Dot4I8Packed => Some(|r, o| {
            map2(r, o, |x: u32, y: u32| {
                (0..4).map(|i| i32::from(byte(x, 8 * i) as i8) * i32::from(byte(y, 8 * i) as i8)).sum::<i32>()
            })
        }),
        Mf::Dot4U8Packed => Some(|r, o| {
            map2(r, o, |x: u32, y: u32| (0..4).map(|i| byte(x, 8 * i) * byte(y, 8 * i)).sum::<u32>())
        }),
        _ => None,
    }
}
