//! Which file descriptors this process has, and which pass an exec. Not its job: what they are open on.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::FileType;

use crate::probe::Feature;
use crate::process::last_errno;
use crate::{Errno, Result, SysError};

/// Closes every descriptor from `first` on but those in `keep`: for a process that is about to become
/// another program and owns nothing by the rest any more. Its `OwnedFd`s must not be used or dropped
/// afterwards, which holds for one that leaves by exec or [`crate::process::exit`].
///
/// # Errors
/// As close_range(2), or as reading /proc/self/fd on kernels before 5.9.
pub fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok())
        .collect();
    if !Feature::CloseRange.present() {
        return close_listed(first, &kept);
    }
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().filter(|fd| *fd >= first) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the caller of close_all_but promises that nothing uses these descriptors any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    match result {
        0 => Ok(()),
        _ => Err(SysError::new("close_range", first, last_errno())),
    }
}

/// The way before Linux 5.9: one listing, then one close each. A single listing, since our handle on
/// procfs is among what is closed.
fn close_listed(first: u32, kept: &[u32]) -> Result<()> {
    let dir = crate::proc::open(
        "self/fd",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
    )?;
    let names = crate::file::list(&dir)?;
    let numbers = names
        .iter()
        .filter_map(|(name, _)| name.to_str()?.parse::<u32>().ok())
        .filter(|number| *number >= first && !kept.contains(number));
    for fd in numbers.filter_map(|number| i32::try_from(number).ok()) {
        if fd != dir.as_raw_fd() {
            // SAFETY: the caller of close_all_but promises that nothing uses this descriptor any more.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// Sets close-on-exec on every fd from `first` on, so that none of ours reaches the next program
/// (CVE-2024-21626).
///
/// # Errors
/// As close_range(2), or as reading /proc/self/fd on kernels before 5.11.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    if Feature::CloseRange.present() {
        return cloexec_range(first, u32::MAX)
            .map_err(|errno| SysError::new("close_range", first, errno));
    }
    let dir = crate::proc::open(
        "self/fd",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
    )?;
    for (name, _) in crate::file::list(dir)? {
        let Some(fd) = name.to_str().and_then(|n| n.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(fd).is_ok_and(|n| n >= first) {
            // SAFETY: the number came from our own fd table; F_SETFD changes only the flag of that entry,
            // and an entry closed meanwhile (the listing's own) gives EBADF, which is right.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

pub(crate) fn cloexec_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: only flags of our own fd table change; no fd is closed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Lets `fd` pass an exec.
///
/// # Errors
/// As fcntl(2).
pub fn keep_on_exec(fd: impl AsFd) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
        .map_err(|errno| SysError::new("fcntl", "", errno))
}

/// An fd that this process was given from outside, by number (LISTEN_FDS, `--preserve-fds`).
/// The number is checked to be open; the copy is ours and close-on-exec.
///
/// # Errors
/// EBADF if nothing has that number.
pub fn inherited(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl on a number that may be closed is defined: it says EBADF.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(SysError::new(
            "use",
            format_args!("file descriptor {number}"),
            last_errno(),
        ));
    }
    // SAFETY: F_DUPFD_CLOEXEC made a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether the descriptor `number` is open and came through an exec: one that we opened ourselves would
/// be closed by the next one.
pub fn is_inherited(number: u32) -> bool {
    let fd = i32::try_from(number).unwrap_or(-1);
    // SAFETY: F_GETFD only asks for the flag of that entry; on a closed number it says EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Lets the descriptor `number`, which this process was given from outside, pass an exec.
///
/// # Errors
/// EBADF if nothing has that number.
pub fn keep_inherited(number: u32) -> Result<()> {
    let fd = i32::try_from(number).unwrap_or(-1);
    // SAFETY: F_SETFD changes only the flag of that entry; on a closed number it says EBADF.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(SysError::new(
            "use",
            format_args!("file descriptor {number}"),
            last_errno(),
        )),
    }
}

/// Makes `fd` this process' descriptor `number` (0, 1 or 2), open after an exec.
///
/// # Errors
/// As dup2(2).
pub fn set_stdio(fd: impl AsFd, number: u8) -> Result<()> {
    // SAFETY: 0 to 2 are never owned by an OwnedFd of ours; what was there is replaced as a whole.
    let result = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), i32::from(number.min(2))) };
    if result >= 0 {
        Ok(())
    } else {
        Err(SysError::new("dup2", number, last_errno()))
    }
}

/// Gives the file behind stdin, stdout or stderr (0 to 2) to user `uid`, its group kept. /dev/null, which
/// is everybody's, and files that can't be given stay as they are.
///
/// # Errors
/// As fchown(2), without EPERM, EINVAL (an id without a map), EROFS and EBADF.
pub fn give_stdio(number: u8, uid: u32) -> Result<()> {
    let fd = stdio(number);
    let Ok(stat) = rustix::fs::fstat(fd) else {
        return Ok(());
    };
    if stat.st_uid == uid || is_null(&stat) {
        return Ok(());
    }
    match rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None) {
        Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS | Errno::BADF) => Ok(()),
        Err(errno) => Err(SysError::new(
            "chown",
            format_args!("descriptor {number}"),
            errno,
        )),
    }
}

/// Where stdin, stdout or stderr is the null device, opens the /dev/null that this process sees in its place: what
/// was open came from another mount namespace, which CRIU can't write down. What can't be opened, or is another
/// file than the null device, is left alone: it would be no better than what is there.
///
/// # Errors
/// As dup2(2).
pub fn renew_null() -> Result<()> {
    let mut own = None;
    for number in 0..=2 {
        if !rustix::fs::fstat(stdio(number)).is_ok_and(|stat| is_null(&stat)) {
            continue;
        }
        if own.is_none() {
            own = open_null();
        }
        let Some(own) = &own else {
            return Ok(());
        };
        set_stdio(own, number)?;
    }
    Ok(())
}

/// /dev/null, if it is that. Whatever else may lie there is not waited for.
fn open_null() -> Option<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = flags | OFlags::NONBLOCK;
    let own = rustix::fs::open("/dev/null", flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&own).ok()?;
    rustix::fs::fcntl_setfl(&own, OFlags::RDWR).ok()?;
    is_null(&stat).then_some(own)
}

fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(1, 3)
}

fn stdio(number: u8) -> BorrowedFd<'static> {
    match number {
        0 => rustix::stdio::stdin(),
        1 => rustix::stdio::stdout(),
        _ => rustix::stdio::stderr(),
    }
}
