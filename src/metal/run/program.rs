//! Text whose kernels can be run by name.

use super::{Bound, Run, RunError, RunOptions, Texture};
use crate::metal::clang::Clang;
use crate::metal::compile::{preprocess, to_cxx};
use crate::metal::diagnostic::Diagnostic;
use crate::metal::rewrite::Entries;
use crate::metal::signature::Kernel;
use crate::metal::source::Source;
use std::sync::Arc;

/// Metal text ready to run. A kernel is compiled when it is first run, and kept on disk by content.
#[derive(Clone, Debug)]
pub struct Program {
    clang: Clang,
    source: Source,
    preprocessed: Arc<str>,
    kernels: Vec<Kernel>,
}

impl Program {
    /// Reads `source`; errors are those of its preprocessing and of its kernels' signatures.
    pub fn build(clang: &Clang, source: &Source) -> Result<Self, Vec<Diagnostic>> {
        let preprocessed: Arc<str> = preprocess(clang, source)?.into();
        let kernels = to_cxx(&preprocessed, source, Entries::All)?.kernels;
        Ok(Self { clang: clang.clone(), source: source.clone(), preprocessed, kernels })
    }

    /// The kernels that can be run.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// Runs kernel `entry` over `threadgroups` of `threads_per_group` threads each. Every address is checked
    /// before it is used.
    ///
    /// # Errors
    /// What the kernel does wrong that ends it, what is not bound, what could not be compiled or run.
    pub fn run(
        &self,
        entry: &str,
        threadgroups: [u32; 3],
        threads_per_group: [u32; 3],
        buffers: &mut [Bound],
        textures: &mut [Texture],
        options: &RunOptions,
    ) -> Result<Run, RunError> {
        self.launch(entry, (threadgroups, threads_per_group), buffers, textures, options, true)
    }

    /// [`run`](Self::run) at the speed of the compiled code: addresses are not checked, unless `options` ask for the
    /// sanitizer or a trace.
    ///
    /// # Safety
    /// The kernel must not read or write outside of what is bound to it, and of its private and threadgroup
    /// variables. One that does has the memory of its own process at hand, a copy of this one's.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub unsafe fn run_unwatched(
        &self,
        entry: &str,
        threadgroups: [u32; 3],
        threads_per_group: [u32; 3],
        buffers: &mut [Bound],
        textures: &mut [Texture],
        options: &RunOptions,
    ) -> Result<Run, RunError> {
        let watched = options.sanitize || options.trace;
        self.launch(entry, (threadgroups, threads_per_group), buffers, textures, options, watched)
    }

    fn launch(
        &self,
        entry: &str,
        (threadgroups, threads_per_group): ([u32; 3], [u32; 3]),
        buffers: &mut [Bound],
        textures: &mut [Texture],
        options: &RunOptions,
        watched: bool,
    ) -> Result<Run, RunError> {
        let Some(number) = self.kernels.iter().position(|k| k.name == entry) else {
            let kernels = self.kernels.iter().map(|k| k.name.clone()).collect();
            return Err(RunError::NoKernel { name: entry.to_owned(), kernels });
        };
        #[cfg(all(unix, any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            let compiled = super::object::compiled(
                &self.clang,
                &self.source,
                &self.preprocessed,
                entry,
                number,
                watched,
            )?;
            super::launch::run(
                &compiled,
                &self.kernels[number],
                threadgroups,
                threads_per_group,
                buffers,
                textures,
                options,
            )
        }
        #[cfg(not(all(unix, any(target_arch = "x86_64", target_arch = "aarch64"))))]
        {
            let _ = (
                number,
                watched,
                &self.clang,
                &self.source,
                &self.preprocessed,
                threadgroups,
                threads_per_group,
                buffers,
                textures,
                options,
            );
            Err(RunError::Host)
        }
    }
}
