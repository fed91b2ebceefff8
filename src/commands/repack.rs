//! `dhow repack`: what was changed in a bundle becomes a layer on its image.

use std::ffi::OsString;
use std::path::PathBuf;

use builder::Epoch;
use image::{Changed, Image, Reference, RepackOptions, Store};

use super::build::epoch;
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say};

/// Make an image of a bundle's image and what was changed in the bundle since
#[derive(Debug, clap::Parser)]
#[command(name = "repack")]
struct Args {
    /// A bundle that `unpack` made
    #[arg(required_unless_present = "upper", conflicts_with = "upper")]
    bundle: Option<PathBuf>,
    /// An overlay's upper directory in place of a bundle
    #[arg(long, value_name = "DIR", requires = "image")]
    upper: Option<PathBuf>,
    /// The image below; a bundle knows its own
    #[arg(long)]
    image: Option<String>,
    /// A name for the new image; it may be given several times
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<Reference>,
    /// What the history says of the layer
    #[arg(short, long, value_name = "TEXT", default_value = "dhow repack")]
    message: String,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = crate::rootless::reader(global)?;
    let base = base(&store, &args)?;
    let epoch = match epoch(&std::collections::BTreeMap::new())? {
        None => None,
        Some(Epoch::Seconds(seconds)) => Some(seconds),
        Some(Epoch::Context) => {
            let why = "SOURCE_DATE_EPOCH=context: a bundle has no context";
            return Err(Failure::new(why));
        }
    };
    let options = RepackOptions {
        clamp_mtime: epoch,
        created: epoch.map(builder::timestamp),
        created_by: args.message,
        names: args.tag.clone(),
    };
    let tree = args.bundle.map(|bundle| bundle.join("rootfs"));
    let changed = match (&args.upper, &tree) {
        (Some(upper), _) => Changed::Upper(upper),
        (None, Some(tree)) => Changed::Tree(tree),
        (None, None) => return Err(Failure::new("repack: name a bundle")),
    };
    match store.repack(&base, changed, &options).map_err(because)? {
        Some(image) => say(format_args!("{}\n", image.id)),
        None => {
            for name in &args.tag {
                store.tag(&base, name).map_err(because)?;
            }
            eprintln!(
                "{}: nothing was changed; it is the image below",
                global.name
            );
            say(format_args!("{}\n", base.id));
        }
    }
    Ok(0)
}

fn base(store: &Store, args: &Args) -> Result<Image, Failure> {
    match (&args.image, &args.bundle) {
        (Some(name), _) => store.find(name).map_err(because),
        (None, Some(bundle)) => store.image_of_bundle(bundle).map_err(because),
        (None, None) => Err(Failure::new("repack: name a bundle")),
    }
}
