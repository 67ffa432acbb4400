//! The auditor: known answers, the command, static counts against traces.

mod cases;
mod cli;
mod copies;
mod deep;
mod emulator;
mod gate;
mod published;
mod published_metal;
mod trace;
