//! Finding drivers, and building the stand-in kernel driver for those that want one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Gpu, IsaError};

/// Sources of the stand-in: name, text.
const SOURCES: [(&str, &str); 11] = [
    ("standin.h", include_str!("standin/standin.h")),
    ("drm.c", include_str!("standin/drm.c")),
    ("display.c", include_str!("standin/display.c")),
    ("asahi.c", include_str!("standin/asahi.c")),
    ("msm.c", include_str!("standin/msm.c")),
    ("nouveau.c", include_str!("standin/nouveau.c")),
    ("amdgpu.c", include_str!("standin/amdgpu.c")),
    ("i915.c", include_str!("standin/i915.c")),
    ("xe.c", include_str!("standin/xe.c")),
    ("libdrm_amdgpu.c", include_str!("standin/libdrm_amdgpu.c")),
    ("ioctl.c", include_str!("standin/ioctl.c")),
];

/// Shared objects of the stand-in, and what each is made of.
const OBJECTS: [(&str, &[&str]); 3] = [
    ("libdrm.so.2", &["drm.c", "display.c", "asahi.c", "msm.c", "nouveau.c", "amdgpu.c", "i915.c", "xe.c"]),
    ("libdrm_amdgpu.so.1", &["libdrm_amdgpu.c"]),
    // It forwards to the stand-in of libdrm, which is built before it.
    ("ioctl.so", &["ioctl.c", "libdrm.so.2"]),
];

/// Where Debian keeps libraries.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Whose driver compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The system's own.
    System,
    /// The folder that `MARLIN_MESA` names, or that `marlin isa --setup` filled.
    Root(PathBuf),
}

/// Drivers of this machine, and the program that runs them.
#[derive(Clone, Debug)]
pub struct Isa {
    pub(super) worker: PathBuf,
    root: Option<PathBuf>,
    cache: PathBuf,
}

impl Isa {
    /// Looks for drivers: the folder that `MARLIN_MESA` names, else the one that setup filled, and the system's.
    /// `worker` is the `marlin` program, which is run as the child that loads them.
    ///
    /// # Errors
    /// Another system than Linux on x86-64, or a `MARLIN_MESA` that has no drivers.
    pub fn find(worker: impl Into<PathBuf>) -> Result<Self, IsaError> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(IsaError::Host);
        }
        let cache = cache_dir()?;
        let named = std::env::var_os("MARLIN_MESA").filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(root) = &named
            && !root.join(LIBRARIES).is_dir()
        {
            let what = format!("MARLIN_MESA={}", root.display());
            return Err(IsaError::io(what, format!("it has no {LIBRARIES}")));
        }
        let root = named.or_else(|| Some(setup_dir(&cache)).filter(|d| d.join("versions.json").is_file()));
        Ok(Self { worker: worker.into(), root, cache })
    }

    /// The folder of fetched drivers, if there is one.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The folder that setup fills.
    pub fn setup_dir(&self) -> PathBuf {
        setup_dir(&self.cache)
    }

    /// Whose driver compiles for a GPU.
    ///
    /// # Errors
    /// There is none.
    pub fn origin(&self, gpu: &Gpu) -> Result<Origin, IsaError> {
        if let Some(root) = &self.root
            && root.join(driver_file(gpu)).is_file()
        {
            return Ok(Origin::Root(root.clone()));
        }
        let missing = |why: String| IsaError::NoDriver { gpu: gpu.name.into(), why };
        if gpu.radv_family.is_none() {
            return Err(missing(format!(
                "the system's Mesa does not make it without a stand-in for {}",
                gpu.kernel
            )));
        }
        match system_icd(gpu) {
            Some(_) => Ok(Origin::System),
            None => Err(missing(format!("no /{}", driver_file(gpu)))),
        }
    }

    /// The command of a child that loads the driver for `gpu`, with `scratch` as its own folder.
    pub(super) fn command(&self, gpu: &Gpu, scratch: &Path) -> Result<Command, IsaError> {
        let mut command;
        let icd = match self.origin(gpu)? {
            Origin::System => {
                command = Command::new(&self.worker);
                if let Some(family) = gpu.radv_family {
                    command.env("RADV_FORCE_FAMILY", family);
                }
                system_icd(gpu)
                    .ok_or_else(|| IsaError::NoDriver { gpu: gpu.name.into(), why: "it went away".into() })?
            }
            Origin::Root(root) => {
                let standin = self.standin(&root)?;
                let libraries = root.join(LIBRARIES);
                // The drivers' own glibc may be newer than the system's, so that they need its loader.
                command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
                command.arg("--preload").arg(standin.join("ioctl.so"));
                let mut path = standin.into_os_string();
                path.push(":");
                path.push(&libraries);
                command.arg("--library-path").arg(path).arg(&self.worker);
                let node = scratch.join("n");
                std::fs::File::create(&node)
                    .and_then(|f| f.set_len(64 << 20))
                    .map_err(|e| IsaError::io(node.display(), e))?;
                command.env("MARLIN_ISA_DRIVER", gpu.kernel).env("MARLIN_ISA_NODE", node);
                command.envs(gpu.settings.iter().copied());
                let icd = scratch.join("icd.json");
                let library = root.join(driver_file(gpu));
                let text = serde_json::json!({
                    "file_format_version": "1.0.0",
                    "ICD": { "library_path": library, "api_version": "1.4.0" },
                });
                std::fs::write(&icd, text.to_string()).map_err(|e| IsaError::io(icd.display(), e))?;
                icd
            }
        };
        command.env("VK_DRIVER_FILES", &icd).env("VK_ICD_FILENAMES", &icd);
        command.env("XDG_RUNTIME_DIR", scratch).env("MESA_SHADER_CACHE_DISABLE", "true");
        for name in ["VK_INSTANCE_LAYERS", "VK_ADD_LAYER_PATH", "MESA_VK_DEVICE_SELECT", "LD_PRELOAD"] {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// The folder of the built stand-in; built if its sources or headers are new.
    fn standin(&self, root: &Path) -> Result<PathBuf, IsaError> {
        let mut hash = Fnv::default();
        for (name, text) in SOURCES {
            hash.add(name).add(text);
        }
        hash.add(&root.to_string_lossy());
        hash.add(&std::fs::read_to_string(root.join("versions.json")).unwrap_or_default());
        let dir = self.cache.join(format!("standin-{:016x}", hash.0));
        if dir.is_dir() {
            return Ok(dir);
        }
        let failed = |e: std::io::Error| {
            IsaError::io(format!("{} (set MARLIN_CACHE to another folder)", self.cache.display()), e)
        };
        // Built aside and renamed whole, so that two runs at once don't meet half of it.
        let building = tempfile::tempdir_in(&self.cache).map_err(failed)?;
        for (name, text) in SOURCES {
            std::fs::write(building.path().join(name), text).map_err(failed)?;
        }
        for (object, sources) in OBJECTS {
            compile(root, building.path(), object, sources)?;
        }
        let built = building.keep();
        match std::fs::rename(&built, &dir) {
            Ok(()) => Ok(dir),
            Err(e) => {
                let _ = std::fs::remove_dir_all(&built);
                if dir.is_dir() { Ok(dir) } else { Err(failed(e)) }
            }
        }
    }
}

fn compile(root: &Path, dir: &Path, object: &str, sources: &[&str]) -> Result<(), IsaError> {
    let include = root.join("usr/include");
    let named = std::env::var_os("MARLIN_CC").filter(|v| !v.is_empty());
    let compilers = match named {
        Some(cc) => vec![cc],
        None => ["cc", "gcc", "clang", "clang-19"].map(Into::into).to_vec(),
    };
    for cc in &compilers {
        let run = Command::new(cc)
            .args(["-shared", "-fPIC", "-O1", "-w", "-iquote"])
            .arg(&include)
            .arg("-I")
            .arg(include.join("libdrm"))
            .arg("-idirafter")
            .arg(&include)
            .arg(format!("-Wl,-soname,{object}"))
            .args(["-o", object])
            .args(sources)
            .current_dir(dir)
            .stdin(Stdio::null())
            .output();
        match run {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(IsaError::Build(e.to_string())),
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let line = text.lines().find(|l| l.contains("error")).unwrap_or("no message");
                return Err(IsaError::Build(format!("{}: {line}", cc.to_string_lossy())));
            }
        }
    }
    Err(IsaError::Build("no C compiler found; install gcc or clang, or set MARLIN_CC".into()))
}

fn driver_file(gpu: &Gpu) -> String {
    format!("{LIBRARIES}/libvulkan_{}.so", gpu.driver)
}

/// The manifest of the system's own driver.
fn system_icd(gpu: &Gpu) -> Option<PathBuf> {
    let dirs = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let names = [format!("{}_icd.x86_64.json", gpu.driver), format!("{}_icd.json", gpu.driver)];
    dirs.iter().flat_map(|d| names.iter().map(move |n| Path::new(d).join(n))).find(|p| p.is_file())
}

fn setup_dir(cache: &Path) -> PathBuf {
    cache.join("mesa")
}

/// `MARLIN_CACHE`, else the user's cache folder.
pub(super) fn cache_dir() -> Result<PathBuf, IsaError> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let dir = set("MARLIN_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("wgpu-marlin")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/wgpu-marlin")))
        .ok_or_else(|| IsaError::io("no folder for drivers", "set MARLIN_CACHE to one"))?;
    let what = || format!("{} (set MARLIN_CACHE to another folder)", dir.display());
    std::fs::create_dir_all(&dir).map_err(|e| IsaError::io(what(), e))?;
    std::path::absolute(&dir).map_err(|e| IsaError::io(what(), e))
}

/// FNV-1a over 64 bits.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf29ce484222325)
    }
}

impl Fnv {
    fn add(&mut self, text: &str) -> &mut Self {
        for b in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x100000001b3);
        }
        self
    }
}
