//! One room per kernel family; this file is their registry.
//!
//! A room reads in one order: what is computed (formula, shapes, layout, source) · `Params` · the
//! operation that an app calls · the reference · the cases · the cost · the variants. [`spec`] has the
//! vocabulary.

pub mod attention;
pub mod dequant;
pub mod expert_gemm;
pub mod gemm;
pub mod gemv;
mod limits;
pub mod op;
pub mod patterns;
pub mod router;
pub mod spec;
mod weights;

pub use weights::operands as weight_operands;

use spec::Family;

/// All families, in the order that reports print them.
pub fn families() -> Vec<Family> {
    vec![
        patterns::family(),
        dequant::family(),
        gemv::family(),
        gemm::family(),
        attention::family(),
        router::family(),
        expert_gemm::family(),
    ]
}

/// Why a name chose nothing.
#[derive(Debug, thiserror::Error)]
#[error("there is no {kind} `{name}`; there are {present}")]
pub struct UnknownName {
    kind: &'static str,
    name: String,
    present: String,
}

impl UnknownName {
    fn new<'a>(kind: &'static str, name: &str, present: impl Iterator<Item = &'a str>) -> Self {
        let present = present.collect::<Vec<_>>().join(", ");
        Self { kind, name: name.to_string(), present }
    }
}

/// Keeps what `names` choose, each a `FAMILY` or a `FAMILY/VARIANT`; no name keeps all.
pub fn select(families: Vec<Family>, names: &[String]) -> Result<Vec<Family>, UnknownName> {
    if names.is_empty() {
        return Ok(families);
    }
    let split: Vec<(&str, Option<&str>)> =
        names.iter().map(|n| n.split_once('/').map_or((n.as_str(), None), |(f, v)| (f, Some(v)))).collect();
    for (name, variant) in &split {
        let Some(family) = families.iter().find(|f| f.name == *name) else {
            return Err(UnknownName::new("family", name, families.iter().map(|f| f.name)));
        };
        if let Some(v) = variant
            && !family.variants.iter().any(|known| known.name == *v)
        {
            return Err(UnknownName::new("variant", v, family.variants.iter().map(|v| v.name)));
        }
    }
    let mut kept = Vec::new();
    for mut family in families {
        let mine: Vec<_> = split.iter().filter(|(f, _)| *f == family.name).map(|(_, v)| *v).collect();
        if mine.is_empty() {
            continue;
        }
        if !mine.contains(&None) {
            family.keep_variants(|name| mine.contains(&Some(name)));
        }
        kept.push(family);
    }
    Ok(kept)
}
