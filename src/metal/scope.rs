//! Finds the declarations of preprocessed C++ text: enough of the grammar to know where each begins,
//! where its header ends and whether a function body follows.

use super::token::Tokens;

/// What a declaration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A function with a body, tokens `body..end` being `{ ... }`.
    Function { body: usize },
    /// A class, struct or union with a body; its members are declarations of their own.
    Class,
    /// Anything else, ended by `;`.
    Other,
}

/// A declaration: tokens `start..end`, its header `start..header_end`.
#[derive(Clone, Debug)]
pub(super) struct Declaration {
    pub(super) start: usize,
    pub(super) header_end: usize,
    pub(super) end: usize,
    pub(super) shape: Shape,
    /// Names of the enclosing namespaces and classes, joined by `::`.
    pub(super) scope: String,
}

/// All declarations at namespace and class scope, outer before inner.
pub(super) fn declarations(tokens: &Tokens) -> Vec<Declaration> {
    let mut found = Vec::new();
    scan(tokens, 0, tokens.list.len(), "", &mut found);
    found
}

fn scan(tokens: &Tokens, mut at: usize, end: usize, scope: &str, found: &mut Vec<Declaration>) {
    while at < end {
        match tokens.str(at) {
            ";" | "}" => at += 1,
            "public" | "private" | "protected" if tokens.is(at + 1, ":") => at += 2,
            "namespace" | "inline" if namespace_body(tokens, at, end).is_some() => {
                let Some((name, open)) = namespace_body(tokens, at, end) else { break };
                let close = tokens.after_bracket(open, end);
                scan(tokens, open + 1, close - 1, &nested(scope, &name), found);
                at = close;
            }
            "extern" if tokens.is(at + 2, "{") => {
                let close = tokens.after_bracket(at + 2, end);
                scan(tokens, at + 3, close - 1, scope, found);
                at = close;
            }
            _ => at = declaration(tokens, at, end, scope, found),
        }
    }
}

/// Joins a scope and a name in it.
pub(super) fn nested(scope: &str, name: &str) -> String {
    match (scope.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => scope.to_owned(),
        _ => format!("{scope}::{name}"),
    }
}

/// Name and `{` of a namespace that begins at `at`.
fn namespace_body(tokens: &Tokens, at: usize, end: usize) -> Option<(String, usize)> {
    let mut i = at + usize::from(tokens.is(at, "inline"));
    if !tokens.is(i, "namespace") {
        return None;
    }
    i += 1;
    let mut name = String::new();
    while i < end && !tokens.is(i, "{") {
        if !(tokens.is_identifier(i) || tokens.is(i, "::")) {
            return None;
        }
        name.push_str(tokens.str(i));
        i += 1;
    }
    (i < end).then_some((name, i))
}

/// The first token after `template <...>` headers, attributes and linkage words.
pub(super) fn after_template_headers(tokens: &Tokens, mut at: usize, end: usize) -> usize {
    loop {
        if tokens.is(at, "template") && tokens.is(at + 1, "<") {
            at = tokens.after_angle(at + 1, end);
        } else if tokens.opens_attribute(at) {
            at = tokens.after_bracket(at, end);
        } else if matches!(
            tokens.str(at),
            "static" | "inline" | "constexpr" | "typedef" | "extern" | "friend"
        ) {
            at += 1;
        } else {
            return at;
        }
    }
}

/// Reads one declaration and, for a class, its members; returns the token after.
fn declaration(
    tokens: &Tokens,
    start: usize,
    end: usize,
    scope: &str,
    found: &mut Vec<Declaration>,
) -> usize {
    let first = after_template_headers(tokens, start, end);
    let is_class = matches!(tokens.str(first), "struct" | "class" | "union");
    let add = |found: &mut Vec<Declaration>, header_end, end, shape| {
        found.push(Declaration { start, header_end, end, shape, scope: scope.to_owned() });
    };
    let (mut seen_parenthesis, mut seen_equals, mut in_initializers) = (false, false, false);
    let mut i = first;
    while i < end {
        match tokens.str(i) {
            ";" => {
                add(found, i, i + 1, Shape::Other);
                return i + 1;
            }
            // An unbalanced end: leave it to the compiler's own message.
            "}" | ")" | "]" => {
                add(found, i, i, Shape::Other);
                return i + 1;
            }
            "(" | "[" => {
                let callable =
                    i > 0 && !matches!(tokens.str(i - 1), "alignas" | "__attribute__" | "decltype");
                seen_parenthesis |= tokens.is(i, "(") && callable;
                i = tokens.after_bracket(i, end);
                continue;
            }
            // The symbol of an operator is part of its name.
            "operator" => {
                i = after_operator(tokens, i, end);
                continue;
            }
            "=" => seen_equals = true,
            ":" if seen_parenthesis => in_initializers = true,
            "{" => {
                let close = tokens.after_bracket(i, end);
                let member_initializer =
                    in_initializers && (tokens.is_identifier(i - 1) || tokens.is(i - 1, ">"));
                if is_class && !seen_parenthesis {
                    let name = class_name(tokens, first + 1, i);
                    add(found, i, close, Shape::Class);
                    scan(tokens, i + 1, close - 1, &nested(scope, &name), found);
                    // Declarators up to `;` follow.
                } else if seen_parenthesis && !seen_equals && !member_initializer {
                    add(found, i, close, Shape::Function { body: i });
                    return close;
                }
                i = close;
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    end
}

/// The token after the name of an operator that begins at `at`: the `(` of its parameters.
fn after_operator(tokens: &Tokens, at: usize, end: usize) -> usize {
    let mut i = at + 1;
    if tokens.is(i, "(") && tokens.is(i + 1, ")") {
        i += 2;
    }
    while i < end && !matches!(tokens.str(i), "(" | ";" | "{" | "}") {
        i += 1;
    }
    i
}

/// The name of a class whose tokens between keyword and body are `start..end`.
fn class_name(tokens: &Tokens, start: usize, end: usize) -> String {
    let mut i = start;
    while i < end {
        if tokens.opens_attribute(i) || tokens.is(i, "(") {
            i = tokens.after_bracket(i, end);
        } else if tokens.is_identifier(i) && !tokens.is(i, "alignas") {
            return tokens.str(i).to_owned();
        } else {
            i += 1;
        }
    }
    String::new()
}

/// A function's name and parameter list, found in a declaration's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callable {
    /// Tokens of the name, template arguments included: `name_start..open`.
    pub(super) name_start: usize,
    /// The identifier itself.
    pub(super) identifier: usize,
    /// The `(` of the parameters; the end of the header for `decltype(f<T>) f<T>;`.
    pub(super) open: usize,
}

/// Looks for the function that a header declares.
pub(super) fn callable(tokens: &Tokens, d: &Declaration) -> Option<Callable> {
    let mut i = after_template_headers(tokens, d.start, d.header_end);
    if tokens.is(i, "template") {
        i += 1;
    }
    let mut open = None;
    while i < d.header_end {
        if tokens.opens_attribute(i) {
            i = tokens.after_bracket(i, d.header_end);
            continue;
        }
        match tokens.str(i) {
            "alignas" | "__attribute__" | "decltype" | "__typeof__" if tokens.is(i + 1, "(") => {
                i = tokens.after_bracket(i + 1, d.header_end);
            }
            "operator" => {
                let open = after_operator(tokens, i, d.header_end);
                return Some(Callable { name_start: i, identifier: i, open });
            }
            "<" => i = tokens.after_angle(i, d.header_end),
            "(" => {
                open = Some(i);
                break;
            }
            "=" => return None,
            _ => i += 1,
        }
    }
    let open = open.unwrap_or(d.header_end);
    let mut identifier = open.checked_sub(1)?;
    if tokens.is(identifier, ">") {
        // Back to the `<` that opens the template arguments.
        let (mut depth, mut k) = (0usize, identifier);
        loop {
            match tokens.str(k) {
                ">" => depth += 1,
                "<" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            k = k.checked_sub(1).filter(|&k| k >= d.start)?;
        }
        identifier = k.checked_sub(1)?;
    }
    if !tokens.is_identifier(identifier) {
        return None;
    }
    let mut name_start = identifier;
    while name_start >= d.start + 2 && tokens.is(name_start - 1, "::") && tokens.is_identifier(name_start - 2)
    {
        name_start -= 2;
    }
    Some(Callable { name_start, identifier, open })
}
