//! Rows rendered as table, JSON, HTML.
