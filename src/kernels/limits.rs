//! Whether a plan fits a device: asked of the plan as it is and of its lowered shaders, not of what a room believes of them.
//!
//! [`check`] names the first limit that a plan exceeds. What a shader asks for is found once and remembered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::spec::Refusal;
use crate::gpu::{Caps, Plan};
use crate::lower::{Demands, Shader};

/// Shaders remembered; with more, all are forgotten. A model's operations need a few dozen.
const REMEMBERED: usize = 2048;

static KNOWN: Mutex<Option<HashMap<Shader, Result<Demands, String>>>> = Mutex::new(None);

/// What a shader asks of a device.
fn demands(shader: &Shader) -> Result<Demands, Refusal> {
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().as_ref().and_then(|known| known.get(shader).cloned());
    let found = known.unwrap_or_else(|| {
        // Lowered without the lock: two threads may do it twice, none waits.
        let found = shader.lower().and_then(|lowered| lowered.demands(Shader::ENTRY));
        let found = found.map_err(|e| e.to_string());
        let mut known = lock();
        let known = known.get_or_insert_default();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(shader.clone(), found.clone());
        found
    });
    found.map_err(|e| Refusal::needs(format!("a shader that naga takes: {}: {e}", shader.label())))
}

/// Refuses a plan that exceeds a limit of the device, or uses a feature that it lacks. `weight_rows`: rows that an app can cut
/// the weights by.
pub(super) fn check(plan: &Plan, weight_rows: Option<u64>, caps: &Caps) -> Result<(), Refusal> {
    let most = caps.max_binding_bytes.min(caps.max_buffer_bytes);
    let too_large = |b: &&crate::gpu::BufferSpec| b.binding_bytes() > most;
    if let Some(b) = plan.buffers.iter().chain(&plan.scratch).find(too_large) {
        return Err(Refusal::Limit {
            what: format!("`{}`", b.name),
            needed: format!("{} B", b.size_bytes),
            limit: "a binding",
            allowed: format!("{most} B"),
            hint: parts_hint(plan, weight_rows, most),
        });
    }
    for d in &plan.dispatches {
        let limit = |limit, needed: String, allowed: String| {
            let what = format!("`{}`", d.shader.wgsl.path);
            Err(Refusal::Limit { what, needed, limit, allowed, hint: String::new() })
        };
        if let Some(n) = d.workgroups.iter().find(|n| **n > caps.max_workgroups) {
            let allowed = format!("{} workgroups", caps.max_workgroups);
            return limit("workgroups in one dimension", format!("{n} workgroups"), allowed);
        }
        let demands = demands(&d.shader)?;
        let missing = |what: &str| Err(Refusal::needs(format!("{what}, for `{}`", d.shader.wgsl.path)));
        if demands.f16 && !caps.f16 {
            return missing("shader-f16");
        }
        if demands.subgroups && !caps.subgroups {
            return missing("subgroups");
        }
        if demands.coop && caps.coop.is_empty() {
            return missing("cooperative matrices");
        }
        if demands.workgroup_bytes > u64::from(caps.max_workgroup_memory) {
            let allowed = format!("{} B", caps.max_workgroup_memory);
            return limit("workgroup memory", format!("{} B", demands.workgroup_bytes), allowed);
        }
        let invocations: u64 = demands.workgroup_size.iter().map(|n| u64::from(*n)).product();
        if invocations > u64::from(caps.max_invocations) {
            let allowed = format!("{} invocations", caps.max_invocations);
            return limit("workgroups", format!("{invocations} invocations"), allowed);
        }
        let sides = demands.workgroup_size.iter().zip(caps.max_workgroup_size);
        if let Some((n, most)) = sides.into_iter().find(|(n, most)| *n > most) {
            return limit(
                "a workgroup's dimension",
                format!("{n} invocations"),
                format!("{most} invocations"),
            );
        }
        if demands.storage_buffers > caps.max_storage_buffers {
            let allowed = format!("{} storage buffers", caps.max_storage_buffers);
            return limit(
                "bindings of one shader",
                format!("{} storage buffers", demands.storage_buffers),
                allowed,
            );
        }
    }
    if let Some(t) = plan.textures.iter().find(|t| t.width.max(t.height) > caps.max_texture_side) {
        return Err(Refusal::Limit {
            what: format!("`{}`", t.name),
            needed: format!("{}×{} texels", t.width, t.height),
            limit: "a texture",
            allowed: format!("{0}×{0} texels", caps.max_texture_side),
            hint: String::new(),
        });
    }
    Ok(())
}

/// In how many parts of rows the weights fit bindings of `most` bytes, where they are what does not fit.
fn parts_hint(plan: &Plan, weight_rows: Option<u64>, most: u64) -> String {
    let Some(rows) = weight_rows else { return String::new() };
    let weights = plan.buffers.iter().filter(|b| matches!(b.name, "words" | "scales" | "zero_points"));
    let largest = weights.map(|b| b.binding_bytes()).max().unwrap_or(0);
    if largest <= most || rows == 0 {
        return String::new();
    }
    // Rows of a part, rounded down, less the padding that a part of its own has.
    let row_bytes = largest.div_ceil(rows);
    let part_rows = (most.saturating_sub(16) / row_bytes).min(rows);
    if part_rows == 0 {
        return "; a single row does not fit".into();
    }
    let parts = rows.div_ceil(part_rows);
    format!("; {parts} matrices of at most {part_rows} of the {rows} rows would fit")
}
