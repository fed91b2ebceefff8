//! `dhow rmi`: removes images or their names.

use std::ffi::OsString;

use image::Removal;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{because, say};

/// Remove images, or a name of an image that has others
#[derive(Debug, clap::Parser)]
#[command(name = "rmi")]
struct Args {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The image goes with all its names
    #[arg(short, long)]
    force: bool,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = crate::rootless::store(global)?;
    let removal = match args.force {
        true => Removal::Whole,
        false => Removal::Careful,
    };
    for wanted in &args.images {
        let removed = store.remove(wanted, removal).map_err(because)?;
        for name in removed.names {
            say(format_args!("Untagged: {}\n", name.familiar()));
        }
        if let Some(id) = removed.image {
            say(format_args!("Deleted: {id}\n"));
        }
    }
    Ok(0)
}
