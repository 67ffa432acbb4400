//! Debug locations of LLVM IR, traced back to the user's text.

use std::collections::HashMap;

pub use crate::memory::Location as Place;

/// The `!DILocation`s of a module.
#[derive(Clone, Debug, Default)]
pub struct Locations {
    nodes: HashMap<u32, Node>,
    /// Folder of the shim: locations in it are of no interest to the user.
    shim: String,
}

#[derive(Clone, Debug)]
enum Node {
    Location {
        line: u32,
        column: u32,
        scope: u32,
        inlined_at: Option<u32>,
    },
    /// A subprogram or lexical block.
    Scope {
        file: u32,
    },
    File {
        name: String,
    },
}

impl Locations {
    /// Reads the metadata of `ir`. Locations in `shim` and in the generated entries are seen through to the
    /// call in the user's text.
    pub(super) fn parse(ir: &str, shim: &str) -> Self {
        let nodes = ir.lines().filter_map(node).collect();
        Self { nodes, shim: shim.to_owned() }
    }

    /// The user's place for `!dbg !id`: the innermost inlined call that is in the user's text.
    pub fn place(&self, id: u32) -> Option<Place> {
        self.calls(id).into_iter().next()
    }

    /// All places of `!dbg !id` in the user's text, innermost first, the kernel's own last.
    pub fn calls(&self, id: u32) -> Vec<Place> {
        let mut places = Vec::new();
        let mut next = Some(id);
        while let Some(Node::Location { line, column, scope, inlined_at }) =
            next.and_then(|id| self.nodes.get(&id))
        {
            if let Some(file) = self.file_of(*scope)
                && !file.starts_with(&self.shim)
                && file != super::rewrite::ENTRY_FILE
            {
                places.push(Place { file: file.to_owned(), line: *line, column: *column });
            }
            next = *inlined_at;
        }
        places
    }

    fn file_of(&self, scope: u32) -> Option<&str> {
        let Node::Scope { file } = self.nodes.get(&scope)? else { return None };
        let Node::File { name } = self.nodes.get(file)? else { return None };
        Some(name)
    }
}

/// The number in `, !dbg !123` of an instruction, for [`Locations::place`].
pub fn dbg_id(line: &str) -> Option<u32> {
    let digits = line.split("!dbg !").nth(1)?;
    digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
}

/// `!12 = !DILocation(line: 3, column: 7, scope: !5, inlinedAt: !9)` and its like.
fn node(line: &str) -> Option<(u32, Node)> {
    let (id, rest) = line.strip_prefix('!')?.split_once(" = ")?;
    let id = id.parse().ok()?;
    let rest = rest.strip_prefix("distinct ").unwrap_or(rest);
    let (kind, fields) = rest.strip_prefix("!DI")?.split_once('(')?;
    let number = |name: &str| -> Option<u32> {
        let at = fields.find(&format!("{name}: "))?;
        let value = fields[at + name.len() + 2..].trim_start_matches('!');
        value[..value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len())].parse().ok()
    };
    let node = match kind {
        "Location" => Node::Location {
            line: number("line").unwrap_or(0),
            column: number("column").unwrap_or(0),
            scope: number("scope")?,
            inlined_at: number("inlinedAt"),
        },
        "Subprogram" | "LexicalBlock" | "LexicalBlockFile" => Node::Scope { file: number("file")? },
        "File" => {
            let name = fields.split("filename: \"").nth(1)?;
            Node::File { name: name[..name.find('"')?].to_owned() }
        }
        _ => return None,
    };
    Some((id, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IR: &str = r#"
!1 = !DIFile(filename: "k.metal", directory: "/")
!2 = !DIFile(filename: "/cache/shim-1/simd.h", directory: "/")
!5 = distinct !DISubprogram(name: "k", scope: !1, file: !1, line: 3)
!6 = distinct !DISubprogram(name: "simd_sum", scope: !2, file: !2, line: 40)
!7 = distinct !DILexicalBlock(scope: !5, file: !1, line: 9, column: 3)
!8 = distinct !DILocation(line: 12, column: 20, scope: !7)
!9 = !DILocation(line: 41, column: 1, scope: !6, inlinedAt: !8)
"#;

    #[test]
    fn the_shim_is_seen_through() {
        let locations = Locations::parse(IR, "/cache/shim-1");
        let place = Place { file: "k.metal".into(), line: 12, column: 20 };
        assert_eq!(locations.place(9), Some(place.clone()));
        assert_eq!(locations.place(8), Some(place));
        assert_eq!(locations.place(5), None);
        assert_eq!(dbg_id("  store float %x, ptr %p, align 4, !dbg !9, !tbaa !3"), Some(9));
    }
}
