//! Cache mounts: directories that are kept between builds and are part of no key and no image. Not its job: mounting
//! them, and removing what nobody uses.
//!
//! `STORE/cache-mounts/HEX/`, HEX the digest of the cache's name and of what it was filled with: `mount.json` with the
//! name, whose time is that of its last use; `0/data` the directory itself, `1/data` and so on those of RUNs that want
//! one of their own at the same time. A RUN holds the lock of the numbered directory that it uses: shared, or alone
//! for `locked` and `private`. Whoever wants to remove a cache takes all of them alone.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use sys::file::{self, Durability, Lock, Wait};

use crate::error::{Doing, Result};
use crate::fingerprint::{field, hex};
use crate::mounts::{Access, Mounted, Sharing};
use crate::plan::RunStep;
use crate::steps::directories::own;
use crate::steps::mounting::{self, Taken};
use crate::work::Work;

/// A cache that a RUN uses.
pub(crate) struct Room {
    /// Which mounts of the step.
    pub(crate) serves: Vec<usize>,
    data: PathBuf,
    /// Locked.
    _instance: OwnedFd,
}

impl Room {
    /// The directory.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        file::open_path(&self.data).doing(|| "open a cache".to_owned())
    }
}

/// What a mount says of its cache.
struct Wanted<'a> {
    name: String,
    id: &'a str,
    sharing: Sharing,
    access: Access,
    seed: Option<&'a Taken>,
    serves: Vec<usize>,
}

/// The caches of a step, each locked as the step shares it.
///
/// # Errors
/// If one can't be made or locked.
pub(crate) fn rooms(work: &Work<'_>, step: &RunStep, taken: &[Option<Taken>]) -> Result<Vec<Room>> {
    let mut all: Vec<Wanted<'_>> = Vec::new();
    for (index, mount) in step.mounts.iter().enumerate() {
        let Mounted::Cache {
            id,
            sharing,
            access,
            ..
        } = &mount.kind
        else {
            continue;
        };
        let seed = taken[index].as_ref();
        let name = name(id, seed);
        match all.iter_mut().find(|one| one.name == name) {
            // One step can't wait for itself.
            Some(one) => one.serves.push(index),
            None => all.push(Wanted {
                name,
                id,
                sharing: *sharing,
                access: *access,
                seed,
                serves: vec![index],
            }),
        }
    }
    // In one order for all: no two steps wait for each other.
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.into_iter().map(|wanted| room(work, wanted)).collect()
}

fn name(id: &str, seed: Option<&Taken>) -> String {
    let mut hasher = Sha256::new();
    field(&mut hasher, id.as_bytes());
    if let Some(seed) = seed {
        field(&mut hasher, seed.tree.name.as_bytes());
        field(&mut hasher, seed.found.path.as_bytes());
        field(&mut hasher, seed.sum.as_deref().unwrap_or("").as_bytes());
    }
    hex(&hasher.finalize())
}

fn room(work: &Work<'_>, wanted: Wanted<'_>) -> Result<Room> {
    let doing = || format!("open cache {:?}", wanted.id);
    let path = work.store.path().join("cache-mounts").join(&wanted.name);
    let (instance, folder) = instance(&path, wanted.sharing).doing(doing)?;
    let data = folder.join("data");
    // One makes it, the others wait.
    let whole = file::open_dir(&path).doing(doing)?;
    file::lock(&whole, Lock::Exclusive, Wait::Block).doing(doing)?;
    let about = path.join("mount.json");
    if !file::exists(&about).doing(doing)? {
        let text = serde_json::json!({ "id": wanted.id }).to_string();
        file::replace(
            &whole,
            "mount.json",
            text.as_bytes(),
            0o600,
            Durability::Memory,
        )
        .doing(doing)?;
    }
    if !file::exists(&data).doing(doing)? {
        // A fill that was cut short is begun anew.
        let fresh = folder.join("new");
        file::remove_tree(&instance, "new").doing(doing)?;
        match wanted.seed {
            Some(seed) => mounting::copy_to(seed, &fresh)?,
            None => {
                file::create_dir(&fresh, 0o700).doing(doing)?;
                let Access { mode, uid, gid } = wanted.access;
                let fd = file::open_dir(&fresh).doing(doing)?;
                own(&fd, uid, gid, mode).doing(doing)?;
            }
        }
        file::rename(&fresh, &data).doing(doing)?;
    }
    file::use_now(&about).doing(doing)?;
    file::unlock(&whole).doing(doing)?;
    Ok(Room {
        serves: wanted.serves,
        data,
        _instance: instance,
    })
}

/// The numbered directory that is used, locked.
fn instance(path: &std::path::Path, sharing: Sharing) -> sys::Result<(OwnedFd, PathBuf)> {
    let (lock, wait) = match sharing {
        Sharing::Shared => (Lock::Shared, Wait::Block),
        Sharing::Locked => (Lock::Exclusive, Wait::Block),
        Sharing::Private => (Lock::Exclusive, Wait::Try),
    };
    let mut number = 0_u32;
    loop {
        let folder = path.join(number.to_string());
        let made = file::create_dir_all(&folder, 0o700).and_then(|()| file::open_dir(&folder));
        let fd = match made {
            Ok(fd) => fd,
            // Removed between our look and our use.
            Err(e) if e.errno == sys::Errno::NOENT => continue,
            Err(e) => return Err(e),
        };
        if !file::lock(&fd, lock, wait)? {
            number += 1;
            continue;
        }
        let stat = sys::at::fstat(&fd)
            .map_err(|errno| sys::SysError::new("fstat", folder.display(), errno))?;
        // One that was removed while we waited is made anew.
        if stat.st_nlink > 0 {
            return Ok((fd, folder));
        }
    }
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
}
