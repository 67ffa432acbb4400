//! Rows rendered as a page. The terminal table is the command's own; JSON is the rows' serialization.
//! Nothing is computed here that a row does not hold.

mod html;

pub use html::{Page, ReportError, comparison_html, full_html};
