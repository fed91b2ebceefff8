//! Ends every process of a cgroup. Not its job: removing it (delete).

use std::time::{Duration, Instant};

use sys::Errno;
use sys::process::{Pid, Signal};

use crate::{Cgroup, Error, Result};

/// How long the way without cgroup.kill goes on killing what it finds.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Sends SIGKILL to every process in it and below it; none can fork out of it, and frozen ones end too.
    /// It does not wait for their end ([`Cgroup::wait_empty`] does).
    ///
    /// # Errors
    /// [`Error::Interface`].
    pub fn kill(&self) -> Result<()> {
        if sys::fault::broken("no-cgroup-kill") {
            return self.kill_one_by_one();
        }
        match self.write("kill", "cgroup.kill", "1") {
            // Before Linux 5.14 there is no such file; a threaded cgroup does not take it.
            Err(Error::Interface { source, .. })
                if matches!(source.errno, Errno::NOENT | Errno::OPNOTSUPP) =>
            {
                self.kill_one_by_one()
            }
            other => other,
        }
    }

    /// The same without cgroup.kill, until none is left. They are frozen meanwhile: who stands still
    /// neither forks faster than we read nor ends by itself and leaves its id to a stranger. SIGKILL
    /// ends the frozen.
    ///
    /// # Errors
    /// [`Error::Interface`]; [`Error::Timeout`] for processes that do not end.
    pub fn kill_one_by_one(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let was_running = !self.frozen()?;
        if was_running {
            self.write("freeze", "cgroup.freeze", "1")?;
        }
        let result = self.kill_until_empty(deadline);
        if was_running {
            self.write("thaw", "cgroup.freeze", "0")?;
        }
        result
    }

    fn kill_until_empty(&self, deadline: Instant) -> Result<()> {
        loop {
            for pid in self.processes()?.into_iter().filter_map(Pid::from_raw) {
                match sys::process::open_process(pid)
                    .and_then(|process| sys::process::send_signal(process, Signal::KILL))
                {
                    // It ended before us; EINVAL: the id of a thread, whose process is in the list too.
                    Err(e) if matches!(e.errno, Errno::SRCH | Errno::INVAL) => {}
                    other => other.map_err(self.interface("kill"))?,
                }
            }
            let soon = deadline.min(Instant::now() + Duration::from_millis(20));
            if self.wait_empty(soon)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.too_slow("kill"));
            }
        }
    }
}
