//! What a driver says of one entry point's code.

use serde::{Deserialize, Serialize};

use super::Gpu;

/// How many threads fit at once, in the driver's own unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// What the code reaches.
    pub value: u64,
    /// What light code reaches.
    pub full: u64,
    /// `threads per core`, `waves per SIMD` and so on.
    pub unit: String,
}

/// One statistic as the driver names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Raw {
    /// The driver's name for it.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// The machine code of one entry point, in figures. A figure that the driver does not give is `None`, never 0.
/// All are static: trip counts are not multiplied in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Code {
    /// Lanes of a subgroup that the driver compiled for, where it says.
    pub subgroup_size: Option<u64>,
    /// Machine instructions.
    pub instructions: Option<u64>,
    /// Registers of a thread, in the driver's unit: 16-bit on Apple, 32-bit elsewhere, vec4 on Adreno.
    pub registers: Option<u64>,
    /// How many threads fit at once.
    pub occupancy: Option<Occupancy>,
    /// Registers written to memory for want of room.
    pub spills: Option<u64>,
    /// Registers read back.
    pub fills: Option<u64>,
    /// Private memory of a thread.
    pub scratch_bytes: Option<u64>,
    /// Workgroup memory by the module's own types.
    pub shared_bytes: u64,
    /// Size of the code.
    pub code_bytes: Option<u64>,
    /// Estimated cycles by unit, where the driver has an estimate.
    pub cycles: Vec<Raw>,
    /// All statistics under the driver's names.
    pub raw: Vec<Raw>,
}

impl Code {
    /// Sorts what a driver reports into one shape.
    /// Full occupancy is what `light` code reached by the same driver: their units differ, even by version.
    pub(super) fn new(
        gpu: &Gpu,
        subgroup_size: u64,
        shared_bytes: u64,
        raw: Vec<Raw>,
        light: Option<u64>,
    ) -> Self {
        let get = |names: &[&str]| {
            names
                .iter()
                .find_map(|n| raw.iter().find(|r| r.name.eq_ignore_ascii_case(n)))
                .map(|r| r.value as u64)
        };
        let sum = |names: &[&str]| {
            let found: Vec<u64> = names.iter().filter_map(|n| get(&[n])).collect();
            (!found.is_empty()).then(|| found.iter().sum())
        };
        let unit = occupancy_name(gpu).map_or("", |(_, unit)| unit);
        let occupancy = occupancy_value(gpu, &raw).zip(light);
        let dwords = if gpu.driver == "freedreno" { 4 } else { 1 };
        let cycle_names: &[&str] = match gpu.driver {
            "asahi" => &["ALU", "FSCIB", "IC"],
            "radeon" => &["Latency", "Inverse Throughput"],
            "freedreno" => &["SS-stall", "SY-stall"],
            "nouveau" => &["Static cycle count"],
            _ => &["Cycles", "Cycle Count"],
        };
        Self {
            subgroup_size: (subgroup_size > 0).then_some(subgroup_size),
            instructions: get(&["Instructions", "Instruction Count"]),
            registers: get(&["GPRs", "VGPRs", "Registers used", "Number of GPRs", "Max live registers"]),
            occupancy: occupancy.map(|(value, full)| Occupancy { value, full, unit: unit.into() }),
            spills: sum(&[
                "Spills",
                "Spilled SGPRs",
                "Spilled VGPRs",
                "STP Count",
                "Spills to memory",
                "Spill Count",
            ]),
            fills: sum(&["Fills", "LDP Count", "Fills from memory", "Fill Count"]),
            scratch_bytes: get(&["Scratch", "Scratch size", "SLM size", "Scratch Memory Size"]),
            shared_bytes,
            code_bytes: get(&["Code size"]).map(|n| n * dwords),
            cycles: raw.iter().filter(|r| cycle_names.contains(&r.name.as_str())).cloned().collect(),
            raw,
        }
    }

    /// Occupancy as a share of full.
    pub fn occupancy_share(&self) -> Option<f64> {
        self.occupancy.as_ref().map(|o| o.value as f64 / o.full as f64)
    }
}

/// The statistic that is the occupancy, and its unit. Intel's driver gives none.
fn occupancy_name(gpu: &Gpu) -> Option<(&'static str, &'static str)> {
    match gpu.driver {
        "asahi" => Some(("Threads", "threads per core")),
        "radeon" => Some(("Subgroups per SIMD", "waves per SIMD")),
        "freedreno" => Some(("Max Waves Per Core", "waves per core")),
        "nouveau" => Some(("Max warps/SM", "warps per SM")),
        _ => None,
    }
}

/// The occupancy among a driver's statistics.
pub(super) fn occupancy_value(gpu: &Gpu, raw: &[Raw]) -> Option<u64> {
    let (name, _) = occupancy_name(gpu)?;
    raw.iter().find(|r| r.name == name).map(|r| r.value as u64)
}
