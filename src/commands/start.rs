//! `dhow start`: lets a created container's program begin.

use std::ffi::OsString;

use runtime::Store;

use super::{Outcome, parse};
use crate::global::Global;

/// Start a created container's program
#[derive(Debug, clap::Parser)]
#[command(name = "start")]
struct Args {
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = Store::new(global.state_root()?);
    let notify = runtime::notify::asked_for();
    runtime::start_notified(&store, &args.id.parse()?, notify.as_deref())?;
    Ok(0)
}
