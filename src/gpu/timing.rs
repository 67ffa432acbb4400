//! GPU time of recordings, by a named method.

/// How times were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingMethod {
    /// Timestamps at the start and the end of a compute pass.
    Timestamps,
    /// The host's clock round submission and wait, an empty pass's time subtracted.
    WallClock,
}

impl TimingMethod {
    /// The name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timestamps => "gpu timestamps",
            Self::WallClock => "wall clock, empty pass subtracted",
        }
    }
}

/// Times of one computation.
#[derive(Clone, Debug, PartialEq)]
pub struct Timings {
    /// How they were taken.
    pub method: TimingMethod,
    /// Nanoseconds of one run of the computation, a value per sample, in the order taken.
    pub samples_ns: Vec<f64>,
    /// Runs per sample.
    pub runs_per_sample: u32,
}

impl Timings {
    /// The median in nanoseconds; `None` where nothing was measured.
    pub fn median_ns(&self) -> Option<f64> {
        let mut sorted = self.samples_ns.clone();
        sorted.sort_by(f64::total_cmp);
        let mid = sorted.len() / 2;
        match sorted.len() {
            0 => None,
            n if n % 2 == 1 => Some(sorted[mid]),
            _ => Some((sorted[mid - 1] + sorted[mid]) / 2.0),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod blocking {
    use std::time::{Duration, Instant};

    use super::{TimingMethod, Timings};
    use crate::gpu::{Gpu, GpuError, Recording};

    /// Time of a sample that makes timestamp steps and launch gaps negligible.
    const SAMPLE_NS: f64 = 4e6;
    /// Least and most time to run before times count. An H100 was seen to take most of a second.
    const WARM_UP: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(1500));
    /// Most runs in one pass.
    const MAX_RUNS: u32 = 256;

    /// Whether the last five samples lie within 3 % of each other.
    fn steady(samples_ns: &[f64]) -> bool {
        let Some(last) = samples_ns.last_chunk::<5>() else { return false };
        let (low, high) = last.iter().fold((f64::MAX, 0.0f64), |(l, h), &s| (l.min(s), h.max(s)));
        high <= 1.03 * low
    }

    struct Queries {
        set: wgpu::QuerySet,
        buffer: wgpu::Buffer,
    }

    impl Gpu {
        /// Times one run of a computation. `copies` are the same computation over different copies of its
        /// inputs; runs take them in turn, so that inputs come from memory and not from a cache. Runs
        /// follow one another in one pass; they write the same outputs, so each waits for the one before.
        /// Samples until `budget` is spent, at least 3 and at most 50. Submits and waits.
        pub fn time_blocking(&self, copies: &[Recording], budget: Duration) -> Result<Timings, GpuError> {
            let queries = if self.caps.timestamps { self.queries()? } else { None };
            let method = if queries.is_some() { TimingMethod::Timestamps } else { TimingMethod::WallClock };
            let mut next = 0;
            // One run to warm up, one to learn how many runs make a sample.
            self.sample(copies, &mut next, 1, queries.as_ref())?;
            let one_ns = self.sample(copies, &mut next, 1, queries.as_ref())?.max(100.0);
            let runs = (SAMPLE_NS / one_ns).ceil().clamp(1.0, f64::from(MAX_RUNS)) as u32;
            let empty_ns = match method {
                TimingMethod::Timestamps => 0.0,
                TimingMethod::WallClock => {
                    let mut e: Vec<f64> = Vec::new();
                    for _ in 0..5 {
                        e.push(self.sample(&[], &mut 0, 0, None)?);
                    }
                    e.sort_by(f64::total_cmp);
                    e[2]
                }
            };
            // An idle GPU runs at a fraction of its clock (an H100 at 345 of 1,980 MHz) and takes a while to
            // wake up: run until times have stopped falling.
            let start = Instant::now();
            let mut recent = Vec::new();
            let software = self.caps.class == crate::gpu::DeviceClass::Software;
            let (least, most) = if software { (Duration::ZERO, Duration::ZERO) } else { WARM_UP };
            while start.elapsed() < least || (start.elapsed() < most && !steady(&recent)) {
                recent.push(self.sample(copies, &mut next, runs, queries.as_ref())?);
            }
            let start = Instant::now();
            let mut samples_ns = Vec::new();
            while samples_ns.len() < 3 || (samples_ns.len() < 50 && start.elapsed() < budget) {
                let total = self.sample(copies, &mut next, runs, queries.as_ref())? - empty_ns;
                samples_ns.push(total.max(0.0) / f64::from(runs));
            }
            // Some drivers answer zero (wgpu #9414): no time is better than a false one.
            samples_ns.retain(|&t| t > 0.0);
            Ok(Timings { method, samples_ns, runs_per_sample: runs })
        }

        /// Time of exactly `runs` runs, for harnesses that choose their own counts; `None` where the
        /// driver's clock gave nothing. Submits and waits.
        pub fn time_runs_blocking(
            &self,
            copies: &[Recording],
            runs: u64,
        ) -> Result<Option<Duration>, GpuError> {
            let queries = if self.caps.timestamps { self.queries()? } else { None };
            let (mut next, mut left, mut total_ns) = (0, runs, 0.0);
            while left > 0 {
                let n = left.min(u64::from(MAX_RUNS)) as u32;
                let ns = self.sample(copies, &mut next, n, queries.as_ref())?;
                if ns <= 0.0 {
                    return Ok(None);
                }
                total_ns += ns;
                left -= u64::from(n);
            }
            Ok(Some(Duration::from_nanos(total_ns as u64)))
        }

        /// Nanoseconds of a pass with `runs` runs.
        fn sample(
            &self,
            copies: &[Recording],
            next: &mut usize,
            runs: u32,
            queries: Option<&Queries>,
        ) -> Result<f64, GpuError> {
            let timestamp_writes = queries.map(|q| wgpu::ComputePassTimestampWrites {
                query_set: &q.set,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
            let start = Instant::now();
            self.submit_blocking("timing", |encoder| {
                let mut pass = encoder
                    .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
                for _ in 0..runs {
                    copies[*next % copies.len()].encode(&mut pass);
                    *next += 1;
                }
                drop(pass);
                if let Some(q) = queries {
                    encoder.resolve_query_set(&q.set, 0..2, &q.buffer, 0);
                }
            })?;
            let wall = start.elapsed().as_nanos() as f64;
            let Some(q) = queries else { return Ok(wall) };
            let bytes = self.read_blocking(&q.buffer, 0, 16)?;
            let tick = |i: usize| u64::from_le_bytes(bytes[i * 8..i * 8 + 8].try_into().expect("8 bytes"));
            let ticks = tick(1).saturating_sub(tick(0));
            Ok(ticks as f64 * f64::from(self.queue.get_timestamp_period()))
        }

        /// Timestamp queries, unless the driver's timestamps prove to be useless.
        fn queries(&self) -> Result<Option<Queries>, GpuError> {
            let set = self.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timing"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timing"),
                size: 16,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let queries = Queries { set, buffer };
            let period = self.queue.get_timestamp_period();
            if !(period.is_finite() && period > 0.0) {
                return Ok(None);
            }
            self.sample(&[], &mut 0, 0, Some(&queries))?;
            let bytes = self.read_blocking(&queries.buffer, 0, 16)?;
            Ok(bytes.iter().any(|&b| b != 0).then_some(queries))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_none_is_none() {
        let t = |s: &[f64]| Timings {
            method: TimingMethod::WallClock,
            samples_ns: s.to_vec(),
            runs_per_sample: 1,
        };
        assert_eq!(t(&[]).median_ns(), None);
        assert_eq!(t(&[3.0, 1.0, 2.0]).median_ns(), Some(2.0));
        assert_eq!(t(&[4.0, 1.0]).median_ns(), Some(2.5));
    }
}
