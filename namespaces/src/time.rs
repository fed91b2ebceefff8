//! Clock offsets of a time namespace. Not its job: when they are written (shape, join).

use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;

use oci_spec::runtime::LinuxTimeOffset;
use sys::at::OFlags;
use sys::{Errno, SysError};

use crate::{Error, Result};

/// What is added to the clocks of a new time namespace. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeOffsets(Vec<Offset>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Offset {
    clock: String,
    seconds: i64,
    nanoseconds: u32,
}

impl TimeOffsets {
    /// Reads linux.timeOffsets; every problem goes to `problems`.
    pub(crate) fn read(spec: &HashMap<String, LinuxTimeOffset>, problems: &mut Vec<Error>) -> Self {
        let mut offsets = Vec::new();
        for (clock, offset) in spec {
            if !matches!(clock.as_str(), "monotonic" | "boottime") {
                problems.push(Error::spec(
                    format!("linux.timeOffsets.{clock}"),
                    "no such clock; a time namespace has monotonic and boottime",
                ));
            }
            let nanoseconds = offset.nanosecs().unwrap_or(0);
            if nanoseconds >= 1_000_000_000 {
                problems.push(Error::spec(
                    format!("linux.timeOffsets.{clock}.nanosecs"),
                    format!("{nanoseconds} is a second or more"),
                ));
            }
            offsets.push(Offset {
                clock: clock.clone(),
                seconds: offset.secs().unwrap_or(0),
                nanoseconds,
            });
        }
        offsets.sort_by(|a, b| a.clock.cmp(&b.clock));
        Self(offsets)
    }

    /// Whether nothing is to be set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the clocks of the time namespace that our next child will be in: after
    /// `unshare(CLONE_NEWTIME)` and before the clone, since the first process in it fixes them for ever.
    ///
    /// # Errors
    /// ERANGE for an offset with which a clock would pass its end, EACCES once a process is inside.
    pub fn write(&self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let fail = |source| Error::TimeOffsets { source };
        let file = self.open().map_err(fail)?;
        // Both lines in one write, or the kernel refuses the second.
        sys::at::write(file, self.to_string().as_bytes())
            .map(drop)
            .map_err(|errno| fail(SysError::new("write", "/proc/self/timens_offsets", errno)))
    }

    /// A process that can't be traced has /proc files of the host's root: without the rights of that it can
    /// be traced for as long as the opening takes, and no longer.
    fn open(&self) -> sys::Result<OwnedFd> {
        let open = || sys::proc::open("self/timens_offsets", OFlags::WRONLY);
        match open() {
            Err(e) if e.errno == Errno::ACCESS => {
                sys::process::allow_tracing()?;
                let opened = open();
                sys::process::forbid_tracing()?;
                opened
            }
            opened => opened,
        }
    }
}

/// The lines that the kernel wants, both in one write.
impl fmt::Display for TimeOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for offset in &self.0 {
            let Offset {
                clock,
                seconds,
                nanoseconds,
            } = offset;
            writeln!(f, "{clock} {seconds} {nanoseconds}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (TimeOffsets, Vec<Error>) {
        let spec: HashMap<String, LinuxTimeOffset> = crate::set::tests::from_json(json);
        let mut problems = Vec::new();
        (TimeOffsets::read(&spec, &mut problems), problems)
    }

    #[test]
    fn each_clock_is_a_line_as_the_kernel_wants_it() {
        let (offsets, problems) =
            read(r#"{"monotonic":{"secs":-5,"nanosecs":7},"boottime":{"secs":86400}}"#);
        assert_eq!(problems, []);
        assert_eq!(offsets.to_string(), "boottime 86400 0\nmonotonic -5 7\n");
    }

    #[test]
    fn an_unknown_clock_and_too_many_nanoseconds_are_named() {
        let (_, problems) = read(r#"{"realtime":{"secs":1,"nanosecs":1000000000}}"#);
        let words: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "linux.timeOffsets.realtime: no such clock; a time namespace has monotonic and boottime",
                "linux.timeOffsets.realtime.nanosecs: 1000000000 is a second or more",
            ]
        );
    }
}
