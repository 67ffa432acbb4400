//! Headers that a text names by a path from a folder of its project: `#include "mlx/backend/metal/kernels/utils.h"`
//! from the project's root, `#include "ggml-impl.h"` from a folder beside. A build passes these folders; a person
//! with one file in hand does not.

use std::path::{Path, PathBuf};

/// Folders above a file that are looked at, where no repository's root ends the way before.
const MOST_LEVELS: usize = 12;
/// Folders beside each of them.
const MOST_SIBLINGS: usize = 256;

/// The header that a message of the preprocessor says is missing.
pub(super) fn missing(message: &str) -> Option<&str> {
    message.strip_prefix('\'')?.strip_suffix("' file not found")
}

/// The folder from which `header` is found: one above `file`, or one beside these, up to the root of the project.
pub(super) fn folder_of_missing(file: &str, header: &str) -> Option<PathBuf> {
    if header.is_empty() || Path::new(header).is_absolute() {
        return None;
    }
    let folder = Path::new(file).parent()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = folder.canonicalize().ok()?;
    for above in folder.ancestors().take(MOST_LEVELS) {
        if above.join(header).is_file() {
            return Some(above.to_owned());
        }
        let beside = std::fs::read_dir(above).into_iter().flatten().take(MOST_SIBLINGS).flatten();
        let mut beside: Vec<PathBuf> = beside.map(|e| e.path()).filter(|p| p.is_dir()).collect();
        beside.sort();
        if let Some(found) = beside.into_iter().find(|p| p.join(header).is_file()) {
            return Some(found);
        }
        if above.join(".git").exists() {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_from_the_root_and_beside() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("a path").join("project");
        for folder in ["kernels/deep", "include", ".git"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        std::fs::write(root.join("kernels/util.h"), "").expect("written");
        std::fs::write(root.join("include/shared.h"), "").expect("written");
        std::fs::write(dir.path().join("outside.h"), "").expect("written");
        let file = root.join("kernels/deep/k.metal");
        let folder = |header: &str| folder_of_missing(&file.to_string_lossy(), header);
        assert_eq!(folder("kernels/util.h"), Some(root.clone()));
        assert_eq!(folder("shared.h"), Some(root.join("include")));
        assert_eq!(folder("outside.h"), None, "beyond the project");
        assert_eq!(folder("/etc/passwd"), None);
        assert_eq!(missing("'a/b.h' file not found"), Some("a/b.h"));
        assert_eq!(missing("expected ';'"), None);
    }
}
