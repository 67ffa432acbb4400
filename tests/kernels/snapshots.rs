//! The MSL of every kernel as text under review: what the Metal backend would compile, one snapshot per variant.
//!
//! `INSTA_UPDATE=always cargo test kernels::snapshots` accepts changes; the difference then shows in review.

use wgpu_marlin::gpu::Caps;
use wgpu_marlin::kernels::{self, spec::CaseClass};
use wgpu_marlin::lower::{Checks, Shader};

#[test]
fn msl_of_every_variant_at_its_first_smoke_case() {
    for family in kernels::families() {
        let case = family.cases.iter().find(|c| c.class == CaseClass::Smoke).expect("a smoke case");
        for variant in &family.variants {
            let mut text = String::new();
            match case.plan(variant.ix, &Caps::apple()) {
                Err(refusal) => text.push_str(&format!("// skipped: {refusal}\n")),
                Ok(plan) => {
                    for d in &plan.dispatches {
                        let msl = d.shader.lower().expect("lowers").to_msl(Shader::ENTRY, Checks::Unchecked);
                        let msl = msl.unwrap_or_else(|e| panic!("{}/{}: {e}", family.name, variant.name));
                        text.push_str(&format!("// {}: {}\n{}\n", d.shader.label(), msl.options, msl.text));
                    }
                }
            }
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path(format!("snapshots/{}", family.name));
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.bind(|| insta::assert_snapshot!(variant.name, text));
        }
    }
}
