//! When a file of ours was last of use: its time of last change, which nobody else sets. Not its job: saying
//! what use is.

use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::{Result, SysError};

/// Notes that `path` was of use right now. Nothing is written to the disk for it before the file system
/// would: a power cut may take it back.
///
/// # Errors
/// As utimensat(2).
pub fn use_now(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(UTIME_NOW),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| SysError::new("utimensat", path.display(), errno))
}

/// When [`use_now`] was called last, or the file was written.
///
/// # Errors
/// As stat(2).
pub fn last_used(path: impl AsRef<Path>) -> Result<SystemTime> {
    let path = path.as_ref();
    std::fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|e| SysError::from_io("stat", path.display(), &e))
}
