//! The algebra against brute force.

use std::collections::HashMap;

use proptest::prelude::*;

use super::eval::Tape;
use super::*;
use crate::audit::count::{Access, Coverage};
use crate::audit::count::{Counted, count};
use crate::memory::Traffic;

const LANES: usize = 16;
const SUBGROUP: usize = 8;

/// An expression as a shader would write it, over u32 or i32.
#[derive(Clone, Debug)]
enum Expr {
    Const(i64),
    Tid,
    Symbol(usize),
    Binary(char, Box<Expr>, Box<Expr>),
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (0i64..70).prop_map(Expr::Const),
        prop_oneof![Just(2i64), Just(4), Just(8), Just(16), Just(64)].prop_map(Expr::Const),
        Just(Expr::Tid),
        (0usize..2).prop_map(Expr::Symbol),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            6 => ("[+*/%<>&|^mM=-]", inner.clone(), inner.clone())
                .prop_map(|(o, a, b)| Expr::Binary(o.chars().next().unwrap(), Box::new(a), Box::new(b))),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(c, a, b)| Expr::Select(Box::new(c), Box::new(a), Box::new(b))),
        ]
    })
}

fn op(symbol: char, t: Int) -> Op {
    match symbol {
        '/' => Op::Div(t),
        '%' => Op::Rem(t),
        '<' => Op::Shl(t),
        '>' => Op::Shr(t),
        '&' => Op::And(t),
        '|' => Op::Or(t),
        '^' => Op::Xor(t),
        'm' => Op::Min(t),
        'M' => Op::Max(t),
        _ => Op::Eq(t),
    }
}

/// Plain evaluation with wrapping at every step.
fn concrete(e: &Expr, t: Int, lane: usize, symbols: [i64; 2]) -> i64 {
    let v = match e {
        Expr::Const(c) => *c,
        Expr::Tid => lane as i64,
        Expr::Symbol(s) => symbols[*s],
        Expr::Select(c, a, b) => {
            let less = concrete(c, t, lane, symbols) < 9;
            concrete(if less { a } else { b }, t, lane, symbols)
        }
        Expr::Binary(o, a, b) => {
            let (a, b) = (concrete(a, t, lane, symbols), concrete(b, t, lane, symbols));
            match o {
                '+' => a.wrapping_add(b),
                '-' => a.wrapping_sub(b),
                '*' => a.wrapping_mul(b),
                '<' | '>' => op(*o, t).on(&[a, b & 7]),
                _ => op(*o, t).on(&[a, b]),
            }
        }
    };
    t.wrap(v)
}

fn symbolic(e: &Expr, t: Int, alg: &mut Algebra, symbols: &[Value; 2]) -> Value {
    match e {
        Expr::Const(c) => Value::int(*c),
        Expr::Tid => Value::lanes(Lanes::new((0..LANES as i64).collect())),
        Expr::Symbol(s) => symbols[*s].clone(),
        Expr::Select(c, a, b) => {
            let c = symbolic(c, t, alg, symbols);
            let (a, b) = (symbolic(a, t, alg, symbols), symbolic(b, t, alg, symbols));
            let less = alg.apply(Op::Lt(t), &[c, Value::int(9)]);
            alg.apply(Op::Select, &[less, a, b])
        }
        Expr::Binary(o, a, b) => {
            let (a, b) = (symbolic(a, t, alg, symbols), symbolic(b, t, alg, symbols));
            match o {
                '+' => alg.add(&a, &b),
                '-' => {
                    let minus = b.scale(-1);
                    alg.add(&a, &minus)
                }
                '*' => alg.mul(&a, &b),
                '<' | '>' => {
                    let b = alg.apply(Op::And(t), &[b, Value::int(7)]);
                    alg.apply(op(*o, t), &[a, b])
                }
                _ => alg.apply(op(*o, t), &[a, b]),
            }
        }
    }
}

fn blocks(alg: &Algebra, access: Access<'_>, width: u64, budget: usize) -> Counted {
    count(alg, Access { width, ..access }, None, budget).0
}

fn no_guards() -> HashMap<AtomId, Vec<Value>> {
    HashMap::new()
}

fn known(alg: &mut Algebra, name: &str, count: Option<u64>, kind: SymbolKind) -> Value {
    alg.symbol(Symbol { name: name.into(), kind, count })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Whatever was simplified, each lane has the value that plain typed evaluation gives.
    #[test]
    fn simplification_keeps_every_lane_exact(e in expr(), signed: bool, a in 0i64..40, b in 0i64..40) {
        let t = if signed { Int::I32 } else { Int::U32 };
        // Stay where signed arithmetic does not overflow, as the algebra assumes.
        let mut alg = Algebra::new(LANES, SUBGROUP);
        let sa = known(&mut alg, "a", Some(40), SymbolKind::Param);
        let sb = known(&mut alg, "b", Some(40), SymbolKind::Param);
        let v = symbolic(&e, t, &mut alg, &[sa.clone(), sb.clone()]);
        prop_assume!(alg.data_in(&v).is_none());
        let (lo, hi) = alg.range(&v);
        let mut tape = Tape::new(&alg, &[&v]);
        tape.set(sa.as_atom().unwrap(), a);
        tape.set(sb.as_atom().unwrap(), b);
        tape.run();
        let got = tape.root(0);
        for lane in 0..LANES {
            let want = concrete(&e, t, lane, [a, b]);
            if overflows(&e, t, lane, [a, b]) {
                continue;
            }
            prop_assert_eq!(t.wrap(got.at(lane)), want, "lane {} of {}", lane, alg.describe(&v));
            let got = got.at(lane);
            prop_assert!(lo.is_none_or(|l| l <= got) && hi.is_none_or(|h| got <= h), "{} not in {:?}..{:?}: {}", got, lo, hi, alg.describe(&v));
        }
    }

    /// Block counts of affine offsets are those of all addresses, over all values of the symbols.
    #[test]
    fn affine_counts_equal_enumeration(
        lane in -3i64..80, shift in 0i64..9, wg in 0i64..300, k in 0i64..40,
        groups in 1u64..9, trips in 1u64..9, width in prop_oneof![Just(1u64), Just(2), Just(4), Just(8), Just(16)],
        limit in 1i64..20,
    ) {
        let mut alg = Algebra::new(LANES, SUBGROUP);
        let tid = Value::lanes(Lanes::new((0..LANES as i64).map(|t| (t >> (shift % 4)) * lane).collect()));
        let bx = known(&mut alg, "bx", Some(groups), SymbolKind::WorkgroupId(0));
        let i = known(&mut alg, "i", Some(trips), SymbolKind::Loop);
        let w = width as i64;
        let offset = tid.scale(w).add(&bx.scale(wg * w)).add(&i.scale(k * w)).add(&Value::int(10_000 * w));
        let below = alg.apply(Op::Lt(Int::I32), &[Value::lanes(Lanes::new((0..LANES as i64).collect())), Value::int(limit)]);
        let guards = no_guards();
        let enclosing = [bx.as_atom().unwrap(), i.as_atom().unwrap()];
        let access = Access { offset: &offset, width: 4, parts: &[], align: 1, conditions: &[below], enclosing: &enclosing, guards: &guards };
        let got = blocks(&alg, access, width, 1 << 22);
        let mut want = Traffic::default();
        for b in 0..groups as i64 {
            for i in 0..trips as i64 {
                for s in (0..LANES).step_by(SUBGROUP) {
                    let mut offsets: Vec<u64> = (s..s + SUBGROUP)
                        .filter(|&l| (l as i64) < limit)
                        .map(|l| (((l as i64) >> (shift % 4)) * lane * w + b * wg * w + i * k * w + 10_000 * w) as u64)
                        .collect();
                    want.add_request(&mut offsets, width);
                }
            }
        }
        prop_assert_eq!(got.coverage, Coverage::Complete);
        prop_assert_eq!(got.sums.requests, u128::from(want.requests));
        prop_assert_eq!(got.sums.active_lanes, u128::from(want.active_lanes));
        prop_assert_eq!(got.sums.useful_bytes, u128::from(want.useful_bytes));
        prop_assert_eq!(got.sums.blocks, want.blocks.map(u128::from));
        prop_assert_eq!(got.sums.blocks_if_aligned, want.blocks_if_aligned.map(u128::from));
    }

    /// Offsets with quotients, remainders and clamps of workgroup ids and lanes, all values known.
    #[test]
    fn other_counts_equal_enumeration(e in expr(), groups in 1u64..7, trips in 1u64..5) {
        let mut alg = Algebra::new(LANES, SUBGROUP);
        let bx = known(&mut alg, "bx", Some(groups), SymbolKind::WorkgroupId(0));
        let i = known(&mut alg, "i", Some(trips), SymbolKind::Loop);
        let v = symbolic(&e, Int::I32, &mut alg, &[bx.clone(), i.clone()]);
        prop_assume!(alg.data_in(&v).is_none());
        let offset = v.scale(4).add(&Value::int(1 << 33));
        let guards = no_guards();
        let enclosing = [bx.as_atom().unwrap(), i.as_atom().unwrap()];
        let access = Access { offset: &offset, width: 4, parts: &[], align: 1, conditions: &[], enclosing: &enclosing, guards: &guards };
        let got = blocks(&alg, access, 4, 1 << 22);
        let mut want = Traffic::default();
        for b in 0..groups as i64 {
            for i in 0..trips as i64 {
                if (0..LANES).any(|l| overflows(&e, Int::I32, l, [b, i])) {
                    return Ok(());
                }
                for s in (0..LANES).step_by(SUBGROUP) {
                    let mut offsets: Vec<u64> = (s..s + SUBGROUP)
                        .map(|l| ((1i64 << 33) + 4 * concrete(&e, Int::I32, l, [b, i])) as u64)
                        .collect();
                    want.add_request(&mut offsets, 4);
                }
            }
        }
        prop_assert_eq!(got.sums.requests, u128::from(want.requests));
        prop_assert_eq!(got.sums.blocks, want.blocks.map(u128::from), "{}", alg.describe(&offset));
        prop_assert_eq!(got.sums.blocks_if_aligned, want.blocks_if_aligned.map(u128::from));
    }
}

/// Whether a signed step leaves the 32-bit range: the algebra assumes that indices don't.
fn overflows(e: &Expr, t: Int, lane: usize, s: [i64; 2]) -> bool {
    let inner = match e {
        Expr::Binary(_, a, b) => overflows(a, t, lane, s) || overflows(b, t, lane, s),
        Expr::Select(c, a, b) => {
            overflows(c, t, lane, s) || overflows(a, t, lane, s) || overflows(b, t, lane, s)
        }
        _ => false,
    };
    inner
        || match e {
            Expr::Binary(o, a, b) => {
                let unknown = !matches!(**b, Expr::Const(_) | Expr::Tid);
                let (a, b) = (concrete(a, t, lane, s), concrete(b, t, lane, s));
                let exact = match o {
                    '+' => i128::from(a) + i128::from(b),
                    '-' => i128::from(a) - i128::from(b),
                    '*' => i128::from(a) * i128::from(b),
                    '<' => i128::from(a) << (b & 7),
                    // Symbols that are divided by are taken not to be 0.
                    '/' | '%' => return b == 0 && unknown,
                    _ => return false,
                };
                if t.signed { i128::from(t.wrap(exact as i64)) != exact } else { exact >= 1 << 32 }
            }
            _ => false,
        }
}

#[test]
fn a_lane_that_multiplies_by_0_does_not_bound_the_others() {
    let mut alg = Algebra::new(LANES, SUBGROUP);
    let a = known(&mut alg, "a", Some(40), SymbolKind::Param);
    let below_0 = alg.apply(Op::Min(Int::I32), &[Value::int(2), Value::int(4).sub(&a)]);
    assert_eq!(alg.range(&below_0), (Some(-35), Some(2)));
    let tid = Value::lanes(Lanes::new((0..LANES as i64).collect()));
    let product = alg.mul(&tid, &below_0);
    assert_eq!(alg.range(&product), (Some(-35 * 15), Some(2 * 15)));
    let unbounded = alg.apply(Op::Div(Int::I32), &[product, a]);
    let product = alg.mul(&tid, &unbounded);
    assert_eq!(alg.range(&product), (None, None));
}

#[test]
fn a_quotient_is_not_split_into_parts_that_wrap() {
    let mut alg = Algebra::new(LANES, SUBGROUP);
    let a = known(&mut alg, "a", Some(40), SymbolKind::Param);
    let bit = alg.apply(Op::Rem(Int::U32), &[a.clone(), Value::int(2)]);
    let none = alg.apply(Op::Div(Int::U32), &[bit, Value::int(i64::from(u32::MAX))]);
    let mut tape = Tape::new(&alg, &[&none]);
    tape.set(a.as_atom().unwrap(), 3);
    tape.run();
    assert_eq!(tape.root(0).at(0), 0, "{}", alg.describe(&none));
}

#[test]
fn what_shifts_a_request_by_more_for_some_workgroups_is_counted() {
    // (i + lane)·group: with group 1 and i 1 a row is shifted by an element, with group 0 by none.
    let mut alg = Algebra::new(LANES, SUBGROUP);
    let group = known(&mut alg, "group", Some(2), SymbolKind::WorkgroupId(0));
    let i = known(&mut alg, "i", Some(2), SymbolKind::Loop);
    let lane = Value::lanes(Lanes::new((0..LANES as i64).collect()));
    let sum = alg.add(&i, &lane);
    let offset = alg.mul(&sum, &group).scale(4);
    let guards = no_guards();
    let enclosing = [group.as_atom().unwrap(), i.as_atom().unwrap()];
    let access = Access {
        offset: &offset,
        width: 4,
        parts: &[],
        align: 1,
        conditions: &[],
        enclosing: &enclosing,
        guards: &guards,
    };
    let got = blocks(&alg, access, 4, 1 << 22);
    assert_eq!((got.coverage, got.sums.requests, got.sums.blocks), (Coverage::Complete, 8, [10, 9, 8]));
}

#[test]
fn quotient_and_remainder_by_the_same_divisor_cancel() {
    for divisor in [Some(51), None] {
        let mut alg = Algebra::new(256, 32);
        let bx = known(&mut alg, "bx", None, SymbolKind::WorkgroupId(0));
        let e = bx.scale(256).add(&Value::lanes(Lanes::new((0..256).collect())));
        let r = match divisor {
            Some(c) => Value::int(c),
            None => known(&mut alg, "R", None, SymbolKind::Param),
        };
        let column = alg.apply(Op::Div(Int::U32), &[e.clone(), r.clone()]);
        let row = alg.apply(Op::Rem(Int::U32), &[e.clone(), r.clone()]);
        let back = alg.mul(&column, &r).add(&row);
        assert_eq!(back, e);
    }
}

#[test]
fn an_unknown_stride_touches_a_block_per_lane() {
    let mut alg = Algebra::new(32, 32);
    let n = known(&mut alg, "n", None, SymbolKind::Param);
    let tid = Value::lanes(Lanes::new((0..32).collect()));
    let offset = alg.mul(&tid, &n).scale(4);
    let guards = no_guards();
    let access = Access {
        offset: &offset,
        width: 4,
        parts: &[],
        align: 1,
        conditions: &[],
        enclosing: &[],
        guards: &guards,
    };
    let got = blocks(&alg, access, 4, 1 << 18);
    assert_eq!(got.sums.blocks[2], got.sums.requests * 32);
    assert_eq!(got.coverage, Coverage::Residues);
}

#[test]
fn a_triangular_loop_is_walked_exactly() {
    let mut alg = Algebra::new(8, 8);
    let i = known(&mut alg, "i", Some(5), SymbolKind::Loop);
    let j = known(&mut alg, "j", None, SymbolKind::Loop);
    let (i_id, j_id) = (i.as_atom().unwrap(), j.as_atom().unwrap());
    let before = alg.apply(Op::Lt(Int::U32), &[j.clone(), i.clone()]);
    let guards = HashMap::from([(j_id, vec![before.clone()])]);
    let offset = j.scale(4);
    let enclosing = [i_id, j_id];
    let conditions = [before];
    let access = Access {
        offset: &offset,
        width: 4,
        parts: &[],
        align: 1,
        conditions: &conditions,
        enclosing: &enclosing,
        guards: &guards,
    };
    let got = blocks(&alg, access, 4, 1 << 18);
    assert_eq!(got.coverage, Coverage::Complete);
    assert_eq!(got.sums.requests, 1 + 2 + 3 + 4);
}

#[test]
fn padding_removes_the_bank_conflict() {
    let alg = Algebra::new(32, 32);
    let guards = no_guards();
    let model = crate::memory::BankModel::default();
    for (pitch, want) in [(128, 32), (132, 1)] {
        let offset = Value::lanes(Lanes::new((0..32).map(|t| t * pitch).collect()));
        let access = Access {
            offset: &offset,
            width: 4,
            parts: &[],
            align: 1,
            conditions: &[],
            enclosing: &[],
            guards: &guards,
        };
        assert_eq!(count(&alg, Access { width: 2, ..access }, Some(model), 1 << 16).1.unwrap().ways, want);
    }
}
