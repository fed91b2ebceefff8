//! `dhow umount`: takes a mount of an image away, and gives its layers back.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use image::{Mounted, Store};

use super::mount::{mount_points, own_places};
use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because};

/// Take away what mount has mounted
#[derive(Debug, clap::Parser)]
#[command(name = "umount")]
struct Args {
    /// A folder, or an image that is mounted at one folder
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    what: Vec<String>,
    /// All that is mounted
    #[arg(short, long)]
    all: bool,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = Store::open(&global.image_store()?).map_err(because)?;
    let mounts = store.mounts().map_err(because)?;
    let chosen = match args.all {
        true => mounts,
        false => {
            let find = |what: &String| find(&store, &mounts, what);
            args.what.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    for mounted in chosen {
        umount(&store, &mounted.dir)?;
    }
    Ok(0)
}

fn find(store: &Store, mounts: &[Mounted], what: &str) -> Result<Mounted, Failure> {
    // A place that is gone has its name still.
    let dir = sys::file::canonical(what).or_else(|_| std::path::absolute(what));
    let dir: PathBuf = dir.map_err(|e| Failure::new(format!("umount {what}: {e}")))?;
    if let Some(mounted) = mounts.iter().find(|mounted| mounted.dir == dir) {
        return Ok(mounted.clone());
    }
    let id = store.find(what).ok().map(|image| image.id);
    let of_image: Vec<_> = mounts.iter().filter(|m| Some(m.image) == id).collect();
    match of_image[..] {
        [mounted] => Ok(mounted.clone()),
        [] => Err(Failure::new(format!(
            "umount {what:?}: nothing of this store is mounted there"
        ))),
        _ => Err(Failure::new(format!(
            "umount {what:?}: it is mounted at {} folders; name one",
            of_image.len()
        ))),
    }
}

/// First the mount, then the note: a note without a mount only holds layers, the other way round they could be removed
/// under it.
fn umount(store: &Store, dir: &Path) -> Result<(), Failure> {
    if mount_points()?.iter().any(|place| place == dir) {
        sys::mount::detach(dir).map_err(because)?;
    }
    store.forget_mount(dir).map_err(because)?;
    if dir.starts_with(own_places(store)) {
        sys::file::remove_dir(dir).map_err(because)?;
    }
    Ok(())
}
