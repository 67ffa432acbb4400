//! Distances between lanes in the author's terms.

use super::classify::Steps;
use super::lanes::{Algebra, AtomId, Op, SymbolKind, Tape, Value, of_atom};
use super::site::RawSite;

/// The distance between two lanes, if it is a number times parameters whatever their values: a clamp that leaves
/// these two lanes alone does not change it.
pub(super) fn product_of_parameters(
    alg: &Algebra,
    value: &Value,
    pair: Option<(usize, usize)>,
) -> Option<String> {
    let (a, b) = pair?;
    let free = |id: &AtomId| {
        let s = alg.symbol_of(*id)?;
        (matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded) && s.count.is_none()).then_some(*id)
    };
    let mut tape = Tape::new(alg, &[value]);
    let mut distance = |made_up: &dyn Fn(AtomId) -> i64| {
        tape.set_all(|id| if free(&id).is_some() { made_up(id) } else { 0 });
        tape.run();
        let at = tape.root(0);
        at.at(b).wrapping_sub(at.at(a))
    };
    let first = |id: AtomId| (1021 + 97 * i64::from(id.0 % 512)) * 128;
    let second = |id: AtomId| (2039 + 89 * i64::from(id.0 % 512)) * 128;
    let (d1, d2) = (distance(&first), distance(&second));
    let mut products: Vec<Vec<AtomId>> = value
        .0
        .iter()
        .map(|(m, _)| m.iter().filter_map(&free).collect())
        .filter(|m: &Vec<_>| !m.is_empty())
        .collect();
    products.sort();
    products.dedup();
    products.into_iter().find_map(|m| {
        let of = |f: &dyn Fn(AtomId) -> i64| m.iter().try_fold(1i64, |p, &id| p.checked_mul(f(id)));
        let (p1, p2) = (of(&first)?, of(&second)?);
        let whole = d1 != 0 && d1 % p1 == 0 && d2 % p2 == 0 && d1 / p1 == d2 / p2;
        let names: Vec<_> = m.iter().filter_map(|&id| alg.symbol_of(id)).map(|s| s.name.as_str()).collect();
        whole.then(|| times((d1 / p1).abs(), &names.join("·")))
    })
}

/// "4·n", or "n".
fn times(k: i64, what: &str) -> String {
    if k == 1 { what.to_string() } else { format!("{k}·{what}") }
}

/// The distance between two lanes in terms of unknown symbols, if any take part in it.
pub(super) fn symbolic_stride(alg: &Algebra, value: &Value, pair: Option<(usize, usize)>) -> Option<String> {
    let (a, b) = pair?;
    let unknown = |id| {
        alg.symbol_of(id).filter(|s| s.count.is_none() || s.kind == SymbolKind::Loop).map(|s| s.name.as_str())
    };
    let mut parts = Vec::new();
    for (m, c) in value.0.iter() {
        let Some(&applied) = m.iter().find(|&&x| alg.symbol_of(x).is_none()) else {
            let by = c.at(b) - c.at(a);
            let names: Vec<_> = m.iter().filter_map(|&x| alg.symbol_of(x)).map(|s| s.name.as_str()).collect();
            if by != 0 && m.iter().any(|&x| unknown(x).is_some()) {
                parts.push(times(by.abs(), &names.join("·")));
            }
            continue;
        };
        match alg.application(applied) {
            Some((Op::Div(_), [dividend, divisor])) if divisor.as_int().is_some() => {
                let inner = symbolic_stride(alg, dividend, pair);
                let divided = inner.zip(divisor.as_int());
                parts.extend(divided.map(|(inner, by)| {
                    let inner = if inner.contains(" + ") { format!("({inner})") } else { inner };
                    times(c.at(a).abs(), &format!("{inner}/{by}"))
                }));
            }
            _ if alg.varies(&of_atom(applied)) => {
                let parameter = |&id: &AtomId| {
                    let s = alg.symbol_of(id)?;
                    let free = matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded) && s.count.is_none();
                    free.then_some(s.name.as_str())
                };
                let symbols = alg.symbols_in(&of_atom(applied));
                let names: Vec<_> = symbols.iter().filter_map(parameter).collect();
                if !names.is_empty() {
                    parts.push(times(c.at(a).abs(), &format!("f({})", names.join(", "))));
                }
            }
            _ => {}
        }
    }
    let mut seen = std::collections::HashSet::new();
    parts.retain(|p| seen.insert(p.clone()));
    (!parts.is_empty()).then(|| parts.join(" + "))
}

/// A loop in which each lane walks contiguous memory while the lanes are farther apart.
pub(super) fn walk_of(
    alg: &Algebra,
    offset: &Value,
    raw: &RawSite,
    stride: Option<i64>,
    symbolic: bool,
) -> Option<Steps> {
    for (m, c) in offset.0.iter() {
        let (&[atom], super::lanes::Lanes::Uniform(step)) = (m.as_slice(), c) else { continue };
        let Some(symbol) = alg.symbol_of(atom) else { continue };
        if symbol.kind != SymbolKind::Loop || !raw.enclosing.contains(&atom) {
            continue;
        }
        let near = step.unsigned_abs() <= raw.width.max(16) * 4;
        if near && (symbolic || stride.is_some_and(|s| s.abs() > step.abs())) {
            return Some(Steps { counter: symbol.name.clone(), bytes: *step, count: symbol.count });
        }
    }
    None
}
