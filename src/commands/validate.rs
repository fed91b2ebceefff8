//! `dhow validate`: everything that is wrong with a bundle, at once.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{say, visible};

/// Name everything that is wrong with a bundle's configuration
#[derive(Debug, clap::Parser)]
#[command(name = "validate")]
struct Args {
    /// Another configuration than the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The bundle's folder
    #[arg(default_value = ".")]
    bundle: PathBuf,
}

pub(crate) fn run(_: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let judgement = runtime::judge::judge(&args.bundle, args.config.as_deref())?;
    for fault in &judgement.faults.0 {
        say(format_args!("{}\n", visible(&fault.to_string())));
    }
    for key in &judgement.unknown {
        let key = visible(key);
        say(format_args!(
            "{key}: runtime-spec 1.3 has no such field; it is ignored\n"
        ));
    }
    if judgement.faults.0.is_empty() {
        say(format_args!("valid\n"));
    }
    Ok(u8::from(!judgement.faults.0.is_empty()))
}
