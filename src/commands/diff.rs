//! `dhow diff`: what differs between two images, or between an image and a tree that was made of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use image::{ChangeKind, PathChange, Store};
use serde_json::json;

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say, unbroken, visible};
use crate::template::Format;

/// Show what differs between two images, or what was changed in a tree: A for added, C for changed, D for deleted
#[derive(Debug, clap::Parser)]
#[command(name = "diff")]
struct Args {
    /// One image: what its last layer changed. Two: what makes the second of the first
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// What was changed in a bundle that `unpack` made
    #[arg(short, long, value_name = "DIR", conflicts_with = "images")]
    bundle: Option<PathBuf>,
    /// What was changed in a folder that was unpacked from IMAGE
    #[arg(long, value_name = "DIR", conflicts_with = "bundle")]
    tree: Option<PathBuf>,
    /// `table`, `json`, or a template: {Kind} {Path}
    #[arg(long, value_parser = Format::parse, default_value = "table")]
    format: Format,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = crate::rootless::reader(global)?;
    let changes = changes(&store, &args)?;
    let objects: Vec<_> = changes
        .iter()
        .map(|(kind, path)| json!({"Kind": letter(*kind), "Path": path.to_string_lossy()}))
        .collect();
    let text = match args.format.for_programs(&objects)? {
        Some(text) => text,
        None => changes.iter().map(line).collect(),
    };
    say(format_args!("{text}"));
    Ok(0)
}

fn changes(store: &Store, args: &Args) -> Result<Vec<PathChange>, Failure> {
    let find = |name: &String| store.find(name).map_err(because);
    let changes = match (&args.images[..], &args.bundle, &args.tree) {
        ([], Some(bundle), None) => {
            let image = store.image_of_bundle(bundle).map_err(because)?;
            store.changes_of_tree(&image, &bundle.join("rootfs"))
        }
        ([image], None, Some(tree)) => store.changes_of_tree(&find(image)?, tree),
        ([old, new], None, None) => store.changes(&find(old)?, &find(new)?),
        ([image], None, None) => {
            let new = find(image)?;
            let mut old = new.clone();
            old.layers.pop();
            store.changes(&old, &new)
        }
        _ => {
            return Err(Failure::new(
                "diff: name one image or two, --bundle DIR, or --tree DIR and an image",
            ));
        }
    };
    changes.map_err(because)
}

fn line((kind, path): &PathChange) -> String {
    let path = path.as_path() as &Path;
    let path = path.to_string_lossy();
    format!("{} {}\n", letter(*kind), unbroken(&visible(&path)))
}

fn letter(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "A",
        ChangeKind::Changed => "C",
        ChangeKind::Deleted => "D",
    }
}
