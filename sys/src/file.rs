//! Files at host paths that only trusted hands can change, with the path in every error; and trees
//! removed by fd. Not its job: paths below a container's root (that is [`crate::beneath`]).

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

mod append;
mod read;
mod used;
mod whole;

pub use self::append::append;
pub use self::read::{read, read_fd, read_from_start};
pub use self::used::{last_used, use_now};
pub use self::whole::{is_stream, name, nameless, open_stream};
pub use crate::tree::remove_tree;
use crate::{Result, SysError};

/// Opens the directory `path` for reading its names and for the `*at` calls.
///
/// # Errors
/// As open(2); ENOTDIR for anything else than a directory.
pub fn open_dir(path: impl AsRef<Path>) -> Result<OwnedFd> {
    open_with(path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens whatever is at `path` without the right to read it (O_PATH); links are followed.
///
/// # Errors
/// As open(2).
pub fn open_path(path: impl AsRef<Path>) -> Result<OwnedFd> {
    open_with(path.as_ref(), OFlags::PATH)
}

/// Opens a file for reading. A FIFO does not block and a terminal does not become ours.
///
/// # Errors
/// As open(2).
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    open_with(
        path.as_ref(),
        OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK,
    )
    .map(File::from)
}

/// Whether this process may make files in the directory `path`.
///
/// # Errors
/// As faccessat(2), without its refusals (EACCES, EPERM, EROFS).
pub fn is_writable(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    match rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(false),
        Err(errno) => Err(SysError::new("access", path.display(), errno)),
    }
}

/// Makes a file that must not be there yet, for writing.
///
/// # Errors
/// As open(2); EEXIST if anything, even a link, has the name.
pub fn create_new(path: impl AsRef<Path>, mode: u32) -> Result<File> {
    let path = path.as_ref();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(mode))
        .map(File::from)
        .map_err(|errno| SysError::new("create", path.display(), errno))
}

fn open_with(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new("open", path.display(), errno))
}

/// Whether anything, even a dangling link, is at `path`.
///
/// # Errors
/// As lstat(2), without ENOENT and ENOTDIR.
pub fn exists(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(SysError::new("stat", path.display(), errno)),
    }
}

/// Whether a directory, or a link to one, is at `path`.
///
/// # Errors
/// As stat(2), without ENOENT and ENOTDIR.
pub fn is_dir(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    match rustix::fs::statat(CWD, path, AtFlags::empty()) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(SysError::new("stat", path.display(), errno)),
    }
}

/// What stat(2) says of `path`, links followed.
///
/// # Errors
/// As stat(2).
pub fn follow(path: impl AsRef<Path>) -> Result<std::fs::Metadata> {
    let path = path.as_ref();
    std::fs::metadata(path).map_err(|e| SysError::from_io("stat", path.display(), &e))
}

/// The absolute path without links, `.` and `..`.
///
/// # Errors
/// As realpath(3).
pub fn canonical(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    path.canonicalize()
        .map_err(|e| SysError::from_io("resolve", path.display(), &e))
}

/// What the link `path` says.
///
/// # Errors
/// As readlink(2).
pub fn read_link(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    rustix::fs::readlinkat(CWD, path, Vec::new())
        .map(|target| PathBuf::from(OsString::from_vec(target.into_bytes())))
        .map_err(|errno| SysError::new("readlink", path.display(), errno))
}

/// Makes the directory `path` and its missing parents with `mode`, whatever the umask says.
///
/// # Errors
/// As mkdir(2).
pub fn create_dir_all(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    if is_dir(path)? {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_dir_all(parent, mode)?;
    }
    match create_dir(path, mode) {
        Err(e) if e.errno == Errno::EXIST && is_dir(path)? => Ok(()),
        result => result,
    }
}

/// Makes the directory `path` with exactly `mode`.
///
/// # Errors
/// As mkdir(2).
pub fn create_dir(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    let fail = |errno| SysError::new("mkdir", path.display(), errno);
    rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(mode)).map_err(fail)?;
    // mkdir obeys the umask; a private directory must be private under every one (CVE-2024-25621).
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(|errno| {
        // Ours and empty; the first error is the one to be told.
        let _that_error_is_told = rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR);
        fail(errno)
    })
}

/// Removes a file or link.
///
/// # Errors
/// As unlink(2).
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::unlinkat(CWD, path, AtFlags::empty())
        .map_err(|errno| SysError::new("unlink", path.display(), errno))
}

/// Writes all of `bytes` to an open file, terminal or pipe.
///
/// # Errors
/// As write(2), but for EINTR.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("write", "", errno)),
        }
    }
    Ok(())
}

/// Removes an empty directory.
///
/// # Errors
/// As rmdir(2).
pub fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)
        .map_err(|errno| SysError::new("rmdir", path.display(), errno))
}

/// A file in memory without a name, closed on exec; `name` is for /proc alone.
///
/// # Errors
/// As memfd_create(2).
pub fn memory(name: &str) -> Result<OwnedFd> {
    rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|errno| SysError::new("memfd_create", name, errno))
}

/// Gives a file or directory another name on the same file system, replacing what is there.
///
/// # Errors
/// As rename(2).
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    rustix::fs::renameat(CWD, from, CWD, to).map_err(|errno| {
        SysError::new(
            "rename",
            format!("{} to {}", from.display(), to.display()),
            errno,
        )
    })
}

/// How certain [`replace`] makes that the new content survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Content and name are on the disk when it returns (fsync of file and directory).
    Disk,
    /// Content and name may still be in memory: right for a file on tmpfs, or one that a power cut makes moot.
    Memory,
}

/// Replaces the file `name` in `dir` as a whole: whoever reads it sees the old or the new content. The folder may be
/// one that others write to: a file that somebody has put where the new one is made is taken away, not written to.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2); nothing is left behind then.
pub fn replace(
    dir: impl AsFd,
    name: &str,
    bytes: &[u8],
    mode: u32,
    durability: Durability,
) -> Result<()> {
    let dir = dir.as_fd();
    let temporary = format!(".{name}.new");
    let fail = |call| move |errno| SysError::new(call, name, errno);
    let own = match crate::fault::broken("no-own-file") {
        true => OFlags::TRUNC,
        false => OFlags::EXCL,
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | own | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let make = || rustix::fs::openat(dir, &temporary, flags, Mode::from_raw_mode(mode));
    let fd = match make() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(dir, &temporary, AtFlags::empty()).and_then(|()| make())
        }
        made => made,
    }
    .map_err(fail("create"))?;
    let written = File::from(fd)
        .write_all(bytes)
        .map_err(|e| SysError::from_io("write", name, &e))
        .and_then(|()| match durability {
            Durability::Memory => Ok(()),
            Durability::Disk => sync_name(dir, &temporary),
        })
        .and_then(|()| rustix::fs::renameat(dir, &temporary, dir, name).map_err(fail("rename")));
    if written.is_err() {
        // The first error is the one that counts; a left-over is taken away by the next try.
        let _left_over = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
        return written;
    }
    match durability {
        Durability::Memory => Ok(()),
        Durability::Disk => rustix::fs::fsync(dir).map_err(fail("fsync")),
    }
}

fn sync_name(dir: impl AsFd, name: &str) -> Result<()> {
    let fail = |errno| SysError::new("fsync", name, errno);
    let fd = rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(fail)?;
    rustix::fs::fsync(fd).map_err(fail)
}

/// Writes everything of the file system that holds `fd` to its disk.
///
/// # Errors
/// As syncfs(2): EIO, ENOSPC.
pub fn sync_file_system(fd: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(fd).map_err(|errno| SysError::new("syncfs", "", errno))
}

/// The names in a directory but `.` and `..`, unsorted, with what the directory says of their type.
///
/// # Errors
/// As getdents(2).
pub fn list(dir: impl AsFd) -> Result<Vec<(OsString, FileType)>> {
    let fail = |errno| SysError::new("readdir", "", errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
    }
    Ok(names)
}

/// Which lock to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// One holder.
    Exclusive,
    /// Any number of holders, none of them exclusive.
    Shared,
}

/// What to do while somebody else holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Wait until it is free.
    Block,
    /// Come back at once.
    Try,
}

/// Takes a flock(2) lock on an open file or directory; it goes with the last copy of the fd.
/// `false` means that somebody else holds it (with [`Wait::Try`]).
///
/// # Errors
/// As flock(2).
pub fn lock(fd: impl AsFd, lock: Lock, wait: Wait) -> Result<bool> {
    let operation = match (lock, wait) {
        (Lock::Exclusive, Wait::Block) => FlockOperation::LockExclusive,
        (Lock::Exclusive, Wait::Try) => FlockOperation::NonBlockingLockExclusive,
        (Lock::Shared, Wait::Block) => FlockOperation::LockShared,
        (Lock::Shared, Wait::Try) => FlockOperation::NonBlockingLockShared,
    };
    loop {
        return match rustix::fs::flock(&fd, operation) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(SysError::new("flock", "", errno)),
        };
    }
}

/// Gives a lock back before its descriptor is closed.
///
/// # Errors
/// As flock(2).
pub fn unlock(fd: impl AsFd) -> Result<()> {
    rustix::fs::flock(fd, FlockOperation::Unlock).map_err(|errno| SysError::new("flock", "", errno))
}

#[cfg(test)]
mod tests;
