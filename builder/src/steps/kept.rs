//! Owners where this build has one id, its own: they are kept with the files (image), and so come into the layer's tar.
//! Not its job: what they are.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::{LinkOwners, Owner};
use sys::at::{self, AtFlags, FileType, Mode, OFlags, Stat};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::steps::rootless::chown_failed;

/// Whether nothing can be given to anybody.
pub(crate) fn keeps_owners() -> bool {
    static ONE: OnceLock<bool> = OnceLock::new();
    *ONE.get_or_init(sys::privileges::has_one_id)
}

/// Gives an open file or folder to somebody.
pub(crate) fn give(fd: impl AsFd, (uid, gid): Owner) -> sys::Result<()> {
    if keeps_owners() {
        return image::keep_owner(fd, (uid, gid));
    }
    let (user, group) = (at::Uid::from_raw(uid), at::Gid::from_raw(gid));
    at::fchown(fd, Some(user), Some(group)).map_err(|errno| chown_failed(errno, uid, gid))
}

/// Gives a link or device, just made as `name` in a folder below `root`, to somebody.
pub(crate) fn give_at(
    (root, links): (&Root, &RefCell<LinkOwners>),
    folder: BorrowedFd<'_>,
    name: &str,
    (uid, gid): Owner,
) -> sys::Result<()> {
    if keeps_owners() {
        let path = path_below(root, folder)?.join(name);
        links.borrow_mut().insert(&path, (uid, gid));
        return Ok(());
    }
    let (user, group) = (at::Uid::from_raw(uid), at::Gid::from_raw(gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    at::chownat(folder, name, Some(user), Some(group), flags)
        .map_err(|errno| chown_failed(errno, uid, gid))
}

/// Where an open folder is below a root, which may be a mount that is attached nowhere.
pub(crate) fn path_below(root: &Root, folder: impl AsFd) -> sys::Result<PathBuf> {
    let (root, folder) = (sys::proc::path_of(root.fd())?, sys::proc::path_of(folder)?);
    let below = folder.strip_prefix(&root).map(Path::to_owned);
    below.map_err(|_| SysError::new("look for", folder.display(), Errno::XDEV))
}

/// The stat of a file with the owner that is kept for it; `path` is where it lies in its tree.
pub(crate) fn with_owner(
    links: &LinkOwners,
    folder: BorrowedFd<'_>,
    name: &OsStr,
    path: &[u8],
    mut stat: Stat,
) -> sys::Result<Stat> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let owner = match kind {
        FileType::RegularFile | FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = at::openat(folder, name, flags, Mode::empty())
                .map_err(|errno| SysError::new("open", name.display(), errno))?;
            image::kept_owner(fd)?.unwrap_or((0, 0))
        }
        _ => links.get(path),
    };
    (stat.st_uid, stat.st_gid) = owner;
    Ok(stat)
}
