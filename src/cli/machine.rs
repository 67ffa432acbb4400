//! `marlin devices` and `marlin list`.

use serde_json::{Value, json};
use wgpu_marlin::gpu::{Caps, DeviceChoice, DeviceClass, Gpu, adapters};
use wgpu_marlin::kernels;
use wgpu_marlin::kernels::spec::CaseClass;

use super::{Failure, print_out, table, write_out};

#[derive(clap::Args)]
pub(crate) struct DevicesArgs {
    /// Write JSON to FILE, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Write JSON to FILE, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
}

pub(crate) fn class_name(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::DiscreteGpu => "discrete GPU",
        DeviceClass::IntegratedGpu => "integrated GPU",
        DeviceClass::OtherGpu => "GPU",
        DeviceClass::Software => "software driver",
        DeviceClass::Executor => "executor",
    }
}

/// A device in words that say what kernels it can run.
pub(crate) fn caps_line(caps: &Caps) -> String {
    let width = caps.subgroup_size.map_or("unknown width".to_string(), |w| format!("{w} lanes"));
    let subgroups = if caps.subgroups { format!("subgroups of {width}") } else { "no subgroups".into() };
    let f16 = if caps.f16 { "f16" } else { "no f16" };
    let mut sizes: Vec<String> = caps.coop.iter().map(|c| format!("{}×{}×{}", c.m, c.n, c.k)).collect();
    sizes.dedup();
    let coop = if sizes.is_empty() { "none".to_string() } else { sizes.join(" ") };
    format!(
        "{subgroups}, {f16}, cooperative matrices {coop}, workgroup memory {} KiB, bindings up to {} MiB, {}",
        caps.max_workgroup_memory >> 10,
        caps.max_binding_bytes >> 20,
        if caps.timestamps { "timestamps" } else { "no timestamps" },
    )
}

pub(crate) fn caps_json(caps: &Caps) -> Value {
    let coop: Vec<Value> = caps
        .coop
        .iter()
        .map(|c| json!({ "m": c.m, "n": c.n, "k": c.k, "ab": format!("{:?}", c.ab), "c": format!("{:?}", c.c) }))
        .collect();
    json!({
        "f16": caps.f16,
        "int16": caps.int16,
        "subgroups": caps.subgroups,
        "subgroup_size": caps.subgroup_size,
        "cooperative_matrices": coop,
        "max_workgroup_memory_bytes": caps.max_workgroup_memory,
        "max_binding_bytes": caps.max_binding_bytes,
        "max_buffer_bytes": caps.max_buffer_bytes,
        "timestamps": caps.timestamps,
        "msl_passthrough": caps.msl,
    })
}

pub(crate) fn devices(args: &DevicesArgs) -> Result<(), Failure> {
    let mut text = String::new();
    let mut rows = Vec::new();
    for (index, adapter) in pollster::block_on(adapters()).into_iter().enumerate() {
        let (backend, info) = (adapter.info.backend.to_str(), &adapter.info);
        let class = class_name(adapter.class);
        text.push_str(&format!(
            "{index}  {}  [{backend}, {class}, driver {} {}]\n",
            info.name, info.driver, info.driver_info
        ));
        let mut row = json!({
            "index": index,
            "name": info.name,
            "backend": backend,
            "class": class,
            "driver": format!("{} {}", info.driver, info.driver_info),
        });
        match pollster::block_on(Gpu::open(&DeviceChoice::Index(index))) {
            Ok(gpu) => {
                text.push_str(&format!("   {}\n", caps_line(&gpu.caps)));
                row["caps"] = caps_json(&gpu.caps);
            }
            Err(e) => {
                text.push_str(&format!("   cannot be opened: {e}\n"));
                row["error"] = json!(e.to_string());
            }
        }
        rows.push(row);
    }
    if rows.is_empty() {
        text.push_str(
            "no GPU adapter found (on Debian, `apt-get install mesa-vulkan-drivers` gives a software one)\n",
        );
    }
    match &args.json {
        Some(path) => write_out(path, &super::json(&json!({ "schema": 1, "devices": rows }))?),
        None => print_out(&text),
    }
}

pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let families = kernels::families();
    if let Some(path) = &args.json {
        let class = |c: CaseClass| match c {
            CaseClass::Smoke => "smoke",
            CaseClass::Edge => "edge",
            CaseClass::Bench => "bench",
        };
        let rows: Vec<Value> = families
            .iter()
            .map(|f| {
                let variants: Vec<Value> = f
                    .variants
                    .iter()
                    .map(|v| json!({ "name": v.name, "role": v.role.name(), "about": v.about, "metal_twin": v.twin }))
                    .collect();
                let cases: Vec<Value> =
                    f.cases.iter().map(|c| json!({ "name": c.name, "class": class(c.class) })).collect();
                json!({ "name": f.name, "summary": f.summary, "variants": variants, "cases": cases })
            })
            .collect();
        return write_out(path, &super::json(&json!({ "schema": 1, "families": rows }))?);
    }
    let mut text = String::new();
    for f in &families {
        text.push_str(&format!("{}: {}\n", f.name, f.summary));
        let rows = f.variants.iter().map(|v| {
            let twin = if v.twin { "wgsl msl" } else { "wgsl" };
            vec![format!("  {}", v.name), v.role.name().into(), twin.into(), v.about.into()]
        });
        text.push_str(&table::plain(rows));
        for (name, class) in
            [("smoke", CaseClass::Smoke), ("bench", CaseClass::Bench), ("edge", CaseClass::Edge)]
        {
            let cases: Vec<_> =
                f.cases.iter().filter(|c| c.class == class).map(|c| c.name.as_str()).collect();
            text.push_str(&format!("  {name} cases: {}\n", cases.join(", ")));
        }
        text.push('\n');
    }
    print_out(&text)
}
