//! Constant expressions of preprocessor conditions and `{{…}}` substitutions.
//!
//! A value is text. Arithmetic and ordering need integers on both sides; `==` and `!=` compare integers
//! when both sides are integers and text otherwise, so `ELEM == f16` works without quotes: a name that
//! is not defined stands for itself.

use super::Defines;

/// Evaluates `text`; an undefined name stands for itself. Errors are complete sentences without a place.
pub(super) fn eval(text: &str, defines: &Defines) -> Result<String, String> {
    let mut p = Parser { rest: text, defines, depth: 0 };
    let value = p.binary(0)?;
    match p.rest.trim_start() {
        "" => Ok(value),
        rest => Err(format!("unexpected `{rest}` in expression `{}`", text.trim())),
    }
}

/// Whether a condition holds: any integer but 0. Text that is no integer is an error, not `false`.
pub(super) fn is_true(text: &str, defines: &Defines) -> Result<bool, String> {
    let value = eval(text, defines)?;
    match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => int(&value).map(|v| v != 0).map_err(|_| {
            format!("condition `{}` is `{value}`, which is no integer: is a name not defined?", text.trim())
        }),
    }
}

fn int(text: &str) -> Result<i64, String> {
    let t = text.trim();
    let digits = t.strip_suffix(['u', 'i']).unwrap_or(t);
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.map_err(|_| format!("`{t}` is no integer; is it defined?"))
}

/// Operators by binding strength, weakest first; longer spellings before their prefixes.
const LEVELS: [&[&str]; 9] = [
    &["||"],
    &["&&"],
    &["|"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// Deepest nesting of parentheses and signs: bounds the recursion on any input.
const MAX_DEPTH: u32 = 64;

struct Parser<'a> {
    rest: &'a str,
    defines: &'a Defines,
    depth: u32,
}

impl Parser<'_> {
    fn operator(&mut self, level: usize) -> Option<&'static str> {
        let rest = self.rest.trim_start();
        let op = LEVELS[level].iter().find(|op| rest.starts_with(**op))?;
        // `a | b` must not eat half of `a || b`, nor `<` half of `<<`.
        let longer = LEVELS.iter().flat_map(|l| l.iter()).any(|o| o.len() > op.len() && rest.starts_with(*o));
        if longer {
            return None;
        }
        self.rest = &rest[op.len()..];
        Some(op)
    }

    fn binary(&mut self, level: usize) -> Result<String, String> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Some(op) = self.operator(level) {
            let right = self.binary(level + 1)?;
            left = apply(op, &left, &right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("expression nested deeper than {MAX_DEPTH}"));
        }
        let value = self.unary_inner();
        self.depth -= 1;
        value
    }

    fn unary_inner(&mut self) -> Result<String, String> {
        self.rest = self.rest.trim_start();
        let Some(first) = self.rest.chars().next() else {
            return Err("expression ends too early".into());
        };
        let after = &self.rest[first.len_utf8()..];
        match first {
            '!' => {
                self.rest = after;
                let v = self.unary()?;
                Ok(i64::from(int(&v)? == 0).to_string())
            }
            '-' => {
                self.rest = after;
                let v = self.unary()?;
                int(&v)?.checked_neg().map(|v| v.to_string()).ok_or_else(|| "integer overflow".into())
            }
            '(' => {
                self.rest = after;
                let v = self.binary(0)?;
                self.rest = self.rest.trim_start();
                self.rest = self.rest.strip_prefix(')').ok_or("missing `)`")?;
                Ok(v)
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                if word == "defined" {
                    return self.defined();
                }
                Ok(self.defines.get(word).unwrap_or(word).to_string())
            }
            c => Err(format!("unexpected `{c}` in expression")),
        }
    }

    /// After `defined`: a name, with or without parentheses.
    fn defined(&mut self) -> Result<String, String> {
        let rest = self.rest.trim_start();
        let (inner, paren) = match rest.strip_prefix('(') {
            Some(r) => (r.trim_start(), true),
            None => (rest, false),
        };
        let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let (name, mut rest) = inner.split_at(end);
        if name.is_empty() {
            return Err("`defined` needs a name".into());
        }
        if paren {
            rest = rest.trim_start().strip_prefix(')').ok_or("missing `)` after `defined(`")?;
        }
        self.rest = rest;
        Ok(i64::from(self.defines.get(name).is_some()).to_string())
    }
}

fn apply(op: &str, left: &str, right: &str) -> Result<String, String> {
    if let "==" | "!=" = op {
        let same = match (int(left), int(right)) {
            (Ok(a), Ok(b)) => a == b,
            _ => left == right,
        };
        return Ok(i64::from(same == (op == "==")).to_string());
    }
    let (a, b) = (int(left)?, int(right)?);
    let overflow = || format!("`{a} {op} {b}` has no 64-bit result");
    let v = match op {
        "||" => i64::from(a != 0 || b != 0),
        "&&" => i64::from(a != 0 && b != 0),
        "|" => a | b,
        "&" => a & b,
        "<=" => i64::from(a <= b),
        ">=" => i64::from(a >= b),
        "<" => i64::from(a < b),
        ">" => i64::from(a > b),
        "<<" => u32::try_from(b).ok().and_then(|s| a.checked_shl(s)).ok_or_else(overflow)?,
        ">>" => u32::try_from(b).ok().and_then(|s| a.checked_shr(s)).ok_or_else(overflow)?,
        "+" => a.checked_add(b).ok_or_else(overflow)?,
        "-" => a.checked_sub(b).ok_or_else(overflow)?,
        "*" => a.checked_mul(b).ok_or_else(overflow)?,
        "/" => a.checked_div(b).ok_or_else(overflow)?,
        "%" => a.checked_rem(b).ok_or_else(overflow)?,
        _ => unreachable!("operator of the table"),
    };
    Ok(v.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_names_and_text() {
        let d = Defines::new().with("N", 8).with("ELEM", "f16");
        let ok = |t: &str| eval(t, &d).unwrap();
        assert_eq!(ok("1 + 2 * 3"), "7");
        assert_eq!(ok("(1+2)*3 - -1"), "10");
        assert_eq!(ok("N >> 1 | 1"), "5");
        assert_eq!(ok("N == 8 && ELEM == f16"), "1");
        assert_eq!(ok("N < 8 || !0"), "1");
        assert_eq!(ok("0x10u + 1"), "17");
        assert_eq!(ok("defined(N) + defined M"), "1");
        assert_eq!(ok("ELEM"), "f16");
    }

    #[test]
    fn mistakes_are_named() {
        let d = Defines::new();
        for (text, part) in [
            ("1 / 0", "no 64-bit result"),
            ("(1", "missing `)`"),
            ("1 +", "too early"),
            ("a + 1", "`a` is no integer"),
            ("1 2", "unexpected"),
            (&"(".repeat(1000), "nested deeper"),
        ] {
            assert!(eval(text, &d).unwrap_err().contains(part), "{text}");
        }
        assert!(is_true("MISSING", &d).is_err());
    }
}
