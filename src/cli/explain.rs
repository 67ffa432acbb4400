//! `marlin explain`: a rule's page.

use wgpu_marlin::audit::{rule, rules};

use super::{Failure, print_out};

#[derive(clap::Args)]
pub(crate) struct ExplainArgs {
    /// A finding's code, for example `strided`.
    code: String,
}

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    match rule(&args.code) {
        Some(rule) => print_out(rule.page()),
        None => {
            let names: Vec<_> = rules().iter().map(|r| r.name).collect();
            Err(Failure::new(format!("no rule `{}`; there are {}", args.code, names.join(", "))))
        }
    }
}
