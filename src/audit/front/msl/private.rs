//! Memory of one thread: integers and pointers that are stored there are found again.
//!
//! Cells are at known offsets of known variables. A store to an offset that is not known takes away what may
//! be there: all within the array that the address computation names.

use std::collections::{BTreeMap, HashMap};

use super::ir::{Name, Ty};
use super::{Base, Pointer, Val, Walker};
use crate::audit::lanes::Value;

/// Cells of a variable by offset: size in bytes and value.
type Cells = BTreeMap<i64, (i64, Val)>;

/// All private variables.
pub(super) type Private = HashMap<Name, Cells>;

/// Most cells kept of one variable.
const MOST_CELLS: usize = 512;

impl Walker<'_> {
    /// The bytes that an access through the pointer may touch.
    fn reach_of(&self, p: &Pointer, size: i64) -> (i64, i64) {
        if let Some(at) = p.offset.as_int() {
            return (at, at.saturating_add(size));
        }
        let (lo, hi) = self.walk.alg.range(&p.offset);
        let (from, to) = p.within.unwrap_or((i64::MIN, i64::MAX));
        let end = hi.map_or(i64::MAX, |h| h.saturating_add(size));
        (lo.unwrap_or(i64::MIN).max(from), end.min(to))
    }

    /// Forgets what a store to these bytes overwrites.
    fn overwrite(&mut self, name: Name, (from, to): (i64, i64)) {
        if let Some(cells) = self.private.get_mut(&name) {
            cells.retain(|at, (size, _)| at.saturating_add(*size) <= from || *at >= to);
        }
    }

    /// A store to memory that may be private.
    pub(super) fn store_private(&mut self, p: &Pointer, ty: &Ty, value: Val) {
        let name = match &p.base {
            Base::Private(name) => *name,
            // A pointer that was not followed may lead anywhere.
            Base::Unknown(_) => return self.private.clear(),
            _ => return,
        };
        let size = self.module.access_bytes(ty) as i64;
        let at = p.offset.as_int();
        let old = at.and_then(|at| self.cell(name, at, size));
        let range = self.reach_of(p, size);
        self.overwrite(name, range);
        let followed = match &value {
            Val::Int(_) | Val::Pointer(_) => true,
            Val::Vector(parts) => parts.iter().all(|p| matches!(p, Val::Int(_))),
            Val::Other(_) => false,
        };
        let (Some(at), true) = (at, followed) else { return };
        // Lanes that don't come here keep what they had.
        let mut on = Value::int(1);
        for c in self.walk.conditions.clone() {
            on = self.along(&on, &c);
        }
        let value = match old {
            Some(old) if on.as_int() != Some(1) => self.merge(&on, &value, &old),
            _ => value,
        };
        let cells = self.private.entry(name).or_default();
        if cells.len() < MOST_CELLS {
            cells.insert(at, (size, value));
        }
    }

    fn cell(&self, name: Name, at: i64, size: i64) -> Option<Val> {
        let (found, value) = self.private.get(&name)?.get(&at)?;
        (*found == size).then(|| value.clone())
    }

    /// What was stored at the pointer.
    pub(super) fn load_private(&self, p: &Pointer, ty: &Ty) -> Option<Val> {
        let Base::Private(name) = p.base else { return None };
        let value = self.cell(name, p.offset.as_int()?, self.module.access_bytes(ty) as i64)?;
        let fits = match (ty, &value) {
            (Ty::Int(_), Val::Int(_)) | (Ty::Ptr, Val::Pointer(_)) => true,
            (Ty::Vector(n, _), Val::Vector(parts)) => *n as usize == parts.len(),
            _ => false,
        };
        fits.then_some(value)
    }

    /// `memcpy`, `memmove` and `memset`.
    pub(super) fn fill_private(&mut self, to: &Val, from: Option<&Val>, bytes: &Val) {
        let Val::Pointer(to) = to else { return };
        let Base::Private(name) = to.base else { return };
        let length = match bytes {
            Val::Int(v) => v.as_int().unwrap_or(i64::MAX),
            _ => i64::MAX,
        };
        let copied: Vec<(i64, i64, Val)> = match (from, to.offset.as_int()) {
            (Some(Val::Pointer(p)), Some(at)) => match (&p.base, p.offset.as_int()) {
                (Base::Private(source), Some(start)) => {
                    let cells = self.private.get(source).into_iter().flatten();
                    let inside = cells.filter(|(o, (size, _))| {
                        **o >= start && o.saturating_add(*size) <= start.saturating_add(length)
                    });
                    inside.map(|(o, (size, v))| (o - start + at, *size, v.clone())).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let range = self.reach_of(to, length);
        self.overwrite(name, range);
        // Under a condition some lanes keep what they had, so that neither is known.
        if self.walk.conditions.is_empty() {
            let cells = self.private.entry(name).or_default();
            cells.extend(copied.into_iter().map(|(at, size, v)| (at, (size, v))));
        }
    }

    /// What a call may have changed.
    pub(super) fn forget_private(&mut self, arguments: &[Val]) {
        for a in arguments {
            if let Val::Pointer(Pointer { base: Base::Private(name), .. }) = a {
                self.private.remove(name);
            }
        }
    }
}

/// Cells of `before` that `after` does not have, or has otherwise.
pub(super) fn changed(before: &Private, after: &Private) -> Vec<(Name, i64)> {
    let mut out = Vec::new();
    for (name, cells) in before {
        let now = after.get(name);
        out.extend(
            cells
                .iter()
                .filter(|(at, cell)| now.and_then(|n| n.get(at)) != Some(*cell))
                .map(|(at, _)| (*name, *at)),
        );
    }
    out
}

/// Takes cells away.
pub(super) fn remove(from: &mut Private, cells: &[(Name, i64)]) {
    for (name, at) in cells {
        if let Some(c) = from.get_mut(name) {
            c.remove(at);
        }
    }
}
