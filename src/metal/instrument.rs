//! LLVM IR, line by line, made fit to run on a CPU under watch.
//!
//! - Each call that brings threads together gets a number of its own, so that a rendezvous knows which call it is.
//! - Each jump backwards counts a step, so that a kernel that never ends is stopped.
//! - A division by zero gives what it divides instead of a trap, as on a GPU nothing stops.
//! - If accesses are watched, each load, store and atomic of memory that is not private first tells its address.

use super::ir::Ir;
use super::location::{Place, dbg_id};
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
}

/// The number that the shim passes for "this call" (`MARLIN_SITE`).
const ANY_SITE: &str = "i32 noundef 1835102828)";

/// Calls that bring threads together.
const TOGETHER: [(&str, Op); 3] = [
    ("@marlin_threadgroup_barrier(", Op::ThreadgroupBarrier),
    ("@marlin_simdgroup_barrier(", Op::SimdgroupBarrier),
    ("@marlin_simd_exchange(", Op::Simd),
];

/// What is added to each module.
const SUPPORT: &str = r"
@marlin_steps = external global i64
declare void @marlin_out_of_steps() cold
declare void @marlin_access(ptr, i64, i32)
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
    let mut out = Instrumented { text: String::with_capacity(ir.text.len() * 2), sites: Vec::new() };
    let mut constants = Vec::new();
    let mut lines = ir.text.lines();
    while let Some(line) = lines.next() {
        // Debug information has served: the sites have their places.
        if line.starts_with("!llvm.dbg") || line.starts_with("!llvm.module.flags") {
            continue;
        }
        if let Some(constant) = global_constant(line) {
            constants.push(constant);
        }
        push_without_debug(&mut out.text, line);
        if line.starts_with("define ") {
            let body: Vec<&str> = lines.by_ref().take_while(|l| *l != "}").collect();
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
    out
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
    let own_memory = pointers_to_own_memory(body);
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
            for access in accesses_of(text) {
                if !own_memory.contains(access.pointer) && !access.pointer.starts_with(['@', 'g']) {
                    let number = out.add_site(place_of(ir, body, i), access.op, access.bytes);
                    let _ = writeln!(
                        out.text,
                        "  call void @marlin_access(ptr {}, i64 {}, i32 {number})",
                        access.pointer, access.bytes
                    );
                }
            }
        }
        match guarded_division(text, i) {
            Some(guarded) => out.text.push_str(&guarded),
            None => push_without_debug(&mut out.text, line),
        }
        i += 1;
    }
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
fn label(line: &str) -> Option<&str> {
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

/// Names of pointers into the function's own stack or into the runtime's exchange: nobody else's memory.
fn pointers_to_own_memory<'a>(body: &[&'a str]) -> HashSet<&'a str> {
    let mut own = HashSet::new();
    for line in body {
        let Some((name, value)) = line.trim_start().split_once(" = ") else { continue };
        let from_runtime =
            value.contains("@marlin_simd_exchange(") || value.contains("@marlin_texture_argument(");
        let derived = value.starts_with("getelementptr ")
            && value.split("ptr ").nth(2).is_some_and(|r| own.contains(operand(r)));
        if value.starts_with("alloca ") || from_runtime || derived {
            own.insert(name);
        }
    }
    own
}

/// The operand at the start of `text`, up to a comma or blank.
fn operand(text: &str) -> &str {
    let end = match text.strip_prefix("%\"").or_else(|| text.strip_prefix("@\"")) {
        Some(rest) => rest.find('"').map(|n| n + 3),
        None => text.find([',', ' ', ')']),
    };
    &text[..end.unwrap_or(text.len())]
}

struct Access<'a> {
    pointer: &'a str,
    bytes: u64,
    op: Op,
}

/// The accesses of one instruction.
fn accesses_of(text: &str) -> Vec<Access<'_>> {
    let value = text.split_once(" = ").map_or(text, |(_, v)| v);
    let words = |t: &str| -> usize { if t.starts_with("volatile ") { 9 } else { 0 } };
    let pointer_after = |t: &'_ str, marker: &str| t.rfind(marker).map(|at| at + marker.len());
    let mut found = Vec::new();
    if let Some(rest) = value.strip_prefix("load ") {
        let (op, rest) = rest.strip_prefix("atomic ").map_or((Op::Load, rest), |r| (Op::Atomic, r));
        let rest = &rest[words(rest)..];
        let end = type_end(rest);
        if let (Some(bytes), Some(pointer)) = (size_of(&rest[..end]), rest[end..].strip_prefix(", ptr ")) {
            found.push(Access { pointer: operand(pointer), bytes, op });
        }
    } else if let Some(rest) = value.strip_prefix("store ") {
        let (op, rest) = rest.strip_prefix("atomic ").map_or((Op::Store, rest), |r| (Op::Atomic, r));
        let rest = &rest[words(rest)..];
        if let (Some(bytes), Some(at)) = (size_of(&rest[..type_end(rest)]), pointer_after(rest, ", ptr ")) {
            found.push(Access { pointer: operand(&rest[at..]), bytes, op });
        }
    } else if value.starts_with("atomicrmw ") || value.starts_with("cmpxchg ") {
        let Some(at) = value.find("ptr ") else { return found };
        let pointer = operand(&value[at + 4..]);
        let ty = value[at + 4 + pointer.len()..].trim_start_matches(", ");
        if let Some(bytes) = size_of(&ty[..type_end(ty)]) {
            found.push(Access { pointer, bytes, op: Op::Atomic });
        }
    } else if value.contains("@llvm.memcpy.")
        || value.contains("@llvm.memmove.")
        || value.contains("@llvm.memset.")
    {
        let Some(open) = value.find('(') else { return found };
        let arguments: Vec<&str> =
            value[open + 1..].split(", ").map(|a| a.rsplit(' ').next().unwrap_or("")).collect();
        let Some(bytes) = arguments.get(2).and_then(|n| n.parse().ok()) else { return found };
        found.push(Access { pointer: arguments[0], bytes, op: Op::Store });
        if !value.contains("@llvm.memset.") {
            found.push(Access { pointer: arguments[1], bytes, op: Op::Load });
        }
    }
    found
}

/// Where the type at the start of `text` ends.
fn type_end(text: &str) -> usize {
    let mut depth = 0usize;
    let mut in_quotes = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            '<' | '[' | '{' | '(' => depth += 1,
            '>' | ']' | '}' | ')' => depth = depth.saturating_sub(1),
            ' ' | ',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Bytes that a load or store of a scalar, vector or array type moves.
fn size_of(ty: &str) -> Option<u64> {
    match ty {
        "half" | "bfloat" => return Some(2),
        "float" => return Some(4),
        "double" | "ptr" => return Some(8),
        _ => {}
    }
    if let Some(bits) = ty.strip_prefix('i') {
        return bits.parse::<u64>().ok().map(|n| n.div_ceil(8));
    }
    let inner = ty.strip_prefix(['<', '[']).and_then(|t| t.strip_suffix(['>', ']']))?;
    let (count, element) = inner.split_once(" x ")?;
    let count: u64 = count.trim().parse().ok()?;
    // A vector of bits is packed.
    if element == "i1" { Some(count.div_ceil(8)) } else { Some(count * size_of(element)?) }
}

/// `%r = sdiv i32 %a, %b` with a divisor that can't be zero, nor -1 for the smallest number.
fn guarded_division(text: &str, line: usize) -> Option<String> {
    let (result, value) = text.split_once(" = ")?;
    let (op, rest) = value.split_once(' ')?;
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
    fn sizes_are_what_a_lane_moves() {
        let sizes =
            ["i8", "half", "<3 x float>", "[2 x <4 x half>]", "<8 x i1>", "i1", "%struct.S"].map(size_of);
        assert_eq!(sizes, [Some(1), Some(2), Some(12), Some(16), Some(1), Some(1), None]);
    }

    #[test]
    fn accesses_are_found_in_their_instructions() {
        let found = |text| -> Vec<(String, u64, Op)> {
            accesses_of(text).into_iter().map(|a| (a.pointer.to_owned(), a.bytes, a.op)).collect()
        };
        let one = |p: &str, bytes, op| vec![(p.to_owned(), bytes, op)];
        assert_eq!(found("%1 = load <4 x float>, ptr %a.b, align 16, !tbaa !3"), one("%a.b", 16, Op::Load));
        assert_eq!(found("store <2 x i32> <i32 1, i32 2>, ptr %p, align 8"), one("%p", 8, Op::Store));
        assert_eq!(found("%4 = atomicrmw add ptr %p, i32 1 monotonic, align 4"), one("%p", 4, Op::Atomic));
        assert_eq!(found("store atomic i32 %x, ptr %p monotonic, align 4"), one("%p", 4, Op::Atomic));
        let copy =
            "call void @llvm.memcpy.p0.p0.i64(ptr noundef align 4 %d, ptr align 4 %s, i64 16, i1 false)";
        assert_eq!(found(copy), [one("%d", 16, Op::Store), one("%s", 16, Op::Load)].concat());
    }

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
    fn labels_and_jumps_match() {
        assert_eq!(label("for.body.i:       ; preds = %entry"), Some("for.body.i"));
        assert_eq!(label("\"a b\":"), Some("a b"));
        assert_eq!(label("  %x = load float, ptr %y"), None);
        let all: Vec<_> = targets("br i1 %c, label %for.end, label %\"a b\", !llvm.loop !5").collect();
        assert_eq!(all, ["for.end", "a b"]);
    }
}
