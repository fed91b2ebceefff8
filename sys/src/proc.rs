//! A procfs in whose place nothing else can answer (CVE-2019-16884, CVE-2025-52881): the host's, of which no
//! path that crosses a mount is followed, or a detached mount of our own, on which nothing is mounted.
//! Not its job: knowing what is written there.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::mount::{self, Attr, FsContext};
use crate::probe::Feature;
use crate::{Errno, Result, SysError};

/// The inode of a procfs' root (PROC_ROOT_INO).
const ROOT_INODE: u64 = 1;

/// How much of a value that was refused an error quotes.
const SHOWN: usize = 80;

/// Opens `path` of our procfs (`self/fd/3`, `42/uid_map`). Links are not followed; of magic links only
/// the last component's is, and only where `flags` lack O_NOFOLLOW and the caller names one.
///
/// # Errors
/// As open(2), with the path as `/proc/...`.
pub fn open(path: &str, flags: OFlags) -> Result<OwnedFd> {
    open_at(handle()?, path, flags)
}

/// Reads all of a small file of our procfs.
///
/// # Errors
/// As open(2) and read(2).
pub fn read(path: &str) -> Result<String> {
    crate::kernfs::read(open(path, OFlags::RDONLY)?, format_args!("/proc/{path}"))
}

/// Writes `value` to a file of our procfs in one write(2), as the kernel wants its settings.
///
/// # Errors
/// As open(2) and write(2).
pub fn write(path: &str, value: &str) -> Result<()> {
    let subject = || format!("/proc/{path}");
    // Id maps may be pages long: their beginning is enough to tell them by.
    let shown = || value.chars().take(SHOWN).collect::<String>();
    let n = File::from(open(path, OFlags::WRONLY)?)
        .write(value.as_bytes())
        .map_err(|e| {
            SysError::from_io("write", format_args!("{} ({:?})", subject(), shown()), &e)
        })?;
    if n == value.len() {
        Ok(())
    } else {
        Err(SysError::new("write", subject(), Errno::IO).with_note("cut short"))
    }
}

/// Opens what `fd` (O_PATH) names again with other flags.
///
/// # Errors
/// As open(2).
pub(crate) fn reopen(fd: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    follow(fd.as_fd(), flags).map_err(|e| e.errno)
}

/// Opens what the O_PATH fd `fd` names again, with other flags: O_RDONLY to read a file, say.
///
/// # Errors
/// As open(2).
pub fn open_again(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    follow(fd.as_fd(), flags)
}

/// Where what `fd` names is, as the kernel has it now: from the root of its own mount if that is attached nowhere.
///
/// # Errors
/// As readlink(2).
pub fn path_of(fd: impl AsFd) -> Result<PathBuf> {
    let link = format!("self/fd/{}", fd.as_fd().as_raw_fd());
    let path = rustix::fs::readlinkat(handle()?, link.as_str(), Vec::new())
        .map_err(|errno| SysError::new("readlink", format_args!("/proc/{link}"), errno))?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

/// Gives what the O_PATH fd `fd` names another mode.
pub(crate) fn change_mode(fd: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    let proc = procfs().map_err(|e| e.errno)?;
    let link = format!("self/fd/{}", fd.as_raw_fd());
    rustix::fs::chmodat(&proc.fd, link, mode, rustix::fs::AtFlags::empty())
}

/// Gives what `fd` is open on the name `path`.
pub(crate) fn link(fd: BorrowedFd<'_>, path: &std::path::Path) -> Result<(), Errno> {
    let proc = procfs().map_err(|e| e.errno)?;
    let link = format!("self/fd/{}", fd.as_raw_fd());
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    rustix::fs::linkat(&proc.fd, link, rustix::fs::CWD, path, follow)
}

/// Follows the link of `fd`. It leaves the procfs, so the kernel can't be told not to cross mounts on the way: on one
/// that others may have mounted on, the way to the link is gone first, and the link itself looked at.
fn follow(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    let number = fd.as_raw_fd();
    let fail = |errno| SysError::new("open", format_args!("/proc/self/fd/{number}"), errno);
    let open = |folder: BorrowedFd<'_>, name: &str| {
        rustix::fs::openat(folder, name, flags | OFlags::CLOEXEC, Mode::empty()).map_err(fail)
    };
    let proc = procfs()?;
    if proc.untouched || crate::fault::broken("no-descriptor-check") || !Feature::Openat2.present()
    {
        return open(proc.fd.as_fd(), &format!("self/fd/{number}"));
    }
    let folder = open_at(proc.fd.as_fd(), "self/fd", OFlags::PATH | OFlags::DIRECTORY)?;
    let name = number.to_string();
    open_at(folder.as_fd(), &name, OFlags::PATH | OFlags::NOFOLLOW)?;
    open(folder.as_fd(), &name)
}

/// Asks for a procfs of our own now: a process about to make a container calls it first, so that its child
/// has one in which every file is in reach, whatever covers parts of /proc here.
///
/// # Errors
/// As fsopen(2) and open(2).
pub fn prepare() -> Result<()> {
    if HANDLE.get().is_none() {
        let found = find()?;
        HANDLE.get_or_init(|| found);
    }
    Ok(())
}

static HANDLE: OnceLock<Procfs> = OnceLock::new();

/// Where we look.
#[derive(Debug)]
struct Procfs {
    fd: OwnedFd,
    /// We made it, and no path leads there: nobody has mounted anything on it.
    untouched: bool,
}

/// Mounts our own procfs on the /proc of this mount namespace, which is about to lose the tree that it lies
/// in: so it ends with that tree, and not by a close, for which the kernel waits as long again as for all of
/// it. The descriptor stays as good as it was.
///
/// # Errors
/// As move_mount(2); the procfs then ends by its close.
pub fn park() -> Result<()> {
    match HANDLE.get() {
        Some(proc) => mount::attach(&proc.fd, open_root()?),
        None => Ok(()),
    }
}

/// The procfs itself, for the calls that want a directory fd.
///
/// # Errors
/// As [`prepare`].
pub fn handle() -> Result<BorrowedFd<'static>> {
    Ok(procfs()?.fd.as_fd())
}

fn procfs() -> Result<&'static Procfs> {
    if let Some(found) = HANDLE.get() {
        return Ok(found);
    }
    let found = shared().map(touched).or_else(|_| find())?;
    Ok(HANDLE.get_or_init(|| found))
}

fn touched(fd: OwnedFd) -> Procfs {
    Procfs {
        fd,
        untouched: false,
    }
}

/// The host's, if it is a procfs of our own PID namespace and the kernel can be told not to cross mounts:
/// to give back a mount of our own costs ten times what its use does (the kernel waits until nobody can
/// be on the way through it).
fn shared() -> Result<OwnedFd> {
    let no = |note: &str| SysError::new("open", "/proc", Errno::INVAL).with_note(note);
    if !Feature::Openat2.present() {
        return Err(no("it could be covered"));
    }
    let fd = verified(open_root()?)?;
    let status = open_at(fd.as_fd(), "self/status", OFlags::RDONLY)?;
    let status = crate::kernfs::read(status, "/proc/self/status")?;
    if is_of_our_namespace(&status) {
        Ok(fd)
    } else {
        Err(no("of another PID namespace"))
    }
}

/// proc(5), NSpid: our id in the PID namespace of the procfs, then in each below it that we are in.
fn is_of_our_namespace(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| ids.split_ascii_whitespace().count() == 1)
}

/// A new procfs; a user namespace in which that is refused gets a clone of /proc without what covers
/// parts of it; where mounts are refused at all, /proc as it is, checked to be a procfs' own root.
fn find() -> Result<Procfs> {
    let made = FsContext::new("proc").and_then(|context| context.mount(Attr::empty()));
    if let Ok(fd) = made {
        return Ok(Procfs {
            fd,
            untouched: true,
        });
    }
    if let Ok(fd) = mount::clone_tree(CWD, "/proc", mount::Depth::One) {
        return verified(fd).map(touched);
    }
    verified(open_root()?).map(touched)
}

fn open_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(CWD, "/proc", flags, Mode::empty())
        .map_err(|errno| SysError::new("open", "/proc", errno))
}

fn verified(fd: OwnedFd) -> Result<OwnedFd> {
    let fail = |errno| SysError::new("stat", "/proc", errno);
    let is_proc = rustix::fs::fstatfs(&fd).map_err(fail)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    if is_proc && rustix::fs::fstat(&fd).map_err(fail)?.st_ino == ROOT_INODE {
        Ok(fd)
    } else {
        Err(SysError::new("open", "/proc", Errno::INVAL).with_note("not a procfs"))
    }
}

fn open_at(proc: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let fail = |errno| SysError::new("open", format_args!("/proc/{path}"), errno);
    if crate::fault::broken("no-private-proc") {
        let path = std::path::Path::new("/proc").join(path);
        return rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(fail);
    }
    if !Feature::Openat2.present() {
        return rustix::fs::openat(proc, path, flags, Mode::empty()).map_err(fail);
    }
    // NO_XDEV: a mount over one file of a cloned /proc is an error, not an answer. `self` is a plain
    // link inside, so links are allowed while magic ones are not.
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_procfs_of_an_outer_pid_namespace_is_told_by_its_two_ids() {
        assert!(is_of_our_namespace("Pid:\t7\nNSpid:\t7\nNSpgid:\t7\n"));
        assert!(!is_of_our_namespace(
            "Pid:\t7\nNSpid:\t7\t1\nNSpgid:\t7\t1\n"
        ));
        assert!(!is_of_our_namespace("Pid:\t7\n"));
    }
}
