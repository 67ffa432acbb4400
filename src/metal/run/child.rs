//! A process of its own for each run of a kernel.
//!
//! A kernel's text is anyone's. What `admit` lets through should not be able to do harm, but "should" is an argument
//! about LLVM's text form, a code generator and our own reading of both. So a kernel is loaded and run in a
//! forked child: whatever ends it ends the child, and is an error here.
//!
//! - **Fork, not a helper executable**: a library has no executable of its own to start again, and the runtime
//!   (coroutines, shadow memory, traces) is this crate's code. The child allocates, but takes no lock that another
//!   thread may have held: the allocator and the loader are made ready by `fork` itself, and nothing else is shared.
//!   A child that hangs all the same is killed after the run's time.
//! - **Memory**: the child has a copy of this process's memory. Only buffers and textures lie in a shared
//!   mapping, and what comes back in them, and through a pipe, is taken as bytes.
//! - **Limits**: processor time, no file to write, none to open, no process to start, no core file; on Linux a
//!   filter of system calls as well, which leaves those for memory, the pipe and the end. It dies with its parent's
//!   thread on Linux; elsewhere by its processor time at the latest.

use super::RunError;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Time beyond the run's own for loading and reporting.
const GRACE: Duration = Duration::from_secs(10);
/// First byte of a report: of a run that came to its end, or of a signal.
const ENDED: u8 = b'R';
const SIGNAL: u8 = b'S';
/// What a child may report at most: traces are sums, so this is a fault of ours or a stray write.
const MAX_REPORT_BYTES: usize = 1 << 30;

/// The last site that the child's kernel told, for a signal that says only an address.
pub(super) static LAST_SITE: AtomicU32 = AtomicU32::new(u32::MAX);
/// Lowest address of the stack that the child's kernel runs on.
pub(super) static STACK: AtomicUsize = AtomicUsize::new(0);
/// The pipe, for the signal handler.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// How a child ended.
pub(super) enum Ended {
    /// It reported.
    Reported(Vec<u8>),
    /// A signal ended it.
    Signal {
        /// Which.
        signal: i32,
        /// The last site that was told, if any.
        site: Option<u32>,
        /// Whether the address lies just below the stack.
        below_stack: bool,
    },
    /// It was stopped for its time.
    TimeOut,
    /// It ended without a word.
    Silent(String),
}

/// What the child runs: its report, after `limit` has been called once all that it needs of the system is open.
pub(super) fn run(max_time: Duration, work: impl FnOnce(&dyn Fn()) -> Vec<u8>) -> Result<Ended, RunError> {
    let could_not = |what: &str, e: std::io::Error| RunError::CouldNotRun(format!("{what}: {e}"));
    let (reader, writer) =
        std::io::pipe().map_err(|e| could_not("no pipe to a process for the kernel", e))?;
    let parent = std::process::id();
    // SAFETY: the child runs `child`, which never returns; see the module's head for what it relies on.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(could_not("no process for the kernel", std::io::Error::last_os_error())),
        0 => child(parent, writer, max_time, work),
        _ => {
            drop(writer);
            Ok(wait(pid, reader, max_time))
        }
    }
}

/// Reads the report of child `pid` and sees it off.
fn wait(pid: libc::pid_t, mut reader: std::io::PipeReader, max_time: Duration) -> Ended {
    let deadline = Instant::now() + max_time + GRACE;
    let mut report = Vec::new();
    let mut chunk = [0u8; 1 << 16];
    let mut timed_out = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || report.len() > MAX_REPORT_BYTES {
            timed_out = left.is_zero();
            break;
        }
        let mut poll = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor that is open, for at most a second.
        let ready = unsafe { libc::poll(&raw mut poll, 1, left.as_millis().clamp(1, 1000) as i32) };
        if ready <= 0 {
            continue;
        }
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => report.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    if timed_out || report.len() > MAX_REPORT_BYTES {
        // SAFETY: a child of ours that nobody has waited for, so that its number is still its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: as above; the status is ours.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1
        && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
    {}
    if timed_out {
        return Ended::TimeOut;
    }
    match (report.first(), libc::WIFSIGNALED(status)) {
        (Some(&ENDED), false) => {
            report.remove(0);
            Ended::Reported(report)
        }
        (Some(&SIGNAL), false) if report.len() >= 10 => {
            let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| report[at + i]));
            Ended::Signal {
                signal: word(1) as i32,
                site: Some(word(5)).filter(|&s| s != u32::MAX),
                below_stack: report[9] != 0,
            }
        }
        (_, true) if libc::WTERMSIG(status) == libc::SIGXCPU => Ended::TimeOut,
        (_, true) => Ended::Signal { signal: libc::WTERMSIG(status), site: None, below_stack: false },
        _ => Ended::Silent(format!("the kernel's process ended with {status:#x}")),
    }
}

/// The child's whole life.
fn child(
    parent: u32,
    mut pipe: std::io::PipeWriter,
    max_time: Duration,
    work: impl FnOnce(&dyn Fn()) -> Vec<u8>,
) -> ! {
    let fd = pipe.as_raw_fd();
    PIPE.store(fd, Relaxed);
    close_others(fd);
    die_with(parent);
    catch_signals();
    let work = std::panic::AssertUnwindSafe(|| work(&|| limit(max_time)));
    let code = match std::panic::catch_unwind(work) {
        Ok(report) => {
            let sent = pipe.write_all(&[ENDED]).and_then(|()| pipe.write_all(&report));
            i32::from(sent.is_err())
        }
        Err(_) => 101,
    };
    // SAFETY: ends this process without running what other threads of the parent had registered.
    unsafe { libc::_exit(code) }
}

/// Closes what other threads of the parent had open: pipes to compilers that wait for their end, above all.
fn close_others(keep: RawFd) {
    let close = |from: RawFd, to: RawFd| {
        for fd in from..=to {
            // SAFETY: closing a descriptor, open or not, of a process that uses none but `keep`.
            unsafe { libc::close(fd) };
        }
    };
    #[cfg(target_os = "linux")]
    {
        let range = |from: u32, to: u32| {
            // SAFETY: as above, many at once.
            unsafe { libc::syscall(libc::SYS_close_range, from, to, 0u32) == 0 }
        };
        if (keep == 3 || range(3, keep as u32 - 1)) && range(keep as u32 + 1, u32::MAX) {
            return;
        }
    }
    // SAFETY: asks for a number.
    let most = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) }.clamp(256, 1 << 16) as RawFd;
    close(3, keep - 1);
    close(keep + 1, most);
}

fn die_with(parent: u32) {
    #[cfg(target_os = "linux")]
    // SAFETY: a setting of this process.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            libc::_exit(1);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
}

/// Takes from this process what a kernel has no use for.
fn limit(max_time: Duration) {
    let seconds = max_time.as_secs().saturating_add(5);
    let set = |what, value: u64| {
        let limit = libc::rlimit { rlim_cur: value as libc::rlim_t, rlim_max: value as libc::rlim_t };
        // SAFETY: a limit of this process.
        unsafe { libc::setrlimit(what, &raw const limit) };
    };
    set(libc::RLIMIT_CORE, 0);
    set(libc::RLIMIT_FSIZE, 0);
    set(libc::RLIMIT_NOFILE, 0);
    set(libc::RLIMIT_NPROC, 0);
    set(libc::RLIMIT_CPU, seconds);
    #[cfg(target_os = "linux")]
    filter::install();
}

/// The handler of signals that a kernel can raise: says which, near what, and ends.
extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the system passes a filled-in `info`.
    let address = if info.is_null() { 0 } else { unsafe { (*info).si_addr() as usize } };
    let stack = STACK.load(Relaxed);
    let near = 1 << 20;
    let below =
        stack != 0 && address < stack.saturating_add(1 << 13) && address >= stack.saturating_sub(near);
    let mut report = [0u8; 10];
    report[0] = SIGNAL;
    report[1..5].copy_from_slice(&(signal as u32).to_le_bytes());
    report[5..9].copy_from_slice(&LAST_SITE.load(Relaxed).to_le_bytes());
    report[9] = u8::from(below && matches!(signal, libc::SIGSEGV | libc::SIGBUS));
    // SAFETY: writing and ending are all that a handler may do, and all that is done.
    unsafe {
        libc::write(PIPE.load(Relaxed), report.as_ptr().cast(), report.len());
        libc::_exit(4)
    }
}

fn catch_signals() {
    const ALTERNATE_BYTES: usize = 1 << 16;
    // A kernel's stack may be the reason: the handler has one of its own. Never freed; the process ends.
    let stack: &'static mut [u8] = Box::leak(vec![0u8; ALTERNATE_BYTES].into_boxed_slice());
    let alternate = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: ALTERNATE_BYTES };
    // SAFETY: memory that is leaked, a handler of the type that SA_SIGINFO asks for, and signals of this process.
    unsafe {
        libc::sigaltstack(&raw const alternate, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction =
            on_signal as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT]
        {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        // What the embedding process does on these is not for its copy.
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE, libc::SIGXCPU, libc::SIGALRM]
        {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// The filter of system calls.
#[cfg(target_os = "linux")]
mod filter {
    /// Memory, the pipe, the end, and what the allocator and the clock need.
    const ALLOWED: [libc::c_long; 21] = [
        libc::SYS_write,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_restart_syscall,
        libc::SYS_close,
        libc::SYS_getpid,
        libc::SYS_gettid,
    ];
    /// What is refused with an error instead: the allocator asks the system how it accounts for memory when it gives
    /// some back, a panic asks for the program's file, and both go on without an answer. All that is on neither list ends
    /// the process.
    const REFUSED: &[libc::c_long] = &[
        libc::SYS_openat,
        libc::SYS_readlinkat,
        libc::SYS_prlimit64,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink,
    ];
    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE: u32 = 0xc000_00b7;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const KILL_PROCESS: u32 = 0x8000_0000;
    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0000 | libc::EACCES as u32;

    /// Installs it. A kernel (of the system) that has no filters goes without: it is the last of several walls.
    pub(super) fn install() {
        let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        // The number is at byte 0 of what the filter sees, the architecture at byte 4.
        let mut program = vec![
            op(LOAD_WORD, 0, 0, 4),
            op(JUMP_IF_EQUAL, 1, 0, ARCHITECTURE),
            op(RETURN, 0, 0, KILL_PROCESS),
            op(LOAD_WORD, 0, 0, 0),
        ];
        // Each jump counts the instructions that it leaves out: the other numbers, and one or two answers.
        let numbers = ALLOWED.len() + REFUSED.len();
        for (i, number) in ALLOWED.iter().enumerate() {
            program.push(op(JUMP_IF_EQUAL, (numbers - i + 1) as u8, 0, *number as u32));
        }
        for (i, number) in REFUSED.iter().enumerate() {
            program.push(op(JUMP_IF_EQUAL, (REFUSED.len() - i) as u8, 0, *number as u32));
        }
        program.push(op(RETURN, 0, 0, KILL_PROCESS));
        program.push(op(RETURN, 0, 0, REFUSE));
        program.push(op(RETURN, 0, 0, ALLOW));
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: a well-formed program that outlives the call, which copies it.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter);
        }
    }
}
