//! Performs the writes that set a cgroup's limits. Not its job: deciding them (limits).

use std::os::fd::AsFd;

use sys::{Errno, SysError};

use crate::{Cgroup, Controller, Error, IfMissing, Result, Write, interface};

impl Cgroup {
    /// Writes all of `writes`, in their order, before any process is in the cgroup.
    ///
    /// # Errors
    /// [`Error::Write`] for the first that the kernel refuses: none is left out in silence.
    pub fn apply(&self, writes: &[Write]) -> Result<()> {
        writes.iter().try_for_each(|write| self.apply_one(write))
    }

    fn apply_one(&self, write: &Write) -> Result<()> {
        let (mut file, mut value) = (&write.file, &write.value);
        let mut result = self.put(file, value);
        // cgroup v2 never creates files: EPERM or EACCES from a missing one would need O_CREAT.
        if matches!(&result, Err(e) if e.errno == Errno::NOENT) {
            match &write.if_missing {
                IfMissing::Fail => {}
                IfMissing::Skip => return Ok(()),
                IfMissing::Instead(other, converted) => {
                    (file, value) = (other, converted);
                    result = self.put(file, value);
                }
            }
        }
        result.map_err(|source| Error::Write {
            source: self.explain(source, file, write.controller.as_ref()),
            write: Box::new(Write {
                file: file.clone(),
                value: value.clone(),
                ..write.clone()
            }),
        })
    }

    /// Each line is a write of its own: the kernel takes one setting at a time (io.max, `unified`).
    fn put(&self, file: &str, value: &str) -> sys::Result<()> {
        let mut lines = value.lines().peekable();
        if lines.peek().is_none() {
            return interface::write(self.dir.as_fd(), file, value);
        }
        lines.try_for_each(|line| interface::write(self.dir.as_fd(), file, line))
    }

    /// The same error with a reason, where one can be seen.
    fn explain(&self, error: SysError, file: &str, controller: Option<&Controller>) -> SysError {
        let dir = self.dir.as_fd();
        let note = match (error.errno, file) {
            (Errno::NOENT, _) => match (controller, interface::read(dir, "cgroup.controllers")) {
                (Some(controller), Ok(has))
                    if !has.split_ascii_whitespace().any(|c| c == controller.name()) =>
                {
                    format!(
                        "the {controller} controller is not enabled in {}",
                        self.path.display()
                    )
                }
                _ => "this kernel has no such file".to_owned(),
            },
            (Errno::INVAL, "cpu.max") => match interface::read(dir, "cpu.max.burst") {
                Ok(burst) if burst.trim() != "0" => format!(
                    "quotas are no less than cpu.burst, which is {}, and 1000 µs, periods 1000 to 1000000 µs",
                    burst.trim()
                ),
                _ => "quotas are 1000 µs or more, periods 1000 to 1000000 µs".to_owned(),
            },
            (Errno::INVAL, "cpu.max.burst") => "a burst is no more than the quota".to_owned(),
            (Errno::INVAL, "cpu.weight") => {
                "an idle cgroup has no weight: set cpu.idle to 0 with it".to_owned()
            }
            (Errno::NODEV, "io.max" | "io.weight" | "io.bfq.weight" | "io.latency") => {
                "no such block device, or a partition: only whole devices take limits".to_owned()
            }
            (Errno::INVAL | Errno::RANGE | Errno::NODEV, "cpuset.cpus" | "cpuset.mems") => {
                match interface::read(dir, &format!("{file}.effective")) {
                    Ok(there) => format!("this host has {}", there.trim()),
                    Err(_) => return error,
                }
            }
            (Errno::RANGE, "cpu.weight" | "io.weight") => "weights are 1 to 10000".to_owned(),
            (Errno::RANGE, "io.bfq.weight") => "weights are 1 to 1000".to_owned(),
            _ => return error,
        };
        error.with_note(note)
    }
}
