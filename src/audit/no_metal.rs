//! Metal files where there is no clang to read them: on the web.

use super::analyse::not_analysed;
use super::report::Report;
use super::settings::Settings;
use crate::lower::Defines;

/// One row that says why the kernels of a Metal text are not analysed here.
pub fn audit_metal(name: &str, _text: &str, _defines: &Defines, _settings: &Settings) -> Report {
    let reason = "Metal text is read by clang, which the web does not have: audit it natively";
    not_analysed(name, "(file)", reason.into())
}
