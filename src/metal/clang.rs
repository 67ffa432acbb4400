//! Finding clang and asking it things.

use super::cache::Cache;
use super::process::pipe;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest clang whose C++ has what the shim needs.
pub const MIN_CLANG: u32 = 17;

/// A clang that reads Metal text through the shim.
#[derive(Clone, Debug)]
pub struct Clang {
    /// The command and its leading arguments (`xcrun clang++`).
    command: Vec<OsString>,
    /// First line of `--version`.
    version: String,
    major: u32,
    cache: Cache,
    /// Whether Apple's Metal compiler is there too.
    xcrun_metal: bool,
}

/// Why there is no clang to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClangError {
    /// None was found, or `MARLIN_CLANG` names none.
    #[error("needs clang >= {MIN_CLANG} ({tried}); set MARLIN_CLANG to its path")]
    NotFound {
        /// What was tried.
        tried: String,
    },
    /// One was found, but it is too old.
    #[error("needs clang >= {MIN_CLANG}, found {found}; set MARLIN_CLANG to the path of a newer one")]
    TooOld {
        /// What it says of itself.
        found: String,
    },
    /// Kernels can't run on this machine, whatever compiler it has.
    #[error("Metal kernels run on x86-64 and aarch64 Unix machines only")]
    Host,
    /// No folder for the shim and the built kernels could be made.
    #[error("no folder for compiled kernels ({0}); set MARLIN_CACHE to one")]
    Cache(String),
}

impl ClangError {
    /// The requirement alone, as rows that are skipped have it.
    pub fn summary(&self) -> String {
        match self {
            Self::NotFound { .. } => format!("needs clang >= {MIN_CLANG}"),
            Self::TooOld { found } => format!("needs clang >= {MIN_CLANG}, found {found}"),
            other => other.to_string(),
        }
    }
}

/// What a run of clang gave.
pub(super) struct Output {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Clang {
    /// Looks for clang: `MARLIN_CLANG` if set to anything but `require`, then `clang++-19` and other versions
    /// from 17, `clang++`, `xcrun clang++`.
    ///
    /// `MARLIN_CLANG=require` changes nothing here; tests read it as "absence is a failure" through
    /// [`required`](Self::required).
    pub fn find() -> Result<Self, ClangError> {
        if !cfg!(all(unix, any(target_arch = "x86_64", target_arch = "aarch64"))) {
            return Err(ClangError::Host);
        }
        let named = std::env::var_os("MARLIN_CLANG").filter(|v| !v.is_empty() && v != "require");
        let candidates: Vec<Vec<OsString>> = match named {
            Some(path) => vec![vec![path]],
            None => [19, 20, 21, 18, 17]
                .map(|n| vec![OsString::from(format!("clang++-{n}"))])
                .into_iter()
                .chain([vec!["clang++".into()], vec!["xcrun".into(), "clang++".into()]])
                .collect(),
        };
        let mut too_old = None;
        for command in &candidates {
            let Some(version) = version_of(command) else { continue };
            match major_of(&version) {
                Some(major) if major >= MIN_CLANG => {
                    let cache = Cache::open().map_err(|e| ClangError::Cache(e.to_string()))?;
                    let xcrun_metal =
                        cfg!(target_os = "macos") && runs("xcrun", &["-sdk", "macosx", "metal", "--version"]);
                    return Ok(Self { command: command.clone(), version, major, cache, xcrun_metal });
                }
                _ => too_old = too_old.or(Some(version)),
            }
        }
        match too_old {
            Some(found) => Err(ClangError::TooOld { found }),
            None => {
                let tried: Vec<_> = candidates.iter().map(|c| c.join(OsStr::new(" "))).collect();
                let tried: Vec<_> = tried.iter().map(|c| c.to_string_lossy()).collect();
                Err(ClangError::NotFound { tried: format!("tried {}", tried.join(", ")) })
            }
        }
    }

    /// Whether `MARLIN_CLANG=require` says that a missing clang is a failure, as in CI.
    pub fn required() -> bool {
        std::env::var_os("MARLIN_CLANG").is_some_and(|v| v == "require")
    }

    /// What the compiler says of itself, for reports.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Whether Apple's own Metal compiler is asked as well.
    pub fn has_xcrun_metal(&self) -> bool {
        self.xcrun_metal
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Runs clang with `args`, giving it `input`.
    pub(super) fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> std::io::Result<Output> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(args);
        // Messages in one language, whatever the user's.
        command.env("LC_ALL", "C");
        pipe(command, input)
    }

    /// Flags that make clang read the shim's dialect; the same for every use.
    pub(super) fn language_flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = LANGUAGE_FLAGS.iter().map(Into::into).collect();
        flags.push("-I".into());
        flags.push(self.cache.shim_dir().into());
        flags.extend(host_flags().iter().map(Into::into));
        flags
    }
}

const LANGUAGE_FLAGS: [&str; 27] = [
    "-x",
    "c++",
    "-std=c++17",
    "-nostdinc",
    "-fdeclspec",
    "-fsigned-char",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-strict-aliasing",
    "-fno-finite-loops",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-stack-protector",
    "-fno-threadsafe-statics",
    "-fno-caret-diagnostics",
    "-fno-color-diagnostics",
    "-ferror-limit=40",
    "-ftemplate-backtrace-limit=0",
    "-Xclang",
    "-cl-single-precision-constant",
    "-Xclang",
    "-ffloat16-excess-precision=none",
    // A float3 is loaded as three floats, not four.
    "-Xclang",
    "-fpreserve-vec3-type",
    "-w",
    // Metal's vectors take whatever converts, in braces too.
    "-Wno-c++11-narrowing",
    "-fPIC",
];

/// Half conversions as instructions rather than calls, where the processor has them.
fn host_flags() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    {
        let has_v3 = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
            && std::arch::is_x86_feature_detected!("lzcnt")
            && std::arch::is_x86_feature_detected!("movbe");
        if has_v3 { &["-march=x86-64-v3"] } else { &[] }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        &[]
    }
}

fn version_of(command: &[OsString]) -> Option<String> {
    let mut asked = Command::new(&command[0]);
    asked.args(&command[1..]).arg("--version");
    let output = pipe(asked, b"").ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next()?.trim().to_owned();
    (output.success && first.contains("clang")).then_some(first)
}

/// The major version of LLVM that `Debian clang version 19.1.7 (3)` stands for. Apple counts its own way:
/// its clang 17 and later are LLVM 17 and later, earlier ones are older than their number.
fn major_of(version: &str) -> Option<u32> {
    let after = version.split("version ").nth(1)?;
    after.split(['.', ' ']).next()?.parse().ok()
}

fn runs(program: &str, args: &[&str]) -> bool {
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}

/// The folder of a source's own file, for its `#include "..."`.
pub(super) fn folder_of(name: &str) -> Option<PathBuf> {
    let parent = Path::new(name).parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major_of("Debian clang version 19.1.7 (3~deb12u1)"), Some(19));
        assert_eq!(major_of("Apple clang version 17.0.0 (clang-1700.0.13.3)"), Some(17));
        assert_eq!(major_of("gcc (Debian) 12"), None);
    }
}
