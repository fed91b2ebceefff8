//! `dhow mount`: an image's tree at a folder, read-only; and which are mounted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use image::{Image, Mounted, Store};
use serde_json::json;
use sys::mount::{Attr, Change, Depth};

use super::{Outcome, parse};
use crate::global::Global;
use crate::report::{Failure, because, say, unbroken, visible};
use crate::tables::table;
use crate::template::Format;

/// Show an image's tree at a folder, read-only; without an image, list what is mounted
#[derive(Debug, clap::Parser)]
#[command(name = "mount")]
struct Args {
    /// A name or id
    image: Option<String>,
    /// The folder, which must be there; without one, a folder in the store, whose path is printed
    dir: Option<PathBuf>,
    /// How to list: `table`, `json`, or a template: {Dir} {Image}
    #[arg(long, value_parser = Format::parse, default_value = "table", conflicts_with = "image")]
    format: Format,
}

pub(crate) fn run(global: &Global, arguments: &[OsString]) -> Outcome {
    let Some(args) = parse::<Args>(arguments)? else {
        return Ok(0);
    };
    let store = Store::open(&global.image_store()?).map_err(because)?;
    let Some(name) = &args.image else {
        say(format_args!("{}", listed(&store, &args.format)?));
        return Ok(0);
    };
    if !sys::privileges::is_root() {
        return Err(Failure::new(
            "mount: only root mounts, also root of a user namespace (unshare -rm); unpack makes a copy",
        ));
    }
    let image = store.find(name).map_err(because)?;
    let dir = match &args.dir {
        Some(dir) => sys::file::canonical(dir).map_err(because)?,
        None => own_place(&store, &image)?,
    };
    if !sys::file::is_dir(&dir).map_err(because)? {
        return Err(Failure::new(format!(
            "mount on {}: it is no folder",
            dir.display()
        )));
    }
    mount(&store, &image, &dir)?;
    say(format_args!(
        "{}\n",
        unbroken(&visible(&dir.to_string_lossy()))
    ));
    Ok(0)
}

/// Made first, noted, and only then attached: a mount that anybody sees is noted.
fn mount(store: &Store, image: &Image, dir: &Path) -> Result<(), Failure> {
    let lease = store.hold(&image.layers).map_err(because)?;
    let overlay = rootfs::Overlay {
        lower: image.lower(),
        ..rootfs::Overlay::default()
    };
    let tree = overlay.mount_detached().map_err(because)?;
    // An image's set-user-id programs and devices are not the host's.
    let set = Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV;
    let change = Change {
        set: u64::from(set.bits()),
        ..Change::default()
    };
    sys::mount::set_attr(&tree, Depth::One, &change).map_err(because)?;
    let target = sys::file::open_path(dir).map_err(because)?;
    store.note_mount(image, dir).map_err(because)?;
    let attached = sys::mount::attach(&tree, &target).map_err(because);
    if attached.is_err() {
        // The first failure is the one that counts; a note that stays can be taken back by umount.
        let _stays = store.forget_mount(dir);
    }
    drop(lease);
    attached
}

/// A folder for this image in the store.
fn own_place(store: &Store, image: &Image) -> Result<PathBuf, Failure> {
    let dir = own_places(store).join(image.id.short());
    sys::file::create_dir_all(&dir, 0o700).map_err(because)?;
    Ok(dir)
}

/// Where the folders of mounts without a place of their own are.
pub(super) fn own_places(store: &Store) -> PathBuf {
    store.path().join("mnt")
}

fn listed(store: &Store, format: &Format) -> Result<String, Failure> {
    let here = mount_points()?;
    let mounts: Vec<(Mounted, bool)> = store
        .mounts()
        .map_err(because)?
        .into_iter()
        .map(|mounted| {
            let is_here = here.contains(&mounted.dir);
            (mounted, is_here)
        })
        .collect();
    let objects: Vec<_> = mounts
        .iter()
        .map(|(m, here)| json!({"Image": m.image, "Dir": m.dir.to_string_lossy(), "Mounted": here}))
        .collect();
    if let Some(text) = format.for_programs(&objects)? {
        return Ok(text);
    }
    let row = |(mounted, here): &(Mounted, bool)| {
        let dir = unbroken(&visible(&mounted.dir.to_string_lossy()));
        // A mount of another mount namespace, or one that a restart has ended.
        let seen = if *here { "yes" } else { "not here" };
        [mounted.image.short(), seen.to_owned(), dir]
    };
    let rows: Vec<[String; 3]> = mounts.iter().map(row).collect();
    Ok(table(["IMAGE ID", "MOUNTED", "FOLDER"], &rows))
}

/// The places that something is mounted at, in our mount namespace.
pub(super) fn mount_points() -> Result<Vec<PathBuf>, Failure> {
    use std::os::unix::ffi::OsStringExt;
    let text = sys::proc::read("self/mountinfo").map_err(because)?;
    let place = |line: &str| {
        let field = line.split(' ').nth(4)?;
        Some(PathBuf::from(OsString::from_vec(sys::mount::unescape(
            field,
        ))))
    };
    Ok(text.lines().filter_map(place).collect())
}
