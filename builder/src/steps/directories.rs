//! Directories of the tree that is built, made with owner and mode. Not its job: what goes into them.

use std::os::fd::{AsFd, OwnedFd};

use sys::SysError;
use sys::at::{self, Mode, OFlags};
use sys::beneath::Root;

use crate::error::{Doing, Result};
use crate::steps::kept::give;

/// Opens a directory below the root, made with its missing parents: all belong to `uid`:`gid`; the
/// parents have mode 0755, the last one `mode`. What is there already stays as it is.
pub(crate) fn make_directories(
    root: &Root,
    path: &str,
    uid: u32,
    gid: u32,
    mode: u32,
) -> Result<OwnedFd> {
    let doing = || format!("make the directory {path}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let path = path.trim_end_matches('/');
    let ends: Vec<usize> = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()])
        .filter(|at| *at > 0)
        .collect();
    for end in ends {
        let prefix = &path[..end];
        if root.find(prefix).doing(doing)?.is_some() {
            continue;
        }
        root.create_dir_all(prefix, 0o755).doing(doing)?;
        let made = root.open(prefix, flags).doing(doing)?;
        let mode = if end == path.len() { mode } else { 0o755 };
        own(&made, uid, gid, mode).doing(doing)?;
    }
    let path = if path.is_empty() { "/" } else { path };
    root.open(path, flags).doing(doing)
}

/// Owner first: changing it takes set-user-id bits away.
pub(crate) fn own(fd: impl AsFd, uid: u32, gid: u32, mode: u32) -> sys::Result<()> {
    give(&fd, (uid, gid))?;
    at::fchmod(&fd, Mode::from_raw_mode(mode)).map_err(|errno| SysError::new("chmod", "", errno))
}

/// As [`own`], for a file that was just made with `mode`: mostly it is as it is to be, and only what differs is changed.
/// Gives whether it was.
pub(crate) fn own_new(fd: impl AsFd, (uid, gid): (u32, u32), mode: u32) -> sys::Result<bool> {
    let stat = at::fstat(&fd).map_err(|errno| SysError::new("stat", "", errno))?;
    match (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (uid, gid, mode) {
        true => Ok(true),
        false => own(fd, uid, gid, mode).map(|()| false),
    }
}
