//! The `marlin` command.
fn main() {}
