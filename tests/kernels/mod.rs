//! The kernel families: the corpus on every device, operations as apps use them, and proof that the tests catch faults.

mod corpus;
mod determinism;
mod limits;
mod mutants;
mod operations;
mod shipped_bugs;
mod snapshots;
