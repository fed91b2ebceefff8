//! `dhow tag`: one more name for an image.

use std::ffi::OsString;

use image::Reference;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::because;

/// Give an image one more name; an image that has it loses it
#[derive(Debug, clap::Parser)]
#[command(name = "tag")]
struct Args {
    /// A name or id
    image: String,
    /// The new name
    name: Reference,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = image::Store::open(&global.image_store()?).map_err(because)?;
    let image = store.find(&args.image).map_err(because)?;
    store.tag(&image, &args.name).map_err(because)?;
    Ok(0)
}
