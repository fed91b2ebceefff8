//! What is being made in a store, out of everybody's sight, and its way into place. Not its job: what
//! is made.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sys::at::{self, Mode, OFlags};
use sys::file::{self, Lock, Wait};
use sys::{Errno, SysError};

use super::Store;
use crate::error::Doing;
use crate::layer::written::Written;
use crate::{LinkOwners, Result};

/// A directory below `work`, locked by us and removed when dropped.
#[derive(Debug)]
pub(crate) struct Work {
    name: String,
    parent: OwnedFd,
    /// Locked as long as we work: whoever can lock it knows that the work was left behind.
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
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
    /// Whose what was written there is, where it has no attributes and can't be theirs.
    pub links: RefCell<LinkOwners>,
    /// What was written there and is known as it is; only by who has the directory for himself.
    pub written: RefCell<Written>,
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
        Ok(Scratch {
            upper,
            work,
            links: RefCell::default(),
            written: RefCell::default(),
            place,
        })
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
        file::lock(&dir, Lock::Exclusive, Wait::Try).doing(doing)?;
        Ok(Work {
            name,
            parent,
            dir,
            path,
        })
    }

    /// Removes what processes that are gone left behind. While another process publishes, and where
    /// something can't be removed, that waits for another time: it is in nobody's way.
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
        let left = self.leftovers().doing(doing)?;
        // A layer may have a hundred thousand files: others go on meanwhile. Each directory is locked
        // by us, and so nobody else's.
        drop(lock);
        for (name, _held) in &left {
            let _another_time = file::remove_tree(&parent, name);
        }
        Ok(())
    }

    /// The directories of `work` whose makers are gone, locked by us from here on; the exclusive lock
    /// is held, so that none is being made.
    pub(super) fn leftovers(&self) -> sys::Result<Vec<(OsString, OwnedFd)>> {
        let fail = |call| move |errno| SysError::new(call, "work", errno);
        let parent = file::open_dir(self.path.join("work"))?;
        let mut left = Vec::new();
        for (name, _) in file::list(&parent)? {
            let dir = match at::openat(&parent, &name, dir_flags(), Mode::empty()) {
                Ok(dir) => dir,
                // It went meanwhile, or is none of ours.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(fail("open")(errno)),
            };
            if !file::lock(&dir, Lock::Exclusive, Wait::Try)? {
                continue;
            }
            // One that somebody removed between our look and our lock: its name may soon be another's.
            if at::fstat(&dir).map_err(fail("fstat"))?.st_nlink > 0 {
                left.push((name, dir));
            }
        }
        Ok(left)
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

    /// Removes the directory with all that is in it, and says if that can't be done.
    pub(super) fn finish(self) -> Result<()> {
        file::remove_tree(&self.parent, &self.name)
            .doing(|| format!("remove {}", self.path.display()))
    }

    /// Makes a new directory here.
    pub(super) fn create_dir(&self, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.path.join(name);
        file::create_dir(&path, mode).doing(|| format!("make {name}"))?;
        Ok(path)
    }
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
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
