//! `dhow delete`: removes all that a container has left.

use std::ffi::OsString;

use runtime::{Force, Store};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::warn;

/// Remove all that a container has left
#[derive(Debug, clap::Parser)]
#[command(name = "delete")]
struct Args {
    /// End it first if it runs; what is not there is no error
    #[arg(short, long)]
    force: bool,
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let force = if args.force { Force::Yes } else { Force::No };
    let store = Store::new(global.state_root()?);
    warn(&runtime::delete(&store, &args.id.parse()?, force)?);
    Ok(0)
}
