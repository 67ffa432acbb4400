//! Which LLVM IR may be compiled and loaded at all.
//!
//! A kernel's text is anyone's, and C++ can reach far more than Metal: functions of the host by a declaration or
//! an `asm` label, code that runs when an object is loaded, assembler, calls through integers made pointers. What
//! is let through is a list, not what is left of one:
//!
//! - calls by name, of functions in the module, of the runtime's own, of the C library's arithmetic, and of
//!   intrinsics that only compute or that `instrument` watches;
//! - functions that only this module sees, but for the kernel and its entry;
//! - globals with contents and without a section of their own; none that runs anything at load;
//! - no recursion, as in Metal, and no stack that grows by a variable: so a thread's stack is bounded by the sum of
//!   all functions' frames.
//!
//! What passes here runs in a process of its own all the same (`run/child.rs`).

use super::diagnostic::{Diagnostic, Step};
use super::ir::Ir;
use super::location::dbg_id;
use std::collections::{BTreeMap, BTreeSet};

/// Functions of `shim/runtime.c`.
const RUNTIME: [&str; 19] = [
    "marlin_thread_position_in_grid",
    "marlin_thread_position_in_threadgroup",
    "marlin_threadgroup_position_in_grid",
    "marlin_threads_per_grid",
    "marlin_threads_per_threadgroup",
    "marlin_threadgroups_per_grid",
    "marlin_thread_index_in_threadgroup",
    "marlin_thread_index_in_simdgroup",
    "marlin_simdgroup_index_in_threadgroup",
    "marlin_threads_per_simdgroup",
    "marlin_simdgroups_per_threadgroup",
    "marlin_threadgroup_variable",
    "marlin_threadgroup_argument",
    "marlin_texture_argument",
    "marlin_threadgroup_barrier",
    "marlin_simdgroup_barrier",
    "marlin_simd_exchange",
    "marlin_unsupported",
    "marlin_private_watch",
];

/// Arithmetic of the C library: of floats by value, with `f` and without.
const ARITHMETIC: [&str; 39] = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp10",
    "exp2",
    "expm1",
    "fabs",
    "fdim",
    "floor",
    "fma",
    "fmax",
    "fmin",
    "fmod",
    "ilogb",
    "ldexp",
    "log",
    "log10",
    "log1p",
    "log2",
    "nextafter",
    "pow",
    "rint",
    "round",
    "sin",
    "sinh",
    "sqrt",
    "tan",
];

/// The same, not in the order of the alphabet because the line above is long enough.
const MORE_ARITHMETIC: [&str; 5] = ["tanh", "trunc", "lgamma", "tgamma", "roundeven"];

/// Conversions of `half` and `bfloat`, of the compiler's own library.
const CONVERSIONS: [&str; 8] = [
    "__extendhfsf2",
    "__truncsfhf2",
    "__truncdfhf2",
    "__extendhfdf2",
    "__truncsfbf2",
    "__truncdfbf2",
    "__gnu_h2f_ieee",
    "__gnu_f2h_ieee",
];

/// Intrinsics by the words after `llvm.`, up to a dot.
const INTRINSICS: [&str; 78] = [
    "abs",
    "acos",
    "asin",
    "assume",
    "atan",
    "atan2",
    "bitreverse",
    "bswap",
    "canonicalize",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "ctlz",
    "ctpop",
    "cttz",
    "dbg",
    "debugtrap",
    "exp",
    "exp10",
    "exp2",
    "expect",
    "fabs",
    "floor",
    "fma",
    "fmuladd",
    "fptosi",
    "fptoui",
    "fptrunc",
    "frexp",
    "fshl",
    "fshr",
    "invariant",
    "is",
    "ldexp",
    "lifetime",
    "log",
    "log10",
    "log2",
    "maximum",
    "maxnum",
    "memcpy",
    "memmove",
    "memset",
    "minimum",
    "minnum",
    "nearbyint",
    "objectsize",
    "pow",
    "powi",
    "prefetch",
    "ptrmask",
    "rint",
    "round",
    "roundeven",
    "sadd",
    "scmp",
    "sideeffect",
    "sin",
    "sinh",
    "smax",
    "smin",
    "smul",
    "sqrt",
    "sshl",
    "ssub",
    "tan",
    "tanh",
    "trap",
    "trunc",
    "uadd",
    "ubsantrap",
    "ucmp",
    "umax",
    "umin",
    "umul",
    "ushl",
    "usub",
];

/// `llvm.experimental`, `llvm.vector`, `llvm.noalias`: only these of them.
const LONGER_INTRINSICS: [&str; 5] = [
    "llvm.experimental.noalias.scope.decl",
    "llvm.vector.reduce.",
    "llvm.vector.interleave2.",
    "llvm.vector.deinterleave2.",
    "llvm.experimental.constrained.",
];

/// Whether the host may be asked for it: nothing but numbers in and a number out.
fn is_arithmetic(name: &str) -> bool {
    let listed = |n: &str| ARITHMETIC.contains(&n) || MORE_ARITHMETIC.contains(&n);
    listed(name) || name.strip_suffix('f').is_some_and(listed) || CONVERSIONS.contains(&name)
}

fn is_intrinsic(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("llvm.") else { return false };
    let word = rest.split('.').next().unwrap_or("");
    INTRINSICS.contains(&word) || LONGER_INTRINSICS.iter().any(|known| name.starts_with(known))
}

/// The name at the start of `text`, which follows an `@`: with its quotes off.
fn name_at(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or(""),
        None => {
            let end = text.find(|c: char| !(c.is_alphanumeric() || "-$._".contains(c)));
            &text[..end.unwrap_or(text.len())]
        }
    }
}

/// `helper(...)` for `_Z6helperf`, the name itself for others.
fn in_the_text(symbol: &str) -> &str {
    let Some(rest) = symbol.strip_prefix("_Z") else { return symbol };
    let rest = rest.trim_start_matches(['L', 'N', 'K']);
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let length = rest[..digits].parse::<usize>().unwrap_or(0);
    rest.get(digits..digits + length).filter(|n| !n.is_empty()).unwrap_or(symbol)
}

/// Whether the callee of a call instruction is a register, and its name if it is a symbol.
enum Callee<'a> {
    Named(&'a str),
    Computed,
    Assembler,
}

/// What a line calls.
fn callee(text: &str) -> Option<Callee<'_>> {
    let value = text.split_once(" = ").filter(|(l, _)| l.starts_with('%')).map_or(text, |(_, v)| v);
    let value = ["tail ", "musttail ", "notail "].iter().fold(value, |v, w| v.strip_prefix(w).unwrap_or(v));
    let rest = value.strip_prefix("call ")?;
    if rest.split('"').next().is_some_and(|before| before.split(' ').any(|w| w == "asm")) {
        return Some(Callee::Assembler);
    }
    // The callee stands before the first bracket that opens arguments; types and attributes have brackets
    // of their own, but none of them is preceded by a name.
    let bytes = rest.as_bytes();
    let mut at = 0;
    let mut depth = 0usize;
    let mut in_quotes = false;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'(' | b'<' | b'{' | b'[' => depth += 1,
            b')' | b'>' | b'}' | b']' => depth = depth.saturating_sub(1),
            b'@' if depth == 0 => return Some(Callee::Named(name_at(&rest[at + 1..]))),
            b'%' if depth == 0 => {
                // A struct type as what is returned, or a function pointer in a register.
                let name = name_at(&rest[at + 1..]);
                let quotes = if rest[at + 1..].starts_with('"') { 2 } else { 0 };
                let end = at + 1 + name.len() + quotes;
                if rest[end..].starts_with('(') {
                    return Some(Callee::Computed);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Some(Callee::Computed)
}

struct Checker<'a> {
    ir: &'a Ir,
    errors: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn refuse(&mut self, line: &str, message: impl Into<String>) {
        let mut d = Diagnostic::error(Step::Lint, message);
        if let Some(place) = dbg_id(line).and_then(|id| self.ir.locations.place(id)) {
            d = d.at(&place.file, place.line);
            d.column = place.column;
        }
        self.errors.push(d);
    }

    /// A call, and the function of the module that it leads to.
    fn call<'t>(&mut self, line: &'t str, defined: &BTreeSet<&str>) -> Option<&'t str> {
        match callee(line.trim_start())? {
            Callee::Assembler => self.refuse(line, "inline assembly: Metal has none"),
            Callee::Computed => {
                self.refuse(line, "a call through a pointer: the CPU runs functions that are named only");
            }
            Callee::Named(name) if defined.contains(name) => return Some(name),
            Callee::Named(name) if RUNTIME.contains(&name) || is_arithmetic(name) || is_intrinsic(name) => {}
            Callee::Named(name) => {
                let shown = in_the_text(name);
                self.refuse(
                    line,
                    format!(
                        "`{shown}` is declared and not defined, and is no function of Metal: give it a body"
                    ),
                );
            }
        }
        None
    }

    fn global(&mut self, line: &str) {
        let name = name_at(&line[1..]);
        let value = line.split_once(" = ").map_or("", |(_, v)| v);
        let words: Vec<&str> = value.split([' ', ',', '(']).collect();
        if name == "llvm.used" || name == "llvm.compiler.used" {
            return;
        }
        let why = if name.starts_with("llvm.") {
            "code that runs when the kernel is loaded (a constructor, or a variable whose value must be computed): \
             Metal has none"
        } else if words.contains(&"alias") || words.contains(&"ifunc") {
            "a second name for a symbol: Metal has none"
        } else if words.contains(&"external") || words.contains(&"extern_weak") {
            "a variable that is declared and not defined"
        } else if words.contains(&"thread_local") {
            "`thread_local`: Metal has none"
        } else if value.contains(", section \"") || value.contains(" section \"") {
            "a section of its own: Metal has none"
        } else {
            return;
        };
        self.refuse(line, format!("`{}`: {why}", in_the_text(name)));
    }
}

/// Refuses what must not be loaded, at the user's lines.
///
/// # Errors
/// Everything that is not on the lists of the module's head.
pub(super) fn admit(ir: &Ir) -> Result<(), Vec<Diagnostic>> {
    let mut check = Checker { ir, errors: Vec::new() };
    let defined: BTreeSet<&str> = ir
        .text
        .lines()
        .filter(|l| l.starts_with("define "))
        .filter_map(|l| l.split_once('@').map(|(_, name)| name_at(name)))
        .collect();
    let mut calls: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut current = "";
    for line in ir.text.lines() {
        let text = line.trim_start();
        if line.starts_with("module asm") {
            check.refuse(line, "assembly at file scope: Metal has none");
        } else if line.starts_with('@') {
            check.global(line);
        } else if line.starts_with("define ") {
            current = line.split_once('@').map_or("", |(_, name)| name_at(name));
            let own = current.starts_with("marlin_entry_") || current.starts_with("marlin_kernel_");
            if !own && !line.contains(" internal ") {
                check.refuse(line, format!("`{}` is visible outside of the kernel", in_the_text(current)));
            }
            if line.contains(" section \"") || line.contains(" prefix ") || line.contains(" prologue ") {
                check.refuse(
                    line,
                    format!("`{}`: a section of its own: Metal has none", in_the_text(current)),
                );
            }
        } else if line.starts_with(' ') {
            let value = text.split_once(" = ").filter(|(l, _)| l.starts_with('%')).map_or(text, |(_, v)| v);
            let word = value.split(' ').next().unwrap_or("");
            match word {
                "invoke" | "callbr" | "indirectbr" | "va_arg" | "landingpad" | "resume" | "catchswitch" => {
                    check.refuse(line, format!("`{word}`: nothing in Metal leads to this"));
                }
                "alloca" if alloca_count(value).is_some_and(|n| n.starts_with('%')) => {
                    check.refuse(line, "a private array whose length is a variable: Metal has none");
                }
                _ => {
                    if let Some(to) = check.call(line, &defined) {
                        calls.entry(current).or_default().push((to, line));
                    }
                }
            }
        }
    }
    recursion(&mut check, &calls);
    if check.errors.is_empty() { Ok(()) } else { Err(check.errors) }
}

/// The number of elements of an `alloca`, if one is given.
fn alloca_count(value: &str) -> Option<&str> {
    let (_, after) = value.split_once(", i64 ").or_else(|| value.split_once(", i32 "))?;
    Some(after.split([',', ' ']).next().unwrap_or(after))
}

/// Refuses functions that call themselves, directly or by way of others.
fn recursion(check: &mut Checker<'_>, calls: &BTreeMap<&str, Vec<(&str, &str)>>) {
    // 0 unknown, 1 on the way, 2 done. A list of its own instead of recursion: call chains are as long as the
    // user likes.
    let mut state: BTreeMap<&str, u8> = BTreeMap::new();
    for &start in calls.keys() {
        if state.contains_key(start) {
            continue;
        }
        state.insert(start, 1);
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((function, next)) = way.last_mut() {
            let Some(&(to, line)) = calls.get(function).and_then(|list| list.get(*next)) else {
                state.insert(function, 2);
                way.pop();
                continue;
            };
            *next += 1;
            match state.get(to).copied().unwrap_or(0) {
                0 => {
                    state.insert(to, 1);
                    way.push((to, 0));
                }
                1 => check
                    .refuse(line, format!("recursion: `{}` calls itself: Metal has none", in_the_text(to))),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metal::location::Locations;

    fn refused(text: &str) -> Vec<String> {
        let ir = Ir {
            text: text.to_owned(),
            locations: Locations::default(),
            kernels: vec![],
            variables: vec![],
            refused: vec![],
        };
        admit(&ir).err().unwrap_or_default().into_iter().map(|d| d.message).collect()
    }

    #[test]
    fn what_metal_has_passes() {
        let text = "
@table = internal unnamed_addr constant [2 x i32] [i32 1, i32 2], align 4
define internal fastcc void @_ZL4leafv() {
  %a = alloca [8 x i32], align 4
  %s = tail call float @sinf(float noundef %x) #3, !dbg !9
  %m = call { float, i32 } @llvm.frexp.f32.i32(float %x)
  call void @llvm.memcpy.p0.p0.i64(ptr align 4 %a, ptr align 4 %b, i64 32, i1 false)
  ret void
}
define void @marlin_kernel_0(ptr noundef %a) local_unnamed_addr #0 {
  tail call fastcc void @_ZL4leafv()
  %b = call %struct.S @_ZL4leafv()
  ret void
}
";
        assert_eq!(refused(text), [""; 0]);
    }

    #[test]
    fn what_reaches_out_is_refused() {
        for (line, why) in [
            ("  %r = call i32 @creat(ptr %p, i32 420)", "`creat` is declared and not defined"),
            ("  %r = call noundef float @_Z6helperf(float %x)", "`helper` is declared"),
            ("  call void %f(i32 1)", "through a pointer"),
            ("  %r = call %struct.S %f(i32 1)", "through a pointer"),
            ("  call void inttoptr (i64 4096 to ptr)()", "through a pointer"),
            ("  call void asm sideeffect \"syscall\", \"\"()", "inline assembly"),
            ("  %p = call ptr @llvm.returnaddress(i32 0)", "`llvm.returnaddress`"),
            ("  call void @llvm.write_register.i64(metadata !1, i64 0)", "`llvm.write_register"),
            ("  %a = alloca i32, i64 %n, align 4", "length is a variable"),
            ("  indirectbr ptr %a, [label %x]", "indirectbr"),
        ] {
            let text = format!("define internal void @_Z1fv() {{\n{line}\n  ret void\n}}\n");
            let found = refused(&text);
            assert!(found.len() == 1 && found[0].contains(why), "{line}: {found:?}");
        }
        for (line, why) in [
            ("@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] []", "runs when"),
            ("@environ = external global ptr, align 8", "declared and not defined"),
            ("@f = internal alias void (), ptr @g", "second name"),
            ("@x = internal global i32 0, section \".init_array\", align 4", "section"),
            ("module asm \".globl x\"", "assembly"),
            ("define void @malloc() {", "visible outside"),
        ] {
            let found = refused(&format!("{line}\n"));
            assert!(found.len() == 1 && found[0].contains(why), "{line}: {found:?}");
        }
    }

    #[test]
    fn recursion_is_found_through_others() {
        let body =
            |name: &str, to: &str| format!("define internal void @{name}() {{\n  call void @{to}()\n}}\n");
        let found = refused(&format!("{}{}", body("a", "b"), body("b", "a")));
        assert!(found.len() == 1 && found[0].contains("recursion"), "{found:?}");
        let chain: String = (0..5000).map(|i| body(&format!("f{i}"), &format!("f{}", i + 1))).collect();
        let found = refused(&format!("{chain}define internal void @f5000() {{\n  ret void\n}}\n"));
        assert_eq!(found, [""; 0]);
    }
}
