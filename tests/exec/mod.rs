//! The CPU executor: the language, its sanitizer, arbitrary input, and an independent implementation beside it.

mod fuzz;
mod language;
mod planted;
mod sanitizer;
mod subgroups;
mod vulkan;
