//! Where the shim lies and what was built stays, by content.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of the shim: name, text. Headers that Metal splits its library into are the same one header.
const SHIM: [(&str, &str); 12] = [
    ("prelude.h", include_str!("shim/prelude.h")),
    ("shim.h", include_str!("shim/shim.h")),
    ("types.h", include_str!("shim/types.h")),
    ("runtime.h", include_str!("shim/runtime.h")),
    ("math.h", include_str!("shim/math.h")),
    ("matrix.h", include_str!("shim/matrix.h")),
    ("simd.h", include_str!("shim/simd.h")),
    ("atomic.h", include_str!("shim/atomic.h")),
    ("texture.h", include_str!("shim/texture.h")),
    ("names.h", include_str!("shim/names.h")),
    ("entry.h", include_str!("shim/entry.h")),
    ("runtime.c", include_str!("shim/runtime.c")),
];

/// Headers of Metal's standard library. Their macros are in the prelude, their declarations in the shim, so
/// the files themselves are empty.
const METAL_HEADERS: [&str; 36] = [
    "metal_stdlib",
    "metal_algorithm",
    "metal_array",
    "metal_assert",
    "metal_atomic",
    "metal_command_buffer",
    "metal_common",
    "metal_compute",
    "metal_config",
    "metal_extended_vector",
    "metal_geometric",
    "metal_graphics",
    "metal_integer",
    "metal_limits",
    "metal_logging",
    "metal_math",
    "metal_matrix",
    "metal_numeric",
    "metal_pack",
    "metal_packed_vector",
    "metal_quadgroup",
    "metal_relational",
    "metal_simdgroup",
    "metal_simdgroup_matrix",
    "metal_texture",
    "metal_type_traits",
    "metal_types",
    "metal_uniform",
    "metal_vector",
    // Tensors are not there: what uses them is refused by name, other kernels of the file are not.
    "metal_cooperative_tensor",
    "metal_tensor",
    "MetalPerformancePrimitives/MetalPerformancePrimitives.h",
    "assert.h",
    "simd/simd.h",
    "TargetConditionals.h",
    "cassert",
];

/// A folder of built kernels, and within it the shim.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    shim: PathBuf,
    /// Keeps a folder of this process alive where there is no lasting one.
    _temporary: Option<Arc<tempfile::TempDir>>,
}

impl Cache {
    /// Opens `MARLIN_CACHE`, else the user's cache folder, else one for this process only. Never a folder that
    /// others can write: what lies in it is loaded as code.
    ///
    /// # Errors
    /// `MARLIN_CACHE` can't be used, or no folder could be made. The user's own folder is passed over instead: what is
    /// kept there saves time and nothing else.
    pub(super) fn open() -> io::Result<Self> {
        let asked = std::env::var_os("MARLIN_CACHE").filter(|v| !v.is_empty()).map(PathBuf::from);
        let lasting = match asked {
            Some(dir) => {
                own(&dir).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", dir.display())))?;
                Some(dir)
            }
            None => user_cache().filter(|dir| own(dir).is_ok()),
        };
        let (dir, temporary) = match lasting {
            Some(dir) => (dir, None),
            None => {
                let temporary = tempfile::tempdir()?;
                (temporary.path().to_owned(), Some(Arc::new(temporary)))
            }
        };
        let mut hash = Hash::default();
        for (name, text) in SHIM {
            hash.add(name.as_bytes());
            hash.add(text.as_bytes());
        }
        let shim = dir.join(format!("shim-{}", hash.hex()));
        std::fs::create_dir_all(shim.join("include/simd"))?;
        std::fs::create_dir_all(shim.join("include/MetalPerformancePrimitives"))?;
        // A file that a full disk cut short, or that was changed, is written again.
        let keep = |path: PathBuf, text: &str| match std::fs::read(&path) {
            Ok(bytes) if bytes == text.as_bytes() => Ok(()),
            _ => write_whole(&path, text.as_bytes()),
        };
        for (name, text) in SHIM {
            keep(shim.join(name), text)?;
        }
        for name in METAL_HEADERS {
            keep(shim.join("include").join(name), "")?;
        }
        Ok(Self { dir, shim, _temporary: temporary })
    }

    /// The folder of the shim's own files.
    pub(super) fn shim_dir(&self) -> &Path {
        &self.shim
    }

    /// The folder of `<metal_stdlib>` and its like.
    pub(super) fn include_dir(&self) -> PathBuf {
        self.shim.join("include")
    }

    /// The file for content `hash` and `extension`; it may not exist yet.
    pub(super) fn file(&self, hash: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{hash}.{extension}"))
    }

    /// A file beside the others to write before renaming it into place.
    pub(super) fn scratch(&self) -> io::Result<tempfile::TempPath> {
        Ok(tempfile::NamedTempFile::new_in(&self.dir)?.into_temp_path())
    }
}

fn user_cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| {
        set("HOME").map(|h| h.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }))
    })?;
    Some(base.join("wgpu-marlin"))
}

/// Makes `dir` if it is not there, and sees that this user owns it and nobody else can write to it.
fn own(dir: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    #[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let about = std::fs::metadata(dir)?;
        // SAFETY: asks for a number.
        let user = unsafe { libc::geteuid() };
        if about.uid() != user {
            let message = "another user owns it; name a folder of your own";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        if about.permissions().mode() & 0o022 != 0 {
            let message = "others can write to it, and what lies in it is run; chmod go-w it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
    }
    tempfile::tempfile_in(dir).map(drop)
}

/// Writes a file that another process may be reading or writing: whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// FNV-1a over 128 bits, each part closed by its length.
pub(super) struct Hash(u128);

impl Default for Hash {
    fn default() -> Self {
        Self(0x6c62272e07bb014262b821756295c58d)
    }
}

impl Hash {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &b in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u128::from(b)).wrapping_mul(0x0000000001000000000000000000013b);
        }
    }

    pub(super) fn hex(&self) -> String {
        format!("{:032x}", self.0)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let inner = dir.path().join("a/b");
        own(&inner).expect("made");
        assert_eq!(std::fs::metadata(&inner).expect("there").permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o770)).expect("changed");
        assert!(own(&inner).is_err_and(|e| e.to_string().contains("others can write")));
    }
}
