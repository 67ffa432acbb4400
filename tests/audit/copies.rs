//! Copies of one line: a helper that is called with other indices each time. What is said of its line must be true of the
//! worst call, as a trace of the same calls written out shows it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wgpu_marlin::audit::{Confidence, Settings, Site, Traced, audit_wgsl, trace_wgsl};
use wgpu_marlin::lower::{Composed, Lowered};
use wgpu_marlin::memory::BankModel;

const GROUPS: u32 = 3;
const WORDS: u32 = 65536;

/// An index of lane `l` of 64 in workgroup `w`, as WGSL and as a number.
#[derive(Clone, Debug)]
struct Index {
    shape: u32,
    stride: u32,
    shift: u32,
    lanes: u32,
}

impl Index {
    fn text(&self) -> String {
        let Index { stride, shift, .. } = self;
        let lane = match self.shape {
            0 => format!("l * {stride}u"),
            1 => format!("l / 4u * {stride}u + l % 4u"),
            2 => format!("(63u - l) * {stride}u"),
            3 => format!("(l ^ 5u) * {stride}u"),
            4 => format!("l % 8u * {stride}u + l / 8u"),
            _ => format!("{stride}u"),
        };
        format!("{lane} + w * 512u + {shift}u")
    }

    fn at(&self, l: u32, w: u32) -> u32 {
        let lane = match self.shape {
            0 => l * self.stride,
            1 => l / 4 * self.stride + l % 4,
            2 => (63 - l) * self.stride,
            3 => (l ^ 5) * self.stride,
            4 => l % 8 * self.stride + l / 8,
            _ => self.stride,
        };
        lane + w * 512 + self.shift
    }
}

fn index() -> impl Strategy<Value = Index> {
    let stride = prop_oneof![Just(1u32), Just(2), Just(16), Just(33), 1u32..300];
    (0u32..6, stride, 0u32..40, prop_oneof![Just(64u32), 1u32..64])
        .prop_map(|(shape, stride, shift, lanes)| Index { shape, stride, shift, lanes })
}

/// The calls through a helper, or each load in a line of its own.
fn program(indices: &[Index], inlined: bool) -> String {
    let mut text = format!(
        "@group(0) @binding(0) var<storage, read> a: array<u32, {WORDS}>;
@group(0) @binding(1) var<storage, read_write> o: array<u32, 192>;
fn near(i: u32) -> u32 {{ return a[i]; }}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    let w = group.x;
    var s = 0u;
"
    );
    for i in indices {
        let load = if inlined { format!("a[{}]", i.text()) } else { format!("near({})", i.text()) };
        text += &format!("    if l < {}u {{ s += {load}; }}\n", i.lanes);
    }
    text + "    o[w * 64u + l] = s;\n}\n"
}

fn settings() -> Settings {
    Settings { workgroups: Some([GROUPS, 1, 1]), ..Settings::default() }
}

fn waste_of_trace(t: &Traced) -> u64 {
    (t.traffic.blocks[2] * 128 - t.traffic.useful_bytes) * 1_000 / t.requests
}

fn waste(s: &Site) -> u64 {
    ((s.fetched_bytes.unwrap_or(0.0) - s.useful_bytes.unwrap_or(0.0)) * 1_000.0).round() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_worst_copy_is_the_worst_of_the_trace(indices in proptest::collection::vec(index(), 1..6)) {
        let report = audit_wgsl("copies.wgsl", &program(&indices, false), &settings());
        let rows: Vec<_> = report.sites.iter().filter(|s| s.buffer == "a").collect();
        prop_assert_eq!(rows.len(), 1);
        prop_assert_eq!((rows[0].copies, rows[0].confidence), (indices.len(), Confidence::Exact));

        let text = program(&indices, true);
        let lowered = Lowered::new(Composed::verbatim("apart.wgsl", &text)).expect("valid WGSL");
        let traced = trace_wgsl(&lowered, &settings(), &BTreeMap::new()).expect("traced");
        prop_assert_eq!(traced.disagreements().count(), 0);
        let apart: Vec<&Site> = traced.sites.iter().filter(|s| s.buffer == "a").collect();
        prop_assert_eq!(apart.len(), indices.len());
        let worst = apart.iter().filter_map(|s| s.traced.as_ref()).map(waste_of_trace).max();
        let reported = waste(rows[0]);
        prop_assert!(worst.is_some_and(|w| w.abs_diff(reported) <= 1), "{:?} reported, {:?} traced", reported, worst);

        // And the sums of all copies are those of the trace of the helper's line.
        let lowered = Lowered::new(Composed::verbatim("copies.wgsl", &program(&indices, false))).expect("valid WGSL");
        let together = trace_wgsl(&lowered, &settings(), &BTreeMap::new()).expect("traced");
        prop_assert_eq!(together.disagreements().count(), 0);
    }

    #[test]
    fn the_worst_copy_has_the_most_ways(indices in proptest::collection::vec(index(), 1..6)) {
        let text = program(&indices, false)
            .replace(&format!("@group(0) @binding(0) var<storage, read> a: array<u32, {WORDS}>"), "var<workgroup> a: array<u32, 65536>");
        let report = audit_wgsl("copies.wgsl", &text, &settings());
        let row = report.sites.iter().find(|s| s.buffer == "a").expect("a row");
        let model = BankModel::default();
        let ways = |i: &Index| {
            let request = |w: u32, first: u32| {
                let lanes = (first..first + 32).filter(|l| *l < i.lanes);
                model.use_of(lanes.map(|l| u64::from(i.at(l, w)) * 4).collect::<Vec<_>>(), 4)
            };
            let all = (0..GROUPS).flat_map(|w| [request(w, 0), request(w, 32)]).filter(|u| u.ways > 0);
            all.map(|u| u.ways / u.ideal_ways.max(1)).max().unwrap_or(0)
        };
        prop_assert_eq!(row.bank_ways, indices.iter().map(ways).max());
    }
}
