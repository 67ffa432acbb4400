//! The library's kernels on the page's own WebGPU device: each variant verified against the reference, then timed.
//!
//! Nothing here blocks: a browser's device answers only between tasks. Browsers quantize timestamps to 100 µs, so that a
//! time is that of many dispatches in one pass.

mod run;

use serde_json::json;
use wasm_bindgen::prelude::*;
use wgpu_marlin::gpu::{Gpu, wgpu};
use wgpu_marlin::kernels::families;
use wgpu_marlin::kernels::spec::{Case, CaseClass, Family, Space, VariantInfo};
use wgpu_marlin::measure::verify;

use run::{Bound, now_ms};

/// Of the generated operands.
const SEED: u64 = 1;

/// Called once by the module itself.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

/// The families and their sizes of cases, as JSON.
#[wasm_bindgen]
pub fn list() -> String {
    let of = |f: &Family, class| f.cases.iter().filter(|c| c.class == class).count();
    let rows: Vec<_> = families()
        .iter()
        .map(|f| {
            let (smoke, edge) = (of(f, CaseClass::Smoke), of(f, CaseClass::Edge));
            json!({ "name": f.name, "summary": f.summary, "variants": f.variants.len(), "smoke": smoke, "edge": edge })
        })
        .collect();
    json!(rows).to_string()
}

/// A WebGPU device with the features and limits that its adapter has.
#[wasm_bindgen]
pub struct Device {
    gpu: Gpu,
    /// What nobody's scope caught.
    stray: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

#[wasm_bindgen]
impl Device {
    /// Asks the browser for an adapter and a device. Subgroups come with it where the page's `requestDevice` adds them.
    ///
    /// # Errors
    /// No WebGPU, no adapter, no device: a sentence.
    pub async fn open() -> Result<Device, JsError> {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        let instance = wgpu::Instance::new(descriptor);
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions::default())
            .await
            .map_err(|e| JsError::new(&format!("the browser gives no WebGPU adapter: {e}")))?;
        let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| JsError::new(&format!("the browser gives no WebGPU device: {e}")))?;
        let stray = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
        let heard = stray.clone();
        device.on_uncaptured_error(std::sync::Arc::new(move |e: wgpu::Error| {
            if let Ok(mut errors) = heard.lock() {
                errors.push(e.to_string());
            }
        }));
        Ok(Device { gpu: Gpu::adopt(device, queue, Some(&adapter)), stray })
    }

    /// What the device is and can do, as JSON.
    pub fn about(&self) -> String {
        let (info, caps) = (&self.gpu.info, &self.gpu.caps);
        json!({
            "name": info.name,
            "kind": format!("{:?}", caps.class),
            "f16": caps.f16,
            "subgroups": caps.subgroups,
            "subgroup_size": caps.subgroup_size,
            "max_workgroup_memory": caps.max_workgroup_memory,
            "max_invocations": caps.max_invocations,
            "max_storage_buffers": caps.max_storage_buffers,
            "max_binding_bytes": caps.max_binding_bytes,
            "max_buffer_bytes": caps.max_buffer_bytes,
        })
        .to_string()
    }

    /// Errors that no scope caught since the last call, as JSON: an empty list is what it should be.
    pub fn stray_errors(&self) -> String {
        let errors = self.stray.lock().map(|mut e| std::mem::take(&mut *e)).unwrap_or_default();
        json!(errors).to_string()
    }

    /// Verifies every variant of a family at its smoke (or `edge`) cases, and times what is right for `budget_ms` each,
    /// where that is above 0. Calls `on_row` with each row as JSON: the names are those of `marlin compare`.
    ///
    /// # Errors
    /// No such family. What a variant can't do is in its row.
    pub async fn compare(
        &self,
        family: &str,
        edge: bool,
        budget_ms: f64,
        on_row: &js_sys::Function,
    ) -> Result<(), JsError> {
        let families = families();
        let family = families.iter().find(|f| f.name == family);
        let family = family.ok_or_else(|| JsError::new("there is no such family"))?;
        let class = if edge { CaseClass::Edge } else { CaseClass::Smoke };
        for case in family.cases.iter().filter(|c| c.class == class) {
            let mut naive_ns = None;
            for variant in &family.variants {
                let mut row = self.row(case, variant, budget_ms).await;
                row["family"] = family.name.into();
                if variant.role.name() == "naive" {
                    naive_ns = naive_ns.or(row["time_ns"].as_f64());
                }
                if let (Some(naive), Some(own)) = (naive_ns, row["time_ns"].as_f64()) {
                    row["speedup_vs_naive"] = (naive / own).into();
                }
                // The page's own function: what it throws is its affair.
                let _ = on_row.call1(&JsValue::NULL, &row.to_string().into());
            }
        }
        Ok(())
    }

    async fn row(&self, case: &Case, variant: &VariantInfo, budget_ms: f64) -> serde_json::Value {
        let mut row = json!({
            "variant": variant.name,
            "role": variant.role.name(),
            "source": "wgsl",
            "checks": "checked",
            "case": case.name,
            "device": self.gpu.info.name,
            "verified": false,
        });
        let plan = match case.plan(variant.ix, &self.gpu.caps) {
            Ok(plan) => plan,
            Err(refusal) => {
                row["skipped"] = refusal.to_string().into();
                return row;
            }
        };
        let problem = case.problem(variant.ix, SEED);
        let ran = async {
            let bound = Bound::new(&self.gpu, &problem, &plan).await?;
            Ok::<_, String>((bound.run().await?, bound))
        };
        let (outputs, bound) = match ran.await {
            Ok(ran) => ran,
            Err(e) => {
                row["failure"] = e.into();
                return row;
            }
        };
        let verdict = verify(&problem, &outputs, SEED);
        row["checked_elements"] = verdict.checked_elements.into();
        row["elements"] = verdict.elements.into();
        if let Some((error, bound)) = verdict.worst {
            row["max_err"] = error.into();
            row["tolerance"] = bound.into();
        }
        if let Some(failure) = verdict.failure {
            row["failure"] = failure.into();
            return row;
        }
        row["verified"] = true.into();
        row["useful_bytes"] = problem.cost.useful_bytes.into();
        if budget_ms > 0.0 {
            match bound.time_ns(budget_ms).await {
                Ok(time_ns) => {
                    row["time_ns"] = time_ns.into();
                    row["timing_method"] = "many dispatches per pass".into();
                    if problem.cost.space == Space::Storage {
                        row["gbps"] = (problem.cost.useful_bytes as f64 / time_ns).into();
                    }
                    row["tflops"] = (problem.cost.flops as f64 / time_ns / 1e3).into();
                }
                Err(e) => row["failure"] = format!("while timing: {e}").into(),
            }
        }
        row
    }
}

/// Milliseconds since the page began.
#[wasm_bindgen]
pub fn clock_ms() -> f64 {
    now_ms()
}
