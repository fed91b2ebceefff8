//! `events`: what a container uses, again and again or once, and when the kernel killed in it for want of
//! memory. Not its job: reading the cgroup's files (cgroups), the lines' shape (shape).

mod shape;

use std::time::{Duration, Instant};

use cgroups::{Cgroup, Event, Watch};

use crate::life::pause;
use crate::state::Status;
use crate::store::Store;
use crate::{ContainerId, Error, Result};

/// What the container `id` uses now, as a line of JSON.
///
/// # Errors
/// [`Error::Missing`]; [`Error::Status`] with runc's words `container not running` if it has ended, or if
/// it has no cgroup of its own, which alone could tell; [`Error::Cgroup`].
pub fn stats(store: &Store, id: &ContainerId) -> Result<Vec<u8>> {
    let stats = open(store, id)?.stats()?;
    Ok(shape::stats(id.as_str(), &stats))
}

/// A container that is being watched.
#[derive(Debug)]
pub struct Events {
    id: ContainerId,
    cgroup: Cgroup,
    watch: Watch,
    interval: Duration,
    next: Instant,
}

impl Events {
    /// Begins to watch the container `id`, whose use is told every `interval`.
    ///
    /// # Errors
    /// As [`stats`].
    pub fn begin(store: &Store, id: &ContainerId, interval: Duration) -> Result<Self> {
        let cgroup = open(store, id)?;
        Ok(Self {
            id: id.clone(),
            watch: cgroup.watch()?,
            cgroup,
            interval,
            next: after(interval),
        })
    }

    /// Waits for the next event; its line of JSON, and none when the container's last process has ended.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        match self.cgroup.next_event(&mut self.watch, self.next)? {
            Event::OutOfMemory => Ok(Some(shape::oom(self.id.as_str()))),
            Event::Ended => Ok(None),
            Event::Nothing => {
                self.next = after(self.interval);
                match self.cgroup.stats() {
                    Ok(stats) => Ok(Some(shape::stats(self.id.as_str(), &stats))),
                    // It may have ended between the two looks.
                    Err(error) => match self.cgroup.next_event(&mut self.watch, Instant::now())? {
                        Event::Ended => Ok(None),
                        _ => Err(error.into()),
                    },
                }
            }
        }
    }
}

/// A moment that far from now; the longest intervals end in a far future.
fn after(interval: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(1 << 30);
    Instant::now() + interval.min(FAR)
}

fn open(store: &Store, id: &ContainerId) -> Result<Cgroup> {
    let (record, status) = pause::look(&store.open(id)?)?;
    if matches!(status, Status::Creating | Status::Stopped) {
        return Err(Error::Status {
            id: id.to_string(),
            reason: "container not running".to_owned(),
        });
    }
    pause::cgroup(&record)
}
