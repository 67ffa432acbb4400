//! Kernels compiled to shared objects: compiled once and kept by content, loaded where they run.

use super::RunError;
use crate::metal::admit::admit;
use crate::metal::cache::Hash;
use crate::metal::clang::Clang;
use crate::metal::compile::succeeded;
use crate::metal::diagnostic::Step;
use crate::metal::instrument::{Site, instrument};
use crate::metal::ir::llvm_ir_of_preprocessed;
use crate::metal::rewrite::ThreadgroupVariable;
use crate::metal::source::Source;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsString, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a compiled kernel calls in the host: `struct marlin_host` of `shim/runtime.c`.
#[repr(C)]
pub(super) struct HostTable {
    pub(super) threadgroup_variable: extern "C" fn(u32, u64, u64) -> *mut c_void,
    pub(super) threadgroup_argument: extern "C" fn(u32) -> *mut c_void,
    pub(super) texture_argument: extern "C" fn(u32) -> *mut c_void,
    pub(super) threadgroup_barrier: extern "C" fn(u32, u32),
    pub(super) simdgroup_barrier: extern "C" fn(u32, u32),
    pub(super) simd_exchange: extern "C" fn(*const c_void, u32, u32) -> *const c_void,
    pub(super) unsupported: extern "C" fn(u32),
    pub(super) out_of_steps: extern "C" fn(),
    pub(super) access: extern "C" fn(*const c_void, u64, u32),
    pub(super) trap: extern "C" fn(u32),
    pub(super) private_begin: extern "C" fn(*const c_void, u64, u32),
    pub(super) private_fresh: extern "C" fn(*const c_void),
    pub(super) private_end: extern "C" fn(u32),
    pub(super) private_access: extern "C" fn(*const c_void, u64, *const c_void, i64, u32),
}

/// Ids and sizes as a thread sees them: `struct marlin_thread` of `shim/runtime.c`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThreadIds {
    pub(super) thread_position_in_grid: [u32; 3],
    pub(super) thread_position_in_threadgroup: [u32; 3],
    pub(super) threadgroup_position_in_grid: [u32; 3],
    pub(super) threads_per_grid: [u32; 3],
    pub(super) threads_per_threadgroup: [u32; 3],
    pub(super) threadgroups_per_grid: [u32; 3],
    pub(super) thread_index_in_threadgroup: u32,
    pub(super) thread_index_in_simdgroup: u32,
    pub(super) simdgroup_index_in_threadgroup: u32,
    pub(super) threads_per_simdgroup: u32,
    pub(super) simdgroups_per_threadgroup: u32,
}

/// A loaded kernel: in the process that runs it, and nowhere else.
pub(super) struct Object {
    _library: libloading::Library,
    pub(super) host: *mut HostTable,
    pub(super) current: *mut *const ThreadIds,
    pub(super) steps: *mut i64,
    pub(super) entry: unsafe extern "C" fn(*const *mut c_void),
    /// Address and length of each constant of the program.
    pub(super) constants: Vec<(usize, usize)>,
    /// Bytes of private variables that a thread may have in memory.
    pub(super) private_bytes: u64,
    /// What bounds the rest of its stack.
    pub(super) instructions: u64,
    pub(super) info: Info,
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    path: PathBuf,
    number: usize,
    info: Info,
}

/// What is kept beside a shared object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Info {
    pub(super) sites: Vec<Site>,
    pub(super) variables: Vec<ThreadgroupVariable>,
    /// Names of private variables, by number.
    pub(super) privates: Vec<String>,
    /// Of the object's bytes: one that is shorter, or another, is compiled again.
    object_hash: String,
}

impl Compiled {
    /// The name of private variable `number`.
    pub(super) fn site(&self, number: u32) -> Site {
        super::site(&self.info.sites, number)
    }
}

/// Compiles kernel number `number`, called `entry`, or finds it compiled.
pub(super) fn compiled(
    clang: &Clang,
    source: &Source,
    preprocessed: &str,
    entry: &str,
    number: usize,
    watched: bool,
) -> Result<Arc<Compiled>, RunError> {
    let mut hash = Hash::default();
    for part in [
        env!("CARGO_PKG_VERSION"),
        clang.version(),
        &clang.cache().shim_dir().to_string_lossy(),
        preprocessed,
        &format!("{:?}", source.function_constants),
        entry,
        if watched { "watched -O0" } else { "plain -O2" },
    ] {
        hash.add(part.as_bytes());
    }
    for flag in clang.language_flags() {
        hash.add(flag.as_encoded_bytes());
    }
    for part in INSTRUMENT_SOURCES {
        hash.add(part.as_bytes());
    }
    let hash = hash.hex();
    let path = clang.cache().file(&hash, "so");

    static KNOWN: OnceLock<Mutex<HashMap<PathBuf, Arc<Compiled>>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    if let Some(compiled) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&path)
        && path.exists()
    {
        return Ok(compiled.clone());
    }
    let info_path = clang.cache().file(&hash, "json");
    let kept: Option<Info> =
        std::fs::read(&info_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let whole = |info: &Info| std::fs::read(&path).is_ok_and(|bytes| hash_of(&bytes) == info.object_hash);
    let info = match kept.filter(whole) {
        Some(info) => info,
        None => compile(clang, source, preprocessed, entry, watched, &path, &info_path)?,
    };
    let compiled = Arc::new(Compiled { path: path.clone(), number, info });
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(path, compiled.clone());
    Ok(compiled)
}

fn hash_of(bytes: &[u8]) -> String {
    let mut hash = Hash::default();
    hash.add(bytes);
    hash.hex()
}

/// Part of what a compiled kernel depends on.
const INSTRUMENT_SOURCES: [&str; 4] = [
    include_str!("../instrument.rs"),
    include_str!("../access.rs"),
    include_str!("../private.rs"),
    include_str!("../admit.rs"),
];

fn compile(
    clang: &Clang,
    source: &Source,
    preprocessed: &str,
    entry: &str,
    watched: bool,
    path: &Path,
    info_path: &Path,
) -> Result<Info, RunError> {
    let ir = llvm_ir_of_preprocessed(clang, source, preprocessed, entry).map_err(RunError::Build)?;
    admit(&ir).map_err(RunError::Build)?;
    let instrumented = instrument(&ir, watched);
    let driver = |what: &str, e: &dyn std::fmt::Display| RunError::CouldNotRun(format!("{what}: {e}"));
    let scratch = clang.cache().scratch().map_err(|e| driver("could not write the compiled kernel", &e))?;
    // The IR is optimized already. In a watched kernel each access calls the host: more would only cost time here.
    let level = if watched { "-O0" } else { "-O2" };
    let mut args: Vec<OsString> = [
        "-shared",
        "-fPIC",
        level,
        "-w",
        "-ffp-contract=off",
        "-fno-finite-loops",
        "-nostdlib++",
        // Each page of a large frame is touched in order, so that none is jumped over to the memory beyond.
        "-fstack-clash-protection",
        "-x",
        "ir",
        "-",
        "-x",
        "c",
    ]
    .map(OsString::from)
    .into();
    args.push(clang.cache().shim_dir().join("runtime.c").into());
    args.extend(["-x", "none", "-lm", "-o"].map(OsString::from));
    args.push(scratch.to_path_buf().into());
    let output =
        clang.run(args, instrumented.text.as_bytes()).map_err(|e| driver("could not run clang", &e))?;
    succeeded(clang, &output, Step::Driver, &[]).map_err(RunError::Build)?;
    let object =
        std::fs::read(&scratch).map_err(|e| driver("could not read the compiled kernel again", &e))?;
    let info = Info {
        sites: instrumented.sites,
        variables: ir.variables,
        privates: instrumented.privates,
        object_hash: hash_of(&object),
    };
    let bytes =
        serde_json::to_vec(&info).map_err(|e| driver("could not describe the compiled kernel", &e))?;
    crate::metal::cache::write_whole(info_path, &bytes)
        .and_then(|()| scratch.persist(path).map_err(|e| e.error))
        .map_err(|e| driver("could not write the compiled kernel", &e))?;
    Ok(info)
}

/// Loads a compiled kernel into this process, which is to be the kernel's own.
pub(super) fn open(compiled: &Compiled) -> Result<Object, RunError> {
    let failed =
        |e: libloading::Error| RunError::CouldNotRun(format!("the compiled kernel was not loaded: {e}"));
    // SAFETY: the object was made by `compile` from IR that `admit` let through and `runtime.c`; it has no initializers.
    let library = unsafe { libloading::Library::new(&compiled.path) }.map_err(failed)?;
    // SAFETY: the symbols have these types in `runtime.c` and in what `instrument` adds; the pointers stay
    // valid as long as `library`, which the object keeps.
    unsafe {
        let address = |name: &str| -> Result<*mut c_void, RunError> {
            Ok(*library.get::<*mut c_void>(name.as_bytes()).map_err(failed)?)
        };
        let number = |name: &str| -> Result<u64, RunError> { Ok(*(address(name)? as *const u64)) };
        let entry: unsafe extern "C" fn(*const *mut c_void) =
            *library.get(format!("marlin_entry_{}", compiled.number).as_bytes()).map_err(failed)?;
        let table = address("marlin_constants")? as *const (usize, usize);
        let count = number("marlin_constant_count")? as usize;
        let constants = (0..count).map(|i| std::ptr::read_unaligned(table.add(i))).collect();
        let frames = address("marlin_frames")? as *const u64;
        let count = number("marlin_frame_count")? as usize;
        let private_bytes =
            (0..count).map(|i| std::ptr::read_unaligned(frames.add(i))).fold(0, u64::saturating_add);
        Ok(Object {
            host: address("marlin_host")?.cast(),
            current: address("marlin_current")?.cast(),
            steps: address("marlin_steps")?.cast(),
            entry,
            constants,
            private_bytes,
            instructions: number("marlin_instruction_count")?,
            info: compiled.info.clone(),
            _library: library,
        })
    }
}
