//! Metal text as LLVM IR: the base of the auditor's view of Metal and of the runs on the CPU.
//!
//! Clang resolves templates, macros, pointer arithmetic and casts; `-O1` inlines every user function into its
//! kernel, promotes private variables and simplifies, but neither vectorizes nor unrolls (a small loop that
//! the text itself asks to unroll excepted, and with [`llvm_ir_of`] any such loop). The text form has these conventions:
//!
//! - **Kernels.** Kernel number `n` of [`Ir::kernels`] is `define void @marlin_kernel_n(ptr %a, ptr %b, ...)`
//!   ([`symbol`]). Its parameters are the kernel's buffers, one `ptr` each, in the order of [`Kernel::params`],
//!   textures, built-ins and threadgroup parameters left out ([`Ir::buffer_params`]); they carry the text's
//!   names. A scalar or struct that the text takes by reference (`constant uint& n`) is a pointer too, and
//!   loaded in the body. Whether a buffer is `device` or `constant` is in [`Param::space`]: in the IR all
//!   pointers are in address space 0. `@marlin_entry_n` only calls the kernel and can be ignored; so can any
//!   function that no kernel calls.
//! - **Ids and sizes** are calls that return `i32` and have no effect: `@marlin_thread_position_in_grid(i32 d)`
//!   with the dimension `d` 0, 1 or 2, likewise `marlin_thread_position_in_threadgroup`,
//!   `marlin_threadgroup_position_in_grid`, `marlin_threads_per_grid`, `marlin_threads_per_threadgroup`,
//!   `marlin_threadgroups_per_grid`; without argument `marlin_thread_index_in_threadgroup`,
//!   `marlin_thread_index_in_simdgroup`, `marlin_simdgroup_index_in_threadgroup`, `marlin_threads_per_simdgroup`,
//!   `marlin_simdgroups_per_threadgroup`.
//! - **Threadgroup memory** is what `call ptr @marlin_threadgroup_variable(i32 id, i64 size, i64 align)` (variable
//!   `id` of [`Ir::variables`], which has its name and line) and `call ptr @marlin_threadgroup_argument(i32 index)`
//!   (`[[threadgroup(index)]]`, sized by the host) return. A program-scope `constant` table is a `constant` global.
//!   Anything reached from an `alloca` is private.
//! - **Function constants** without a value are loads from an external `@marlin_constant.NAME`; whether one is defined,
//!   from `@marlin_constant_defined.NAME`.
//! - **Together** are `call void @marlin_threadgroup_barrier(i32 flags, i32 site)`,
//!   `call void @marlin_simdgroup_barrier(i32 flags, i32 site)` (flags: 1 device, 2 threadgroup, 4 texture) and
//!   `call ptr @marlin_simd_exchange(ptr value, i32 size, i32 site)`, through which every simdgroup function
//!   (sum, shuffle, ballot, matrix multiply) goes: each lane brings `size` bytes, and what the returned pointer
//!   leads to are all lanes' values, not memory of the kernel.
//! - **Textures**: `call ptr @marlin_texture_argument(i32 index)` returns a descriptor; what is loaded through the
//!   pointer in it are texels.
//! - **Atomics** are `atomicrmw`, `cmpxchg` and `load atomic`/`store atomic`, all `monotonic`.
//! - **Simdgroup matrices**: a lane's share of `simdgroup_load`/`simdgroup_store` is two neighbours of a row in one
//!   access of twice the element's size.
//! - **Lines**: `!dbg !id` is traced to the user's file, line and column by [`Locations::place`], through whatever
//!   was inlined. An instruction that the optimizer moved may have line 0 or no `!dbg`.

use super::clang::Clang;
use super::compile::{preprocess, rewritten, run, succeeded};
use super::diagnostic::{Diagnostic, Step};
use super::location::Locations;
use super::rewrite::{Entries, MAX_THREADGROUP_BYTES, Rewritten, TOO_MUCH, ThreadgroupVariable};
use super::salvage::{Refused, salvage};
use super::signature::{Binding, Kernel, Param};
use super::source::Source;

/// Kernels as LLVM IR in text form.
#[derive(Clone, Debug)]
pub struct Ir {
    /// The module.
    pub text: String,
    /// The kernels of the source; with [`llvm_ir_of`] only one of them is in the module.
    pub kernels: Vec<Kernel>,
    /// Threadgroup variables by number.
    pub variables: Vec<ThreadgroupVariable>,
    /// Where instructions come from.
    pub locations: Locations,
    /// Kernels of the text that the compiler refused, while it took the others.
    pub refused: Vec<Refused>,
}

impl Ir {
    /// The parameters of kernel `n` that are parameters of its function, in order.
    pub fn buffer_params(&self, n: usize) -> impl Iterator<Item = &Param> {
        let params = self.kernels.get(n).map_or(&[][..], |k| &k.params);
        params.iter().filter(|p| matches!(p.binding, Binding::Buffer { .. }))
    }
}

/// The name of kernel number `n` in the module.
pub fn symbol(n: usize) -> String {
    format!("marlin_kernel_{n}")
}

/// Compiles all kernels of `source`.
pub fn llvm_ir(clang: &Clang, source: &Source) -> Result<Ir, Vec<Diagnostic>> {
    compile(clang, source, &preprocess(clang, source)?, Entries::All)
}

/// Compiles the one kernel that a host asks for as `entry`, and of a template only that instance.
pub fn llvm_ir_of(clang: &Clang, source: &Source, entry: &str) -> Result<Ir, Vec<Diagnostic>> {
    compile(clang, source, &preprocess(clang, source)?, Entries::One(entry))
}

/// [`llvm_ir_of`] where the preprocessor has run.
#[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn llvm_ir_of_preprocessed(
    clang: &Clang,
    source: &Source,
    preprocessed: &str,
    entry: &str,
) -> Result<Ir, Vec<Diagnostic>> {
    compile(clang, source, preprocessed, Entries::One(entry))
}

fn compile(
    clang: &Clang,
    source: &Source,
    preprocessed: &str,
    entries: Entries,
) -> Result<Ir, Vec<Diagnostic>> {
    // One kernel is run, all kernels are read.
    let read = matches!(entries, Entries::All);
    let prepare = |text: &str| if read { for_reading(text) } else { text.to_owned() };
    let mut rewritten = rewritten(preprocessed, source, entries);
    let compiled = |rewritten: &Rewritten| {
        if !rewritten.faults.is_empty() {
            return Err(rewritten.faults.iter().map(Diagnostic::from_fault).collect());
        }
        let mut args = clang.language_flags();
        args.extend(IR_FLAGS.iter().map(Into::into));
        let output = run(clang, args, &prepare(&rewritten.text))?;
        succeeded(clang, &output, Step::Types, &rewritten.kernels)?;
        Ok::<_, Vec<Diagnostic>>(output)
    };
    let mut refused = Vec::new();
    let output = match compiled(&rewritten) {
        Err(errors) if read => {
            let part = salvage(clang, source, preprocessed, &rewritten, errors, prepare)?;
            (rewritten, refused) = (part.rewritten, part.refused);
            compiled(&rewritten)?
        }
        other => other?,
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let locations = Locations::parse(&text, &clang.cache().shim_dir().to_string_lossy());
    Ok(Ir { text, kernels: rewritten.kernels, variables: rewritten.variables, locations, refused })
}

/// `text` for the auditor: loops that ask to be unrolled altogether ask to be unrolled where that stays small. For
/// where accesses go, a loop says more than its copies, and copies of copies take minutes to compile.
fn for_reading(text: &str) -> String {
    let too_much = format!(" <= {MAX_THREADGROUP_BYTES}, \"{TOO_MUCH}\"");
    let any_size = format!(" >= 0, \"{TOO_MUCH}\"");
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        // What is too large to launch can be audited all the same.
        let line = line.replace(&too_much, &any_size);
        let all = matches!(line.trim(), "#pragma unroll" | "#pragma clang loop unroll(full)");
        out.push_str(if all { "#pragma clang loop unroll(enable)" } else { &line });
        out.push('\n');
    }
    out
}

const IR_FLAGS: [&str; 22] = [
    "-O1",
    "-S",
    "-emit-llvm",
    "-gline-tables-only",
    "-gcolumn-info",
    // File names stay as the line markers give them.
    "-fdebug-compilation-dir=/",
    "-fno-discard-value-names",
    "-fno-unroll-loops",
    "-mllvm",
    "-pragma-unroll-threshold=150",
    "-fno-vectorize",
    "-fno-slp-vectorize",
    // A vector of which only components are used is still loaded as one, as the text says.
    "-mllvm",
    "-disable-vector-combine",
    // What both arms of a branch do stays where the text has it.
    "-mllvm",
    "-sink-common-insts=false",
    "-mllvm",
    "-hoist-common-insts=false",
    // A loop that zeroes or copies an array stays a loop of accesses.
    "-fno-builtin-memset",
    "-fno-builtin-memcpy",
    "-o-",
    "-",
];
