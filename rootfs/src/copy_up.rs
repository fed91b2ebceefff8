//! `tmpcopyup`: a new tmpfs begins with what the image has in the directory that it covers.
//!
//! The image is hostile: everything is done by fd and name, no link is followed, no mount is crossed,
//! and a deep tree costs fds, not stack. What it holds is limited by the tmpfs' own size.
//! Not its job: making and attaching the tmpfs.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use sys::at::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use sys::{Errno, SysError};

/// How much sendfile(2) is asked to move at once.
const CHUNK: usize = 1 << 20;

/// How many files with several names are remembered: each costs a directory's descriptor. What is beyond
/// becomes a file for each name.
const MAX_LINKED: usize = 256;

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    to: Rc<OwnedFd>,
    /// What is left to copy in it.
    names: Vec<OsString>,
    /// Its owner, mode and times, given when it is full: filling it would change them.
    stat: Stat,
}

/// Where the first name of a file with several is now, by what the image's file system calls the file.
type Linked = HashMap<(u64, u64), (Rc<OwnedFd>, OsString)>;

/// Copies all that is in the directory `from` into the empty directory `to`, with owners, modes, times,
/// extended attributes and hard links. Sockets and what is mounted below are left out.
///
/// # Errors
/// As open(2), mkdir(2), mknod(2), write(2) (ENOSPC: the tmpfs is too small), with the name.
pub(crate) fn copy_up(from: impl AsFd, to: impl AsFd) -> Result<(), SysError> {
    let mut linked = Linked::new();
    let mut levels = vec![open_level(from, to, OsStr::new("."))?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            // The tmpfs' own root is dressed by its options.
            if let Some(full) = levels.pop().filter(|_| !levels.is_empty()) {
                dress(&full.from, &full.to, &full.stat)
                    .map_err(|errno| failure("chmod", ".", errno))?;
            }
            continue;
        };
        let below = copy_one(level, &name, &mut linked)?;
        levels.extend(below);
    }
    Ok(())
}

fn failure(call: &'static str, name: impl AsRef<OsStr>, errno: Errno) -> SysError {
    let name = std::path::Path::new(name.as_ref()).display();
    SysError::new(call, format_args!("{name} for tmpcopyup"), errno)
}

fn open_level(from: impl AsFd, to: impl AsFd, name: &OsStr) -> Result<Level, SysError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fail = |call| move |errno| failure(call, name, errno);
    let from = sys::at::openat(from, name, flags, Mode::empty()).map_err(fail("open"))?;
    let to = sys::at::openat(to, name, flags, Mode::empty()).map_err(fail("open"))?;
    let stat = sys::at::fstat(&from).map_err(fail("stat"))?;
    let names = sys::file::list(&from)?.into_iter();
    Ok(Level {
        from,
        to: Rc::new(to),
        names: names.map(|(name, _)| name).collect(),
        stat,
    })
}

/// Copies one name; a directory is made and given back to be filled.
fn copy_one(level: &Level, name: &OsStr, linked: &mut Linked) -> Result<Option<Level>, SysError> {
    let fail = |call| move |errno| failure(call, name, errno);
    let (from, to) = (&level.from, &level.to);
    let stat = sys::at::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail("stat"))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => {
            sys::at::mkdirat(to, name, Mode::RWXU).map_err(fail("mkdir"))?;
            if stat.st_dev == level.stat.st_dev {
                return open_level(from, to, name).map(Some);
            }
        }
        FileType::RegularFile => {
            let several = (stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
            if let Some((dir, first)) = several.and_then(|file| linked.get(&file)) {
                let none = AtFlags::empty();
                sys::at::linkat(dir, first, to, name, none).map_err(fail("link"))?;
                return Ok(None);
            }
            copy_file(from, to, name)?;
            if let Some(file) = several.filter(|_| linked.len() < MAX_LINKED) {
                linked.insert(file, (Rc::clone(to), name.to_owned()));
            }
        }
        FileType::Symlink => {
            let target = sys::at::readlinkat(from, name, Vec::new()).map_err(fail("readlink"))?;
            sys::at::symlinkat(target, to, name).map_err(fail("symlink"))?;
            own(to, name, &stat).map_err(fail("chown"))?;
        }
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
            let mode = Mode::from_raw_mode(stat.st_mode);
            sys::at::mknodat(to, name, kind, mode, stat.st_rdev).map_err(fail("mknod"))?;
            own(to, name, &stat).map_err(fail("chown"))?;
        }
        FileType::Socket | FileType::Unknown => {}
    }
    Ok(None)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<(), SysError> {
    let fail = |call| move |errno| failure(call, name, errno);
    // Not blocking: a racer may have put a FIFO there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = sys::at::openat(from, name, flags, Mode::empty()).map_err(fail("open"))?;
    let stat = sys::at::fstat(&source).map_err(fail("stat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(fail("open")(Errno::INVAL));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = sys::at::openat(to, name, flags, Mode::RUSR).map_err(fail("create"))?;
    while sys::at::sendfile(&copy, &source, None, CHUNK).map_err(fail("write"))? > 0 {}
    dress(&source, &copy, &stat).map_err(fail("chmod"))
}

/// Owner first: a change of owner takes setuid and file capabilities away.
fn dress(from: &OwnedFd, fd: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    sys::at::fchown(fd, Some(uid), Some(gid))?;
    copy_attributes(from, fd)?;
    sys::at::fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    sys::at::futimens(fd, &times(stat))
}

/// Extended attributes, but those that belong to the other file system: overlay's own, and the label, which
/// the new mount has from its policy. Kinds that a tmpfs does not keep are left out.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    // Nothing fits into an empty buffer: the length is asked first.
    let length = match sys::at::flistxattr(from, &mut [] as &mut [u8]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    let mut names = Vec::with_capacity(length);
    sys::at::flistxattr(from, sys::at::spare_capacity(&mut names))?;
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if foreign(name) {
            continue;
        }
        copy_attribute(from, to, name)?;
    }
    Ok(())
}

fn foreign(name: &CStr) -> bool {
    name == c"security.selinux" || name.to_bytes().starts_with(b"trusted.overlay.")
}

fn copy_attribute(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let length = sys::at::fgetxattr(from, name, &mut [] as &mut [u8])?;
    let mut value = Vec::with_capacity(length);
    sys::at::fgetxattr(from, name, sys::at::spare_capacity(&mut value))?;
    match sys::at::fsetxattr(to, name, &value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}

fn own(dir: &OwnedFd, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    sys::at::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    sys::at::utimensat(dir, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as _,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as _,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}
