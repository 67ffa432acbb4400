//! What the author calls things: fields of structs by their offsets, counters of loops by their lines. The compiled
//! module has neither; the text has both. Where a type is not understood, nothing is named after it.

use std::collections::HashMap;

/// A field: offset, size of an element, number of elements if it is an array, and the scalar or struct that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    ty: String,
    at: u64,
    element: u64,
    count: Option<u64>,
}

/// A struct's fields and its size and alignment; of the fields before one of unknown type only these.
#[derive(Clone, Debug, Default)]
struct Layout {
    fields: Vec<Field>,
    size: Option<(u64, u64)>,
}

/// The structs of a text.
#[derive(Clone, Debug, Default)]
pub(in crate::audit) struct Names {
    structs: HashMap<String, Layout>,
    lines: Vec<String>,
}

impl Names {
    pub(in crate::audit) fn of(text: &str) -> Self {
        let mut names = Names { lines: text.lines().map(String::from).collect(), ..Names::default() };
        let plain = without_comments(text);
        let mut rest = plain.as_str();
        while let Some(at) = rest.find("struct ") {
            let starts = rest[..at].chars().next_back().is_none_or(|c| !is_word(c));
            rest = &rest[at + "struct ".len()..];
            let name: String = rest.trim_start().chars().take_while(|c| is_word(*c)).collect();
            let Some(open) = rest.find(['{', ';']).filter(|&o| starts && rest[o..].starts_with('{')) else {
                continue;
            };
            if let Some(body) = braced(&rest[open..]) {
                let layout = names.layout(body);
                names.structs.entry(name).or_insert(layout);
            }
        }
        names
    }

    /// What is at a byte of something of a type, after the name of the whole: `.pitch`, `.dims.y`, `[2]`, or nothing.
    pub(super) fn path(&self, ty: &str, at: u64) -> Option<String> {
        let ty = bare(ty);
        if let Some(layout) = self.structs.get(last_name(ty)) {
            let field = layout.fields.iter().rev().find(|f| f.at <= at)?;
            let inner = at - field.at;
            let (ix, inner) = match field.count {
                Some(n) if inner / field.element < n => {
                    (format!("[{}]", inner / field.element), inner % field.element)
                }
                None if inner < field.element => (String::new(), inner),
                _ => return None,
            };
            return Some(format!(".{}{ix}{}", field.name, self.path(&field.ty, inner)?));
        }
        let (scalar, n) = vector(ty)?;
        match (n, at) {
            (1, 0) => Some(String::new()),
            (2..=4, _) if at.is_multiple_of(scalar) && at / scalar < 4 => {
                Some(format!(".{}", ["x", "y", "z", "w"][(at / scalar) as usize]))
            }
            // A pointer to scalars: elements.
            (1, _) if at.is_multiple_of(scalar) => Some(format!("[{}]", at / scalar)),
            _ => None,
        }
    }

    /// The counter that a `for` declares on a line.
    pub(super) fn counter(&self, line: u32) -> Option<&str> {
        let text = self.lines.get(line.checked_sub(1)? as usize)?;
        let head = text[text.find("for")? + 3..].trim_start().strip_prefix('(')?;
        let first = head.split(';').next()?;
        let (declared, _) = first.split_once('=')?;
        let name = declared.split_whitespace().next_back()?;
        name.chars().all(is_word).then_some(name)
    }

    fn layout(&self, body: &str) -> Layout {
        let mut out = Layout::default();
        let (mut at, mut most) = (0u64, 1u64);
        for statement in statements(body) {
            let statement = statement.trim();
            if statement.is_empty() || statement.contains('(') || statement.starts_with("using ") {
                continue;
            }
            if ["static ", "constexpr ", "constant ", "struct ", "enum ", "template"]
                .iter()
                .any(|w| statement.starts_with(w))
            {
                continue;
            }
            let Some((ty, declarators)) = split_declaration(statement) else { return out };
            for declarator in declarators.split(',') {
                let declarator = declarator.split('=').next().unwrap_or_default().trim();
                let (name, count) = match declarator.split_once('[') {
                    Some((name, count)) => match count.trim_end_matches(']').trim().parse() {
                        Ok(n) => (name.trim(), Some(n)),
                        Err(_) => return out,
                    },
                    None => (declarator, None),
                };
                let pointer = ty.ends_with(['*', '&']) || name.starts_with(['*', '&']);
                let ty = if pointer { "ulong" } else { ty.as_str() };
                let Some((size, align)) = self.size(ty) else { return out };
                at = at.div_ceil(align).saturating_mul(align);
                let name = name.trim_start_matches(['*', '&', ' ']).to_string();
                out.fields.push(Field { name, ty: ty.into(), at, element: size.max(1), count });
                at = at.saturating_add(size.saturating_mul(count.unwrap_or(1)));
                most = most.max(align);
            }
        }
        out.size = Some((at.div_ceil(most).saturating_mul(most), most));
        out
    }

    /// Size and alignment of a type.
    fn size(&self, ty: &str) -> Option<(u64, u64)> {
        let ty = bare(ty);
        if let Some(layout) = self.structs.get(last_name(ty)) {
            return layout.size;
        }
        let packed = ty.starts_with("packed_");
        let (scalar, n) = vector(ty)?;
        Some(match n {
            3 if !packed => (4 * scalar, 4 * scalar),
            n if packed => (n * scalar, scalar),
            n => (n * scalar, n * scalar),
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn last_name(ty: &str) -> &str {
    ty.rsplit("::").next().unwrap_or(ty)
}

/// A type without qualifiers.
fn bare(ty: &str) -> &str {
    let mut ty = ty.trim().trim_end_matches(['*', '&', ' ']);
    for word in ["const", "constant", "device", "volatile", "struct", "thread", "restrict"] {
        ty = ty.strip_prefix(word).filter(|r| r.starts_with(' ')).unwrap_or(ty).trim();
        ty = ty.strip_suffix(word).filter(|r| r.ends_with([' ', '*', '&'])).unwrap_or(ty).trim();
    }
    ty.trim_end_matches(['*', '&', ' '])
}

/// The size of a scalar or of a vector's components, and how many there are.
fn vector(ty: &str) -> Option<(u64, u64)> {
    let ty = ty.strip_prefix("packed_").unwrap_or(ty);
    let (scalar, n) = match ty.chars().next_back() {
        Some(n @ '2'..='4') if !ty.ends_with("_t") && !ty.ends_with("64") && !ty.ends_with("32") => {
            (&ty[..ty.len() - 1], u64::from(n) - u64::from('0'))
        }
        _ => (ty, 1),
    };
    let size = match scalar {
        "char" | "uchar" | "bool" | "int8_t" | "uint8_t" => 1,
        "short" | "ushort" | "half" | "bfloat" | "int16_t" | "uint16_t" => 2,
        "int" | "uint" | "float" | "int32_t" | "uint32_t" => 4,
        "long" | "ulong" | "int64_t" | "uint64_t" | "size_t" | "ptrdiff_t" => 8,
        _ => return None,
    };
    Some((size, n))
}

/// `const uint a, b[2]` as the type and the declarators.
fn split_declaration(statement: &str) -> Option<(String, String)> {
    let mut words = statement.split_whitespace();
    let mut ty = words.next()?.to_string();
    while ["const", "volatile", "device", "constant", "unsigned", "signed"].contains(&ty.as_str()) {
        let next = words.next()?;
        ty = match (ty.as_str(), next) {
            ("unsigned", "int") => "uint".into(),
            ("unsigned", "char") => "uchar".into(),
            ("unsigned", "short") => "ushort".into(),
            ("unsigned", "long") => "ulong".into(),
            ("unsigned", _) => return None,
            _ => next.to_string(),
        };
    }
    let rest: Vec<&str> = words.collect();
    (!rest.is_empty()).then(|| (ty, rest.join(" ")))
}

/// The text between the braces that it begins with.
fn braced(text: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return text.get(1..at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Splits at semicolons outside of braces; attributes are left out.
fn statements(body: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let (mut depth, mut attribute) = (0i32, 0i32);
    let chars: Vec<char> = body.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        match c {
            '[' if chars.get(i + 1) == Some(&'[') => attribute += 1,
            ']' if attribute > 0 && i > 0 && chars[i - 1] == ']' => {
                attribute -= 1;
                continue;
            }
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                // A method's body or an inner struct ends here.
                if depth == 0 && chars[i + 1..].iter().find(|c| !c.is_whitespace()) != Some(&';') {
                    out.push(String::new());
                    continue;
                }
            }
            ';' if depth == 0 => {
                out.push(String::new());
                continue;
            }
            _ => {}
        }
        if attribute == 0
            && let Some(last) = out.last_mut()
        {
            last.push(c);
        }
    }
    out
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*") {
        out.push_str(&rest[..at]);
        rest = rest[at..].find("*/").map_or("", |end| &rest[at + end + 2..]);
        out.push(' ');
    }
    out.push_str(rest);
    let code = |l: &str| l.split("//").next().unwrap_or_default().to_string();
    out.lines().filter(|l| !l.trim_start().starts_with('#')).map(code).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_names_that_the_text_gives_them() {
        let names = Names::of(
            "struct Shape { uint rows, cols; };
             // struct Shape { float x; };
             struct Args { int n; int m; ulong pitch; float3 scale; Shape shape[2]; packed_float3 q; half h [[id(3)]];
                           uint size() const { return n; } bool last; };
             kernel void k() { for (uint d = 0; d < 4; ++d) {} }",
        );
        let path = |at| names.path("const Args &", at);
        let some = |s: &str| Some(s.to_string());
        assert_eq!(path(0), some(".n"));
        assert_eq!(path(8), some(".pitch"));
        assert_eq!(path(24), some(".scale.z"));
        assert_eq!(path(44), some(".shape[1].cols"));
        assert_eq!([path(48), path(60), path(62)], [some(".q.x"), some(".h"), some(".last")]);
        assert_eq!(names.path("uint4", 4), some(".y"));
        assert_eq!(names.path("const int64_t*", 16), some("[2]"));
        assert_eq!(names.path("uint", 0), some(""));
        assert_eq!(names.path("texture2d<float>", 0), None);
        let linked = Names::of("struct Node { Node* next; uint v; }; struct Two { Node *a, b[2]; };");
        assert_eq!(linked.path("Node", 8), some(".v"));
        assert_eq!(linked.path("Node", 0), some(".next"));
        assert_eq!(linked.path("Two", 32), some(".b[1].v"));
        assert_eq!(names.counter(5), Some("d"));
        assert_eq!(names.counter(1), None);
    }
}
