//! `dhow state`: a container's state as JSON.

use std::ffi::OsString;

use runtime::Store;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say};

/// Show a container's state as JSON
#[derive(Debug, clap::Parser)]
#[command(name = "state")]
struct Args {
    /// The container
    id: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let snapshot = runtime::state(&Store::new(global.state_root()?), &args.id.parse()?)?;
    let report = snapshot.record.report(snapshot.status);
    say(format_args!(
        "{}\n",
        serde_json::to_string_pretty(&report).map_err(because)?
    ));
    Ok(0)
}
