//! All integration tests in one binary: a module per room, as in `src/`. `cargo test metal::run` runs one file's.

mod audit;
mod cli;
mod exec;
mod fuzz;
mod isa;
mod kernels;
mod lower;
mod metal;
mod repository;
mod web;
mod weights;
