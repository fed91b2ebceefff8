//! Stops all processes of a cgroup where they are, and lets them go on. Not its job: ending them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Cgroup, Error, Result};

/// A process in an uninterruptible sleep freezes when that ends; past this it is no use to wait.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops all processes in it and below it, and waits until they stand.
    ///
    /// # Errors
    /// [`Error::Interface`]; [`Error::Timeout`], and then they run again.
    pub fn freeze(&self) -> Result<()> {
        self.write("freeze", "cgroup.freeze", "1")?;
        let error = match self.wait_event("frozen", true, Instant::now() + PATIENCE) {
            Ok(true) => return Ok(()),
            Ok(false) => self.too_slow("freeze"),
            Err(error) => error,
        };
        // Half frozen is neither: a crash here would leave processes that nobody wakes.
        self.write("thaw", "cgroup.freeze", "0")?;
        Err(error)
    }

    /// Lets all processes in it go on.
    ///
    /// # Errors
    /// [`Error::Interface`]; [`Error::Timeout`] if a parent is frozen.
    pub fn thaw(&self) -> Result<()> {
        self.write("thaw", "cgroup.freeze", "0")?;
        match self.wait_event("frozen", false, Instant::now() + PATIENCE)? {
            true => Ok(()),
            false => Err(self.too_slow("thaw")),
        }
    }

    /// Whether all its processes stand still, by its own freezer or by a parent's.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn frozen(&self) -> Result<bool> {
        self.event("frozen")
    }

    /// Whether it was told to stop its processes, whether they stand already or not.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn is_freezing(&self) -> Result<bool> {
        let text = self.read("look at the freezer of", "cgroup.freeze")?;
        Ok(text.trim_end() == "1")
    }

    pub(crate) fn too_slow(&self, what: &'static str) -> Error {
        Error::Timeout {
            what,
            path: self.path.clone(),
            seconds: PATIENCE.as_secs(),
            processes: self.processes().map_or(0, |pids| pids.len()),
        }
    }
}

/// Whether the cgroup at `path` is there and frozen: one read, for a container's status.
pub fn is_frozen(path: &Path) -> bool {
    sys::file::read(path.join("cgroup.events"), 4096)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| crate::interface::keyed(&text, "frozen"))
        .is_some_and(|value| value != 0)
}
