//! The auditor's static counts against what the executor traces, over every kernel of this crate: wherever the
//! static answer claims to be exact, it is the trace.

use wgpu_marlin::audit::{Pattern, Report, Settings, Site, Space};
use wgpu_marlin::exec::TraceMode;
use wgpu_marlin::gpu::Caps;
use wgpu_marlin::kernels::{
    self,
    spec::{Case, CaseClass},
};
use wgpu_marlin::measure::MetalCpu;
use wgpu_marlin::measure::{CaseError, trace_case, trace_twins};

/// Accesses by what became of them.
#[derive(Default)]
struct Tally {
    kernels: usize,
    sites: usize,
    exact: usize,
    unknown: usize,
    wrong: Vec<String>,
}

fn place(s: &Site) -> String {
    format!("{}:{}:{} {} {:?} of {} B", s.file, s.line, s.column, s.buffer, s.op, s.bytes_per_lane)
}

impl Tally {
    fn add(&mut self, what: &str, report: &Report) {
        for k in &report.kernels {
            self.kernels += 1;
            if !k.analysed {
                self.wrong.push(format!("{what}: {} was not analysed: {:?}", k.file, k.reason));
            }
        }
        for s in &report.sites {
            self.sites += 1;
            if s.pattern == Pattern::Unknown {
                self.unknown += 1;
                println!("unknown: {what}: {}: {}", place(s), s.assumptions.join("; "));
            }
            let complaint = match &s.traced {
                // What clang's code does with textures goes through a descriptor.
                None if s.space == Space::Texture => None,
                None => Some("was not traced".into()),
                Some(t) if t.agrees == Some(false) => {
                    Some(format!("static {:?}\n    traced {:?}", s.traffic, t.traffic))
                }
                Some(t) if t.agrees.is_none() && s.assumptions.is_empty() => {
                    Some("is not exact and does not say why".into())
                }
                Some(_) => None,
            };
            self.exact += usize::from(s.traced.as_ref().is_some_and(|t| t.agrees == Some(true)));
            self.wrong.extend(complaint.map(|c| format!("{what}: {}: {c}", place(s))));
        }
    }

    fn judge(&self, source: &str) {
        println!(
            "{source}: {} kernels, {} accesses: {} exact and as traced, {} not exact and saying why, {} of these unknown",
            self.kernels,
            self.sites,
            self.exact,
            self.sites - self.exact,
            self.unknown,
        );
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
        assert!(self.unknown * 20 < self.sites, "{} of {} are unknown", self.unknown, self.sites);
        assert!(self.exact * 2 > self.sites, "{} of {} are exact", self.exact, self.sites);
    }
}

#[test]
fn every_wgsl_kernel_is_counted_as_it_is_traced() {
    let mut tally = Tally::default();
    let mut refused = Vec::new();
    for family in kernels::families() {
        for variant in &family.variants {
            let mut traced = 0;
            for case in family.cases.iter().filter(|c| c.class == CaseClass::Smoke) {
                let what = format!("{}/{} {}", family.name, variant.name, case.name);
                match trace_case(case, variant.ix, &Settings::default()) {
                    Ok(report) => tally.add(&what, &report),
                    Err(CaseError::Refused(why)) => {
                        refused.push(format!("{what}: {why}"));
                        continue;
                    }
                    Err(e) => panic!("{what}: {e}"),
                }
                traced += 1;
            }
            assert!(traced > 0, "{}/{} was traced at no case: {refused:?}", family.name, variant.name);
        }
    }
    println!("refused: {}", refused.join("; "));
    tally.judge("WGSL");
}

#[test]
fn every_metal_twin_is_counted_as_it_is_traced() {
    let Some(clang) = crate::metal::clang("tracing the Metal twins") else { return };
    let mut cpu = MetalCpu::new(clang, &Caps::apple());
    cpu.trace = TraceMode::All;
    let mut tally = Tally::default();
    for family in kernels::families() {
        for variant in family.variants.iter().filter(|v| v.twin) {
            // One case each, that with the fewest threadgroups: clang and a traced run take their time.
            let groups = |case: &Case| {
                let plan = case.plan(variant.ix, &cpu.caps).ok()?;
                let product = |n: [u32; 3]| n.iter().map(|&n| u64::from(n)).product::<u64>();
                Some(plan.dispatches.iter().map(|d| product(d.workgroups)).sum::<u64>())
            };
            let small = family.cases.iter().filter(|c| c.class == CaseClass::Smoke);
            let case = small.filter_map(|c| Some((groups(c)?, c))).min_by_key(|c| c.0).expect("a case").1;
            let what = format!("{}/{} {}", family.name, variant.name, case.name);
            match trace_twins(&cpu, case, variant.ix, &Settings::default()) {
                Ok(report) => tally.add(&what, &report),
                Err(e) => panic!("{what}: {e}"),
            }
        }
    }
    tally.judge("Metal");
}
