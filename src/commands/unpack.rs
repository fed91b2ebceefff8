//! `dhow unpack`: a bundle of an image, for any runtime.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::because;

/// Make a bundle of an image: the tree `rootfs` and a config.json
#[derive(Debug, clap::Parser)]
#[command(name = "unpack")]
struct Args {
    /// A name or id
    image: String,
    /// The bundle's directory: missing or empty
    dir: PathBuf,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = crate::rootless::reader(global)?;
    let image = store.find(&args.image).map_err(because)?;
    store.unpack(&image, &args.dir).map_err(because)?;
    Ok(0)
}
