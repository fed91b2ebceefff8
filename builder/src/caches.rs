//! Where cache mounts lie, and who may use one when. Not its job: mounting them (`steps::caches`).
//!
//! `STORE/cache-mounts/HEX/`, HEX the digest of the cache's name and of what it was filled with: `mount.json` with
//! both, whose time is that of the last use; `0/data` the directory itself, `1/data` and so on those of RUNs that want
//! one of their own at the same time. Whoever uses a numbered directory holds its lock: shared, or alone for `locked`
//! and `private`. `HEX` itself is locked for moments, by who makes a numbered directory or fills one; whoever removes
//! the cache has all these locks alone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use image::Store;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::file::{self, Durability, Lock, Wait};
use sys::{Errno, SysError};

use crate::cache::is_digest;
use crate::error::{Doing, Error, Result};
use crate::fingerprint::{field, hex};
use crate::mounts::Sharing;

mod carry;
mod prune;

pub use carry::{Held, hold_mounts, import_mounts, import_mounts_of};
pub use prune::{PrunedMounts, prune_mounts};

/// The folder of a cache that says what it is.
const ABOUT: &str = "mount.json";

/// A longer `mount.json` is none of ours.
const LARGEST: u64 = 1 << 20;

/// Which cache mounts are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those with these ids, as recipes say them.
    Named(Vec<String>),
}

impl Which {
    fn takes(&self, about: Option<&About>) -> bool {
        match self {
            Self::All => true,
            Self::Named(ids) => about.is_some_and(|about| ids.contains(&about.id)),
        }
    }

    /// The first id that none of the caches has.
    fn missing(&self, has: impl Fn(&str) -> bool) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Named(ids) => ids.iter().map(String::as_str).find(|id| !has(id)),
        }
    }
}

/// What a cache is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// Its name in recipes.
    pub(crate) id: String,
    /// What it was filled with when it was made: the tree, the path there, and the digest of the files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) from: Vec<String>,
}

impl About {
    /// The name of its folder.
    pub(crate) fn name(&self) -> String {
        let mut hasher = Sha256::new();
        field(&mut hasher, self.id.as_bytes());
        for part in &self.from {
            field(&mut hasher, part.as_bytes());
        }
        hex(&hasher.finalize())
    }

    /// Writes it down, and that the cache is used now; `whole` is the cache's folder at `path`, locked.
    pub(crate) fn keep(&self, whole: &OwnedFd, path: &Path) -> sys::Result<()> {
        let at = path.join(ABOUT);
        // Strings always can be written.
        let text = serde_json::to_vec(self).unwrap_or_default();
        if !file::exists(&at)? || file::read(&at, LARGEST)? != text {
            file::replace(whole, ABOUT, &text, 0o600, Durability::Memory)?;
        }
        file::use_now(&at)
    }
}

/// Where the caches of a store are.
pub(crate) fn folder(store: &Store) -> PathBuf {
    store.path().join("cache-mounts")
}

/// The caches of a store: the names of their folders, and what they are if that can be read; sorted.
fn all(store: &Store) -> Result<Vec<(String, Option<About>)>> {
    let doing = || "look for cache mounts".to_owned();
    let path = folder(store);
    if !file::exists(&path).doing(doing)? {
        return Ok(Vec::new());
    }
    let names = file::list(file::open_dir(&path).doing(doing)?).doing(doing)?;
    let mut caches: Vec<_> = names
        .into_iter()
        .filter_map(|(name, _)| name.into_string().ok().filter(|name| is_digest(name)))
        .map(|name| {
            let text = file::read(path.join(&name).join(ABOUT), LARGEST).ok();
            let about = text.and_then(|text| serde_json::from_slice::<About>(&text).ok());
            (name, about)
        })
        .collect();
    caches.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(caches)
}

/// The same, if none of the ids that are meant is missing.
fn meant(store: &Store, which: &Which) -> Result<Vec<(String, Option<About>)>> {
    let caches = all(store)?;
    let has = |id: &str| {
        let mut abouts = caches.iter().filter_map(|(_, about)| about.as_ref());
        abouts.any(|about| about.id == id)
    };
    match which.missing(has) {
        Some(id) => Err(Error::Refused(format!("there is no cache mount {id:?}"))),
        None => Ok(caches),
    }
}

/// The folder of a cache, locked: nobody makes or removes anything in it.
pub(crate) fn locked(path: &Path) -> sys::Result<OwnedFd> {
    let whole = file::open_dir(path)?;
    file::lock(&whole, Lock::Exclusive, Wait::Block)?;
    Ok(whole)
}

/// The numbered directory that is used, locked.
pub(crate) fn instance(path: &Path, sharing: Sharing) -> sys::Result<(OwnedFd, PathBuf)> {
    let lock = match sharing {
        Sharing::Shared => Lock::Shared,
        Sharing::Locked | Sharing::Private => Lock::Exclusive,
    };
    let mut number = 0_u32;
    loop {
        let folder = path.join(number.to_string());
        let Some((fd, free)) = opened(path, &folder, lock)? else {
            continue;
        };
        if !free {
            if sharing == Sharing::Private {
                number += 1;
                continue;
            }
            file::lock(&fd, lock, Wait::Block)?;
        }
        // One that was removed while we waited is made anew.
        if is_there(&fd)? {
            return Ok((fd, folder));
        }
    }
}

/// Makes and opens a numbered directory, and locks it if it is free; `None` if the cache was just removed.
fn opened(path: &Path, folder: &Path, lock: Lock) -> sys::Result<Option<(OwnedFd, bool)>> {
    file::create_dir_all(path, 0o700)?;
    let whole = match locked(path) {
        Ok(whole) => whole,
        Err(e) if e.errno == Errno::NOENT => return Ok(None),
        Err(e) => return Err(e),
    };
    if !is_there(&whole)? {
        return Ok(None);
    }
    file::create_dir_all(folder, 0o700)?;
    let fd = file::open_dir(folder)?;
    let free = file::lock(&fd, lock, Wait::Try)?;
    Ok(Some((fd, free)))
}

/// Whether an open directory has a name.
fn is_there(fd: &OwnedFd) -> sys::Result<bool> {
    let stat = sys::at::fstat(fd).map_err(|errno| SysError::new("fstat", "a cache", errno))?;
    Ok(stat.st_nlink > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_caches_take_the_next_directory_and_shared_ones_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (one, first) = instance(dir.path(), Sharing::Private).unwrap();
        let (_two, second) = instance(dir.path(), Sharing::Private).unwrap();
        assert_ne!(first, second);
        drop(one);
        let (_three, third) = instance(dir.path(), Sharing::Shared).unwrap();
        let (_four, fourth) = instance(dir.path(), Sharing::Shared).unwrap();
        assert_eq!((&third, &fourth), (&first, &first));
    }

    #[test]
    fn a_cache_is_called_by_all_that_it_is() {
        let about = |id: &str, from: &[&str]| About {
            id: id.to_owned(),
            from: from.iter().map(|part| (*part).to_owned()).collect(),
        };
        let plain = about("a", &[]);
        for other in [
            about("b", &[]),
            about("a", &["t", "p", ""]),
            about("a", &["tp", "", ""]),
        ] {
            assert_ne!(plain.name(), other.name());
        }
        assert_ne!(
            about("a", &["t", "p", ""]).name(),
            about("a", &["tp", "", ""]).name()
        );
    }
}
