//! The command line of dhow: flags, library calls, words. Not its job: anything a library should do.

#![deny(clippy::print_stdout)]

mod cli;
mod commands;
mod global;
mod log;
mod progress;
mod report;
mod rootless;
mod tables;
mod template;
mod whole;

use std::process::ExitCode;

use cli::Invocation;
use report::{Failure, Report};
use runtime::Aim;

fn main() -> ExitCode {
    let arguments = std::env::args_os().collect();
    match Invocation::parse(arguments) {
        Ok(invocation) => {
            let Invocation {
                global,
                verb,
                arguments,
            } = &invocation;
            let outcome = guard(verb.name)
                .and_then(|()| log::open(global))
                .and_then(|()| (verb.run)(global, arguments));
            match outcome {
                Ok(code) => ExitCode::from(code),
                Err(failure) => Report(global).failure(&failure),
            }
        }
        Err(early) => early.leave(),
    }
}

fn guard(verb: &str) -> Result<(), Failure> {
    match verb {
        "exec" => Ok(runtime::guard(Aim::Enter)?),
        verb if commands::STARTING.contains(&verb) => Ok(runtime::guard(Aim::Make)?),
        _ => Ok(()),
    }
}
