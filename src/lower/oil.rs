//! naga_oil's `#import`: what a line of it names.
//!
//! `#import a::b`, `#import a::b as C`, `#import a::{b, c::{d, e as f}}`, `#import "path/to/file.wgsl" as D`. The
//! crate itself composes for another version of naga than this one's and moves lines; here an imported module's text is
//! put in whole, and qualifiers (`C::area`) are taken off where it is used. Items of the same name in two modules are
//! therefore told apart by nobody: naga says that the second redefines the first.

/// One thing imported: a path of names, or a file in quotes; and what it is called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) path: String,
    pub(super) alias: Option<String>,
}

impl Import {
    /// The path without its last name, and that name: an item of a module.
    pub(super) fn item(&self) -> Option<(&str, &str)> {
        self.path.rsplit_once("::")
    }

    /// File names that a module of this path may have.
    pub(super) fn file_names(path: &str) -> Vec<String> {
        if !path.contains("::") {
            return vec![format!("{}.wgsl", path.trim_end_matches(".wgsl"))];
        }
        let last = path.rsplit("::").next().unwrap_or(path);
        // The path itself stands for whatever file says `#define_import_path` of it.
        vec![path.to_string(), format!("{}.wgsl", path.replace("::", "/")), format!("{last}.wgsl")]
    }
}

/// Whether the braces of an import are open still, so that it goes on in the next line.
pub(super) fn is_open(text: &str) -> bool {
    text.matches('{').count() > text.matches('}').count()
}

/// All imports of a directive's argument.
pub(super) fn imports(argument: &str) -> Result<Vec<Import>, String> {
    let mut out = Vec::new();
    for part in parts(argument)? {
        import(part.trim(), "", &mut out)?;
    }
    Ok(out)
}

fn import(text: &str, prefix: &str, out: &mut Vec<Import>) -> Result<(), String> {
    let usage = || format!("`#import` needs `path`, `path as NAME` or `path::{{a, b}}`, not `{text}`");
    if text.is_empty() {
        return Ok(());
    }
    if let Some(open) = text.find('{') {
        let head = text[..open].trim_end().trim_end_matches("::");
        let inner = text[open + 1..].trim_end().strip_suffix('}').ok_or_else(usage)?;
        let prefix = join(prefix, head);
        for part in parts(inner)? {
            import(part.trim(), &prefix, out)?;
        }
        return Ok(());
    }
    let (path, alias) = match text.split_once(" as ") {
        Some((path, alias)) => (path.trim(), Some(alias.trim().to_string())),
        None => (text, None),
    };
    let plain = path.trim_matches(|c| matches!(c, '"' | '<' | '>'));
    if plain.is_empty() || (plain.contains(char::is_whitespace) && plain == path) {
        return Err(usage());
    }
    out.push(Import { path: join(prefix, plain), alias });
    Ok(())
}

fn join(prefix: &str, path: &str) -> String {
    if prefix.is_empty() { path.into() } else { format!("{prefix}::{path}") }
}

/// Splits at commas outside of braces.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut depth, mut start, mut out) = (0i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if !(0..=32).contains(&depth) {
            return Err("`#import` with braces that don't match".into());
        }
    }
    out.push(&text[start..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_paths_groups_and_aliases() {
        let of = |text: &str| {
            let all = imports(text).unwrap();
            all.into_iter().map(|i| (i.path, i.alias.unwrap_or_default())).collect::<Vec<_>>()
        };
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(of("shapes::plane as Plane"), [pair("shapes::plane", "Plane")]);
        assert_eq!(
            of("shapes::{disk, cube::{side, top as lid}}"),
            [pair("shapes::disk", ""), pair("shapes::cube::side", ""), pair("shapes::cube::top", "lid")]
        );
        assert_eq!(of("\"util/math.wgsl\" as M"), [pair("util/math.wgsl", "M")]);
        assert!(imports("a b c").is_err() && imports("a::{b").is_err());
        assert!(is_open("a::{b,") && !is_open("a::{b}"));
    }
}
