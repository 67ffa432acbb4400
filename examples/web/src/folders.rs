//! Files as JavaScript knows them: the web has no folders of its own.

use std::path::{Path, PathBuf};

use wasm_bindgen::prelude::*;
use wgpu_marlin::audit::Folders;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Where included files lie. */
export interface Folders {
  /** The text of a file; undefined where there is none. */
  read(path: string): string | undefined;
  /** The names in a folder, those of folders with a slash behind. */
  list(dir: string): string[];
}
"#;

#[wasm_bindgen]
extern "C" {
    /// An object with these two methods.
    #[wasm_bindgen(typescript_type = "Folders")]
    pub type JsFolders;

    #[wasm_bindgen(method)]
    fn read(this: &JsFolders, path: &str) -> Option<String>;

    #[wasm_bindgen(method)]
    fn list(this: &JsFolders, dir: &str) -> Vec<String>;
}

/// The app's folders; nothing where it gave none.
pub(crate) struct Given(pub(crate) Option<JsFolders>);

impl Folders for Given {
    fn read(&self, path: &Path) -> Option<String> {
        self.0.as_ref()?.read(path.to_str()?)
    }

    fn list(&self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let (Some(folders), Some(name)) = (&self.0, dir.to_str()) else { return Vec::new() };
        let entry = |name: String| (dir.join(name.trim_end_matches('/')), name.ends_with('/'));
        folders.list(name).into_iter().map(entry).collect()
    }
}
