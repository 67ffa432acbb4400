//! The register file of one subgroup: each register holds one scalar for every lane.
//!
//! Lanes are kept in chunks of eight so that the loops over them have a fixed length and no
//! aliasing question: a chunk of each operand is copied out, computed, and copied back. A subgroup
//! whose width is not a multiple of eight computes some lanes that nobody reads; every operation is
//! total, so that is harmless.

/// Lanes per chunk.
pub(super) const CHUNK: usize = 8;

/// The widest subgroup.
pub(super) const MAX_LANES: usize = 128;

/// Which lanes of a subgroup: bit l is lane l.
pub(super) type Mask = u128;

/// The mask of lanes `0..n`.
pub(super) fn first_lanes(n: usize) -> Mask {
    if n >= MAX_LANES { Mask::MAX } else { (1 << n) - 1 }
}

/// The lanes of a mask, lowest first.
pub(super) fn lanes(mask: Mask) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
        rest &= rest - 1;
        Some(lane)
    })
}

/// The files that registers live in: by the width of what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum File {
    /// Scalars of up to 32 bits: integers extended to 32 bits, `bool` as 0 or 1, `f16` as the `f32`
    /// of the same value.
    Narrow,
    /// 64-bit scalars.
    Wide,
    /// Cooperative matrices: one matrix for the whole subgroup, elements as `f32`.
    Matrix,
}

/// Names a register: a file and an index in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(u32);

impl Slot {
    const INDEX_BITS: u32 = 30;

    pub(super) fn new(file: File, index: u32) -> Self {
        debug_assert!(index >> Self::INDEX_BITS == 0);
        Self(index | (file as u32) << Self::INDEX_BITS)
    }

    pub(super) fn file(self) -> File {
        match self.0 >> Self::INDEX_BITS {
            0 => File::Narrow,
            1 => File::Wide,
            _ => File::Matrix,
        }
    }

    pub(super) fn index(self) -> usize {
        (self.0 & ((1 << Self::INDEX_BITS) - 1)) as usize
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", ["r", "w", "m"][self.file() as usize], self.index())
    }
}

/// Elements of a cooperative matrix register, whatever the matrix' size.
pub(super) const MATRIX_ELEMENTS: usize = 256;

/// The registers of one subgroup.
pub(super) struct Regs {
    /// Chunks per register.
    pub(super) chunks: usize,
    /// `narrow[slot * chunks + lane / 8][lane % 8]`.
    pub(super) narrow: Vec<[u32; CHUNK]>,
    pub(super) wide: Vec<[u64; CHUNK]>,
    pub(super) matrix: Vec<[f32; MATRIX_ELEMENTS]>,
}

impl Regs {
    /// Registers for `lanes` lanes: so many of each file, all zero.
    pub(super) fn new(lanes: usize, counts: [usize; 3]) -> Self {
        let chunks = lanes.div_ceil(CHUNK);
        Self {
            chunks,
            narrow: vec![[0; CHUNK]; counts[0] * chunks],
            wide: vec![[0; CHUNK]; counts[1] * chunks],
            matrix: vec![[0.0; MATRIX_ELEMENTS]; counts[2]],
        }
    }

    /// Bytes that [`Regs::new`] would allocate.
    pub(super) fn size_bytes(lanes: usize, counts: [usize; 3]) -> usize {
        let chunks = lanes.div_ceil(CHUNK);
        (counts[0] * 4 + counts[1] * 8) * chunks * CHUNK + counts[2] * MATRIX_ELEMENTS * 4
    }

    /// A narrow register's lanes, padding included.
    pub(super) fn n(&self, slot: Slot) -> &[u32] {
        self.narrow[slot.index() * self.chunks..][..self.chunks].as_flattened()
    }

    pub(super) fn n_mut(&mut self, slot: Slot) -> &mut [u32] {
        self.narrow[slot.index() * self.chunks..][..self.chunks].as_flattened_mut()
    }

    /// A wide register's lanes, padding included.
    pub(super) fn w(&self, slot: Slot) -> &[u64] {
        self.wide[slot.index() * self.chunks..][..self.chunks].as_flattened()
    }

    pub(super) fn w_mut(&mut self, slot: Slot) -> &mut [u64] {
        self.wide[slot.index() * self.chunks..][..self.chunks].as_flattened_mut()
    }

    /// The bits of one lane of a narrow or wide register.
    pub(super) fn bits(&self, slot: Slot, lane: usize) -> u64 {
        match slot.file() {
            File::Narrow => u64::from(self.n(slot)[lane]),
            File::Wide => self.w(slot)[lane],
            File::Matrix => 0,
        }
    }

    pub(super) fn set_bits(&mut self, slot: Slot, lane: usize, bits: u64) {
        match slot.file() {
            File::Narrow => self.n_mut(slot)[lane] = bits as u32,
            File::Wide => self.w_mut(slot)[lane] = bits,
            File::Matrix => {}
        }
    }

    /// Sets every lane, padding included.
    pub(super) fn fill(&mut self, slot: Slot, bits: u64) {
        match slot.file() {
            File::Narrow => self.n_mut(slot).fill(bits as u32),
            File::Wide => self.w_mut(slot).fill(bits),
            File::Matrix => self.matrix[slot.index()].fill(0.0),
        }
    }

    /// Copies every lane of `src`, whatever the mask.
    pub(super) fn copy(&mut self, dst: Slot, src: Slot) {
        let n = self.chunks;
        match dst.file() {
            File::Narrow => self.narrow.copy_within(src.index() * n..(src.index() + 1) * n, dst.index() * n),
            File::Wide => self.wide.copy_within(src.index() * n..(src.index() + 1) * n, dst.index() * n),
            File::Matrix => self.matrix[dst.index()] = self.matrix[src.index()],
        }
    }

    /// Copies the lanes of `mask`.
    pub(super) fn copy_masked(&mut self, dst: Slot, src: Slot, mask: Mask) {
        match dst.file() {
            File::Matrix => self.copy(dst, src),
            _ => lanes(mask).for_each(|lane| self.set_bits(dst, lane, self.bits(src, lane))),
        }
    }

    /// The lanes whose `bool` is true.
    pub(super) fn truth(&self, slot: Slot) -> Mask {
        let mut mask = 0;
        for (i, chunk) in self.narrow[slot.index() * self.chunks..][..self.chunks].iter().enumerate() {
            let mut byte = 0;
            for (l, &v) in chunk.iter().enumerate() {
                byte |= u8::from(v != 0) << l;
            }
            mask |= Mask::from(byte) << (i * CHUNK);
        }
        mask
    }
}

/// A scalar type as lanes of a register.
pub(super) trait Lane: Copy {
    /// Whether it lives in the wide file.
    const WIDE: bool;
    fn from_bits(bits: u64) -> Self;
    fn to_bits(self) -> u64;
}

macro_rules! lane {
    ($($t:ty, $wide:expr, |$b:ident| $from:expr, |$v:ident| $to:expr;)*) => {$(
        impl Lane for $t {
            const WIDE: bool = $wide;
            #[inline(always)]
            fn from_bits($b: u64) -> Self { $from }
            #[inline(always)]
            fn to_bits(self) -> u64 { let $v = self; $to }
        }
    )*};
}

lane! {
    bool, false, |b| b as u32 != 0, |v| u64::from(v);
    i16, false, |b| b as i16, |v| u64::from(i32::from(v) as u32);
    u16, false, |b| b as u16, |v| u64::from(v);
    i32, false, |b| b as i32, |v| u64::from(v as u32);
    u32, false, |b| b as u32, |v| u64::from(v);
    f32, false, |b| Self::from_bits(b as u32), |v| u64::from(v.to_bits());
    i64, true, |b| b as i64, |v| v as u64;
    u64, true, |b| b, |v| v;
    f64, true, |b| Self::from_bits(b), |v| v.to_bits();
}

#[inline(always)]
fn read<T: Lane>(r: &Regs, slot: Slot, chunk: usize) -> [T; CHUNK] {
    if T::WIDE {
        r.wide[slot.index() * r.chunks + chunk].map(T::from_bits)
    } else {
        r.narrow[slot.index() * r.chunks + chunk].map(|b| T::from_bits(u64::from(b)))
    }
}

#[inline(always)]
fn write<T: Lane>(r: &mut Regs, slot: Slot, chunk: usize, value: [T; CHUNK]) {
    let at = slot.index() * r.chunks + chunk;
    if T::WIDE {
        r.wide[at] = value.map(T::to_bits);
    } else {
        r.narrow[at] = value.map(|v| v.to_bits() as u32);
    }
}

/// Operands of an operation on lanes: the destination, then up to three sources.
pub(super) type Operands = [Slot; 4];

/// An operation on all lanes at once; total, and with no effect outside its destination.
pub(super) type AluFn = fn(&mut Regs, &Operands);

/// `dst = f(a)` in every lane.
#[inline(always)]
pub(super) fn map1<A: Lane, D: Lane>(r: &mut Regs, o: &Operands, f: impl Fn(A) -> D) {
    for c in 0..r.chunks {
        let a = read::<A>(r, o[1], c);
        write(r, o[0], c, a.map(&f));
    }
}

/// `dst = f(a, b)` in every lane.
#[inline(always)]
pub(super) fn map2<A: Lane, B: Lane, D: Lane>(r: &mut Regs, o: &Operands, f: impl Fn(A, B) -> D) {
    for c in 0..r.chunks {
        let (a, b) = (read::<A>(r, o[1], c), read::<B>(r, o[2], c));
        write(r, o[0], c, std::array::from_fn(|i| f(a[i], b[i])));
    }
}

/// `dst = f(a, b, c)` in every lane.
#[inline(always)]
pub(super) fn map3<A: Lane, B: Lane, C: Lane, D: Lane>(r: &mut Regs, o: &Operands, f: impl Fn(A, B, C) -> D) {
    for c in 0..r.chunks {
        let (x, y, z) = (read::<A>(r, o[1], c), read::<B>(r, o[2], c), read::<C>(r, o[3], c));
        write(r, o[0], c, std::array::from_fn(|i| f(x[i], y[i], z[i])));
    }
}
