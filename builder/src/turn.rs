//! One process at a time does a step: stages and builds that have the same step wait for whoever does it, and take
//! it from the cache. Done twice at once it would leave two layers that differ in times, and every step after it would
//! have two keys. Not its job: the cache.
//!
//! `STORE/turns/HEX`, an empty directory that is locked while HEX, the step's key, is done; removed by whoever locked
//! it. One that was left behind by a killed process is locked by nobody: the next build removes it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys::Errno;
use sys::file::{self, Lock, Wait};

use crate::error::{Doing, Result};

/// Held while the step is done.
pub(crate) struct Turn {
    path: PathBuf,
    /// Locked.
    _dir: OwnedFd,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Who waits for it sees that it is gone, and makes a new one.
        let _stays_empty = file::remove_dir(&self.path);
    }
}

/// Waits until nobody else does the step with the key `name`.
pub(crate) fn take(store: &Path, name: &str) -> Result<Turn> {
    let doing = || format!("wait for the turn of step {name}");
    let folder = store.join("turns");
    file::create_dir_all(&folder, 0o700).doing(doing)?;
    let path = folder.join(name);
    loop {
        let made = match file::create_dir(&path, 0o700) {
            // Somebody has the turn, or had it just now.
            Err(e) if e.errno == Errno::EXIST => Ok(()),
            made => made,
        };
        let dir = match made.and_then(|()| file::open_dir(&path)) {
            Ok(dir) => dir,
            // Whoever had the turn removed it between our look and our use.
            Err(e) if e.errno == Errno::NOENT => continue,
            Err(e) => return Err(e).doing(doing),
        };
        file::lock(&dir, Lock::Exclusive, Wait::Block).doing(doing)?;
        if is_there(&dir).doing(doing)? {
            return Ok(Turn { path, _dir: dir });
        }
    }
}

/// Whether nobody removed it before it was locked.
fn is_there(dir: &OwnedFd) -> sys::Result<bool> {
    let stat = sys::at::fstat(dir).map_err(|errno| sys::SysError::new("fstat", "a turn", errno))?;
    Ok(stat.st_nlink > 0)
}

/// Removes what killed builds left.
pub(crate) fn clear(store: &Path) -> Result<()> {
    let doing = || "clear the turns of killed builds".to_owned();
    let folder = store.join("turns");
    if !file::exists(&folder).doing(doing)? {
        return Ok(());
    }
    let names = file::list(file::open_dir(&folder).doing(doing)?).doing(doing)?;
    for path in names.iter().map(|(name, _)| folder.join(name)) {
        let dir = match file::open_dir(&path) {
            Ok(dir) => dir,
            // Whoever had it is done.
            Err(e) if e.errno == Errno::NOENT => continue,
            Err(e) => return Err(e).doing(doing),
        };
        let is_ours = file::lock(&dir, Lock::Exclusive, Wait::Try).doing(doing)?;
        if is_ours && is_there(&dir).doing(doing)? {
            drop(Turn { path, _dir: dir });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_had_by_one_and_leaves_nothing() {
        let store = tempfile::tempdir().unwrap();
        let turn = take(store.path(), "a").unwrap();
        let other = take(store.path(), "b").unwrap();
        let dir = file::open_dir(store.path().join("turns/a")).unwrap();
        assert!(!file::lock(&dir, Lock::Exclusive, Wait::Try).unwrap());
        drop(turn);
        drop(other);
        let turns = file::open_dir(store.path().join("turns")).unwrap();
        assert!(file::list(turns).unwrap().is_empty());
        drop(take(store.path(), "a").unwrap());
    }

    #[test]
    fn many_who_want_the_same_turn_at_once_have_it_one_after_the_other() {
        let store = tempfile::tempdir().unwrap();
        let busy = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let turn = take(store.path(), "a").unwrap();
                        assert!(!busy.swap(true, std::sync::atomic::Ordering::SeqCst));
                        busy.store(false, std::sync::atomic::Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
    }

    #[test]
    fn what_a_killed_build_left_goes_and_what_is_held_stays() {
        let store = tempfile::tempdir().unwrap();
        clear(store.path()).unwrap();
        file::create_dir_all(store.path().join("turns/left"), 0o700).unwrap();
        let held = take(store.path(), "held").unwrap();
        clear(store.path()).unwrap();
        let turns = file::open_dir(store.path().join("turns")).unwrap();
        let names = file::list(turns).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        drop(held);
    }
}
