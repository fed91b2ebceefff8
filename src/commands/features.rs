//! `dhow features`: what this build can do on this kernel, as JSON.

use std::ffi::OsString;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say};

/// Show what this build can do on this kernel, as runtime-spec's features.md has it
#[derive(Debug, clap::Parser)]
#[command(name = "features")]
struct Args {}

pub(crate) fn run(_: &Global, arguments: &[OsString]) -> Outcome {
    let Some(Args {}) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let text = serde_json::to_string_pretty(&runtime::features()).map_err(because)?;
    say(format_args!("{text}\n"));
    Ok(0)
}
