//! The auditor: known answers, the command, static counts against traces.

mod cases;
mod cli;
mod deep;
mod gate;
mod published;
mod trace;
