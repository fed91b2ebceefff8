//! Takes cache mounts away. One that a RUN uses stays. Not its job: steps and layers (image).

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use image::Store;
use sys::Errno;
use sys::file::{self, Lock, Wait};

use super::{ABOUT, Which, folder, meant};
use crate::error::{Doing, Result};

/// What a pruning took away, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedMounts {
    /// The ids of those that went; empty for one that nobody knows any more.
    pub removed: Vec<String>,
    /// The ids of those that a RUN uses.
    pub used: Vec<String>,
}

/// Takes these cache mounts away, but for those that were of use since `before`; `dry` only says which.
///
/// # Errors
/// Names an id that no cache has.
pub fn prune_mounts(
    store: &Store,
    which: &Which,
    before: Option<SystemTime>,
    dry: bool,
) -> Result<PrunedMounts> {
    let mut pruned = PrunedMounts::default();
    for (name, about) in meant(store, which)? {
        if !which.takes(about.as_ref()) {
            continue;
        }
        let path = folder(store).join(&name);
        let used = file::last_used(path.join(ABOUT)).unwrap_or(SystemTime::UNIX_EPOCH);
        if before.is_some_and(|before| used >= before) {
            continue;
        }
        let id = about.map(|about| about.id).unwrap_or_default();
        let doing = || format!("remove cache mount {id:?}");
        match alone(&path).doing(doing)? {
            Some(locks) => {
                if !dry {
                    remove(store, &path, &name).doing(doing)?;
                }
                // Who waits for one of them sees now that it is gone.
                drop(locks);
                pruned.removed.push(id);
            }
            None => pruned.used.push(id),
        }
    }
    Ok(pruned)
}

/// All locks of a cache; `None` if somebody has one of them.
fn alone(path: &Path) -> sys::Result<Option<Vec<OwnedFd>>> {
    let whole = match file::open_dir(path) {
        Ok(whole) => whole,
        Err(e) if e.errno == Errno::NOENT => return Ok(Some(Vec::new())),
        Err(e) => return Err(e),
    };
    let mut locks = Vec::new();
    if !file::lock(&whole, Lock::Exclusive, Wait::Try)? {
        return Ok(None);
    }
    for (name, _) in file::list(&whole)? {
        let is_number = name
            .to_str()
            .is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_number {
            continue;
        }
        let numbered = file::open_dir(path.join(&name))?;
        if !file::lock(&numbered, Lock::Exclusive, Wait::Try)? {
            return Ok(None);
        }
        locks.push(numbered);
    }
    locks.push(whole);
    Ok(Some(locks))
}

/// Moves the cache out of sight and removes it.
fn remove(store: &Store, path: &Path, name: &str) -> image::Result<()> {
    let scratch = store.scratch()?;
    match file::rename(path, scratch.upper.join(name)) {
        // The files go with their place; what can't be removed now goes with the next command.
        Ok(()) => Ok(()),
        Err(e) if e.errno == Errno::NOENT => Ok(()),
        Err(source) => Err(image::Error::System {
            what: "move it out of sight".to_owned(),
            source,
        }),
    }
}
