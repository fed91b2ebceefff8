//! Files of the kernel's own file systems (procfs, cgroup2): small texts made when they are read, some of
//! which say when they have changed (cgroup.events, memory.events). Not its job: what is in them.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::{Errno, Result, SysError};

/// What most of these files fit in, and a page.
const ROOM: usize = 4096;

/// All that `file` says; its size is not asked, for such files say 0. `subject` names it in errors.
///
/// # Errors
/// As read(2); EILSEQ for bytes that are no UTF-8.
pub fn read(file: impl AsFd, subject: impl Display) -> Result<String> {
    let fail = |errno| SysError::new("read", &subject, errno);
    let mut bytes = Vec::with_capacity(ROOM);
    loop {
        bytes.reserve(ROOM);
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    String::from_utf8(bytes).map_err(|_| fail(Errno::ILSEQ))
}

/// Writes a setting to the file at `path`, which must be there, in one write(2).
///
/// # Errors
/// As open(2) and write(2).
pub fn write(path: impl AsRef<Path>, value: &str) -> Result<()> {
    let path = path.as_ref();
    let fail = |call| move |errno| SysError::new(call, path.display(), errno);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()).map_err(fail("open"))?;
    rustix::io::write(file, value.as_bytes())
        .map(drop)
        .map_err(fail("write"))
}

/// Waits until the content of `file` is another one than at its last read through this fd, at the latest
/// until `deadline`; says whether it is.
///
/// # Errors
/// As poll(2).
pub fn changed(file: impl AsFd, deadline: Instant) -> Result<bool> {
    any_changed(&[file.as_fd()], deadline)
}

/// The same for several files: whether one of them is another than it was.
///
/// # Errors
/// As poll(2).
pub fn any_changed(files: &[BorrowedFd<'_>], deadline: Instant) -> Result<bool> {
    let mut list: Vec<PollFd<'_>> = files
        .iter()
        .map(|file| PollFd::from_borrowed_fd(*file, PollFlags::PRI))
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match rustix::event::poll(&mut list, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("poll", "", errno)),
        }
    }
}
