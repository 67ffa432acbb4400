//! What a kernel's code calls: each hook finds the run that it is in and acts for the current thread.

use super::{Launch, STEPS_PER_LOOK, State};
use crate::metal::MAX_THREADGROUP_BYTES;
use crate::metal::run::memory::Variable;
use crate::metal::run::object::HostTable;
use crate::metal::run::{RunError, Tenths};
use std::cell::Cell;
use std::ffi::c_void;

/// The hooks as a compiled kernel gets them.
pub(super) const TABLE: HostTable = HostTable {
    threadgroup_variable,
    threadgroup_argument,
    texture_argument,
    threadgroup_barrier,
    simdgroup_barrier,
    simd_exchange,
    unsupported,
    out_of_steps,
    access,
    trap,
    private_begin,
    private_fresh,
    private_end,
    private_access,
};

thread_local! {
    /// The run of this host thread, while a kernel's code is on its stack.
    static RUNNING: Cell<*mut Launch<'static>> = const { Cell::new(std::ptr::null_mut()) };
}

/// Gives `f` the run that the hook is called in.
pub(super) fn with<R>(f: impl FnOnce(&mut Launch<'static>) -> R) -> R {
    // SAFETY: kernels run only inside `Launch::threadgroup`, which sets the pointer and, while a kernel's
    // code runs, holds no reference to the launch. No hook suspends inside `f`.
    unsafe { f(&mut *RUNNING.get()) }
}

/// Suspends the current thread in `state`.
fn wait(state: State) {
    let yielder = with(|l| {
        let thread = &mut l.threads[l.current];
        thread.state = state;
        thread.yielder
    });
    // SAFETY: the yielder belongs to the coroutine that runs this, and lives on its stack.
    unsafe { (*yielder).suspend(()) };
}

/// Ends the run with `error`: the thread is suspended for good.
fn fail(error: RunError) {
    with(|l| {
        l.error.get_or_insert(error);
    });
    loop {
        wait(State::Done);
    }
}

extern "C" fn threadgroup_variable(id: u32, size: u64, alignment: u64) -> *mut c_void {
    let storage = with(|l| {
        let name = l.object.info.variables.iter().find(|v| v.id == id).map_or("threadgroup", |v| &v.name);
        l.memories.threadgroup(Variable::Number(id), size, alignment, name)
    });
    fits(storage)
}

extern "C" fn threadgroup_argument(index: u32) -> *mut c_void {
    let storage = with(|l| {
        let length = l.options.threadgroup_lengths.iter().find(|(i, _)| *i == index).map_or(0, |(_, n)| *n);
        l.memories.threadgroup(Variable::Argument(index), length, 16, &format!("threadgroup({index})"))
    });
    fits(storage)
}

/// Threadgroup memory that was asked for, if all of it together is not too much.
fn fits(storage: Option<*mut c_void>) -> *mut c_void {
    let bytes = with(|l| l.memories.threadgroup_bytes());
    match storage {
        Some(p) if bytes <= MAX_THREADGROUP_BYTES => p,
        _ => {
            fail(RunError::ThreadgroupMemory { bytes });
            std::ptr::null_mut()
        }
    }
}

extern "C" fn texture_argument(index: u32) -> *mut c_void {
    with(|l| l.memories.texture(index))
}

extern "C" fn threadgroup_barrier(flags: u32, site: u32) {
    wait(State::Barrier { site, flags });
}

extern "C" fn simdgroup_barrier(flags: u32, site: u32) {
    wait(State::SimdBarrier { site, flags });
}

extern "C" fn simd_exchange(value: *const c_void, size: u32, site: u32) -> *const c_void {
    with(|l| {
        let pending = &mut l.threads[l.current].pending;
        let size = (size as usize).min(pending.len());
        // SAFETY: the shim passes a value of `size` bytes, at most 64 by its own assertion.
        unsafe { std::ptr::copy_nonoverlapping(value.cast::<u8>(), pending.as_mut_ptr(), size) };
    });
    wait(State::Exchange { site, size });
    with(|l| l.threads[l.current].exchange.cast())
}

extern "C" fn unsupported(what: u32) {
    let what = match what {
        1 => "sampling a texture",
        2 => "simdgroup matrices with a simdgroup of other than 32 threads",
        _ => "a function of the shim",
    };
    fail(RunError::Unsupported(what.to_owned()));
}

extern "C" fn out_of_steps() {
    let error = with(|l| {
        l.steps += STEPS_PER_LOOK as u64;
        // SAFETY: the object's own counter, which only this run touches.
        unsafe { *l.object.steps = STEPS_PER_LOOK };
        let time = l.started.elapsed();
        let over = l.steps >= l.options.max_steps || time >= l.options.max_time;
        let seconds = Tenths((time.as_millis() / 100) as u64);
        over.then_some(RunError::Endless { steps: l.steps, seconds })
    });
    if let Some(error) = error {
        fail(error);
    }
}

extern "C" fn access(address: *const c_void, bytes: u64, site_ix: u32) {
    if let Err(error) = with(|l| l.access(address as usize, bytes as usize, site_ix)) {
        fail(error);
    }
}

extern "C" fn trap(site_ix: u32) {
    let place = with(|l| l.place(site_ix));
    fail(RunError::Trap { place });
}

extern "C" fn private_begin(address: *const c_void, bytes: u64, name: u32) {
    with(|l| l.private_begin(address as usize, bytes, name));
}

extern "C" fn private_fresh(address: *const c_void) {
    with(|l| l.private_fresh(address as usize));
}

extern "C" fn private_end(count: u32) {
    with(|l| l.private_end(count));
}

extern "C" fn private_access(
    address: *const c_void,
    bytes: u64,
    base: *const c_void,
    mask: i64,
    site_ix: u32,
) {
    if let Err(error) = with(|l| l.private_access(address as usize, bytes, base as usize, mask, site_ix)) {
        fail(error);
    }
}

/// Makes `launch` the run that hooks called on this host thread act for.
pub(super) fn enter(launch: *mut Launch<'static>) {
    RUNNING.set(launch);
}

/// Ends what [`enter`] began.
pub(super) fn leave() {
    RUNNING.set(std::ptr::null_mut());
}
