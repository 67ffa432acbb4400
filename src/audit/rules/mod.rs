//! The rules: one file each, with its page and two kernels, one that it finds fault with and one that it
//! does not. `marlin explain CODE` prints the page, and a test runs both kernels.

mod array_of_structs;
mod bank_conflict;
mod covered;
mod index;
mod misaligned;
mod narrow;
mod repeated;
mod round_trip;
mod rows;
mod scattered;
mod sequential;
mod shared_scale;
mod staging;
mod strided;
mod unknown;
mod vector_width;

use super::classify::{Classified, Pattern};
use super::finding::{Finding, Label, Severity};
use super::lanes::{Algebra, AtomId, Lanes, Op, SymbolKind, Value};
use super::settings::Settings;
use super::site::Place;
use crate::memory::BLOCK_SIZES;
use crate::memory::Space;

/// A rule: what it is called, what it says about itself, and what it does.
pub struct Rule {
    /// The finding's code, also `marlin.<name>` in suppressions.
    pub name: &'static str,
    /// One line.
    pub what: &'static str,
    /// Why it costs, in bytes.
    pub why: &'static str,
    /// A WGSL kernel that the rule finds fault with.
    pub bad: &'static str,
    /// The same, mended.
    pub good: &'static str,
    /// When the finding can be ignored.
    pub ignore: &'static str,
    pub(crate) check: fn(&Context<'_>, &mut Vec<Finding>),
}

impl Rule {
    /// What `marlin explain` prints.
    pub fn page(&self) -> String {
        let indent = |s: &str| s.trim().lines().map(|l| format!("    {l}\n")).collect::<String>();
        format!(
            "{}\n\n{}\n\nWhy: {}\n\nFound in:\n\n{}\nNot found in:\n\n{}\nWhen to ignore it: {}\n\n\
             To suppress: `@diagnostic(off, marlin.{})` on a WGSL function or `diagnostic(off, marlin.{});` for a \
             module; `// marlin: allow({}) reason` in Metal, on the line or the one above.\n",
            self.name,
            self.what,
            self.why,
            indent(self.bad),
            indent(self.good),
            self.ignore,
            self.name,
            self.name,
            self.name,
        )
    }
}

pub(crate) use index::Index;

/// All rules, in the order in which they are applied.
pub fn all() -> &'static [Rule] {
    const ALL: &[Rule] = &[
        strided::RULE,
        sequential::RULE,
        scattered::RULE,
        array_of_structs::RULE,
        bank_conflict::RULE,
        rows::RULE,
        misaligned::RULE,
        narrow::RULE,
        vector_width::RULE,
        repeated::RULE,
        shared_scale::RULE,
        round_trip::RULE,
        staging::RULE,
        unknown::RULE,
    ];
    ALL
}

/// The rule of a code, with or without `marlin.`.
pub fn find(code: &str) -> Option<&'static Rule> {
    let name = code.strip_prefix("marlin.").unwrap_or(code);
    all().iter().find(|r| r.name == name)
}

/// One kernel, for the rules.
pub(crate) struct Context<'a> {
    pub(crate) kernel: &'a str,
    pub(crate) file: &'a str,
    pub(crate) algebra: &'a Algebra,
    pub(crate) sites: &'a [Classified],
    pub(crate) index: Index<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) locate: &'a dyn Fn(&std::ops::Range<usize>) -> Label,
}

impl Context<'_> {
    /// Accesses that go to memory outside the chip.
    fn global(&self) -> impl Iterator<Item = &Classified> {
        self.sites.iter().filter(|s| s.raw.space == Space::Storage)
    }

    /// A finding about an access, with its figures and assumptions.
    fn finding(
        &self,
        code: &'static str,
        severity: Severity,
        site: &Classified,
        message: String,
        at: &str,
    ) -> Finding {
        let mut primary = (self.locate)(&site.raw.span);
        let mut defined = None;
        if let Some(index) = &site.raw.index_span {
            let at_index = (self.locate)(index);
            if site.raw.span.contains(&index.start) && site.raw.span.contains(&(index.end.max(1) - 1)) {
                primary = at_index;
            } else {
                // Computed before, under a name.
                defined = Some(Label { message: "the index that differs between lanes".into(), ..at_index });
            }
        }
        primary.message = at.into();
        primary.primary = true;
        let labels = std::iter::once(primary).chain(defined).collect();
        let mut notes: Vec<String> = self.bytes_note(site).into_iter().collect();
        notes.extend(copies_note(site));
        notes.extend(merged(&site.assumptions).iter().map(|a| format!("assumed: {a}")));
        Finding {
            code,
            severity,
            confidence: site.confidence,
            message,
            kernel: self.kernel.into(),
            kernel_file: self.file.into(),
            labels,
            notes,
            wasted_bytes: self.wasted(site),
        }
    }

    /// What an access to a buffer fetches in vain, per workgroup.
    fn wasted(&self, site: &Classified) -> Option<f64> {
        let block = self.settings.target.block();
        let one = site.per_group.filter(|_| matches!(site.raw.space, Space::Storage | Space::Uniform))?;
        Some((one.blocks[block.ix()] * block.bytes() as f64 - one.useful_bytes).max(0.0))
    }

    /// "32 lanes touch 32 lines of 128 B: 128 of 4096 bytes used".
    fn bytes_note(&self, site: &Classified) -> Option<String> {
        let ix = self.settings.target.block().ix();
        let lanes = site.average(|s| s.active_lanes)?;
        let blocks = site.average(|s| s.blocks[ix])?;
        let useful = site.average(|s| s.useful_bytes)?;
        let size = BLOCK_SIZES[ix];
        let what = if size == 32 { "sector" } else { "line" };
        Some(format!(
            "{} touch {} of {size} B: {} of {} bytes used",
            amount(lanes, "lane"),
            amount(blocks, what),
            number(useful),
            number(blocks * size as f64)
        ))
    }

    /// Useful bytes over fetched bytes with misalignment taken out.
    fn efficiency(&self, site: &Classified) -> Option<f64> {
        let ix = self.settings.target.block().ix();
        let fetched = site.average(|s| s.blocks_if_aligned[ix])? * BLOCK_SIZES[ix] as f64;
        Some(site.average(|s| s.useful_bytes)? / fetched)
    }

    /// Whether every index of the access is multiplied by a parameter of its own, as in code for tensors of any
    /// layout: then it is for the host to say which of them is 1.
    fn any_layout(&self, site: &Classified) -> bool {
        let Place::Offset(v) = &site.raw.place else { return false };
        let parameter = |a: &AtomId| {
            self.algebra.symbol_of(*a).is_some_and(|s| {
                s.count.is_none() && matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded)
            })
        };
        let mut strides = std::collections::BTreeSet::new();
        for (m, c) in v.0.iter() {
            let uniform = matches!(c, Lanes::Uniform(_));
            match m.iter().find(|a| parameter(a)) {
                // A parameter by itself is where the tensor begins.
                Some(_) if uniform && m.len() == 1 => {}
                Some(stride) => drop(strides.insert(*stride)),
                None if m.is_empty() && uniform => {}
                None => return false,
            }
        }
        strides.len() > 1
    }

    /// What an unknown distance between lanes hangs on, where it may well be small: a parameter that is the only
    /// stride there is (1 in contiguous tensors), a quotient of a parameter, a distance that is divided afterwards.
    fn condition_of_stride(&self, site: &Classified) -> Option<String> {
        let Place::Offset(v) = &site.raw.place else { return None };
        if site.stride_bytes.is_some() {
            return None;
        }
        let alg = self.algebra;
        let free = |a: &AtomId| {
            alg.symbol_of(*a).is_some_and(|s| {
                s.count.is_none() && matches!(s.kind, SymbolKind::Param | SymbolKind::Loaded)
            })
        };
        let depends = |v: &Value| alg.symbols_in(v).iter().any(free);
        let quotient = |a: &AtomId| match alg.application(*a) {
            Some((Op::Div(_) | Op::Shr(_), [dividend, by])) => by.as_int().is_some() && depends(dividend),
            _ => false,
        };
        let mut hangs_on: Option<String> = None;
        let mut lone: Option<AtomId> = None;
        let mut unit_step = false;
        // The distance itself is divided, as opposed to a quotient that is the distance.
        let mut divided = false;
        for (m, c) in v.0.iter() {
            let differs = c.varies(alg.subgroup_size()) || m.iter().any(|&a| alg.info(a).varies);
            if !differs {
                // Another index in steps of elements: then an unknown stride is the length of a row.
                let begins = matches!(m.as_slice(), [a] if free(a));
                let zero = m.is_empty() && c.most().unsigned_abs() < site.raw.width;
                unit_step |= !begins && !zero && !m.iter().any(free) && !m.iter().any(quotient);
                continue;
            }
            if let Some(q) = m.iter().find(|a| quotient(a)) {
                if alg.info(*q).varies {
                    divided = true;
                    continue;
                }
                hangs_on = Some(alg.describe(&super::lanes::of_atom(*q)));
                continue;
            }
            let unknown: Vec<AtomId> = m.iter().filter(|a| free(a)).copied().collect();
            match unknown.as_slice() {
                [one] if lone.is_none_or(|l| l == *one) => lone = Some(*one),
                _ => return None,
            }
        }
        if hangs_on.is_none() && (lone.is_some() || divided) {
            if unit_step {
                return None;
            }
            hangs_on = match lone.filter(|_| !divided) {
                Some(one) => alg.symbol_of(one).map(|s| s.name.clone()),
                None => {
                    Some(site.stride_symbol.as_ref().map_or_else(|| "it".into(), |s| format!("{s} bytes")))
                }
            };
        }
        hangs_on
            .map(|what| format!("bad if `{what}` is more than 1 element: it is not known, `--set` gives it"))
    }

    /// What a request would touch if its lanes' elements lay side by side, where that is less: (now, then).
    fn side_by_side(&self, site: &Classified) -> Option<(f64, u64)> {
        let ix = self.settings.target.block().ix();
        let now = site.average(|s| s.blocks_if_aligned[ix])?;
        let distinct = site.distinct.max(1) as u64;
        let mut offsets: Vec<u64> = (0..distinct).map(|rank| rank * site.raw.width).collect();
        let mut then = crate::memory::Traffic::default();
        then.add_request(&mut offsets, site.raw.width);
        ((then.blocks[ix] as f64) < now).then_some((now, then.blocks[ix]))
    }

    /// "1 line instead of 32, counted", for lanes side by side.
    fn side_by_side_text(&self, site: &Classified) -> Option<String> {
        let (now, then) = self.side_by_side(site)?;
        let noun = self.settings.target.block().noun();
        Some(format!(
            "a request would touch {} instead of {}, counted",
            amount(then as f64, noun),
            number(now)
        ))
    }

    /// Whether another access of the same buffer is contiguous across lanes now, and would not be in another layout.
    fn layout_serves_others(&self, site: &Classified) -> bool {
        self.global().any(|o| {
            o.raw.buffer == site.raw.buffer
                && o.raw.record.is_none()
                && matches!(o.pattern, Pattern::Coalesced | Pattern::Misaligned | Pattern::Rows)
        })
    }

    /// The distance between lanes, for people.
    fn stride_text(&self, site: &Classified) -> String {
        match (&site.stride_symbol, site.stride_bytes) {
            (Some(s), _) => format!("{s} bytes"),
            (None, Some(b)) => format!("{b} bytes"),
            (None, None) => "varying distances".into(),
        }
    }
}

/// "2 of 8 copies of this access": where a line is called or unrolled.
fn copies_note(site: &Classified) -> Option<String> {
    let (k, n) = (site.n_alike, site.n_copies);
    match (k, n) {
        (_, 0 | 1) => None,
        _ if k == n => Some(format!("all {n} copies of this access (calls, unrolled rounds) are like this")),
        (1, _) => Some(format!("1 of {n} copies of this access (calls, unrolled rounds) is like this")),
        _ => Some(format!(
            "{k} of {n} copies of this access (calls, unrolled rounds) are like this; the figures are the worst one's"
        )),
    }
}

fn is_about_copies(note: &str) -> bool {
    note.contains("copies of this access")
}

/// Assumptions that differ only in what they are about, behind `: `, as one.
fn merged(assumptions: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for a in assumptions {
        let about = a.find(": `").map(|at| &a[..at + 2]);
        match about.and_then(|about| out.iter_mut().find(|o| o.starts_with(about))) {
            Some(same) => *same = format!("{same}, {}", &a[about.map_or(0, str::len)..]),
            None => out.push(a.clone()),
        }
    }
    out
}

/// The coefficient by which the value grows with a symbol, if that is one number.
fn coefficient(v: &Value, symbol: super::lanes::AtomId) -> i64 {
    v.0.iter()
        .find_map(|(m, c)| match c {
            Lanes::Uniform(c) if m.as_slice() == [symbol] => Some(*c),
            _ => None,
        })
        .unwrap_or(0)
}

/// "1 line", "2 lines".
pub(crate) fn amount(v: f64, what: &str) -> String {
    format!("{} {what}{}", number(v), if v == 1.0 { "" } else { "s" })
}

/// At most two decimals, none where there is nothing behind the point.
pub(crate) fn number(v: f64) -> String {
    let text = format!("{v:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_bad_kernel_and_not_its_good_one() {
        for rule in all() {
            let found = |text: &str| {
                let report = crate::audit::audit_wgsl("t.wgsl", text, &Settings::default());
                for k in &report.kernels {
                    assert!(k.analysed, "{}: {:?}", rule.name, k.reason);
                }
                report.findings.iter().any(|f| f.code == rule.name)
            };
            assert!(found(rule.bad), "{} accepts its bad kernel", rule.name);
            assert!(!found(rule.good), "{} rejects its good kernel", rule.name);
        }
    }

    #[test]
    fn names_are_unique_and_pages_are_whole() {
        for (i, rule) in all().iter().enumerate() {
            assert!(all()[..i].iter().all(|r| r.name != rule.name));
            assert!(rule.page().contains("When to ignore it: "));
            assert_eq!(find(&format!("marlin.{}", rule.name)).map(|r| r.name), Some(rule.name));
        }
    }
}
