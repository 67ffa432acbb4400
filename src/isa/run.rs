//! Runs children over kernels and collects what they say, whatever becomes of them.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;

use super::record::occupancy_value;
use super::worker::{Job, Line, MARK, Module};
use super::{Code, Gpu, Isa, IsaError, Kernel};
use crate::lower::{Checks, Composed, Lowered};

/// A driver that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How kernels are compiled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Lanes that a subgroup must have; by default the driver's choice, as with wgpu.
    pub subgroup: Option<u32>,
    /// With the drivers' own bounds checks, as wgpu's Vulkan backend asks for them; Metal has none.
    pub robust: bool,
    /// Ask for listings.
    pub listing: bool,
}

/// What became of one kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Compiled {
    /// The kernel's label.
    pub kernel: String,
    /// Its figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The machine's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
}

/// All kernels on one GPU.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The GPU's name.
    pub gpu: String,
    /// What the driver calls it.
    pub device: String,
    /// The driver's version.
    pub driver: String,
    /// In the order of the kernels.
    pub kernels: Vec<Compiled>,
}

/// What a child said and how it ended.
#[derive(Default)]
struct Said {
    device: Option<(String, String)>,
    lines: Vec<(usize, Result<Done, String>)>,
    begun: Option<usize>,
    ended: bool,
    failed: Option<String>,
    /// How a child that did not end well ended.
    last_words: String,
}

struct Done {
    subgroup_size: u64,
    raw: Vec<super::Raw>,
    listing: Option<String>,
}

impl Isa {
    /// Compiles `kernels` for `gpu`. A kernel that the driver refuses, crashes on or hangs at has a reason
    /// instead of figures; the others are compiled all the same.
    ///
    /// # Errors
    /// No driver, or one that does not come up.
    pub fn compile(&self, gpu: &Gpu, kernels: &[Kernel], options: Options) -> Result<Results, IsaError> {
        // Light code shows what full occupancy is; it is compiled like any other, and left out of the results.
        let light = light()?;
        let with_light: Vec<&Kernel> = kernels.iter().chain([&light]).collect();
        let n_children =
            std::thread::available_parallelism().map_or(1, |n| n.get()).min(kernels.len()).max(1);
        let share = |c: usize| {
            let of_child = with_light.iter().enumerate().skip(c).step_by(n_children);
            of_child.map(|(id, k)| Module { id, ..k.module.clone() }).collect::<Vec<_>>()
        };
        // Once before all others, so that they don't build the stand-in at the same time.
        self.command(gpu, scratch()?.path())?;
        let parts: Vec<Result<Said, IsaError>> = std::thread::scope(|scope| {
            let children: Vec<_> = (0..n_children)
                .map(|c| scope.spawn(move || self.compile_share(gpu, share(c), options)))
                .collect();
            let gone = || Err(IsaError::io("a thread of isa", "it panicked"));
            children.into_iter().map(|c| c.join().unwrap_or_else(|_| gone())).collect()
        });
        let mut results = Results {
            gpu: gpu.name.into(),
            device: String::new(),
            driver: String::new(),
            kernels: Vec::new(),
        };
        results.kernels = kernels
            .iter()
            .map(|k| Compiled { kernel: k.label.clone(), code: None, refused: None, listing: None })
            .collect();
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let said = parts.iter().flat_map(|p| &p.lines);
        let full = said
            .filter(|(id, _)| *id == kernels.len())
            .find_map(|(_, said)| occupancy_value(gpu, &said.as_ref().ok()?.raw));
        for part in parts {
            if let Some((device, driver)) = part.device {
                (results.device, results.driver) = (device, driver);
            }
            for (id, said) in part.lines {
                let Some(slot) = results.kernels.get_mut(id) else { continue };
                match said {
                    Ok(done) => {
                        slot.code = Some(Code::new(
                            gpu,
                            done.subgroup_size,
                            kernels[id].shared_bytes,
                            done.raw,
                            full,
                        ));
                        slot.listing = done.listing;
                    }
                    Err(why) => slot.refused = Some(why),
                }
            }
        }
        Ok(results)
    }

    /// One child after another until all modules have an answer: after a crash, the rest goes to a new one.
    fn compile_share(&self, gpu: &Gpu, mut left: Vec<Module>, options: Options) -> Result<Said, IsaError> {
        let mut all = Said::default();
        while !left.is_empty() {
            let mut said = self.child(gpu, &left, options)?;
            if let Some(why) = said.failed {
                return Err(IsaError::Driver { gpu: gpu.name.into(), why });
            }
            all.device = said.device.or(all.device);
            if !said.ended {
                let Some(id) = said.begun else {
                    return Err(IsaError::Driver { gpu: gpu.name.into(), why: said.last_words });
                };
                said.lines.push((id, Err(format!("the driver's process {}", said.last_words))));
            }
            left.retain(|m| !said.lines.iter().any(|(id, _)| *id == m.id));
            all.lines.append(&mut said.lines);
            if said.ended {
                break;
            }
        }
        Ok(all)
    }

    fn child(&self, gpu: &Gpu, modules: &[Module], options: Options) -> Result<Said, IsaError> {
        let scratch = scratch()?;
        let job = Job {
            subgroup: options.subgroup,
            robust: options.robust,
            listing: options.listing,
            modules: modules.to_vec(),
        };
        let path = scratch.path().join("job.json");
        let text = serde_json::to_vec(&job).map_err(|e| IsaError::io("a job", e))?;
        std::fs::write(&path, text).map_err(|e| IsaError::io(path.display(), e))?;
        let mut command = self.command(gpu, scratch.path())?;
        if options.listing && gpu.driver == "asahi" {
            command.env("AGX_MESA_DEBUG", "shaders");
        }
        command.arg("isa-worker").arg(&path).current_dir(scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| IsaError::io("the process that loads drivers", e))?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(IsaError::io("the process that loads drivers", "it has no output"));
        };
        let (send, lines) = mpsc::channel();
        let out = std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let err = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut said = Said::default();
        // What the driver itself prints between our lines: its listing, where it has no other way.
        let mut printed = String::new();
        let hung = loop {
            let line = match lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(mpsc::RecvTimeoutError::Timeout) => break true,
                Err(mpsc::RecvTimeoutError::Disconnected) => break false,
            };
            // A driver's text may lack its newline.
            let ours = line.find(MARK).and_then(|at| {
                let parsed = serde_json::from_str::<Line>(&line[at + MARK.len()..]).ok()?;
                printed.push_str(&line[..at]);
                Some(parsed)
            });
            match ours {
                Some(Line::Device { device, driver }) => said.device = Some((device, driver)),
                Some(Line::Begin(id)) => {
                    said.begun = Some(id);
                    printed.clear();
                }
                Some(Line::Done { id, subgroup_size, raw, listing }) => {
                    let own =
                        (options.listing && !printed.trim().is_empty()).then(|| std::mem::take(&mut printed));
                    said.lines.push((id, Ok(Done { subgroup_size, raw, listing: listing.or(own) })));
                }
                Some(Line::Refused { id, why }) => said.lines.push((id, Err(why))),
                Some(Line::Failed(why)) => said.failed = Some(why),
                Some(Line::End) => {
                    said.ended = true;
                    break true;
                }
                None => printed.push_str(&(line + "\n")),
            }
        };
        if hung {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|e| IsaError::io("the process that loads drivers", e))?;
        let _ = out.join();
        let words = err.join().unwrap_or_default();
        let last = words.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
        let how = if hung {
            format!("was silent for {} s", PATIENCE.as_secs())
        } else {
            format!("ended by {status}")
        };
        said.last_words = format!("{how}; its last words: {last}");
        Ok(said)
    }
}

/// A kernel that no register or workgroup memory keeps from full occupancy.
fn light() -> Result<Kernel, IsaError> {
    let text = "@group(0) @binding(0) var<storage, read_write> a: array<u32>;\n\
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { a[id.x] = 1u; }";
    let lowered =
        Lowered::new(Composed::verbatim("light.wgsl", text)).map_err(|e| IsaError::Lower(e.to_string()))?;
    Kernel::new("light".into(), &lowered, "main", Checks::Unchecked)
}

/// A child's own folder, gone with it. Intel's driver wants the path of its node below 20 characters.
fn scratch() -> Result<tempfile::TempDir, IsaError> {
    let dir = std::env::temp_dir();
    let dir = if dir.as_os_str().len() <= 5 { dir } else { "/tmp".into() };
    tempfile::Builder::new()
        .prefix("mi")
        .rand_bytes(8)
        .tempdir_in(&dir)
        .map_err(|e| IsaError::io(dir.display(), e))
}
