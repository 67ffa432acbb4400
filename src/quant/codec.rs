//! The three small float encodings, written from their specifications.

/// The E2M1 magnitudes of codes 0 to 7.
pub const FP4_VALUES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// The largest finite E4M3 number, code `0x7E`.
pub const E4M3_MAX: f32 = 448.0;

/// The one E8M0 code that is not a number.
pub const E8M0_NAN: u8 = 0xFF;

/// The E2M1 number of the low four bits of `code`: bit 3 is the sign. Exact.
pub fn fp4_decode(code: u8) -> f32 {
    let magnitude = FP4_VALUES[usize::from(code & 7)];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The nearest E2M1 code, ties to the even code, magnitudes above 6 saturated. NaN becomes code 7.
pub fn fp4_encode(value: f64) -> u8 {
    let magnitude = value.abs();
    // Midpoints between neighbours. `>` leaves a tie with the lower code, `>=` gives it to the upper one: the even one.
    let code = u8::from(magnitude > 0.25)
        + u8::from(magnitude >= 0.75)
        + u8::from(magnitude > 1.25)
        + u8::from(magnitude >= 1.75)
        + u8::from(magnitude > 2.5)
        + u8::from(magnitude >= 3.5)
        + u8::from(magnitude > 5.0);
    let code = if value.is_nan() { 7 } else { code };
    code | (u8::from(value.is_sign_negative()) << 3)
}

/// `2^(code − 127)`, and NaN for [`E8M0_NAN`]. Exact: code 0 is a subnormal f32.
pub fn e8m0_decode(code: u8) -> f32 {
    match code {
        E8M0_NAN => f32::NAN,
        0 => f32::from_bits(1 << 22),
        _ => f32::from_bits(u32::from(code) << 23),
    }
}

/// The largest E8M0 code from 1 up whose value is not above the positive number `value`; 1 if there is none.
///
/// Code 0 is left out because its value, 2^-127, is a subnormal f32, which a GPU may flush to zero.
pub fn e8m0_encode_floor(value: f32) -> u8 {
    // The exponent field of a positive f32 is that code; it is 0 for subnormals, 255 for infinities and NaN.
    let exponent = (value.to_bits() >> 23) & 0xFF;
    exponent.clamp(1, 254) as u8
}

/// The OFP8 E4M3 number of `code`: sign, 4 exponent bits of bias 7, 3 mantissa bits; `0x7F` and `0xFF` are NaN. Exact.
pub fn e4m3_decode(code: u8) -> f32 {
    let exponent = i32::from((code >> 3) & 15);
    let mantissa = f32::from(code & 7);
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * exp2i(-9),
        _ => (8.0 + mantissa) * exp2i(exponent - 10),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The OFP8 E5M2 number of `code`: the upper byte of an f16. Exact, infinities and NaN included.
pub fn e5m2_decode(code: u8) -> f32 {
    half::f16::from_bits(u16::from(code) << 8).to_f32()
}

/// The nearest E4M3 code, ties to the even code, magnitudes above 448 saturated. NaN becomes NaN.
pub fn e4m3_encode(value: f32) -> u8 {
    let sign = u8::from(value.is_sign_negative()) << 7;
    if value.is_nan() {
        return sign | 0x7F;
    }
    let magnitude = f64::from(value.abs().min(E4M3_MAX));
    // Codes 0 to 0x7E ascend with their values: find the last one not above, then look at its upper neighbour.
    let (mut low, mut high) = (0_u8, 0x7E_u8);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if f64::from(e4m3_decode(middle)) <= magnitude {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    if low == 0x7E {
        return sign | low;
    }
    let below = magnitude - f64::from(e4m3_decode(low));
    let above = f64::from(e4m3_decode(low + 1)) - magnitude;
    let up = above < below || (above == below && low % 2 == 1);
    sign | (low + u8::from(up))
}

/// `2^exponent` for exponents of normal f32 numbers.
fn exp2i(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small float read field by field in f64, as the OCP documents define it, without its NaN and infinity codes.
    fn small_float(code: u32, exponent_bits: u32, mantissa_bits: u32, bias: i32) -> f64 {
        let mantissa = f64::from(code & ((1 << mantissa_bits) - 1)) / f64::from(1 << mantissa_bits);
        let exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1);
        let sign = if code >> (mantissa_bits + exponent_bits) & 1 == 1 { -1.0 } else { 1.0 };
        if exponent == 0 {
            sign * mantissa * 2_f64.powi(1 - bias)
        } else {
            sign * (1.0 + mantissa) * 2_f64.powi(exponent as i32 - bias)
        }
    }

    #[test]
    fn all_16_e2m1_codes() {
        for code in 0..16_u8 {
            let expected = small_float(u32::from(code), 2, 1, 1);
            assert_eq!(f64::from(fp4_decode(code)), expected, "code {code}");
            assert_eq!(fp4_decode(code).is_sign_negative(), code >= 8, "code {code}");
            assert_eq!(fp4_encode(expected), code, "code {code} encodes to itself");
        }
    }

    #[test]
    fn e2m1_rounds_to_nearest_even_and_saturates() {
        for code in 0..7_u8 {
            let (low, high) = (f64::from(fp4_decode(code)), f64::from(fp4_decode(code + 1)));
            let middle = (low + high) / 2.0;
            assert_eq!(fp4_encode(middle), code + code % 2, "tie above code {code}");
            assert_eq!(fp4_encode(-middle), 8 + code + code % 2, "negative tie above code {code}");
            assert_eq!(fp4_encode(middle - 1e-9), code);
            assert_eq!(fp4_encode(middle + 1e-9), code + 1);
        }
        assert_eq!(fp4_encode(1e30), 7);
        assert_eq!(fp4_encode(f64::NEG_INFINITY), 15);
        assert_eq!(fp4_encode(f64::NAN) & 7, 7);
    }

    #[test]
    fn all_256_e8m0_codes() {
        for code in 0..=254_u8 {
            let expected = 2_f64.powi(i32::from(code) - 127);
            assert_eq!(f64::from(e8m0_decode(code)), expected, "code {code}");
            if code > 0 {
                assert_eq!(e8m0_encode_floor(e8m0_decode(code)), code);
                assert_eq!(e8m0_encode_floor(e8m0_decode(code) * 1.999), code);
            }
        }
        assert!(e8m0_decode(255).is_nan());
        assert_eq!(e8m0_encode_floor(0.0), 1);
        assert_eq!(e8m0_encode_floor(e8m0_decode(0)), 1);
        assert_eq!(e8m0_encode_floor(f32::MAX), 254);
    }

    #[test]
    fn all_256_e4m3_codes() {
        for code in 0..=255_u8 {
            let value = e4m3_decode(code);
            if code & 0x7F == 0x7F {
                assert!(value.is_nan(), "code {code:#x}");
                assert_eq!(e4m3_encode(f32::NAN) & 0x7F, 0x7F);
                continue;
            }
            assert_eq!(f64::from(value), small_float(u32::from(code), 4, 3, 7), "code {code:#x}");
            assert_eq!(value.is_sign_negative(), code >= 0x80);
            assert_eq!(e4m3_encode(value), code, "code {code:#x} encodes to itself");
        }
        assert_eq!(e4m3_decode(0x7E), E4M3_MAX);
    }

    #[test]
    fn all_256_e5m2_codes() {
        for code in 0..=255_u8 {
            let value = e5m2_decode(code);
            match (code & 0x7F) >> 2 {
                31 if code & 3 == 0 => assert!(value.is_infinite()),
                31 => assert!(value.is_nan()),
                _ => assert_eq!(f64::from(value), small_float(u32::from(code), 5, 2, 15), "code {code:#x}"),
            }
        }
    }

    #[test]
    fn e4m3_rounds_to_nearest_even_and_saturates() {
        for code in 0..0x7E_u8 {
            let middle = (e4m3_decode(code) + e4m3_decode(code + 1)) / 2.0;
            assert_eq!(e4m3_encode(middle), code + code % 2, "tie above code {code:#x}");
            assert_eq!(e4m3_encode(-middle), 0x80 | (code + code % 2));
            assert_eq!(e4m3_encode(middle.next_down()), code);
            assert_eq!(e4m3_encode(middle.next_up()), code + 1);
        }
        assert_eq!(e4m3_encode(1e9), 0x7E);
        assert_eq!(e4m3_encode(f32::NEG_INFINITY), 0xFE);
    }
}
