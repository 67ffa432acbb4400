//! Fetching drivers from Debian's packages, by name, into a folder of our own.
//!
//! apt does the work with a private configuration: its own lists, its own empty idea of what is installed, the
//! system's keys. Nothing of the system is touched and no root is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use super::IsaError;

/// What is asked for; the rest follows from it.
const WANTED: [&str; 4] = ["mesa-vulkan-drivers", "libvulkan1", "libdrm-dev", "linux-libc-dev"];
/// The suite whose Mesa has Apple's driver for x86-64.
const SUITE: &str = "sid";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian";

/// A package that setup fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The file, which has name and version in it.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
}

/// A setup that is planned but not done.
#[derive(Debug)]
pub struct Setup {
    /// All packages, with their sizes.
    pub packages: Vec<Package>,
    work: tempfile::TempDir,
    target: PathBuf,
}

/// Asks Debian what setup would fetch into `target`.
///
/// # Errors
/// No apt, no network, no such package, no room.
pub fn setup_plan(target: &Path) -> Result<Setup, IsaError> {
    let parent = target.parent().unwrap_or(Path::new("."));
    // Beside the target, so that the last step is a rename; and gone with it if anything fails.
    let work = tempfile::tempdir_in(parent).map_err(|e| IsaError::io(parent.display(), e))?;
    let mirror = std::env::var("MARLIN_DEBIAN").ok().filter(|m| !m.is_empty()).unwrap_or(MIRROR.into());
    if !mirror.starts_with("http://") && !mirror.starts_with("https://") && !mirror.starts_with("file:/") {
        return Err(IsaError::Setup(format!("MARLIN_DEBIAN={mirror} is no address of a Debian mirror")));
    }
    let make = |name: &str| std::fs::create_dir_all(work.path().join(name));
    make("lists/partial")
        .and_then(|()| make("cache/archives/partial"))
        .and_then(|()| make("state"))
        .and_then(|()| std::fs::write(work.path().join("status"), ""))
        .and_then(|()| {
            let line = format!("deb [signed-by={KEYS}] {mirror} {SUITE} main\n");
            std::fs::write(work.path().join("sources.list"), line)
        })
        .map_err(|e| IsaError::io(work.path().display(), e))?;
    apt(work.path(), &["update"])?;
    let mut install = vec!["--print-uris", "install"];
    install.extend(WANTED);
    let output = apt(work.path(), &install)?;
    let packages: Vec<Package> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(package).collect();
    if packages.is_empty() {
        return Err(IsaError::Setup("apt names no packages to fetch".into()));
    }
    Ok(Setup { packages, work, target: target.to_owned() })
}

/// `'http://…/x.deb' x_1.2_amd64.deb 1234 MD5Sum:…`
fn package(line: &str) -> Option<Package> {
    let mut words = line.strip_prefix('\'')?.split_whitespace().skip(1);
    let file = words.next()?.to_string();
    Some(Package { file, size_bytes: words.next()?.parse().ok()? })
}

impl Setup {
    /// The bytes to fetch.
    pub fn download_bytes(&self) -> u64 {
        self.packages.iter().map(|p| p.size_bytes).sum()
    }

    /// Fetches and unpacks; what was there before is replaced when all is well.
    ///
    /// # Errors
    /// As [`setup_plan`]; nothing is left behind then.
    pub fn run(self) -> Result<PathBuf, IsaError> {
        let mut install = vec!["--download-only", "install"];
        install.extend(WANTED);
        apt(self.work.path(), &install)?;
        let root = self.work.path().join("root");
        let archives = self.work.path().join("cache/archives");
        let failed = |e: std::io::Error| IsaError::io(self.target.display(), e);
        std::fs::create_dir_all(&root).map_err(failed)?;
        for package in &self.packages {
            let mut command = Command::new("dpkg-deb");
            command.arg("-x").arg(archives.join(&package.file)).arg(&root);
            run(command, &package.file)?;
        }
        let versions =
            serde_json::to_string_pretty(&self.packages).map_err(|e| IsaError::io("versions", e))?;
        std::fs::write(root.join("versions.json"), versions).map_err(failed)?;
        if self.target.exists() {
            std::fs::rename(&self.target, self.work.path().join("before")).map_err(failed)?;
        }
        std::fs::rename(&root, &self.target).map_err(failed)?;
        Ok(self.target.clone())
    }
}

fn apt(dir: &Path, args: &[&str]) -> Result<Output, IsaError> {
    let mut command = Command::new("apt-get");
    let at = |name: &str| dir.join(name).display().to_string();
    for (option, value) in [
        ("Dir::Etc::SourceList", at("sources.list")),
        ("Dir::Etc::SourceParts", "/dev/null".into()),
        ("Dir::State", at("state")),
        ("Dir::State::Lists", at("lists")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("APT::Architecture", "amd64".into()),
        ("APT::Install-Recommends", "false".into()),
        ("APT::Update::Error-Mode", "any".into()),
        ("Acquire::Retries", "2".into()),
        ("Acquire::http::Timeout", "20".into()),
        ("Debug::NoLocking", "true".into()),
    ] {
        command.arg(format!("-o{option}={value}"));
    }
    command.args(["-q", "-y"]).args(args).env("LC_ALL", "C");
    run(command, &format!("apt-get {}", args[0]))
}

fn run(mut command: Command, what: &str) -> Result<Output, IsaError> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| {
        IsaError::Setup(format!(
            "{what}: {e}; setup is for Debian and its kin: elsewhere unpack Mesa's drivers and set MARLIN_MESA"
        ))
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|l| l.starts_with("E:")).or(text.lines().last()).unwrap_or("no message");
    Err(IsaError::Setup(format!("{what}: {line}")))
}
