//! Kernels from files, each with what it must come to in its head:
//!
//! - `// expect: words I=V ...` — it ends, and these words of its last buffer have these values; else `// expect:` and
//!   the kind of its error with words of the message.
//! - `// faults: ...` — words of the one kind of fault that the sanitizer finds in it; none without the line.
//! - `// run: G of T` — threadgroups and threads of each; 1 of 64 without it.
//!
//! `untrusted` holds what must not harm the process that runs it: buffer 0 has the words 1, 2, 3, …. `rendezvous`
//! holds kernels whose threads meet: buffer 0 has the words 0, 1, 2, …, buffer 1 is for results.

use super::{clang, shown};
use std::path::{Path, PathBuf};
use wgpu_marlin::metal::{Bound, Clang, Fault, FaultKind, Program, Run, RunError, RunOptions, Source};

const N_WORDS: usize = 1024;

struct Fixture {
    name: String,
    text: String,
    expect: String,
    faults: Option<String>,
    /// Threadgroups, and threads of each.
    run: [u32; 2],
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("readable");
        let head = |key: &str| {
            let find =
                |l: &str| l.strip_prefix("// ")?.strip_prefix(key)?.strip_prefix(": ").map(str::to_owned);
            text.lines().find_map(find)
        };
        let expect = head("expect").unwrap_or_else(|| panic!("{name} says nothing of what it must come to"));
        let run = head("run").map_or([1, 64], |r| {
            let (groups, threads) = r.split_once(" of ").expect("G of T");
            [groups, threads].map(|n| n.parse().expect("a number"))
        });
        Self { expect, faults: head("faults"), run, name, text }
    }

    /// Runs the kernel on `first` (and an empty second buffer), and gives the words of the last one.
    fn run(&self, clang: &Clang, first: &[u32], options: &RunOptions) -> Result<(Run, Vec<u32>), RunError> {
        let source = Source::new(self.name.clone(), self.text.clone());
        let program = Program::build(clang, &source).unwrap_or_else(|e| panic!("{}", shown(&e)));
        let has_two = program.kernels()[0].params.iter().any(|p| p.name == "y");
        let (mut first, mut second) = (first.to_vec(), vec![0u32; N_WORDS]);
        let mut buffers = vec![Bound::write(0, bytemuck::cast_slice_mut(&mut first))];
        if has_two {
            buffers.push(Bound::write(1, bytemuck::cast_slice_mut(&mut second)));
        }
        let [groups, threads] = self.run;
        let run = program.run("k", [groups, 1, 1], [threads, 1, 1], &mut buffers, &mut [], options)?;
        Ok((run, if has_two { second } else { first }))
    }

    /// What is wrong with how it went.
    fn judge(&self, went: Result<(Run, Vec<u32>), RunError>) -> Result<(), String> {
        let (kind, detail) = self.expect.split_once(' ').unwrap_or((&self.expect, ""));
        let other = |what: &dyn std::fmt::Display| {
            Err(format!("{}: expected `{}`, but: {what}", self.name, self.expect))
        };
        let error = match went {
            Ok((run, words)) => {
                let shown: Vec<_> = run.faults.iter().map(ToString::to_string).collect();
                let all = shown.join("; ");
                let fault = self.faults.as_deref();
                let race = |f: &Fault| matches!(f.kind, FaultKind::Race { .. });
                return match kind {
                    "race" => {
                        let line: u32 =
                            detail.strip_prefix("at line ").map_or(0, |n| n.parse().expect("a line"));
                        let at = |f: &&Fault| race(f) && (line == 0 || at_line(f, line));
                        if run.faults.iter().any(|f| at(&f)) {
                            Ok(())
                        } else {
                            other(&format!("faults: {all}"))
                        }
                    }
                    "words" => {
                        let wrong = detail.split(' ').find(|pair| {
                            let (at, value) = pair.split_once('=').expect("I=V");
                            let at: usize = at.parse().expect("a number");
                            words[at] != value.parse::<u32>().expect("a number")
                        });
                        let unasked = shown
                            .iter()
                            .find(|f| !fault.is_some_and(|words| words.split(" at ").all(|w| f.contains(w))));
                        match (wrong, unasked) {
                            (Some(pair), _) => other(&format!("{pair} is not so: {:?}", &words[..70])),
                            (_, Some(fault)) => other(fault),
                            _ if fault.is_some() && shown.is_empty() => other(&"no fault was found"),
                            _ => Ok(()),
                        }
                    }
                    _ => other(&format!("it ended, with faults: {all}")),
                };
            }
            Err(error) => error,
        };
        let line = self.text.lines().position(|l| l.starts_with("kernel")).map_or(0, |n| n as u32 + 1);
        let fits = match (self.expect.as_str(), &error) {
            ("out of bounds", RunError::OutOfBounds { place, .. }) => place.line >= line,
            ("trap", RunError::Trap { place }) => place.line >= line,
            ("divergent barrier", RunError::DivergentBarrier { place, .. }) => place.line >= line,
            ("private memory", RunError::PrivateMemory { .. }) => true,
            (_, RunError::Build(list)) if kind == "build" => {
                list.iter().any(|d| d.message.contains(detail) && d.line > 0)
            }
            _ => false,
        };
        if fits { Ok(()) } else { other(&error) }
    }
}

/// Whether one of the two accesses of a race stands at `line`.
fn at_line(fault: &Fault, line: u32) -> bool {
    let FaultKind::Race { other, .. } = &fault.kind else { return false };
    [fault.place.line, other.line].contains(&line)
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metal").join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("readable").map(|f| f.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|p| Fixture::read(p)).collect()
}

/// Runs each fixture of a folder in both lane orders.
fn all(folder: &str, first: &[u32]) {
    let Some(clang) = clang(folder) else { return };
    let fixtures = fixtures(folder);
    assert!(fixtures.len() > 10, "{} files", fixtures.len());
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        for reverse_lanes in [false, true] {
            let options = RunOptions { sanitize: true, reverse_lanes, ..RunOptions::default() };
            wrong.extend(fixture.judge(fixture.run(&clang, first, &options)).err());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_untrusted_kernel_ends_as_its_head_says() {
    let first: Vec<u32> = (1..=N_WORDS as u32).collect();
    all("untrusted", &first);
    assert!(!Path::new("created-by-a-kernel").exists());
}

#[test]
fn threads_that_meet_compute_what_the_head_says() {
    let first: Vec<u32> = (0..N_WORDS as u32).collect();
    all("rendezvous", &first);
}
