//! Auditing files and directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::analyse::{audit_composed, not_analysed};
use super::error::AuditError;
use super::report::Report;
use super::settings::Settings;
use super::trace::{TraceError, trace_wgsl};
use crate::lower::{Defines, Files, LowerError, Lowered, compose_foreign};

/// What to audit, and with what knowledge.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Files and directories; directories are searched for `.wgsl` and `.metal`.
    pub paths: Vec<PathBuf>,
    /// Names for the preprocessor.
    pub defines: Defines,
    /// What is known of machine and dispatch.
    pub settings: Settings,
}

/// What files and folders there are: the system's, or where there are none (on the web) an app's.
pub trait Folders {
    /// The text of a file; `None` where there is none.
    fn read(&self, path: &Path) -> Option<String>;
    /// The files and folders in a folder, each with whether it is a folder. Links to folders are none.
    fn list(&self, dir: &Path) -> Vec<(PathBuf, bool)>;
}

/// The system's.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Folders for System {
    fn read(&self, path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    fn list(&self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| (e.path(), e.file_type().is_ok_and(|t| t.is_dir()))).collect()
    }
}

/// Files that are included by files in folders, the first of which is `root`: beside the including one or near it, as
/// common preprocessors look for them.
#[derive(Clone, Copy)]
pub struct Includes<'a> {
    /// The file that is audited.
    pub root: &'a str,
    /// Where else to look.
    pub include_dirs: &'a [PathBuf],
    /// Where they lie.
    pub folders: &'a dyn Folders,
}

impl Files for Includes<'_> {
    fn read(&self, path: &str, from: &str) -> Option<String> {
        if path.contains("::") {
            return self.declared(path, from).or_else(|| self.declared(path, self.root));
        }
        let beyond = || self.include_dirs.iter().find_map(|d| self.folders.read(&d.join(path)));
        self.find(path, from).or_else(|| self.find(path, self.root)).or_else(beyond)
    }
}

/// Most files of a folder that are looked into for a module's name.
const MOST_MODULES: usize = 512;

impl Includes<'_> {
    /// The text of the file that says `#define_import_path path`: in the folder of `from` or below, else in the one above.
    fn declared(&self, path: &str, from: &str) -> Option<String> {
        let dir = Path::new(from).parent().unwrap_or(Path::new(""));
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let above = dir.parent().map(|d| if d.as_os_str().is_empty() { Path::new("..") } else { d });
        let mut files = Vec::new();
        [Some(dir), above].into_iter().flatten().find_map(|dir| {
            files.clear();
            self.modules_below(dir, &mut files, 0);
            files.sort();
            files.iter().find_map(|file| {
                let text = self.folders.read(file)?;
                let says =
                    |l: &str| l.trim().strip_prefix("#define_import_path").is_some_and(|p| p.trim() == path);
                text.lines().any(says).then_some(text)
            })
        })
    }

    fn modules_below(&self, dir: &Path, files: &mut Vec<PathBuf>, depth: usize) {
        for (entry, is_dir) in self.folders.list(dir) {
            if files.len() >= MOST_MODULES {
                return;
            }
            if is_dir && depth < 3 {
                self.modules_below(&entry, files, depth + 1);
            } else if entry.extension().is_some_and(|e| e == "wgsl") {
                files.push(entry);
            }
        }
    }

    /// An included file: beside the including one, in `shared` or `common` there or one level up, or as written.
    fn find(&self, path: &str, from: &str) -> Option<String> {
        let dir = Path::new(from).parent().unwrap_or(Path::new(""));
        let up = dir.parent().unwrap_or(dir);
        [
            dir.to_path_buf(),
            dir.join("shared"),
            dir.join("common"),
            up.to_path_buf(),
            up.join("shared"),
            up.join("common"),
            PathBuf::new(),
        ]
        .into_iter()
        .find_map(|d| self.folders.read(&d.join(path)))
    }
}

/// Audits every file of a request; files that can't be lowered are rows with the reason.
pub fn run(request: &Request) -> Result<Report, AuditError> {
    let mut files = Vec::new();
    for path in &request.paths {
        collect(path, &mut files, 0)?;
    }
    files.sort();
    files.dedup();
    if files.is_empty() {
        let named: Vec<_> = request.paths.iter().map(|p| p.display().to_string()).collect();
        return Err(AuditError::NothingToAudit(named.join(", ")));
    }
    let reports: Vec<Result<Report, AuditError>> =
        files.par_iter().map(|path| audit_file(path, request)).collect();
    let mut report = Report::default();
    for one in reports {
        report.merge(one?);
    }
    Ok(report.finish())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Result<(), AuditError> {
    let fail = |source| AuditError::Read { path: path.display().to_string(), source };
    if path.is_dir() {
        if depth > 64 {
            return Ok(());
        }
        for entry in std::fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?.path();
            let known = entry.extension().is_some_and(|e| e == "wgsl" || e == "metal");
            let link = entry.symlink_metadata().is_ok_and(|m| m.is_symlink());
            if (entry.is_dir() && !link) || known {
                collect(&entry, files, depth + 1)?;
            }
        }
    } else {
        std::fs::metadata(path).map_err(fail)?;
        if !path.extension().is_some_and(|e| e == "wgsl" || e == "metal") {
            return Err(AuditError::NoShader(path.display().to_string()));
        }
        files.push(path.to_path_buf());
    }
    Ok(())
}

/// Audits and traces one WGSL file: see [`trace_wgsl`].
pub fn trace_file(
    path: &Path,
    defines: &Defines,
    settings: &Settings,
    buffers: &BTreeMap<String, Vec<u8>>,
) -> Result<Report, TraceError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| AuditError::Read { path: name.clone(), source })?;
    let files = Includes { root: &name, include_dirs: &settings.include_dirs, folders: &System };
    let composed = compose_foreign(&name, &text, defines, &files).map_err(LowerError::from)?;
    let lowered = Lowered::new(composed)?;
    crate::lower::guard::deep(|| trace_wgsl(&lowered, settings, buffers))
        .unwrap_or_else(|e| Err(TraceError::TooDeep(e)))
}

fn audit_file(path: &Path, request: &Request) -> Result<Report, AuditError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| AuditError::Read { path: name.clone(), source })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if path.extension().is_some_and(|e| e == "metal") {
        return Ok(super::metal::audit_metal(&name, &text, &request.defines, &request.settings));
    }
    Ok(audit_wgsl_text(&name, &text, &request.defines, &request.settings, &System))
}

/// Audits a text that is in no file, for example one that came through a pipe: Metal if it looks so, else WGSL.
/// Included files are looked for in the current directory.
pub fn audit_text(name: &str, text: &str, defines: &Defines, settings: &Settings) -> Report {
    audit_text_in(name, text, defines, settings, &System)
}

/// The same with what WGSL includes from `folders`, beside the file `name`.
pub fn audit_text_in(
    name: &str,
    text: &str,
    defines: &Defines,
    settings: &Settings,
    folders: &dyn Folders,
) -> Report {
    let is_metal = text.contains("metal_stdlib") || text.contains("using namespace metal");
    if is_metal {
        super::metal::audit_metal(name, text, defines, settings)
    } else {
        audit_wgsl_text(name, text, defines, settings, folders)
    }
}

/// Preprocesses where needed, then audits.
fn audit_wgsl_text(
    name: &str,
    text: &str,
    defines: &Defines,
    settings: &Settings,
    folders: &dyn Folders,
) -> Report {
    let files = Includes { root: name, include_dirs: &settings.include_dirs, folders };
    match compose_foreign(name, text, defines, &files) {
        Ok(composed) => audit_composed(composed, settings),
        Err(e) => {
            let mut report = not_analysed(name, "(file)", e.to_string());
            report.sources.insert(name.into(), text.into());
            report
        }
    }
}
