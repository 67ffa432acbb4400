//! The auditor: known answers, the command, static counts against traces.

mod cases;
mod cli;
mod published;
mod trace;
