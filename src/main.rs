//! The command line of dhow: flags, library calls, words. Not its job: anything a library should do.

#![deny(clippy::print_stdout)]

mod cli;
mod commands;
mod report;
mod tables;

use std::process::ExitCode;

use cli::Invocation;
use report::{Failure, Report};

fn main() -> ExitCode {
    let arguments = std::env::args_os().collect();
    match Invocation::parse(arguments) {
        Ok(invocation) => {
            let report = Report::new(&invocation);
            let outcome = guard(invocation.verb.name)
                .and_then(|()| (invocation.verb.run)(&invocation.global, &invocation.arguments));
            match outcome {
                Ok(code) => ExitCode::from(code),
                Err(failure) => report.failure(&failure),
            }
        }
        Err(early) => early.leave(),
    }
}

fn guard(verb: &str) -> Result<(), Failure> {
    match commands::STARTING.contains(&verb) {
        true => Ok(runtime::guard()?),
        false => Ok(()),
    }
}
