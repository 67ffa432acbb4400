//! LLVM IR, line by line, made fit to run on a CPU under watch.
//!
//! - Each call that brings threads together gets a number of its own, so that a rendezvous knows which call it is.
//! - Each jump backwards counts a step, so that a kernel that never ends is stopped.
//! - A division by zero gives what it divides instead of a trap, as on a GPU nothing stops.
//! - A trap, and what the optimizer took for unreachable, tells where it is.
//! - If accesses are watched, each load, store and atomic first tells its address, and each private variable that
//!   stays in memory tells where it lies ([`Privates`]).

use super::access::{Size, accesses_of, operand, type_end, value_of};
use super::ir::Ir;
use super::location::{Place, dbg_id};
use super::private::Privates;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// What happens at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Op {
    /// A load.
    Load,
    /// A store.
    Store,
    /// An atomic load, store or read-modify-write.
    Atomic,
    /// `threadgroup_barrier`
    ThreadgroupBarrier,
    /// `simdgroup_barrier`
    SimdgroupBarrier,
    /// A simdgroup function.
    Simd,
    /// An instruction that ends the program.
    Trap,
}

/// One instruction that the runtime hears of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Site {
    /// Where it is in the user's text; the default place if the optimizer left no trace of it.
    pub place: Place,
    /// What it does.
    pub op: Op,
    /// Bytes that a lane touches; 0 for what is no access.
    pub bytes: u64,
}

/// IR to compile, and what its site numbers stand for.
pub(super) struct Instrumented {
    pub(super) text: String,
    pub(super) sites: Vec<Site>,
    /// Names of private variables, by the number that they are told with.
    pub(super) privates: Vec<String>,
}

/// The number that the shim passes for "this call" (`MARLIN_SITE`).
const ANY_SITE: &str = "i32 noundef 1835102828)";

/// Calls that bring threads together.
const TOGETHER: [(&str, Op); 3] = [
    ("@marlin_threadgroup_barrier(", Op::ThreadgroupBarrier),
    ("@marlin_simdgroup_barrier(", Op::SimdgroupBarrier),
    ("@marlin_simd_exchange(", Op::Simd),
];

/// Calls that end a program.
const TRAPS: [&str; 3] = ["@llvm.trap(", "@llvm.debugtrap(", "@llvm.ubsantrap("];

/// What is added to each module.
const SUPPORT: &str = r"
@marlin_steps = external global i64
declare void @marlin_out_of_steps() cold
declare void @marlin_trap(i32) cold
declare void @marlin_access(ptr, i64, i32)
declare void @marlin_private(ptr, i64, i32)
declare void @marlin_private_fresh(ptr)
declare void @marlin_private_end(i32)
declare void @marlin_private_access(ptr, i64, ptr, i64, i32)
define internal void @marlin_step() alwaysinline {
  %n = load i64, ptr @marlin_steps
  %m = sub i64 %n, 1
  store i64 %m, ptr @marlin_steps
  %none = icmp slt i64 %m, 0
  br i1 %none, label %out, label %go
out:
  call void @marlin_out_of_steps()
  br label %go
go:
  ret void
}
";

/// Instruments a module; `accesses` says whether loads, stores and atomics are watched.
pub(super) fn instrument(ir: &Ir, accesses: bool) -> Instrumented {
    let text = String::with_capacity(ir.text.len() * 2);
    let mut out = Instrumented { text, sites: Vec::new(), privates: Vec::new() };
    // What bounds the stack of a thread: its private variables, and of all else the number of instructions.
    let (mut frames, mut instructions) = (Vec::new(), 0u64);
    let mut constants = Vec::new();
    let mut attributes = HashSet::new();
    let mut lines = ir.text.lines();
    while let Some(line) = lines.next() {
        // Debug information has served: the sites have their places.
        if line.starts_with("!llvm.dbg") || line.starts_with("!llvm.module.flags") {
            continue;
        }
        if let Some(constant) = global_constant(line) {
            constants.push(constant);
        }
        if let Some(rest) = line.strip_prefix("attributes #") {
            let number = rest.split(' ').next().unwrap_or("");
            out.text.push_str(&if attributes.contains(number) {
                without_promises(line)
            } else {
                line.to_owned()
            });
            out.text.push('\n');
            continue;
        }
        push_without_debug(&mut out.text, line);
        if line.starts_with("define ") {
            attributes.extend(line.split(' ').filter_map(|word| word.strip_prefix('#')));
            let body: Vec<&str> = lines.by_ref().take_while(|l| *l != "}").collect();
            frames.extend(body.iter().filter_map(|l| super::private::alloca_type(l.trim_start())));
            instructions += body.len() as u64;
            // An entry only reads which buffers there are.
            function(ir, &body, accesses && !line.contains("@marlin_entry_"), &mut out);
            out.text.push_str("}\n");
        }
    }
    out.text.push_str(SUPPORT);
    let rows: Vec<_> = constants
        .iter()
        .map(|(name, ty)| {
            format!("{{ ptr, i64 }} {{ ptr {name}, i64 ptrtoint (ptr getelementptr ({ty}, ptr null, i32 1) to i64) }}")
        })
        .collect();
    let _ = writeln!(
        out.text,
        "@marlin_constants = global [{} x {{ ptr, i64 }}] [{}]\n@marlin_constant_count = global i64 {}",
        rows.len(),
        rows.join(", "),
        rows.len()
    );
    // One number per alloca, summed up when the object is loaded.
    let frames: Vec<_> = frames.iter().map(|ty| format!("i64 {}", Size::of_type(ty).operand())).collect();
    let _ = writeln!(
        out.text,
        "@marlin_frames = global [{n} x i64] [{}]\n@marlin_frame_count = global i64 {n}\n\
         @marlin_instruction_count = global i64 {instructions}",
        frames.join(", "),
        n = frames.len(),
    );
    out
}

/// A group of attributes without what no longer holds of a function that counts steps and tells addresses: that it
/// touches little memory, gives nothing away, and returns. A call of such a function would be left out.
fn without_promises(group: &str) -> String {
    let word = |w: &&str| !matches!(*w, "nofree" | "nosync" | "willreturn" | "mustprogress" | "speculatable");
    let mut rest = group.to_owned();
    while let Some(at) = rest.find(" memory(") {
        let end = rest[at..].find(')').map_or(rest.len(), |n| at + n + 1);
        rest.replace_range(at..end, "");
    }
    rest.split(' ').filter(word).collect::<Vec<_>>().join(" ")
}

/// Name and type of a constant of the module.
fn global_constant(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix('@').and_then(|_| line.split_once(" = "))?;
    let at = rest.find(" constant ")?;
    let ty = &rest[at + " constant ".len()..];
    Some((name, &ty[..type_end(ty)]))
}

fn function(ir: &Ir, body: &[&str], accesses: bool, out: &mut Instrumented) {
    let blocks = block_numbers(body);
    let first_private = out.privates.len();
    let privates = if accesses { Privates::of(body) } else { Privates::default() };
    out.privates.extend(privates.names());
    let mut block = 0;
    let mut i = 0;
    while i < body.len() {
        let line = body[i];
        if let Some(name) = label(line) {
            block = blocks.get(name).copied().unwrap_or(block);
        }
        let text = line.trim_start();
        if let Some((_, op)) = TOGETHER.iter().find(|(name, _)| text.contains(name) && text.contains("call "))
        {
            let number = out.add_site(place_of(ir, body, i), *op, 0);
            push_without_debug(&mut out.text, &line.replace(ANY_SITE, &format!("i32 noundef {number})")));
            i += 1;
            continue;
        }
        if TRAPS.iter().any(|trap| text.contains(trap) && text.contains("call ")) {
            let number = out.add_site(place_of(ir, body, i), Op::Trap, 0);
            let _ = writeln!(out.text, "  call void @marlin_trap(i32 {number})");
            i += 1;
            continue;
        }
        if text.starts_with("unreachable") {
            let number = out.add_site(place_before(ir, body, i), Op::Trap, 0);
            let _ = writeln!(out.text, "  call void @marlin_trap(i32 {number})");
        }
        if text.starts_with("br ") || text.starts_with("switch ") {
            // A switch goes on for lines, up to its `]`.
            let is_switch = text.starts_with("switch ");
            let last =
                if is_switch { (i..body.len()).find(|&k| body[k].contains(']')).unwrap_or(i) } else { i };
            let jump = &body[i..=last];
            let backwards =
                jump.iter().flat_map(|l| targets(l)).any(|t| blocks.get(t).is_some_and(|&b| b <= block));
            if backwards {
                out.text.push_str("  call void @marlin_step()\n");
            }
            for l in jump {
                push_without_debug(&mut out.text, l);
            }
            i = last + 1;
            continue;
        }
        if accesses {
            if let Some(instead) = privates.lifetime(text) {
                out.text.push_str(&instead);
                i += 1;
                continue;
            }
            if text.starts_with("ret ") && privates.len() > 0 {
                let _ = writeln!(out.text, "  call void @marlin_private_end(i32 {})", privates.len());
            }
            watch(ir, body, i, &privates, out);
        }
        match guarded_division(text, i) {
            Some(guarded) => out.text.push_str(&guarded),
            None => push_without_debug(&mut out.text, line),
        }
        if let Some(told) = privates.begin(text, first_private) {
            out.text.push_str(&told);
        }
        i += 1;
    }
}

/// Tells the addresses of line `i` before it is run.
fn watch(ir: &Ir, body: &[&str], i: usize, privates: &Privates<'_>, out: &mut Instrumented) {
    let text = body[i].trim_start();
    for access in accesses_of(text) {
        let (pointer, size) = (access.pointer, access.size.operand());
        // A constant of the module, whole or from its start: its type says that it is inside.
        if privates.is_outside_the_kernel(pointer) || pointer.starts_with('@') && access.op == Op::Load {
            continue;
        }
        let base = privates.base(pointer);
        if base.is_some_and(|base| privates.is_plain(base)) {
            continue;
        }
        let number = out.add_site(place_of(ir, body, i), access.op, access.size.known());
        let _ = match base {
            Some(base) => {
                let mask = if access.op == Op::Load { privates.bytes_that_count(body, i) } else { -1 };
                writeln!(
                    out.text,
                    "  call void @marlin_private_access(ptr {pointer}, i64 {size}, ptr {base}, i64 {mask}, i32 {number})"
                )
            }
            None => {
                writeln!(out.text, "  call void @marlin_access(ptr {pointer}, i64 {size}, i32 {number})")
            }
        };
    }
}

/// The place of the nearest instruction before `i` that has one.
fn place_before(ir: &Ir, body: &[&str], i: usize) -> Place {
    let own = |line: &&str| dbg_id(line).and_then(|id| ir.locations.place(id)).filter(|p| p.line > 0);
    body[..=i].iter().rev().find_map(own).unwrap_or_default()
}

impl Instrumented {
    fn add_site(&mut self, place: Place, op: Op, bytes: u64) -> usize {
        self.sites.push(Site { place, op, bytes });
        self.sites.len() - 1
    }
}

/// The place of instruction `i`. An instruction that was moved has lost its line: the first use of its
/// result tells where it was needed.
fn place_of(ir: &Ir, body: &[&str], i: usize) -> Place {
    let own = |line: &str| dbg_id(line).and_then(|id| ir.locations.place(id)).filter(|p| p.line > 0);
    if let Some(place) = own(body[i]) {
        return place;
    }
    let Some((result, _)) = body[i].trim_start().split_once(" = ") else { return Place::default() };
    let uses = |line: &&&str| {
        line.match_indices(result).any(|(at, _)| {
            !line[at + result.len()..]
                .starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '$'))
        })
    };
    body[i + 1..].iter().filter(uses).find_map(|l| own(l)).unwrap_or_default()
}

/// Block labels of a body, numbered in order. The first block is number 0 whatever its label.
fn block_numbers<'a>(body: &[&'a str]) -> HashMap<&'a str, usize> {
    body.iter().filter_map(|l| label(l)).enumerate().map(|(n, l)| (l, n)).collect()
}

/// `name:` or `"quoted name":` at the start of a line.
pub(super) fn label(line: &str) -> Option<&str> {
    if line.starts_with(' ') {
        return None;
    }
    if let Some(rest) = line.strip_prefix('"') {
        let end = rest.find('"')?;
        return rest[end + 1..].starts_with(':').then_some(&rest[..end]);
    }
    let end = line.find(':')?;
    line[..end].chars().all(|c| c.is_alphanumeric() || "-$._".contains(c)).then_some(&line[..end])
}

/// The labels that a line jumps to.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("label %").skip(1).map(|rest| match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or(""),
        None => rest.split(|c: char| !(c.is_alphanumeric() || "-$._".contains(c))).next().unwrap_or(""),
    })
}

/// `%r = sdiv i32 %a, %b` with a divisor that can't be zero, nor -1 for the smallest number.
fn guarded_division(text: &str, line: usize) -> Option<String> {
    let (result, _) = text.split_once(" = ")?;
    let (op, rest) = value_of(text).split_once(' ')?;
    let signed = matches!(op, "sdiv" | "srem");
    if !signed && !matches!(op, "udiv" | "urem") {
        return None;
    }
    let rest = rest.strip_prefix("exact ").unwrap_or(rest);
    let end = type_end(rest);
    let ty = &rest[..end];
    let (dividend, divisor) = rest[end..].trim_start().split_once(", ")?;
    let divisor = operand(divisor);
    if !divisor.starts_with('%') {
        return None;
    }
    let (count, scalar) = match ty.strip_prefix('<').and_then(|t| t.strip_suffix('>')) {
        Some(inner) => inner.split_once(" x ").map(|(n, s)| (n.trim().parse().unwrap_or(1), s))?,
        None => (1, ty),
    };
    let bits: u32 = scalar.strip_prefix('i')?.parse().ok()?;
    let is_vector = ty.starts_with('<');
    let splat = |x: String| {
        if is_vector { format!("<{}>", vec![format!("{scalar} {x}"); count].join(", ")) } else { x }
    };
    let bit = if is_vector { format!("<{count} x i1>") } else { "i1".to_owned() };
    let (one, zero) = (splat("1".into()), splat("0".into()));
    let mut out = format!("  %marlin.z{line} = icmp eq {ty} {divisor}, {zero}\n");
    let mut bad = format!("%marlin.z{line}");
    if signed {
        let smallest = splat(format!("-{}", 1u128 << (bits - 1)));
        let _ = write!(
            out,
            "  %marlin.m{line} = icmp eq {ty} {divisor}, {}\n  %marlin.s{line} = icmp eq {ty} {dividend}, {smallest}\n  \
             %marlin.o{line} = and {bit} %marlin.m{line}, %marlin.s{line}\n  \
             %marlin.b{line} = or {bit} %marlin.z{line}, %marlin.o{line}\n",
            splat("-1".into()),
        );
        bad = format!("%marlin.b{line}");
    }
    let _ = write!(
        out,
        "  %marlin.d{line} = select {bit} {bad}, {ty} {one}, {ty} {divisor}\n  {result} = {op} {ty} {dividend}, %marlin.d{line}\n"
    );
    Some(out)
}

/// Appends a line with its `!dbg` left out, and nothing for what is only debug information.
fn push_without_debug(out: &mut String, line: &str) {
    if line.trim_start().starts_with("#dbg_")
        || line.starts_with("!") && line.contains(" !DI") && !line.contains("!DILocation")
    {
        // Locations stay: loop metadata refers to them. The rest hangs on `!llvm.dbg.cu`, which is gone.
        if line.starts_with('!') {
            out.push_str(line);
            out.push('\n');
        }
        return;
    }
    let mut rest = line;
    while let Some(at) = rest.find("!dbg !") {
        let digits = rest[at + 6..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| at + 6 + n);
        out.push_str(rest[..at].trim_end_matches([' ', ',']));
        // The rest of a `define` goes on after a blank.
        rest = &rest[digits..];
    }
    out.push_str(rest);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_division_by_a_variable_is_guarded() {
        let text = guarded_division("%r = udiv i32 %a, %b", 7).expect("guarded");
        assert!(text.ends_with("%r = udiv i32 %a, %marlin.d7\n"), "{text}");
        assert!(guarded_division("%r = udiv i32 %a, 3", 7).is_none());
        assert!(
            guarded_division("%r = srem <2 x i32> %a, %b", 1).expect("guarded").contains("<i32 -1, i32 -1>")
        );
    }

    #[test]
    fn a_function_promises_nothing_that_the_watch_breaks() {
        let group = r#"attributes #0 = { mustprogress nofree noinline memory(argmem: read, inaccessiblemem: none) "a"="b" }"#;
        assert_eq!(without_promises(group), r#"attributes #0 = { noinline "a"="b" }"#);
    }

    #[test]
    fn labels_and_jumps_match() {
        assert_eq!(label("for.body.i:       ; preds = %entry"), Some("for.body.i"));
        assert_eq!(label("\"a b\":"), Some("a b"));
        assert_eq!(label("  %x = load float, ptr %y"), None);
        let all: Vec<_> = targets("br i1 %c, label %for.end, label %\"a b\", !llvm.loop !5").collect();
        assert_eq!(all, ["for.end", "a b"]);
    }
}
