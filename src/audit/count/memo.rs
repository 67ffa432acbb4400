//! Counts of accesses that are alike, counted once.
//!
//! Instances of a template, copies of an unrolled loop and the load and store of one element have offsets and
//! conditions of the same form. A count depends on the form only, so that it can be looked up by it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use super::{Access, Counted, LINE, count};
use crate::audit::lanes::{Algebra, Atom, AtomId, Lanes, Value};
use crate::memory::{BankModel, BankUse};

/// A count as [`count`] gives it.
type Entry = (Counted, Option<BankUse>);

/// Most counts kept.
const MOST_ENTRIES: usize = 1 << 16;

/// Counts by form, shared by the kernels of a file.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<HashMap<(u64, u64), Entry>>);

impl Memo {
    /// [`count`], or what it gave for the same form.
    pub(crate) fn count(
        &self,
        algebra: &Algebra,
        access: Access<'_>,
        banks: Option<BankModel>,
        budget: usize,
    ) -> Entry {
        let key = form(algebra, access, banks, budget);
        let known = |m: &HashMap<_, Entry>| m.get(&key).cloned();
        // A poisoned lock means a panic in another kernel's count: the entries are whole all the same.
        if let Some(entry) = known(&self.0.lock().unwrap_or_else(|e| e.into_inner())) {
            return entry;
        }
        let entry = count(algebra, access, banks, budget);
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if all.len() < MOST_ENTRIES {
            all.insert(key, entry.clone());
        }
        entry
    }
}

/// 128 bits that stand for all that a count depends on.
fn form(algebra: &Algebra, access: Access<'_>, banks: Option<BankModel>, budget: usize) -> (u64, u64) {
    // Atoms by their rank: arguments come before what is applied to them.
    let mut roots: Vec<&Value> = std::iter::once(access.offset).chain(access.conditions).collect();
    let mut guarded: BTreeSet<AtomId> = BTreeSet::new();
    let mut atoms = algebra.closure(roots.iter().copied());
    loop {
        let more: Vec<AtomId> = atoms
            .iter()
            .chain(access.enclosing)
            .filter(|a| access.guards.contains_key(a) && !guarded.contains(a))
            .copied()
            .collect();
        if more.is_empty() {
            break;
        }
        for a in more {
            guarded.insert(a);
            roots.extend(&access.guards[&a]);
        }
        atoms = algebra.closure(roots.iter().copied());
    }
    let mut all: BTreeSet<AtomId> = atoms.into_iter().collect();
    all.extend(access.enclosing);
    all.extend(&guarded);
    let rank: HashMap<AtomId, usize> = all.iter().enumerate().map(|(i, &a)| (a, i)).collect();
    let modulus = banks.map_or(LINE, |b| LINE.max(b.period_bytes() as i64));

    let mut h = Two::default();
    (algebra.lanes(), algebra.subgroup_size(), access.width, access.parts, access.align, budget).hash(&mut h);
    banks.map(|b| (b.banks, b.bank_bytes)).hash(&mut h);
    for &id in &all {
        match algebra.atom(id) {
            Atom::Symbol(s) => s.hash(&mut h),
            Atom::Data => algebra.info(id).data.hash(&mut h),
            Atom::Apply(op, args) => {
                op.hash(&mut h);
                args.iter().for_each(|a| value(a, &rank, 0, &mut h));
            }
        }
        if guarded.contains(&id) {
            access.guards[&id].iter().for_each(|g| value(g, &rank, 0, &mut h));
        }
        u8::MAX.hash(&mut h);
    }
    // Whole blocks more or less change nothing.
    value(access.offset, &rank, modulus, &mut h);
    access.conditions.iter().for_each(|c| value(c, &rank, 0, &mut h));
    access.enclosing.iter().for_each(|a| rank[a].hash(&mut h));
    (h.0.finish(), h.1.finish())
}

/// Hashes a value with its atoms by rank; multiples of `modulus` taken off the constant term.
fn value(v: &Value, rank: &HashMap<AtomId, usize>, modulus: i64, h: &mut Two) {
    v.0.len().hash(h);
    for (m, c) in v.0.iter() {
        m.len().hash(h);
        m.iter().for_each(|a| rank[a].hash(h));
        match c {
            Lanes::Uniform(c) if m.is_empty() && modulus > 0 => c.rem_euclid(modulus).hash(h),
            Lanes::Each(c) if m.is_empty() && modulus > 0 => {
                let whole = c[0].div_euclid(modulus).wrapping_mul(modulus);
                c.iter().for_each(|x| x.wrapping_sub(whole).hash(h));
            }
            Lanes::Uniform(c) => c.hash(h),
            Lanes::Each(c) => c.hash(h),
        }
    }
}

/// Two hashes at once: 64 bits are few for tables that nobody checks again.
struct Two(DefaultHasher, DefaultHasher);

impl Default for Two {
    fn default() -> Self {
        let mut second = DefaultHasher::new();
        second.write_u64(0x9e37_79b9_7f4a_7c15);
        Two(DefaultHasher::new(), second)
    }
}

impl Hasher for Two {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }
}
