//! From WGSL to other languages: what naga does to a text ends as a value, in the library and in every command.

mod naga;
mod outputs;
