//! `dhow resume`: let the processes of a paused container go on.

use std::ffi::OsString;

use runtime::Store;

use super::{Outcome, parse};
use crate::global::Global;

/// Let the processes of a paused container go on
#[derive(Debug, clap::Parser)]
#[command(name = "resume")]
struct Args {
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    runtime::resume(&Store::new(global.state_root()?), &args.id.parse()?)?;
    Ok(0)
}
