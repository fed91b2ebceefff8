//! What a cgroup has used, and whether the kernel killed in it for want of memory. Not its job: showing it.

use sys::Errno;

use crate::{Cgroup, Error, Result, interface};

/// Use so far and now; none where the controller is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time in microseconds.
    pub cpu_microseconds: Option<u64>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The most memory that was ever in use, in bytes (Linux 5.19).
    pub memory_peak: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
}

impl Cgroup {
    /// Reads its use.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn stats(&self) -> Result<Stats> {
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse().ok());
        let cpu = self.read_if_there("cpu.stat")?;
        Ok(Stats {
            cpu_microseconds: cpu.and_then(|text| interface::keyed(&text, "usage_usec")),
            memory: number(self.read_if_there("memory.current")?),
            memory_peak: number(self.read_if_there("memory.peak")?),
            tasks: number(self.read_if_there("pids.current")?),
        })
    }

    /// How many processes in it and below it the kernel killed for want of memory; `None` without the
    /// memory controller, which alone knows.
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        let text = self.read_if_there("memory.events")?;
        Ok(text.and_then(|text| interface::keyed(&text, "oom_kill")))
    }

    fn read_if_there(&self, file: &str) -> Result<Option<String>> {
        match self.read("read the use of", file) {
            Ok(text) => Ok(Some(text)),
            Err(Error::Interface { source, .. }) if source.errno == Errno::NOENT => Ok(None),
            Err(error) => Err(error),
        }
    }
}
