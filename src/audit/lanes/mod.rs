//! The lane algebra: integers as they differ across the lanes of a workgroup.
//!
//! A [`Value`] is a polynomial over *atoms* whose coefficients are vectors over the invocations of
//! one workgroup, in linear order (x fastest), so that `(tid/16)·N + tid%16` is
//! `N·[0×16, 1×16] + [0..15, 0..15]`. An atom is
//!
//! - a **symbol**: uniform over a subgroup, value unknown or over a known range (a parameter, a
//!   workgroup id, a loop counter, a value loaded from one address);
//! - an **application** of an operation that polynomials don't hold (`/`, `min`, `<`, …) to values;
//! - **data**: unknown and different per lane, with the reason why.
//!
//! Sums and products are exact. Division, remainder, shifts and masks are exact on pure lane vectors
//! and are split into quotient and rest on everything else, so that `(e % R) + (e / R) * R` is `e`
//! again. What can't be simplified stays an atom and is evaluated per lane when blocks are counted
//! ([`count`](super::count)). There are no floats here.

mod algebra;
mod eval;
mod op;
mod simplify;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use algebra::{Algebra, Atom, Symbol, SymbolKind};
pub(crate) use eval::{Evaluated, Tape, level};
pub(crate) use op::{Int, Op};
pub(crate) use simplify::gcd;
pub(crate) use value::{AtomId, Lanes, Value, of_atom};
