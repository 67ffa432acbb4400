//! The `marlin` command: parse, call one stage, print.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
