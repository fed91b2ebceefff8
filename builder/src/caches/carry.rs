//! Cache mounts on their way to another store, as a tar of the folder in which they lie: `HEX/mount.json` and
//! `HEX/0/data`; to a registry, as the one layer of an image. What comes is hostile: it is unpacked in a folder of its own that nothing leads out of, all of it is
//! looked at, and then each directory takes its place by a rename, when nobody uses the cache. Not its job: the tar.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use image::{CommitOptions, Image, OwnerPolicy, Scratch, Store};
use serde_json::json;
use sys::at::{self, OFlags};
use sys::beneath::Root;
use sys::{Errno, SysError, file};

use super::{ABOUT, About, LARGEST, Which, folder, instance, locked, meant};
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::mounts::Sharing;
use crate::passing::{self, Passing};

/// The field of an image's config that says what its layer is.
const FIELD: &str = "dhow.cache-mounts";

/// How much is written at once.
const BUFFER: usize = 256 << 10;

/// Cache mounts that no RUN uses until this is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    store: &'a Store,
    names: BTreeSet<String>,
    locks: Vec<OwnedFd>,
}

/// Waits until no RUN uses these cache mounts, and keeps it so. Of a cache with several directories it is the first.
///
/// # Errors
/// Names an id that no cache has.
pub fn hold_mounts<'a>(store: &'a Store, which: &Which) -> Result<Held<'a>> {
    let mut held = Held {
        store,
        names: BTreeSet::new(),
        locks: Vec::new(),
    };
    // Sorted: as steps take their locks, so that nobody waits for each other.
    for (name, about) in meant(store, which)? {
        let Some(about) = about.filter(|about| which.takes(Some(about)) && about.name() == name)
        else {
            continue;
        };
        let path = folder(store).join(&name);
        let doing = || format!("wait for cache mount {:?}", about.id);
        let (lock, _) = instance(&path, Sharing::Locked).doing(doing)?;
        held.names.insert(name);
        held.locks.push(lock);
    }
    Ok(held)
}

impl<'a> Held<'a> {
    /// Writes them to `out` as one tar.
    ///
    /// # Errors
    /// Names the file that no tar can carry; `out` is cut short then.
    pub fn write<W: Write>(&self, out: W) -> Result<W> {
        let doing = || "write the cache mounts".to_owned();
        let path = folder(self.store);
        file::create_dir_all(&path, 0o700).doing(doing)?;
        let tree = file::open_dir(&path).doing(doing)?;
        let takes = |path: &[u8]| self.takes(path);
        self.store.write_part(tree, &takes, out).doing(doing)
    }

    /// Makes an image of them, for a registry; RUNs may use them again then.
    ///
    /// # Errors
    /// As [`Held::write`].
    pub fn into_image(self) -> Result<Passing<'a>> {
        let doing = || "make an image of the cache mounts".to_owned();
        let store = self.store;
        let lease = Cache::hold(store)?;
        let scratch = store.scratch().doing(doing)?;
        let path = scratch.upper.with_file_name("archive");
        let file = file::create_new(&path, 0o600).doing(doing)?;
        let failed = |e: io::Error| SysError::from_io("write", "the archive", &e);
        self.write(BufWriter::with_capacity(BUFFER, file))?
            .flush()
            .map_err(failed)
            .doing(doing)?;
        drop(self);
        let file = file::open(&path).doing(doing)?;
        file::remove_file(&path).doing(doing)?;
        unpack(&scratch, file)?;
        let layer = store
            .commit_layer(scratch, CommitOptions::default())
            .doing(doing)?;
        Passing::made(store, lease, (FIELD, json!({"version": 1})), &[layer])
    }

    fn takes(&self, path: &[u8]) -> bool {
        let mut names = path.split(|byte| *byte == b'/');
        let cache = names.next().and_then(|name| std::str::from_utf8(name).ok());
        let ours = cache.is_some_and(|name| self.names.contains(name));
        ours && match (names.next(), names.next()) {
            (None, _) | (Some(b"0"), None | Some(b"data")) => true,
            (Some(name), None) => name == ABOUT.as_bytes(),
            _ => false,
        }
    }
}

/// Takes cache mounts from an archive, each when no RUN uses it, in place of what it holds. Gives how many. Whoever
/// made the archive is believed about what is in them.
///
/// # Errors
/// Names what is wrong with the archive, before any cache is changed.
pub fn import_mounts(store: &Store, from: File, which: &Which) -> Result<usize> {
    let scratch = store
        .scratch()
        .doing(|| "make room for cache mounts".to_owned())?;
    unpack(&scratch, from)?;
    let doing = || "read the cache mounts".to_owned();
    let root = Root::new(file::open_path(&scratch.upper).doing(doing)?);
    let mut found = Vec::new();
    for (name, _) in file::list(file::open_dir(&scratch.upper).doing(doing)?).doing(doing)? {
        let name = name.to_string_lossy().into_owned();
        found.push(look(&root, &name)?);
    }
    if let Some(id) = which.missing(|id| found.iter().any(|about| about.id == id)) {
        return Err(Error::Refused(format!(
            "the archive has no cache mount {id:?}"
        )));
    }
    found.retain(|about| which.takes(Some(about)));
    for about in &found {
        place(&folder(store), &root, about)
            .doing(|| format!("put cache mount {:?} in its place", about.id))?;
    }
    Ok(found.len())
}

/// Takes cache mounts from an image that came from a registry, as [`import_mounts`] does, and the image away.
///
/// # Errors
/// If the image carries none, and as [`import_mounts`].
pub fn import_mounts_of(store: &Store, image: Image, which: &Which) -> Result<usize> {
    const WHAT: &str = "the cache mounts";
    let image = Passing::came(store, image)?;
    let refuse = |why: String| Error::Refused(format!("{WHAT}: {why}"));
    let field = passing::carried(&image.config, FIELD, WHAT)?;
    if field["version"] != 1 {
        return Err(refuse(format!(
            "its version is {}, not 1",
            field["version"]
        )));
    }
    let [layer] = &image.layers[..] else {
        let count = image.layers.len();
        return Err(refuse(format!("it has {count} layers in place of one")));
    };
    // As it came: its digest was checked then.
    let blob = store.blob(layer).doing(|| "read a layer".to_owned())?;
    import_mounts(store, blob, which)
}

fn unpack(scratch: &Scratch, mut from: File) -> Result<()> {
    let doing = || "unpack the cache mounts".to_owned();
    let failed =
        |call: &'static str| move |e: io::Error| SysError::from_io(call, "the archive", &e);
    // How much it may inflate to goes by its length.
    if !from
        .metadata()
        .map_err(failed("stat"))
        .doing(doing)?
        .is_file()
    {
        let path = scratch.upper.with_file_name("archive");
        let mut whole = file::create_new(&path, 0o600).doing(doing)?;
        io::copy(&mut from, &mut whole)
            .map_err(failed("copy"))
            .doing(doing)?;
        from = file::open(&path).doing(doing)?;
        file::remove_file(&path).doing(doing)?;
    }
    let whole = from.metadata().map_err(failed("stat")).doing(doing)?.len();
    let at = from
        .stream_position()
        .map_err(failed("seek"))
        .doing(doing)?;
    let into = file::open_dir(&scratch.upper).doing(doing)?;
    // Owners of links, where they can't be theirs, have no place beside a cache.
    image::unpack_onto(
        from,
        whole.saturating_sub(at),
        into,
        None,
        OwnerPolicy::ours(),
    )
    .map(drop)
    .doing(doing)
}

/// Holds a cache that came to what it says.
fn look(root: &Root, name: &str) -> Result<About> {
    let refuse = |why: &str| Error::Refused(format!("cache mount {name:?} of the archive: {why}"));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let text = root
        .open(Path::new(name).join(ABOUT), flags)
        .and_then(|fd| file::read_fd(fd, &ABOUT, LARGEST))
        .map_err(|_| refuse("it has no mount.json"))?;
    let about: About =
        serde_json::from_slice(&text).map_err(|_| refuse("its mount.json can't be read"))?;
    if about.name() != name {
        return Err(refuse("its mount.json is that of another one"));
    }
    let data = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY;
    root.open(Path::new(name).join("0/data"), data)
        .map_err(|_| refuse("it has no folder 0/data"))?;
    Ok(about)
}

/// Puts the directory of a cache that came in the place of the one that is there.
fn place(folder: &Path, root: &Root, about: &About) -> sys::Result<()> {
    let name = about.name();
    let path = folder.join(&name);
    let (new, data) = root.parent(Path::new(&name).join("0/data"))?;
    let (lock, _) = instance(&path, Sharing::Locked)?;
    about.keep(&locked(&path)?, &path)?;
    let fail = |errno| SysError::new("rename", "data", errno);
    file::remove_tree(&lock, "old")?;
    match at::renameat(&lock, "data", &lock, "old") {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(fail(errno)),
    }
    at::renameat(&new, &data, &lock, "data").map_err(fail)?;
    file::remove_tree(&lock, "old")
}
