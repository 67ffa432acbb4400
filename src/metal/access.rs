//! Loads, stores and atomics in lines of LLVM IR: what pointer, how many bytes.

use super::instrument::Op;

/// The operand at the start of `text`, up to a comma or blank; of a constant expression all of it.
pub(super) fn operand(text: &str) -> &str {
    let end = match text.strip_prefix("%\"").or_else(|| text.strip_prefix("@\"")) {
        Some(rest) => rest.find('"').map(|n| n + 3),
        // `getelementptr inbounds (i8, ptr @g, i64 4)`, `inttoptr (i64 4096 to ptr)`.
        None if text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.find('(').is_some_and(|open| !text[..open].contains([',', '%', '@', ')'])) =>
        {
            let open = text.find('(').unwrap_or(0);
            Some(open + matching(&text[open..]))
        }
        None => text.find([',', ' ', ')']),
    };
    &text[..end.unwrap_or(text.len())]
}

/// Where the bracket that `text` begins with is closed, and past it.
fn matching(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// How many bytes an access moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Known from its type.
    Bytes(u64),
    /// Known when it runs, or to the compiler alone: an `i64` of the IR.
    Value(String),
}

impl Size {
    /// As an operand of type `i64`.
    pub(super) fn operand(&self) -> String {
        match self {
            Self::Bytes(n) => n.to_string(),
            Self::Value(text) => text.clone(),
        }
    }

    /// The number, 0 if it is not known here.
    pub(super) fn known(&self) -> u64 {
        match self {
            Self::Bytes(n) => *n,
            Self::Value(_) => 0,
        }
    }

    /// The size of a type: a number, or what the compiler makes one of.
    pub(super) fn of_type(ty: &str) -> Self {
        match size_of(ty) {
            Some(bytes) => Self::Bytes(bytes),
            None => Self::Value(format!("ptrtoint (ptr getelementptr ({ty}, ptr null, i32 1) to i64)")),
        }
    }
}

pub(super) struct Access<'a> {
    pub(super) pointer: &'a str,
    pub(super) size: Size,
    pub(super) op: Op,
}

/// What an instruction does, `%x = ` left out.
pub(super) fn value_of(text: &str) -> &str {
    text.split_once(" = ").filter(|(l, _)| l.starts_with('%')).map_or(text, |(_, v)| v)
}

/// The accesses of one instruction.
pub(super) fn accesses_of(text: &str) -> Vec<Access<'_>> {
    let value = value_of(text);
    let pointer_after = |t: &'_ str, marker: &str| t.rfind(marker).map(|at| at + marker.len());
    let mut found = Vec::new();
    if let Some(rest) = value.strip_prefix("load ") {
        let (op, rest) = rest.strip_prefix("atomic ").map_or((Op::Load, rest), |r| (Op::Atomic, r));
        let rest = rest.strip_prefix("volatile ").unwrap_or(rest);
        let end = type_end(rest);
        if let Some(pointer) = rest[end..].strip_prefix(", ptr ") {
            found.push(Access { pointer: operand(pointer), size: Size::of_type(&rest[..end]), op });
        }
    } else if let Some(rest) = value.strip_prefix("store ") {
        let (op, rest) = rest.strip_prefix("atomic ").map_or((Op::Store, rest), |r| (Op::Atomic, r));
        let rest = rest.strip_prefix("volatile ").unwrap_or(rest);
        let ty = &rest[..type_end(rest)];
        // The value may be a constant expression with pointers in it: skip it whole.
        let after = rest[ty.len()..].trim_start();
        let after = &after[operand_end(after)..];
        let at = after.strip_prefix(", ptr ").or_else(|| pointer_after(rest, ", ptr ").map(|at| &rest[at..]));
        if let Some(pointer) = at {
            found.push(Access { pointer: operand(pointer), size: Size::of_type(ty), op });
        }
    } else if value.starts_with("atomicrmw ") || value.starts_with("cmpxchg ") {
        let Some(at) = value.find("ptr ") else { return found };
        let pointer = operand(&value[at + 4..]);
        let ty = value[at + 4 + pointer.len()..].trim_start_matches(", ");
        found.push(Access { pointer, size: Size::of_type(&ty[..type_end(ty)]), op: Op::Atomic });
    } else if ["@llvm.memcpy.", "@llvm.memmove.", "@llvm.memset."].iter().any(|name| value.contains(name)) {
        let arguments = arguments_of(value);
        let [to, from, bytes, ..] = arguments[..] else { return found };
        let size = match bytes.parse() {
            Ok(n) => Size::Bytes(n),
            // A length of 32 bits belongs to another instruction set.
            Err(_) => Size::Value(bytes.to_owned()),
        };
        found.push(Access { pointer: to, size: size.clone(), op: Op::Store });
        if !value.contains("@llvm.memset.") {
            found.push(Access { pointer: from, size, op: Op::Load });
        }
    }
    found
}

/// Where the value at the start of `text` ends: a constant may have brackets.
fn operand_end(text: &str) -> usize {
    match text.chars().next() {
        Some('<' | '[' | '{') => matching(text),
        _ => operand(text).len(),
    }
}

/// The arguments of a call without their types and attributes.
pub(super) fn arguments_of(call: &str) -> Vec<&str> {
    let Some(name) = call.find('@') else { return Vec::new() };
    let Some(open) = call[name..].find('(').map(|n| name + n) else { return Vec::new() };
    let inside = &call[open + 1..open + matching(&call[open..]).max(2) - 1];
    let mut list = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                list.push(last_operand(inside[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    list
}

/// The operand at the end of `ptr noundef nonnull align 4 dereferenceable(8) %x`.
fn last_operand(argument: &str) -> &str {
    let (mut depth, mut from) = (0usize, 0);
    for (at, c) in argument.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => {
                // A constant expression has a blank between its name and its bracket.
                let rest = &argument[at + 1..];
                if !rest.starts_with('(') && !rest.starts_with("inbounds (") && !rest.starts_with("nuw (") {
                    from = at + 1;
                }
            }
            _ => {}
        }
    }
    &argument[from..]
}

/// Where the type at the start of `text` ends.
pub(super) fn type_end(text: &str) -> usize {
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
pub(super) fn size_of(ty: &str) -> Option<u64> {
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
            accesses_of(text).into_iter().map(|a| (a.pointer.to_owned(), a.size.known(), a.op)).collect()
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
    fn constants_and_sizes_known_later_are_operands_too() {
        let pointers = |text| -> Vec<(String, String)> {
            accesses_of(text).into_iter().map(|a| (a.pointer.to_owned(), a.size.operand())).collect()
        };
        let one = |p: &str, n: &str| vec![(p.to_owned(), n.to_owned())];
        assert_eq!(
            pointers("%1 = load i32, ptr getelementptr inbounds (i8, ptr @g, i64 4), align 4"),
            one("getelementptr inbounds (i8, ptr @g, i64 4)", "4")
        );
        assert_eq!(
            pointers("store i32 0, ptr inttoptr (i64 64 to ptr), align 64"),
            one("inttoptr (i64 64 to ptr)", "4")
        );
        assert_eq!(pointers("store ptr getelementptr (i8, ptr @g, i64 4), ptr %p, align 8"), one("%p", "8"));
        assert_eq!(
            pointers("%1 = load %struct.S, ptr %p, align 4"),
            one("%p", "ptrtoint (ptr getelementptr (%struct.S, ptr null, i32 1) to i64)")
        );
        let copy = "tail call void @llvm.memcpy.p0.p0.i64(ptr nonnull align 4 %d, ptr align 4 getelementptr (i8, ptr @g, i64 4), i64 %n, i1 false)";
        assert_eq!(
            pointers(copy),
            [one("%d", "%n"), one("getelementptr (i8, ptr @g, i64 4)", "%n")].concat()
        );
    }
}
