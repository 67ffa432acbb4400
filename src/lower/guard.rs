//! The boundary to naga: what it does to foreign text ends as a value, never as a panic or an overflowing stack.
//!
//! naga's front end, validator and back ends call themselves along chains of `else if` and long sums, and have
//! `unwrap`s that valid programs reach. So they run on a thread with a large stack, behind a limit on such chains,
//! and a panic is caught there.

use std::cell::Cell;
#[cfg(not(target_arch = "wasm32"))]
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(not(target_arch = "wasm32"))]
use std::sync::Once;

use super::{Composed, LowerError};

/// Virtual memory; pages are taken as they are touched.
#[cfg(not(target_arch = "wasm32"))]
const STACK_BYTES: usize = 512 << 20;

/// Most operators in one statement: [`STACK_BYTES`] hold several times as many. The web has no thread to give, and
/// one megabyte of stack.
const MOST_OPERATORS: usize = if cfg!(target_arch = "wasm32") { 500 } else { 200_000 };
/// Most branches in one chain of `else if`.
const MOST_BRANCHES: usize = if cfg!(target_arch = "wasm32") { 100 } else { 4_000 };

thread_local! {
    /// Whether a panic of this thread is caught by [`guarded`], and so is nobody else's to hear of.
    #[cfg(not(target_arch = "wasm32"))]
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread has the large stack.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` where deep programs have room; here, where this thread has it already.
///
/// # Errors
/// The panic's message if `work` panics, or that no thread could be had.
pub(crate) fn guarded<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    deep(|| caught(work))?
}

/// Runs `work` where deep programs have room, and lets its panics pass.
///
/// # Errors
/// That no thread could be had.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    if DEEP.get() {
        return Ok(work());
    }
    let quiet = QUIET.get();
    let inside = move || {
        DEEP.set(true);
        QUIET.set(quiet);
        work()
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("marlin-deep".into()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, inside) {
            Ok(thread) => thread.join().map_err(|panic| std::panic::resume_unwind(panic)),
            Err(e) => Err(format!("no thread with a stack of {STACK_BYTES} bytes could be started: {e}")),
        }
    })
}

/// The web has one thread: `work` runs here.
#[cfg(target_arch = "wasm32")]
pub(crate) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    DEEP.set(true);
    Ok(work())
}

#[cfg(not(target_arch = "wasm32"))]
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // The hook is the process's: it is put before the one that is there, once, and is silent only for a panic that is
    // caught here. A hook that the app sets later takes its place, and hears of these panics too.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    let was = QUIET.replace(true);
    // What `work` borrowed is dropped or only read after a panic: its callers give it away.
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(was);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        text.lines().next().unwrap_or_default().to_string()
    })
}

/// On the web a panic ends the instance, so that the app's hook must hear of it.
#[cfg(target_arch = "wasm32")]
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    Ok(work())
}

/// Refuses a program on which naga and those who walk its result would need more stack than there is.
pub(super) fn refuse_too_deep(composed: &Composed) -> Result<(), LowerError> {
    let too_deep = |at: usize, message: String| {
        Err(LowerError::TooDeep { at: composed.locate(u32::try_from(at).unwrap_or(u32::MAX)), message })
    };
    let text = composed.text.as_str();
    let (mut operators, mut start) = (0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b';' | b'{' | b'}' => (operators, start) = (0, at + 1),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'<' | b'>' => operators += 1,
            _ => {}
        }
        if operators > MOST_OPERATORS {
            let space = text[start..].find(|c: char| !c.is_whitespace()).unwrap_or(0);
            return too_deep(
                start + space,
                format!("this statement has more than {MOST_OPERATORS} operators: write it as several"),
            );
        }
    }
    match text.match_indices("else if").nth(MOST_BRANCHES) {
        Some((at, _)) => too_deep(
            at,
            format!("more than {MOST_BRANCHES} branches with `else if`: use `switch`, or several functions"),
        ),
        None => Ok(()),
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_message() {
        assert_eq!(guarded(|| 7), Ok(7));
        let e = guarded(|| -> u32 { panic!("no {}", "way") }).unwrap_err();
        assert_eq!(e, "no way");
        // Within one another, on one thread: the inner one does not take the outer one's panic for its own.
        let e = guarded(|| {
            assert_eq!(guarded(|| -> u32 { panic!("inner") }), Err("inner".to_string()));
            panic!("outer")
        });
        let e: Result<u32, String> = e;
        assert_eq!(e.unwrap_err(), "outer");
        assert!(!QUIET.get());
    }

    #[test]
    fn there_is_room() {
        fn sum(n: u64) -> u64 {
            std::hint::black_box([n; 32]);
            if n == 0 { 0 } else { 1 + std::hint::black_box(sum(n - 1)) }
        }
        assert_eq!(guarded(|| sum(1_000_000)), Ok(1_000_000));
    }
}
