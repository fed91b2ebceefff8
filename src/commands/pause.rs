//! `dhow pause`: stop all processes of a container where they are.

use std::ffi::OsString;

use runtime::Store;

use super::{Outcome, parse};
use crate::global::Global;

/// Stop all processes of a container where they are
#[derive(Debug, clap::Parser)]
#[command(name = "pause")]
struct Args {
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    runtime::pause(&Store::new(global.state_root()?), &args.id.parse()?)?;
    Ok(0)
}
