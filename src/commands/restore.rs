//! `dhow restore`: a container whose processes come from a checkpoint.

use std::ffi::OsString;

use runtime::Manner;

use super::checkpoint::ImageArgs;
use super::create::BundleArgs;
use super::run::told;
use super::{Outcome, parse};
use crate::global::Global;

/// Make a container whose processes come from a checkpoint, by CRIU
#[derive(Debug, clap::Parser)]
#[command(name = "restore")]
struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    image: ImageArgs,
    /// Come back when the processes run
    #[arg(short, long)]
    detach: bool,
    /// Leave the stopped container there
    #[arg(long)]
    keep: bool,
    /// Accepted for callers of runc: a foreground container is waited for by its handle
    #[arg(long)]
    no_subreaper: bool,
    /// The new container's name
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let manner = match (args.detach, args.keep) {
        (true, _) => Manner::Detached,
        (false, true) => Manner::Keep,
        (false, false) => Manner::Foreground,
    };
    let images = args.image.options(global)?;
    let options = args.bundle.options(global, &args.id)?;
    let outcome = runtime::restore(options, &images, manner)?;
    Ok(outcome.map_or(0, |outcome| told(&global.name, &args.id, outcome)))
}
