//! Private variables that stay in memory: arrays, mostly. Which pointers lead into which of them, and which bytes of a
//! load count as read.
//!
//! A variable whose accesses all move it whole needs no watch (`is_plain`): none can stray, and the optimizer
//! keeps such variables in memory only to hand them to a simdgroup function. The others are told when their
//! function begins, and every access with the variable that it is meant for, so that a subscript that leaves its array
//! is found though a neighbour lies there.
//!
//! Reading what was never written is reported where it must be a fault: not for bytes that are only passed
//! on (a vector loaded to change one component, a copy of a struct, a value that a `select` may drop), because the
//! optimizer reads more than the text does.

use super::access::{Size, arguments_of, operand, type_end, value_of};
use super::instrument::label;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// The private variables of one function.
#[derive(Default)]
pub(super) struct Privates<'a> {
    /// Allocas that are watched, in order: name, type.
    list: Vec<(&'a str, &'a str)>,
    number: HashMap<&'a str, usize>,
    /// Pointers by the alloca that they are derived from.
    base: HashMap<&'a str, &'a str>,
    plain: HashSet<&'a str>,
    /// Pointers that the runtime gave: exchanges and descriptors of textures.
    outside: HashSet<&'a str>,
    /// Lines by the names that they use.
    uses: HashMap<&'a str, Vec<usize>>,
}

/// The type of an `alloca`, if the line is one.
pub(super) fn alloca_type(text: &str) -> Option<&str> {
    let rest = value_of(text).strip_prefix("alloca ")?;
    let rest = rest.strip_prefix("inalloca ").unwrap_or(rest);
    Some(&rest[..type_end(rest)])
}

/// The names in a line that begin with `%`, quoted or not.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices('%').map(|(at, _)| {
        let rest = &line[at..];
        let end = match rest.strip_prefix("%\"") {
            Some(quoted) => quoted.find('"').map(|n| n + 3),
            None => rest[1..].find(|c: char| !(c.is_alphanumeric() || "-$._".contains(c))).map(|n| n + 1),
        };
        &rest[..end.unwrap_or(rest.len())]
    })
}

impl<'a> Privates<'a> {
    /// Finds them in a function's body.
    pub(super) fn of(body: &[&'a str]) -> Self {
        let mut found = Self::default();
        for (i, line) in body.iter().enumerate() {
            let text = line.trim_start();
            if label(line).is_some() {
                continue;
            }
            for name in names(text) {
                found.uses.entry(name).or_default().push(i);
            }
            let Some((name, _)) = text.split_once(" = ").filter(|(l, _)| l.starts_with('%')) else {
                continue;
            };
            let value = value_of(text);
            if let Some(ty) = alloca_type(text) {
                found.base.insert(name, name);
                found.number.insert(name, found.list.len());
                found.list.push((name, ty));
            } else if let Some(rest) = value.strip_prefix("getelementptr ") {
                // After the type comes the pointer.
                let from = rest.split("ptr ").nth(1).map(operand);
                if let Some(&base) = from.and_then(|f| found.base.get(f)) {
                    found.base.insert(name, base);
                } else if from.is_some_and(|f| found.outside.contains(f)) {
                    found.outside.insert(name);
                }
            } else if value.contains("@marlin_simd_exchange(") || value.contains("@marlin_texture_argument(")
            {
                found.outside.insert(name);
            }
        }
        let plain = |&(name, ty): &(&'a str, &'a str)| {
            let lines = found.uses.get(name).map_or(&[][..], |l| l);
            lines.iter().all(|&i| moved_whole(body[i].trim_start(), name, ty)).then_some(name)
        };
        found.plain = found.list.iter().filter_map(plain).collect();
        let plain = &found.plain;
        found.list.retain(|(name, _)| !plain.contains(name));
        found.number = found.list.iter().enumerate().map(|(n, (name, _))| (*name, n)).collect();
        found
    }

    /// How many are watched.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Their names in the text.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(|(name, _)| in_the_text(name))
    }

    /// The variable that a pointer is derived from, if it is one.
    pub(super) fn base(&self, pointer: &str) -> Option<&'a str> {
        self.base.get(pointer).copied()
    }

    /// Whether every access moves the variable whole.
    pub(super) fn is_plain(&self, base: &str) -> bool {
        self.plain.contains(base)
    }

    /// Whether a pointer leads to the runtime's own memory.
    pub(super) fn is_outside_the_kernel(&self, pointer: &str) -> bool {
        self.outside.contains(pointer)
    }

    /// What tells that the variable of this `alloca` is there.
    pub(super) fn begin(&self, text: &str, first: usize) -> Option<String> {
        let ty = alloca_type(text)?;
        let (name, _) = text.split_once(" = ")?;
        let number = first + self.number.get(name)?;
        Some(format!(
            "  call void @marlin_private(ptr {name}, i64 {}, i32 {number})\n",
            Size::of_type(ty).operand()
        ))
    }

    /// What replaces a marker of a variable's life: it begins with nothing in it.
    pub(super) fn lifetime(&self, text: &str) -> Option<String> {
        if !text.contains("@llvm.lifetime.") {
            return None;
        }
        let mut out = String::new();
        if text.contains("@llvm.lifetime.start.") {
            let pointer = arguments_of(text).last().copied().unwrap_or("");
            if self.number.contains_key(pointer) {
                let _ = writeln!(out, "  call void @marlin_private_fresh(ptr {pointer})");
            }
        }
        Some(out)
    }

    /// A bit per byte of load `i` that its users make something of; -1 for all, 0 if it is only passed on.
    pub(super) fn bytes_that_count(&self, body: &[&str], i: usize) -> i64 {
        let text = body[i].trim_start();
        let Some((result, _)) = text.split_once(" = ") else { return 0 };
        let Some(ty) = value_of(text).strip_prefix("load ").map(|rest| &rest[..type_end(rest)]) else {
            return 0;
        };
        let element = ty
            .strip_prefix('<')
            .and_then(|t| t.strip_suffix('>'))
            .and_then(|t| t.split_once(" x "))
            .map(|(_, element)| element);
        let mut mask = 0i64;
        for &user in self.uses.get(result).map_or(&[][..], |l| l) {
            if user == i {
                continue;
            }
            let value = value_of(body[user].trim_start());
            let word = value.split(' ').next().unwrap_or("");
            match word {
                "store" | "select" | "phi" | "freeze" | "insertelement" | "shufflevector" | "insertvalue" => {
                }
                "extractelement" => {
                    let index = value.rsplit(' ').find_map(|w| w.trim_end_matches(',').parse::<u64>().ok());
                    let index = value.split(", i").nth(1).and_then(operand_number).or(index);
                    match (index, element.map(Size::of_type)) {
                        (Some(index), Some(Size::Bytes(bytes))) if (index + 1) * bytes <= 63 => {
                            mask |= ((1i64 << bytes) - 1) << (index * bytes);
                        }
                        _ => return -1,
                    }
                }
                "extractvalue" => {}
                _ => return -1,
            }
        }
        mask
    }
}

/// The number in `64 3, !dbg !5` after its type.
fn operand_number(text: &str) -> Option<u64> {
    text.split(' ').nth(1)?.trim_end_matches(',').parse().ok()
}

/// Whether an instruction moves the variable `name` of type `ty` whole, or marks its life.
fn moved_whole(text: &str, name: &str, ty: &str) -> bool {
    let value = value_of(text);
    value.starts_with("alloca ")
        || text.contains("@llvm.lifetime.")
        || text.contains("@marlin_simd_exchange(")
        || value.strip_prefix("store ").is_some_and(|rest| {
            let stored = &rest[..type_end(rest)];
            stored == ty && !rest[stored.len()..].trim_start().starts_with(name)
        })
}

/// `s` for `%s.i.i12`.
fn in_the_text(name: &str) -> String {
    let name = name.trim_start_matches('%').trim_matches('"');
    let mut kept = name;
    while let Some((before, last)) = kept.rsplit_once('.') {
        let number = |t: &str| t.chars().all(|c| c.is_ascii_digit());
        if before.is_empty() || !(last.strip_prefix('i').is_some_and(number) || number(last)) {
            break;
        }
        kept = before;
    }
    // A second variable of that name has a number at its end.
    kept.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: [&str; 11] = [
        "entry:",
        "  %s.i = alloca [8 x i32], align 4",
        "  %x = alloca float, align 4",
        "  call void @llvm.lifetime.start.p0(i64 32, ptr nonnull %s.i)",
        "  %p = getelementptr inbounds [8 x i32], ptr %s.i, i64 0, i64 %i",
        "  store i32 %i, ptr %p, align 4",
        "  store float %f, ptr %x, align 4",
        "  %e = call ptr @marlin_simd_exchange(ptr %x, i32 4, i32 0)",
        "  %v = load <2 x i32>, ptr %p, align 4",
        "  %c = extractelement <2 x i32> %v, i64 1",
        "  %w = insertelement <2 x i32> %v, i32 7, i64 0",
    ];

    #[test]
    fn pointers_know_their_variable_and_whole_moves_need_no_watch() {
        let privates = Privates::of(&BODY);
        assert_eq!(privates.names().collect::<Vec<_>>(), ["s"]);
        assert_eq!(privates.base("%p"), Some("%s.i"));
        assert!(privates.is_plain("%x") && !privates.is_plain("%s.i"));
        assert_eq!(
            privates.begin(BODY[1].trim_start(), 3).as_deref(),
            Some("  call void @marlin_private(ptr %s.i, i64 32, i32 3)\n")
        );
        assert_eq!(privates.begin(BODY[2].trim_start(), 3), None);
        assert_eq!(
            privates.lifetime(BODY[3].trim_start()).as_deref(),
            Some("  call void @marlin_private_fresh(ptr %s.i)\n")
        );
    }

    #[test]
    fn only_the_components_that_are_used_count_as_read() {
        assert_eq!(Privates::of(&BODY).bytes_that_count(&BODY, 8), 0xf0);
        let mut body = BODY;
        body[9] = "  %c = add <2 x i32> %v, %v";
        assert_eq!(Privates::of(&body).bytes_that_count(&body, 8), -1);
        body[9] = "  store <2 x i32> %v, ptr %q, align 4";
        assert_eq!(Privates::of(&body).bytes_that_count(&body, 8), 0);
    }
}
