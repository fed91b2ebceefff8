//! Files of the kernel's own file systems that say when their content has changed: cgroup.events,
//! memory.events. Not its job: what is in them.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::{Errno, Result, SysError};

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
