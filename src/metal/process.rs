//! Running a command with a time limit: a compiler that hangs is stopped, and what it had started with it.

use super::clang::Output;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Time that a compiler may take, unless `MARLIN_CLANG_SECONDS` says another.
const SECONDS: u64 = 300;

/// How long a compiler may run.
fn patience() -> Duration {
    let set = std::env::var("MARLIN_CLANG_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(set.filter(|&s| s > 0).unwrap_or(SECONDS))
}

/// Runs `command` with `input` on its standard input.
pub(super) fn pipe(command: Command, input: &[u8]) -> std::io::Result<Output> {
    pipe_for(command, input, patience())
}

fn pipe_for(mut command: Command, input: &[u8], patience: Duration) -> std::io::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what a wrapper script started ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = input.to_vec();
    // A compiler that stops reading early is no failure of ours: its messages say why.
    std::thread::spawn(move || stdin.map(|mut s| s.write_all(&input)));
    let out = read_to_end(stdout);
    let err = read_to_end(stderr);
    let deadline = std::time::Instant::now() + patience;
    let late = |_| {
        let seconds = patience.as_secs_f32();
        std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("it was stopped after {seconds} s (MARLIN_CLANG_SECONDS sets the limit)"),
        )
    };
    let left = || deadline.saturating_duration_since(std::time::Instant::now());
    let text = out.recv_timeout(left()).and_then(|out| Ok((out, err.recv_timeout(left())?)));
    if text.is_err() {
        stop(&mut child);
    }
    let status = child.wait()?;
    let (stdout, stderr) = text.map_err(late)?;
    Ok(Output { success: status.success(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

/// Reads on a thread of its own, which nobody waits for: a process that outlives its parent may hold the pipe.
fn read_to_end(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn stop(child: &mut std::process::Child) {
    #[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: the group of a child of ours that nobody has waited for, so that its number is still its own.
    unsafe {
        libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL);
    }
    let _ = child.kill();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_stopped_with_what_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; echo $! >&2; sleep 1000"]);
        let started = std::time::Instant::now();
        let Err(error) = pipe_for(command, b"x", Duration::from_millis(300)) else { panic!("it ended") };
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let mut quick = Command::new("sh");
        quick.args(["-c", "cat; echo no >&2; exit 3"]);
        let output = pipe_for(quick, &[b'x'; 100_000], Duration::from_secs(60)).expect("ends");
        assert_eq!((output.success, output.stdout.len(), output.stderr.as_str()), (false, 100_000, "no\n"));
    }
}
