//! The operations that polynomials can't hold, on concrete integers.

/// An integer type: how a value wraps before an operation that looks at its magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Int {
    /// Two's complement.
    pub(crate) signed: bool,
    /// 1 to 64.
    pub(crate) bits: u8,
}

impl Int {
    pub(crate) const U32: Int = Int { signed: false, bits: 32 };
    #[cfg(test)]
    pub(crate) const I32: Int = Int { signed: true, bits: 32 };
    pub(crate) const BOOL: Int = Int { signed: false, bits: 1 };

    /// `v` as this type would hold it. 64-bit unsigned values are kept as they are.
    pub(crate) fn wrap(self, v: i64) -> i64 {
        if self.bits >= 64 {
            return v;
        }
        let shift = 64 - u32::from(self.bits);
        if self.signed { (v << shift) >> shift } else { ((v as u64) << shift >> shift) as i64 }
    }
}

/// An operation. Comparisons and logic give 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Quotient rounded toward zero; a zero divisor gives the dividend, as WGSL has it.
    Div(Int),
    /// Remainder with the dividend's sign; a zero divisor gives 0.
    Rem(Int),
    /// Shift left.
    Shl(Int),
    /// Shift right, arithmetic for signed types.
    Shr(Int),
    /// Bitwise and.
    And(Int),
    /// Bitwise or.
    Or(Int),
    /// Bitwise exclusive or.
    Xor(Int),
    /// The smaller.
    Min(Int),
    /// The larger.
    Max(Int),
    /// Strictly less.
    Lt(Int),
    /// Equal.
    Eq(Int),
    /// The second argument where the first is not 0, else the third.
    Select,
    /// Number of leading zero bits.
    LeadingZeros(Int),
    /// Number of trailing zero bits.
    TrailingZeros(Int),
    /// Number of one bits.
    CountOnes(Int),
    /// The bits in reverse order.
    ReverseBits(Int),
}

impl Op {
    /// The type in which operands are read, if the operation looks at magnitudes.
    pub(crate) fn operand(&self) -> Option<Int> {
        match *self {
            Op::Div(t)
            | Op::Rem(t)
            | Op::Shl(t)
            | Op::Shr(t)
            | Op::And(t)
            | Op::Or(t)
            | Op::Xor(t)
            | Op::Min(t)
            | Op::Max(t)
            | Op::Lt(t)
            | Op::Eq(t)
            | Op::LeadingZeros(t)
            | Op::TrailingZeros(t)
            | Op::CountOnes(t)
            | Op::ReverseBits(t) => Some(t),
            Op::Select => None,
        }
    }

    /// Applies the operation; operands must be wrapped already.
    #[inline]
    pub(crate) fn on(&self, args: &[i64]) -> i64 {
        let a = args[0];
        let b = args.get(1).copied().unwrap_or(0);
        match self {
            Op::Div(_) => {
                if b == 0 {
                    a
                } else if a >= 0 && b > 0 && b & (b - 1) == 0 {
                    // Divisors are powers of two as a rule; a shift takes a tenth of a division's time.
                    a >> b.trailing_zeros()
                } else {
                    a.wrapping_div(b)
                }
            }
            Op::Rem(_) => {
                if b == 0 {
                    0
                } else if a >= 0 && b > 0 && b & (b - 1) == 0 {
                    a & (b - 1)
                } else {
                    a.wrapping_rem(b)
                }
            }
            Op::Shl(t) => t.wrap(a.wrapping_shl((b as u32) % u32::from(t.bits.max(1)))),
            Op::Shr(t) => a.wrapping_shr((b as u32) % u32::from(t.bits.max(1))),
            Op::And(_) => a & b,
            Op::Or(_) => a | b,
            Op::Xor(_) => a ^ b,
            Op::Min(_) => a.min(b),
            Op::Max(_) => a.max(b),
            Op::Lt(_) => i64::from(a < b),
            Op::Eq(_) => i64::from(a == b),
            Op::Select => {
                if a != 0 {
                    b
                } else {
                    args[2]
                }
            }
            Op::LeadingZeros(t) => {
                let unsigned = Int { signed: false, ..*t }.wrap(a) as u64;
                i64::from(unsigned.leading_zeros()) - (64 - i64::from(t.bits))
            }
            Op::TrailingZeros(t) => i64::from(a.trailing_zeros().min(u32::from(t.bits))),
            Op::ReverseBits(t) => {
                let unsigned = Int { signed: false, ..*t }.wrap(a) as u64;
                t.wrap((unsigned.reverse_bits() >> (64 - u32::from(t.bits.max(1)))) as i64)
            }
            Op::CountOnes(t) => i64::from((Int { signed: false, ..*t }.wrap(a) as u64).count_ones()),
        }
    }
}
