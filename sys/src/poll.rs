//! Waits for fds. Not its job: what their readiness means.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::{Errno, Result, SysError};

/// Waits until one of `fds` can be read or has been closed at its other end, at the latest until
/// `deadline`; says of each whether it is so.
///
/// # Errors
/// As poll(2).
pub fn readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> Result<Vec<bool>> {
    let mut list: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match rustix::event::poll(&mut list, timeout.as_ref()) {
            Ok(_) => return Ok(list.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("poll", "", errno)),
        }
    }
}
