//! Hands the ids of a new user namespace to the kernel: the three files below /proc/PID, or the setuid
//! programs that write them. Not its job: which ids a user may use (that is /etc/subuid, which those
//! programs read).

use std::fmt;
use std::process::{Command, Stdio};

use sys::SysError;
use sys::process::Pid;

use crate::user::InWords;
use crate::{Error, IdMap, Result};

/// shadow's setuid programs, by absolute path: what PATH says must not matter to them.
const NEWUIDMAP: &str = "/usr/bin/newuidmap";
const NEWGIDMAP: &str = "/usr/bin/newgidmap";

/// Both kinds of ids of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// The users'.
    pub uid: IdMap,
    /// The groups'.
    pub gid: IdMap,
}

/// In words, for a plan: `users 0-65535 to 100000; groups 0 to 1000`.
impl fmt::Display for IdMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "users {}; groups {}",
            InWords(&self.uid),
            InWords(&self.gid)
        )
    }
}

/// How the maps get into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By our own write.
    Write,
    /// By our own write, after the namespace has lost setgroups(2) for ever. Without that, a process
    /// could drop a group that a file's mode holds against it (CVE-2014-8989); so the kernel demands
    /// it of a writer without CAP_SETGID.
    DenySetgroupsAndWrite,
    /// By the setuid program, which reads /etc/subuid or /etc/subgid.
    Program,
}

/// Who writes: effective ids, and which of CAP_SETUID and CAP_SETGID are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Writer {
    uid: u32,
    gid: u32,
    may_map_users: bool,
    may_map_groups: bool,
}

impl Writer {
    fn ourselves() -> Result<Self, SysError> {
        // The numbers of CAP_SETGID and CAP_SETUID in linux/capability.h.
        const SETGID: u64 = 1 << 6;
        const SETUID: u64 = 1 << 7;
        let effective = sys::privileges::capabilities()?.effective;
        let (uid, gid) = sys::privileges::ids();
        Ok(Self {
            uid,
            gid,
            may_map_users: effective & SETUID != 0,
            may_map_groups: effective & SETGID != 0,
        })
    }

    fn way_for_users(self, map: &IdMap) -> Way {
        if self.may_map_users || map.is_only(self.uid) {
            Way::Write
        } else {
            Way::Program
        }
    }

    fn way_for_groups(self, map: &IdMap) -> Way {
        if self.may_map_groups {
            Way::Write
        } else if map.is_only(self.gid) {
            Way::DenySetgroupsAndWrite
        } else {
            Way::Program
        }
    }
}

impl IdMaps {
    /// Writes the maps of the new user namespace in which the process `pid` is, from outside of it.
    /// `pid` must not have been reaped: it is our child, waiting for this.
    ///
    /// # Errors
    /// [`Error::IdMap`], or [`Error::MapProgramMissing`] and [`Error::MapProgramRefused`] for a caller who
    /// needs the setuid programs.
    pub fn write(&self, pid: Pid) -> Result<()> {
        let field = "linux.uidMappings";
        let writer = Writer::ourselves().map_err(|source| Error::IdMap { field, source })?;
        match writer.way_for_groups(&self.gid) {
            Way::Write => write(pid, "gid_map", "linux.gidMappings", &self.gid)?,
            Way::DenySetgroupsAndWrite => {
                deny_setgroups(pid)?;
                write(pid, "gid_map", "linux.gidMappings", &self.gid)?;
            }
            Way::Program => run(NEWGIDMAP, pid, "linux.gidMappings", &self.gid)?,
        }
        match writer.way_for_users(&self.uid) {
            Way::Program => run(NEWUIDMAP, pid, field, &self.uid),
            Way::Write | Way::DenySetgroupsAndWrite => write(pid, "uid_map", field, &self.uid),
        }
    }
}

fn deny_setgroups(pid: Pid) -> Result<()> {
    let path = format!("{}/setgroups", pid.as_raw_nonzero());
    sys::proc::write(&path, "deny").map_err(|source| Error::IdMap {
        field: "linux.gidMappings",
        source,
    })
}

fn write(pid: Pid, file: &str, field: &'static str, map: &IdMap) -> Result<()> {
    let path = format!("{}/{file}", pid.as_raw_nonzero());
    sys::proc::write(&path, &map.to_string()).map_err(|source| Error::IdMap { field, source })
}

/// Runs newuidmap or newgidmap. They are setuid root: they get no environment and no fd of ours.
fn run(program: &'static str, pid: Pid, field: &'static str, map: &IdMap) -> Result<()> {
    let mut command = Command::new(program);
    command.env_clear().arg(pid.as_raw_nonzero().to_string());
    for range in &map.ranges {
        command
            .arg(range.inside.to_string())
            .arg(range.outside.to_string())
            .arg(range.size.to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output = sys::exec::only_stdio(&mut command)
        .output()
        .map_err(|error| Error::MapProgramMissing {
            program,
            field,
            source: SysError::from_io("exec", program, &error),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let ranges = map
        .ranges
        .iter()
        .map(|r| format!("{}:{}:{}", r.inside, r.outside, r.size));
    Err(Error::MapProgramRefused {
        program,
        field,
        ranges: ranges.collect::<Vec<_>>().join(", "),
        words: match words.trim() {
            "" => output.status.to_string(),
            words => words.replace('\n', "; "),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Range;

    fn map(ranges: &[(u32, u32, u32)]) -> IdMap {
        let ranges = ranges.iter().map(|&(inside, outside, size)| Range {
            inside,
            outside,
            size,
        });
        IdMap {
            ranges: ranges.collect(),
        }
    }

    #[test]
    fn who_has_the_right_writes_and_who_has_not_calls_the_programs() {
        let own = map(&[(0, 1000, 1)]);
        let many = map(&[(0, 1000, 1), (1, 100_000, 65_536)]);
        let root = Writer {
            uid: 0,
            gid: 0,
            may_map_users: true,
            may_map_groups: true,
        };
        let user = Writer {
            uid: 1000,
            gid: 1000,
            may_map_users: false,
            may_map_groups: false,
        };
        let table = [
            (root, &own, Way::Write, Way::Write),
            (root, &many, Way::Write, Way::Write),
            (user, &own, Way::Write, Way::DenySetgroupsAndWrite),
            (user, &many, Way::Program, Way::Program),
        ];
        for (writer, map, users, groups) in table {
            assert_eq!(writer.way_for_users(map), users, "{writer:?} {map:?}");
            assert_eq!(writer.way_for_groups(map), groups, "{writer:?} {map:?}");
        }
    }
}
