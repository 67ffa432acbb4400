//! Room for deep programs: naga and the walk call themselves along chains of `else if` and long expressions.

use crate::lower::Composed;

/// Virtual memory; pages are taken as they are touched.
const STACK_BYTES: usize = 512 << 20;
/// Most operators in one statement, and most branches in one chain: [`STACK_BYTES`] hold several times as many.
const MOST_OPERATORS: usize = 200_000;
const MOST_BRANCHES: usize = 4_000;

/// Runs `work` on a thread with a stack for deep programs; here, where no thread can be had.
pub(super) fn deep<T: Send>(work: impl Fn() -> T + Send + Sync) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("audit".into()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, &work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => work(),
        }
    })
}

/// Why a program is too deep to be read, if it is.
pub(super) fn too_deep(composed: &Composed) -> Option<String> {
    let (mut operators, mut start) = (0, 0);
    for (at, byte) in composed.text.bytes().enumerate() {
        match byte {
            b';' | b'{' | b'}' => (operators, start) = (0, at),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'<' | b'>' => operators += 1,
            _ => {}
        }
        if operators > MOST_OPERATORS {
            let line = composed.locate(start as u32 + 1);
            return Some(format!(
                "{line}: a statement with more than {MOST_OPERATORS} operators is not read"
            ));
        }
    }
    let branches = composed.text.matches("else if").count();
    (branches > MOST_BRANCHES).then(|| {
        format!("{}: {branches} branches with `else if` are more than {MOST_BRANCHES}", composed.name())
    })
}
