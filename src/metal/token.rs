//! Tokens of preprocessed Metal text, each with the file and line that it came from.

/// What a token is, as far as the rewriting needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identifier,
    Number,
    String,
    /// One character, or `::`.
    Punctuation,
}

/// A token: bytes `start..end` of the text, from line `line` of file number `file`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) file: u32,
    pub(super) line: u32,
}

/// Preprocessed text with its tokens. Directives (`#pragma`, line markers) are no tokens.
pub(super) struct Tokens<'a> {
    pub(super) text: &'a str,
    pub(super) list: Vec<Token>,
    /// File names as the line markers give them.
    pub(super) files: Vec<String>,
}

impl<'a> Tokens<'a> {
    /// Splits `text`, the output of `clang -E`.
    pub(super) fn scan(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let mut tokens = Tokens { text, list: Vec::new(), files: vec![String::new()] };
        let (mut at, mut line, mut file) = (0, 1u32, 0u32);
        let mut line_is_empty = true;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b'\n' {
                (line, line_is_empty) = (line + 1, true);
                at += 1;
                continue;
            }
            if byte.is_ascii_whitespace() {
                at += 1;
                continue;
            }
            if byte == b'#' && line_is_empty {
                let end = text[at..].find('\n').map_or(bytes.len(), |n| at + n);
                if let Some((marked_line, marked_file)) = line_marker(&text[at..end]) {
                    // The newline that ends the marker's own line is counted above.
                    line = marked_line.wrapping_sub(1);
                    file = tokens.file_ix(marked_file);
                }
                at = end;
                continue;
            }
            line_is_empty = false;
            let (kind, end) = token_at(bytes, at);
            tokens.list.push(Token { kind, start: at, end, file, line });
            line += bytes[at..end].iter().filter(|&&b| b == b'\n').count() as u32;
            at = end;
        }
        tokens
    }

    /// The text of token `ix`, empty past the end.
    pub(super) fn str(&self, ix: usize) -> &'a str {
        self.list.get(ix).map_or("", |t| &self.text[t.start..t.end])
    }

    /// Whether token `ix` reads `s`.
    pub(super) fn is(&self, ix: usize, s: &str) -> bool {
        self.str(ix) == s
    }

    /// Whether token `ix` is an identifier or keyword.
    pub(super) fn is_identifier(&self, ix: usize) -> bool {
        self.list.get(ix).is_some_and(|t| t.kind == Kind::Identifier)
    }

    /// Whether tokens `ix` and `ix + 1` are `[[`.
    pub(super) fn opens_attribute(&self, ix: usize) -> bool {
        self.is(ix, "[") && self.is(ix + 1, "[")
    }

    /// The token after the bracket that closes the one at `ix` (`(`, `[` or `{`).
    pub(super) fn after_bracket(&self, ix: usize, end: usize) -> usize {
        let mut depth = 0usize;
        for i in ix..end {
            match self.str(i) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return i + 1;
                    }
                }
                _ => {}
            }
        }
        end
    }

    /// The token after the `>` that closes the `<` at `ix`.
    pub(super) fn after_angle(&self, ix: usize, end: usize) -> usize {
        let mut depth = 0usize;
        let mut i = ix;
        while i < end {
            match self.str(i) {
                "<" => depth += 1,
                ">" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return i + 1;
                    }
                }
                "(" | "[" | "{" => {
                    i = self.after_bracket(i, end);
                    continue;
                }
                ";" => return i,
                _ => {}
            }
            i += 1;
        }
        end
    }

    /// Tokens `range`, with a blank where the text has blanks or where tokens are left out.
    pub(super) fn join(&self, range: impl Iterator<Item = usize>) -> String {
        let mut out = String::new();
        let mut end = None;
        for i in range {
            let Some(token) = self.list.get(i) else { break };
            if end.is_some_and(|end| end != token.start) {
                out.push(' ');
            }
            out.push_str(self.str(i));
            end = Some(token.end);
        }
        out
    }

    fn file_ix(&mut self, name: &str) -> u32 {
        let found = self.files.iter().position(|f| f == name);
        found.unwrap_or_else(|| {
            self.files.push(name.to_owned());
            self.files.len() - 1
        }) as u32
    }
}

/// `# 12 "file" 1` or `#line 12 "file"`: the line number and file of the next line.
fn line_marker(directive: &str) -> Option<(u32, &str)> {
    let rest = directive[1..].trim_start();
    let rest = rest.strip_prefix("line").unwrap_or(rest).trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let line = rest[..digits].parse().ok()?;
    let name = rest[digits..].trim_start().strip_prefix('"')?;
    Some((line, &name[..name.find('"')?]))
}

/// The kind and end of the token that starts at `at`.
fn token_at(bytes: &[u8], at: usize) -> (Kind, usize) {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80;
    let byte = bytes[at];
    let next = bytes.get(at + 1).copied().unwrap_or(0);
    let until = |mut end: usize, go_on: &dyn Fn(usize) -> bool| {
        while end < bytes.len() && go_on(end) {
            end += 1;
        }
        end
    };
    if byte.is_ascii_digit() || (byte == b'.' && next.is_ascii_digit()) {
        let go_on = |i: usize| {
            let sign_of_exponent =
                matches!(bytes[i], b'+' | b'-') && matches!(bytes[i - 1], b'e' | b'E' | b'p' | b'P');
            let hex = bytes[at] == b'0' && matches!(next, b'x' | b'X');
            let sign_of_exponent = sign_of_exponent && (!hex || matches!(bytes[i - 1], b'p' | b'P'));
            word(bytes[i]) || bytes[i] == b'.' || bytes[i] == b'\'' || sign_of_exponent
        };
        return (Kind::Number, until(at + 1, &go_on));
    }
    if word(byte) {
        return (Kind::Identifier, until(at, &|i| word(bytes[i])));
    }
    if byte == b'"' || byte == b'\'' {
        let mut end = at + 1;
        while end < bytes.len() && bytes[end] != byte {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        return (Kind::String, (end + 1).min(bytes.len()));
    }
    let two = byte == b':' && next == b':';
    (Kind::Punctuation, at + if two { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(&str, u32)> {
        let tokens = Tokens::scan(text);
        (0..tokens.list.len()).map(|i| (tokens.str(i), tokens.list[i].line)).collect()
    }

    #[test]
    fn line_markers_set_the_line_of_what_follows() {
        assert_eq!(words("# 7 \"a.metal\"\nx\n\ny::z"), [("x", 7), ("y", 9), ("::", 9), ("z", 9)]);
    }

    #[test]
    fn numbers_keep_their_suffix_and_exponent() {
        let all: Vec<_> = words("1.0h 0x1p-3f 1e+5 0xE+1 a[0]").iter().map(|w| w.0).collect();
        assert_eq!(all, ["1.0h", "0x1p-3f", "1e+5", "0xE", "+", "1", "a", "[", "0", "]"]);
    }

    #[test]
    fn pragmas_are_no_tokens_and_strings_are_whole() {
        assert_eq!(words("#pragma clang loop unroll(full)\n\"a\\\"b\" c"), [("\"a\\\"b\"", 2), ("c", 2)]);
    }
}
