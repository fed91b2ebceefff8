//! Removes a tree by fd. Not its job: trees that a container can change meanwhile.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::{Errno, Result, SysError};

/// Removes `name` in `dir` with all that is below it: by fd, so that no link leads out, and never
/// across a mount. What is not there is no error.
///
/// # Errors
/// As unlink(2) and openat2(2); EXDEV or EBUSY where something is mounted.
pub fn remove_tree(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    let fail = |errno| SysError::new("remove", name.display(), errno);
    let mut stack: Vec<(OwnedFd, OsString)> = Vec::new();
    let top = rustix::io::fcntl_dupfd_cloexec(dir, 0).map_err(fail)?;
    remove_into(&top, name.as_os_str().as_bytes(), &mut stack).map_err(fail)?;
    // A tree deeper than the fd limit is removed too: only a path of fds is open at a time.
    while let Some((parent, child)) = stack.pop() {
        remove_into(&parent, child.as_bytes(), &mut stack).map_err(fail)?;
    }
    Ok(())
}

/// Removes one name; a directory that is not empty goes on the stack behind its sub-directories.
fn remove_into(
    parent: &OwnedFd,
    name: &[u8],
    stack: &mut Vec<(OwnedFd, OsString)>,
) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let dir = open_below(parent, name)?;
    let copy = rustix::io::fcntl_dupfd_cloexec(parent, 0)?;
    stack.push((copy, OsString::from_vec(name.to_vec())));
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let child = entry.file_name().to_bytes();
        if child == b"." || child == b".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            let copy = rustix::io::fcntl_dupfd_cloexec(&dir, 0)?;
            stack.push((copy, OsString::from_vec(child.to_vec())));
        } else {
            match rustix::fs::unlinkat(&dir, child, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

fn open_below(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if crate::probe::Feature::Openat2.present() {
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        return rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve);
    }
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if rustix::fs::fstat(&dir)?.st_dev == rustix::fs::fstat(parent)?.st_dev {
        Ok(dir)
    } else {
        Err(Errno::XDEV)
    }
}
