//! Portable GPU kernels of quantized LLMs whose memory layouts are proved, not believed.
//!
//! The crate is read in the order in which data flows through it:
//!
//! ```text
//! wgsl/*.wgsl ──► lower ──► naga module ──┬──► gpu    run on wgpu (Metal, Vulkan, DX12, WebGPU)
//!                                         ├──► exec   run on the CPU; traces every address
//!                                         ├──► lower  MSL / SPIR-V / HLSL / WGSL text
//!                                         └──► audit  lane algebra ◄─┐
//! msl/*.metal, lowered MSL ──► metal (clang + shim) ──► LLVM IR, type-check, run on the CPU
//!
//!        kernels (shapes, reference, cost, variants) ──► measure (verify, then time) ──► report
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`memory`] | the ground floor: kinds of memory and access, traffic, banks, places in a text |
//! | [`quant`] | 4-bit weight formats: quantize, pack, unpack, layouts |
//! | [`lower`] | WGSL files to a validated naga module, and from there to target text |
//! | [`gpu`] | devices, capabilities, buffers, pipelines, timing on wgpu |
//! | [`exec`] | the CPU executor of naga IR, its trace and its sanitizer |
//! | [`metal`] | Metal Shading Language without a Mac: check, run and trace through clang |
//! | [`isa`] | machine code for GPUs that aren't there, through Mesa's compilers |
//! | [`kernels`] | one room per kernel family: shapes, reference, cost, variants, operations |
//! | [`measure`] | verification against the reference, timing, ceilings |
//! | [`audit`] | what each memory access of a kernel costs, and why |
//! | [`report`] | rows rendered as table, JSON, HTML |
//!
//! On the web (`wasm32`) the library has what an app embeds, `exec`, `gpu`, `kernels`, `lower` and `quant`, the
//! auditor of WGSL (`audit`; Metal text needs clang) and [`measure::verify`].
//!
//! Rules that hold everywhere: a requested variant runs or is refused with a reason, never replaced;
//! nothing is timed that was not verified in the same run; the library never panics on user input,
//! never prints, and never submits work unless the function's name says so.

pub mod audit;
pub mod exec;
pub mod gpu;
#[cfg(not(target_arch = "wasm32"))]
pub mod isa;
pub mod kernels;
pub mod lower;
#[cfg_attr(target_arch = "wasm32", path = "measure/web.rs")]
pub mod measure;
pub mod memory;
#[cfg(not(target_arch = "wasm32"))]
pub mod metal;
pub mod quant;
#[cfg(not(target_arch = "wasm32"))]
pub mod report;
#[cfg(feature = "weights")]
pub mod weights;
