//! Integer constant expressions of the text: what an attribute such as `[[buffer(BASE + 1)]]` may hold. Macros are
//! gone by now; what is left are numbers, operators, and the names of constants and enumerators.

use super::scope::{Declaration, Shape};
use super::token::{Kind, Tokens};
use std::collections::HashMap;

/// Constants and enumerators by name, scopes left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Integers {
    values: HashMap<String, i64>,
}

impl Integers {
    /// Those that the declarations give a value that can be evaluated here.
    pub(super) fn of(tokens: &Tokens, declarations: &[Declaration]) -> Self {
        let mut found = Self::default();
        for d in declarations.iter().filter(|d| d.shape == Shape::Other) {
            if tokens.is(d.start, "enum") {
                found.enumerators(tokens, d);
            } else if let Some(equals) = (d.start..d.header_end).find(|&i| tokens.is(i, "="))
                && equals > d.start + 1
                && tokens.is_identifier(equals - 1)
                && (d.start..equals - 1).any(|i| matches!(tokens.str(i), "const" | "constant" | "constexpr"))
                && let Some(value) = found.of_tokens(tokens, equals + 1, d.header_end)
            {
                found.values.insert(tokens.str(equals - 1).to_owned(), value);
            }
        }
        found
    }

    /// The same with a template's parameters, names and defaults, as its arguments give them.
    pub(super) fn with(&self, names: &[(String, String)], arguments: &[String]) -> Self {
        let mut all = self.clone();
        for (i, (name, default)) in names.iter().enumerate() {
            match all.value_of(arguments.get(i).unwrap_or(default)) {
                Some(value) => all.values.insert(name.clone(), value),
                None => all.values.remove(name),
            };
        }
        all
    }

    fn enumerators(&mut self, tokens: &Tokens, d: &Declaration) {
        let Some(open) = (d.start..d.header_end).find(|&i| tokens.is(i, "{")) else { return };
        let close = tokens.after_bracket(open, d.header_end) - 1;
        let (mut i, mut next) = (open + 1, Some(0i64));
        while i < close {
            let comma = (i..close).find(|&k| tokens.is(k, ",")).unwrap_or(close);
            if tokens.is(i + 1, "=") {
                next = self.of_tokens(tokens, i + 2, comma);
            }
            if let Some(value) = next {
                self.values.insert(tokens.str(i).to_owned(), value);
            }
            next = next.and_then(|v| v.checked_add(1));
            i = comma + 1;
        }
    }

    /// The value of an expression given as text.
    pub(super) fn value_of(&self, text: &str) -> Option<i64> {
        let tokens = Tokens::scan(text);
        self.of_tokens(&tokens, 0, tokens.list.len())
    }

    fn of_tokens(&self, tokens: &Tokens, at: usize, end: usize) -> Option<i64> {
        let mut reader = Reader { integers: self, tokens, at, end, depth: 0 };
        let value = reader.expression(0)?;
        (reader.at == end).then_some(value)
    }
}

/// Operators by how tightly they bind, the loosest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// Deeper nesting is no expression that anyone writes.
const MOST_DEPTH: usize = 64;

struct Reader<'a> {
    integers: &'a Integers,
    tokens: &'a Tokens<'a>,
    at: usize,
    end: usize,
    depth: usize,
}

impl Reader<'_> {
    fn expression(&mut self, level: usize) -> Option<i64> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.expression(level + 1)?;
        while let Some(operator) = operators.iter().find(|o| self.is_operator(o)) {
            self.at += operator.len();
            left = apply(operator, left, self.expression(level + 1)?)?;
        }
        if level == 0 && self.take("?") {
            let yes = self.expression(0)?;
            let no = if self.take(":") { self.expression(0)? } else { return None };
            return Some(if left != 0 { yes } else { no });
        }
        Some(left)
    }

    /// Whether the operator, one token per character, stands here and is not the beginning of a longer one.
    fn is_operator(&self, operator: &str) -> bool {
        let spelled = |i: usize| if i < self.end { self.tokens.str(i) } else { "" };
        let adjacent = |i: usize| self.tokens.list.get(i).zip(self.tokens.list.get(i + 1));
        let joined = |i: usize| adjacent(i).is_some_and(|(a, b)| a.end == b.start);
        let here = operator.chars().enumerate().all(|(n, c)| spelled(self.at + n).chars().eq([c]));
        let within = (1..operator.len()).all(|n| joined(self.at + n - 1));
        let doubled = matches!(operator, "|" | "&" | "<" | ">") && spelled(self.at + 1) == operator;
        here && within && !doubled
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.at < self.end && self.tokens.is(self.at, word);
        self.at += usize::from(found);
        found
    }

    fn unary(&mut self) -> Option<i64> {
        self.depth += 1;
        let value = if self.depth > MOST_DEPTH { None } else { self.operand() };
        self.depth -= 1;
        value
    }

    fn operand(&mut self) -> Option<i64> {
        if self.at >= self.end {
            return None;
        }
        let word = self.tokens.str(self.at);
        let kind = self.tokens.list[self.at].kind;
        self.at += 1;
        match word {
            "+" => return self.unary(),
            "-" => return self.unary()?.checked_neg(),
            "~" => return Some(!self.unary()?),
            "!" => return Some(i64::from(self.unary()? == 0)),
            "(" => {
                let value = self.expression(0)?;
                return self.take(")").then_some(value);
            }
            "true" => return Some(1),
            "false" => return Some(0),
            // A conversion, as `uint(3)`.
            "int" | "uint" | "short" | "ushort" | "char" | "uchar" | "long" | "ulong" | "size_t" => {
                return self.tokens.is(self.at, "(").then(|| self.unary()).flatten();
            }
            _ => {}
        }
        match kind {
            Kind::Number => number(word),
            Kind::Identifier => {
                // `Scope::name`: names are unique enough.
                let mut name = word;
                while self.take("::") {
                    name = self.tokens.str(self.at);
                    self.at += 1;
                }
                self.integers.values.get(name).copied()
            }
            _ => None,
        }
    }
}

fn apply(operator: &str, a: i64, b: i64) -> Option<i64> {
    let truth = |b: bool| Some(i64::from(b));
    match operator {
        "||" => truth(a != 0 || b != 0),
        "&&" => truth(a != 0 && b != 0),
        "|" => Some(a | b),
        "^" => Some(a ^ b),
        "&" => Some(a & b),
        "==" => truth(a == b),
        "!=" => truth(a != b),
        "<" => truth(a < b),
        ">" => truth(a > b),
        "<=" => truth(a <= b),
        ">=" => truth(a >= b),
        "<<" => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)),
        ">>" => u32::try_from(b).ok().and_then(|b| a.checked_shr(b)),
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

/// An integer literal: decimal, hexadecimal, octal or binary, with suffix and separators.
fn number(word: &str) -> Option<i64> {
    let plain: String = word.chars().filter(|c| *c != '\'').collect::<String>().to_ascii_lowercase();
    let digits = plain.trim_end_matches(['u', 'l']);
    if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i64::from_str_radix(binary, 2).ok()
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(&digits[1..], 8).ok()
    } else {
        digits.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metal::scope::declarations;

    #[test]
    fn expressions_of_constants_have_their_values() {
        let text = "constant int base = 100; enum Slot { A, B = 4, C }; namespace n { static constexpr constant uint k = base * 2; }
                    constant float f = 1.5; enum class E : uint { X = 1 << 3 };";
        let tokens = Tokens::scan(text);
        let integers = Integers::of(&tokens, &declarations(&tokens));
        for (expression, value) in [
            ("1200 + 0", Some(1200)),
            ("base+C", Some(105)),
            ("n::k / 8 % 3", Some(1)),
            ("(0x10u | 1) << 2", Some(68)),
            ("-2 * (3 - 5)", Some(4)),
            ("1 < 2 ? B : 9", Some(4)),
            ("3 >= 3 && !0", Some(1)),
            ("uint(7) >> 1", Some(3)),
            ("E::X ^ 010", Some(0)),
            ("f", None),
            ("unheard + 1", None),
            ("1 / 0", None),
            ("1 +", None),
            ("2 2", None),
        ] {
            assert_eq!(integers.value_of(expression), value, "{expression}");
        }
    }
}
