//! The GPUs that code can be made for, and what makes a driver believe in each.

/// A GPU by the name that `--gpu` takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Gpu {
    /// The name that the command line takes.
    pub name: &'static str,
    /// The name that people know it by.
    pub title: &'static str,
    /// Mesa's driver: the part of `libvulkan_NAME.so`.
    pub(super) driver: &'static str,
    /// The kernel driver that the stand-in plays.
    pub(super) kernel: &'static str,
    /// What the stand-in reads to be this GPU.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// The family that RADV before Mesa 26 takes by itself, with no stand-in.
    pub(super) radv_family: Option<&'static str>,
}

const fn gpu(
    name: &'static str,
    title: &'static str,
    [driver, kernel]: [&'static str; 2],
    settings: &'static [(&'static str, &'static str)],
) -> Gpu {
    Gpu { name, title, driver, kernel, settings, radv_family: None }
}

const fn amd(
    name: &'static str,
    title: &'static str,
    settings: &'static [(&'static str, &'static str)],
    radv_family: Option<&'static str>,
) -> Gpu {
    Gpu { name, title, driver: "radeon", kernel: "amdgpu", settings, radv_family }
}

const NVK: [&str; 2] = ["nouveau", "nouveau"];

/// All GPUs, Apple's first.
pub const GPUS: [Gpu; 17] = [
    gpu("apple-m1", "Apple M1 (G13)", ["asahi", "asahi"], &[("MARLIN_ISA_GEN", "13")]),
    gpu("apple-m2", "Apple M2 (G14)", ["asahi", "asahi"], &[("MARLIN_ISA_GEN", "14")]),
    amd("amd-navi21", "AMD Navi 21 (RDNA 2)", &[("MARLIN_ISA_AMD", "navi21")], None),
    amd("amd-navi31", "AMD Navi 31 (RDNA 3)", &[("MARLIN_ISA_AMD", "navi31")], Some("gfx1100")),
    amd("amd-navi33", "AMD Navi 33 (RDNA 3)", &[("MARLIN_ISA_AMD", "navi33")], None),
    amd("amd-gfx1150", "AMD Strix Point (RDNA 3.5)", &[("MARLIN_ISA_AMD", "gfx1150")], None),
    amd("amd-gfx1201", "AMD Navi 48 (RDNA 4)", &[("MARLIN_ISA_AMD", "gfx1201")], None),
    gpu("adreno-740", "Adreno 740", ["freedreno", "msm"], &[("MARLIN_ISA_CHIP", "0x43050a01")]),
    gpu("adreno-750", "Adreno 750", ["freedreno", "msm"], &[("MARLIN_ISA_CHIP", "0x43051401")]),
    gpu("intel-tgl", "Intel Tiger Lake (Xe LP)", ["intel", "i915"], &[("MARLIN_ISA_PCI", "0x9a49")]),
    gpu("intel-a770", "Intel Arc A770 (Xe HPG)", ["intel", "i915"], &[("MARLIN_ISA_PCI", "0x56a0")]),
    gpu("intel-b580", "Intel Arc B580 (Xe2)", ["intel", "xe"], &[("MARLIN_ISA_PCI", "0xe20b")]),
    gpu("intel-lnl", "Intel Lunar Lake (Xe2)", ["intel", "xe"], &[("MARLIN_ISA_PCI", "0x64a0")]),
    gpu(
        "nvidia-turing",
        "NVIDIA TU102 (Turing) by NVK",
        NVK,
        &[("MARLIN_ISA_CHIP", "0x162"), ("MARLIN_ISA_PCI", "0x1e04")],
    ),
    gpu(
        "nvidia-ampere",
        "NVIDIA GA102 (Ampere) by NVK",
        NVK,
        &[("MARLIN_ISA_CHIP", "0x172"), ("MARLIN_ISA_PCI", "0x2204")],
    ),
    gpu(
        "nvidia-ada",
        "NVIDIA AD102 (Ada) by NVK",
        NVK,
        &[("MARLIN_ISA_CHIP", "0x192"), ("MARLIN_ISA_PCI", "0x2684")],
    ),
    gpu(
        "nvidia-blackwell",
        "NVIDIA GB202 (Blackwell) by NVK",
        NVK,
        &[("MARLIN_ISA_CHIP", "0x1b2"), ("MARLIN_ISA_PCI", "0x2b85")],
    ),
];

impl Gpu {
    /// The GPUs that a list such as `apple-m1,amd-navi31` or `all` names.
    ///
    /// # Errors
    /// A name that no GPU has: drivers abort on names that they don't know, so none is passed on unchecked.
    pub fn parse_list(list: &str) -> Result<Vec<&'static Gpu>, super::IsaError> {
        if list == "all" {
            return Ok(GPUS.iter().collect());
        }
        let find = |name: &str| {
            GPUS.iter().find(|g| g.name == name.trim()).ok_or_else(|| super::IsaError::UnknownGpu {
                name: name.trim().into(),
                known: GPUS.iter().map(|g| g.name).collect::<Vec<_>>().join(", "),
            })
        };
        list.split(',').map(find).collect()
    }
}
