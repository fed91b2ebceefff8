//! Copies one file that is no directory, with all that belongs to it, from one tree of ours to another.
//! Not its job: directories, and who links to the file.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use sys::at::{self, FileType, Mode, OFlags};
use sys::{Errno, SysError};

use super::metadata::{self, Metadata};

/// A place for a file: a directory and a name in it.
pub(crate) type Place<'a> = (&'a OwnedFd, &'a [u8]);

/// Copies what is at `from` (whose stat is given) to the free place `to`.
pub(crate) fn file(from: Place<'_>, stat: &at::Stat, to: Place<'_>) -> sys::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::RegularFile {
        return regular(from, stat, to);
    }
    let metadata = metadata::read(stat, None)?;
    if kind == FileType::Symlink {
        let target = at::readlinkat(from.0, from.1, Vec::new())
            .map_err(|errno| SysError::new("readlinkat", "", errno))?;
        return symlink(to, target.to_bytes(), &metadata);
    }
    node(to, kind, stat.st_rdev, &metadata)
}

fn regular(from: Place<'_>, stat: &at::Stat, to: Place<'_>) -> sys::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = at::openat(from.0, from.1, flags, Mode::empty())
        .map_err(|errno| SysError::new("openat", "", errno))?;
    let metadata = metadata::read(stat, Some(&source))?;
    let target = create(to)?;
    let mut source = File::from(source);
    // The standard library asks copy_file_range first, which shares the blocks where it can.
    std::io::copy(&mut source, &mut &target).map_err(|e| SysError::from_io("copy", "", &e))?;
    metadata::apply(&target, &metadata)
}

/// Makes an empty file where nothing may be yet: not even a link is followed.
pub(crate) fn create((dir, name): Place<'_>) -> sys::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    at::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|errno| SysError::new("openat", "", errno))
}

/// Makes a symbolic link where nothing may be yet.
pub(crate) fn symlink(
    (dir, name): Place<'_>,
    target: &[u8],
    metadata: &Metadata,
) -> sys::Result<()> {
    at::symlinkat(target, dir, name).map_err(|errno| SysError::new("symlinkat", "", errno))?;
    metadata::apply_at(dir, name, FileType::Symlink, metadata)
}

/// Makes a device or FIFO where nothing may be yet.
pub(crate) fn node(
    (dir, name): Place<'_>,
    kind: FileType,
    device: at::Dev,
    metadata: &Metadata,
) -> sys::Result<()> {
    at::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device)
        .map_err(|errno| SysError::new("mknodat", "", errno))?;
    metadata::apply_at(dir.as_fd(), name, kind, metadata)
}

/// Makes overlay's whiteout: allowed without privileges, since it is no device anyone could use.
pub(crate) fn whiteout((dir, name): Place<'_>) -> Result<(), Errno> {
    at::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}
