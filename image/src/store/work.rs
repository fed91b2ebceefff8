//! What is being made in a store, out of everybody's sight, and its way into place. Not its job: what
//! is made.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sys::at::{self, Mode, OFlags, RenameFlags};
use sys::file::{self, Lock, Wait};
use sys::{Errno, SysError};

use super::Store;
use crate::error::Doing;
use crate::{Digest, Result};

/// A directory below `work`, locked by us and removed when dropped.
#[derive(Debug)]
pub(crate) struct Work {
    name: String,
    parent: OwnedFd,
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
    /// Held as long as we work: whoever can take it knows that the work was left behind.
    _lock: OwnedFd,
}

impl Drop for Work {
    fn drop(&mut self) {
        // What can't be removed now is a left-over, for the next who opens the store.
        let _left_over = file::remove_tree(&self.parent, &self.name);
    }
}

/// A fresh upper and work directory for an overlay, on the store's file system and locked against
/// other processes' clean-up. Dropped without [`Store::commit_layer`], it is removed: an overlay over
/// it must be unmounted before.
#[derive(Debug)]
pub struct Scratch {
    /// The upper directory: empty, root's (or ours) with mode 0755. The root that a container sees has
    /// the upper's owner and mode.
    pub upper: PathBuf,
    /// The work directory.
    pub work: PathBuf,
    pub(super) place: Work,
}

impl Store {
    /// Starts an empty upper directory on the store's file system.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn scratch(&self) -> Result<Scratch> {
        let place = self.work()?;
        let (upper, work) = (place.path.join("upper"), place.path.join("work"));
        file::create_dir(&upper, 0o755).doing(|| "begin a layer".to_owned())?;
        file::create_dir(&work, 0o700).doing(|| "begin a layer".to_owned())?;
        Ok(Scratch { upper, work, place })
    }

    /// Begins something new.
    pub(crate) fn work(&self) -> Result<Work> {
        // A shared lock: nobody takes the directory for a left-over before it has its own lock.
        let _lock = self.lock(Lock::Shared)?;
        let doing = || format!("begin work in {}", self.path.display());
        let parent = file::open_dir(self.path.join("work")).doing(doing)?;
        let name = fresh_name(&parent).doing(doing)?;
        let path = self.path.join("work").join(&name);
        let dir = file::open_dir(&path).doing(doing)?;
        let lock = lock_of(&dir).doing(doing)?;
        file::lock(&lock, Lock::Exclusive, Wait::Try).doing(doing)?;
        Ok(Work {
            name,
            parent,
            dir,
            path,
            _lock: lock,
        })
    }

    /// Removes what processes that are gone left behind. While another process publishes, that waits
    /// for another time.
    pub(super) fn remove_leftovers(&self) -> Result<()> {
        let doing = || format!("clean up in {}", self.path.display());
        let parent = file::open_dir(self.path.join("work")).doing(doing)?;
        if file::list(&parent).doing(doing)?.is_empty() {
            return Ok(());
        }
        let lock = self.lock_file().doing(doing)?;
        if !file::lock(&lock, Lock::Exclusive, Wait::Try).doing(doing)? {
            return Ok(());
        }
        for (name, _) in file::list(&parent).doing(doing)? {
            let dir = match at::openat(&parent, &name, dir_flags(), Mode::empty()) {
                Ok(dir) => dir,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(SysError::new("open", "work", errno)).doing(doing),
            };
            let held = lock_of(&dir).doing(doing)?;
            if file::lock(&held, Lock::Exclusive, Wait::Try).doing(doing)? {
                file::remove_tree(&parent, &name).doing(doing)?;
            }
        }
        Ok(())
    }

    /// Makes `names` of `work`'s directory part of the store, as `blobs/sha256/HEX` and `layers/KEY`.
    /// They are on the disk already ([`Work::sync`]); the exclusive lock is held. What is in the store
    /// under the same name already is the same, and stays.
    pub(super) fn publish(
        &self,
        work: &Work,
        blobs: &[(String, Digest)],
        layers: &[(String, String)],
    ) -> Result<()> {
        let doing = || format!("publish in {}", self.path.display());
        let place = |room: &str, files: &[(String, String)]| -> sys::Result<()> {
            let room = file::open_dir(self.path.join(room))?;
            for (from, to) in files {
                move_into(work.dir.as_fd(), from, room.as_fd(), to)?;
            }
            at::fsync(&room).map_err(|errno| SysError::new("fsync", "", errno))
        };
        let blobs: Vec<_> = blobs
            .iter()
            .map(|(from, to)| (from.clone(), to.hex()))
            .collect();
        place("blobs/sha256", &blobs).doing(doing)?;
        place("layers", layers).doing(doing)
    }
}

impl Work {
    /// Writes everything to the disk: after it, a power cut leaves whole files.
    pub(super) fn sync(&self) -> Result<()> {
        file::sync_file_system(&self.dir).doing(|| format!("sync {}", self.path.display()))
    }

    /// Makes a new file here.
    pub(super) fn create(&self, name: &str) -> Result<std::fs::File> {
        file::create_new(self.path.join(name), 0o600).doing(|| format!("make {name}"))
    }

    /// Makes a new directory here.
    pub(super) fn create_dir(&self, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.path.join(name);
        file::create_dir(&path, mode).doing(|| format!("make {name}"))?;
        Ok(path)
    }
}

fn move_into(
    from: std::os::fd::BorrowedFd<'_>,
    name: &str,
    to: std::os::fd::BorrowedFd<'_>,
    new: &str,
) -> sys::Result<()> {
    match at::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(SysError::new("rename", new, errno)),
    }
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn lock_of(dir: &OwnedFd) -> sys::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    at::openat(dir, "lock", flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| SysError::new("open", "lock", errno))
}

/// Makes a directory with a name that nobody has.
fn fresh_name(parent: &OwnedFd) -> sys::Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Processes of two pid namespaces may have one pid; then the name is taken, and the next free.
        let name = format!("{}-{count}", std::process::id());
        match at::mkdirat(parent, &name, Mode::RWXU) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(SysError::new("mkdir", name, errno)),
        }
    }
}
