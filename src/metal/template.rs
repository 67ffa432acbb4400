//! Parameters and arguments of templates, as text.

use super::token::Tokens;

/// Names of the parameters of `template <...>`, whose `<` is token `open`, each with what follows its `=`.
pub(super) fn parameters(tokens: &Tokens, open: usize, end: usize) -> Vec<(String, String)> {
    let parts = parts(tokens, open, end).into_iter();
    parts
        .map(|(start, end)| {
            let equals = (start..end).find(|&i| tokens.is(i, "=")).unwrap_or(end);
            let name = (start..equals).rev().find(|&i| tokens.is_identifier(i));
            let name = name.map_or(String::new(), |i| tokens.str(i).to_owned());
            (name, tokens.join((equals + 1).min(end)..end))
        })
        .collect()
}

/// The arguments between the `<` at token `open` and its `>`; none if there is no `<`.
pub(super) fn arguments(tokens: &Tokens, open: usize, end: usize) -> Vec<String> {
    parts(tokens, open, end).into_iter().map(|(start, end)| tokens.join(start..end)).collect()
}

fn parts(tokens: &Tokens, open: usize, end: usize) -> Vec<(usize, usize)> {
    if !tokens.is(open, "<") {
        return Vec::new();
    }
    let close = tokens.after_angle(open, end).saturating_sub(1);
    let (mut found, mut start, mut i) = (Vec::new(), open + 1, open + 1);
    while i < close {
        match tokens.str(i) {
            "," => {
                found.push((start, i));
                start = i + 1;
                i += 1;
            }
            "<" => i = tokens.after_angle(i, close),
            "(" | "[" | "{" => i = tokens.after_bracket(i, close),
            _ => i += 1,
        }
    }
    if start < close {
        found.push((start, close));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arguments_are_split_at_their_commas() {
        let tokens =
            Tokens::scan("template <typename T, int N = 4 * (2), typename U = vec<T, 2>> k<float, 8>");
        let end = tokens.list.len();
        let names = parameters(&tokens, 1, end);
        let text = |(a, b): (&str, &str)| (a.to_string(), b.to_string());
        assert_eq!(names, [("T", ""), ("N", "4 * (2)"), ("U", "vec<T, 2>")].map(text));
        assert_eq!(arguments(&tokens, end - 5, end), ["float", "8"]);
        assert_eq!(arguments(&tokens, 0, end), [""; 0]);
    }
}
