//! Waits for what the kernel tells of a cgroup by itself: processes killed for want of memory, and the
//! last process' end. Not its job: who wants to know.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use sys::at::{self, OFlags};
use sys::{Errno, SysError};

use crate::{Cgroup, Result, interface};

/// What has come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel killed a process in it for want of memory.
    OutOfMemory,
    /// No process lives in it any more, or it is gone.
    Ended,
    /// Nothing until the moment that was given.
    Nothing,
}

/// A watch over a cgroup: the files whose changes tell.
#[derive(Debug)]
pub struct Watch {
    events: OwnedFd,
    /// None without the memory controller.
    memory: Option<OwnedFd>,
    kills: u64,
}

impl Cgroup {
    /// Begins to watch it: kills from now on count.
    ///
    /// # Errors
    /// [`crate::Error::Interface`].
    pub fn watch(&self) -> Result<Watch> {
        let open = |file| interface::open(self.dir.as_fd(), file, OFlags::RDONLY);
        let memory = match open("memory.events") {
            Ok(file) => Some(file),
            Err(e) if e.errno == Errno::NOENT => None,
            Err(e) => return Err(self.interface("watch")(e)),
        };
        let mut watch = Watch {
            events: open("cgroup.events").map_err(self.interface("watch"))?,
            memory,
            kills: 0,
        };
        watch.kills = watch.count().map_err(self.interface("watch"))?.unwrap_or(0);
        Ok(watch)
    }

    /// Waits for the next event, at the latest until `deadline`.
    ///
    /// # Errors
    /// [`crate::Error::Interface`].
    pub fn next_event(&self, watch: &mut Watch, deadline: Instant) -> Result<Event> {
        watch.next(deadline).map_err(self.interface("watch"))
    }
}

impl Watch {
    fn next(&mut self, deadline: Instant) -> sys::Result<Event> {
        loop {
            // Kills before the end: the last process may have been killed just so.
            match self.count()? {
                Some(kills) if kills > self.kills => {
                    self.kills = kills;
                    return Ok(Event::OutOfMemory);
                }
                Some(_) => {}
                None => return Ok(Event::Ended),
            }
            match read(self.events.as_fd(), "populated")? {
                Some(0) | None => return Ok(Event::Ended),
                Some(_) => {}
            }
            let mut files = vec![self.events.as_fd()];
            files.extend(self.memory.as_ref().map(AsFd::as_fd));
            if !sys::kernfs::any_changed(&files, deadline)? {
                return Ok(Event::Nothing);
            }
        }
    }

    /// How many were killed; none when the cgroup is gone.
    fn count(&self) -> sys::Result<Option<u64>> {
        match &self.memory {
            Some(memory) => read(memory.as_fd(), "oom_kill"),
            None => Ok(Some(self.kills)),
        }
    }
}

/// The number after `key`, read anew by the same fd: the kernel compares with what this fd has read. None
/// when the cgroup has been removed.
fn read(file: BorrowedFd<'_>, key: &str) -> sys::Result<Option<u64>> {
    let mut buffer = [0_u8; 512];
    match at::pread(file, &mut buffer, 0) {
        Ok(length) => {
            let text = String::from_utf8_lossy(&buffer[..length]);
            Ok(Some(interface::keyed(&text, key).unwrap_or(0)))
        }
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(SysError::new("read", key, errno)),
    }
}
