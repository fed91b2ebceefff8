//! `dhow run`: a bundle, as every runtime has it.

use std::ffi::OsString;

use runtime::Manner;

use super::create::BundleArgs;
use super::{Outcome, parse};
use crate::cli::Global;

/// Create, start, wait and delete
#[derive(Debug, clap::Parser)]
#[command(name = "run")]
struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Come back when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Leave the stopped container there
    #[arg(long)]
    keep: bool,
    /// The new container's name
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    runtime::guard()?;
    let manner = match (args.detach, args.keep) {
        (true, _) => Manner::Detached,
        (false, true) => Manner::Keep,
        (false, false) => Manner::Foreground,
    };
    let id = args.id.clone();
    let outcome = runtime::run(args.bundle.options(global, &args.id)?, manner)?;
    Ok(match outcome {
        Some(outcome) => told(&global.name, &id, outcome),
        None => 0,
    })
}

/// The exit status; a lack of memory is told, for the status alone does not.
pub(crate) fn told(name: &str, id: &str, outcome: runtime::Outcome) -> u8 {
    if outcome.oom_kills > 0 {
        eprintln!(
            "{name}: {id}: out of memory: the kernel killed {} of its processes at the memory limit",
            outcome.oom_kills
        );
    }
    outcome.exit.code()
}
