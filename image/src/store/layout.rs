//! A folder that becomes an OCI layout: nobody finds half of one there, and what a killed process left is gone on with.
//! Not its job: what is in it (`save.rs`), and one that is replaced (`refresh.rs`).
//!
//! A mark says that the folder is ours to fill: made first, removed last. What names the blobs is written after them.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::at::{self, AtFlags, Mode, OFlags};
use sys::beneath::Root;
use sys::file::{self, Lock, Wait};
use sys::{Errno, SysError};

use super::Store;
use super::outgoing::Parcel;
use super::refresh::Refreshed;
use super::save::Saver;
use crate::error::Doing;
use crate::watch::Watch;
use crate::{Error, Result};

const MARK: &str = ".unfinished";

/// Makes an empty folder ours to fill; one that somebody began is, too. `false` if it holds anything else.
pub(super) fn begin(folder: &OwnedFd) -> sys::Result<bool> {
    let names = file::list(folder)?;
    if names.iter().any(|(name, _)| name == MARK) {
        return Ok(true);
    }
    if !names.is_empty() {
        return Ok(false);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    at::openat(folder, MARK, flags, Mode::from_raw_mode(0o644))
        .map(|_| true)
        .map_err(|errno| SysError::new("create", MARK, errno))
}

/// Says that it is a layout now.
pub(super) fn finish(folder: &OwnedFd) -> sys::Result<()> {
    match at::unlinkat(folder, MARK, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(SysError::new("unlink", MARK, errno)),
    }
}

impl Store {
    /// Writes what leaves into a folder; somebody holds it.
    pub(super) fn save_parcels_to(
        &self,
        parcels: &[Parcel],
        dir: &Path,
        watch: Option<Watch>,
    ) -> Result<()> {
        let doing = || format!("save to {}", dir.display());
        let fresh = !file::exists(dir).doing(doing)?;
        if fresh {
            file::create_dir(dir, 0o755).doing(doing)?;
        }
        let folder = file::open_dir(dir).doing(doing)?;
        file::lock(&folder, Lock::Exclusive, Wait::Block).doing(doing)?;
        if !begin(&folder).doing(doing)? {
            return Err(Error::refused(doing(), "the directory is not empty"));
        }
        let written = self.fill_layout(parcels, &folder, watch);
        if written.is_err() {
            remove_again(dir, &folder, fresh);
        }
        written.map_err(|e| e.inside(doing()))
    }

    fn fill_layout(
        &self,
        parcels: &[Parcel],
        folder: &OwnedFd,
        watch: Option<Watch>,
    ) -> Result<()> {
        let doing = || "open the folder".to_owned();
        let below = folder
            .try_clone()
            .map_err(|e| SysError::from_io("dup", "", &e));
        let below = Root::new(below.doing(doing)?);
        let mut saver = Saver {
            store: self,
            out: Refreshed::within(&below)?,
            watch,
        };
        saver.oci(parcels)?;
        saver.out.show(below.fd())?;
        finish(folder).doing(|| "finish the folder".to_owned())
    }
}

/// Takes back what was written of a layout; what can't be removed is named by the error that is on its way already.
fn remove_again(dir: &Path, folder: &OwnedFd, fresh: bool) {
    for name in ["index.json", "oci-layout", "blobs", MARK] {
        let _left_over = file::remove_tree(folder, name);
    }
    if fresh {
        let _left_over = file::remove_dir(dir);
    }
}
