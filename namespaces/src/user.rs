//! The ids of a user namespace: checked ranges, and the three files below /proc/PID that set them.
//! Not its job: which ids a user may use (that is /etc/subuid, read by newuidmap itself).

use std::fmt;
use std::process::{Command, Stdio};

use oci_spec::runtime::LinuxIdMapping;
use sys::SysError;
use sys::process::Pid;

use crate::{Error, Result};

/// The kernel takes no more ranges than this (UID_GID_MAP_MAX_EXTENTS).
const MAX_RANGES: usize = 340;

/// shadow's setuid programs, by absolute path: what PATH says must not matter to them.
const NEWUIDMAP: &str = "/usr/bin/newuidmap";
const NEWGIDMAP: &str = "/usr/bin/newgidmap";

/// `size` ids from `inside` on are, outside, those from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id in the namespace.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// The user or the group ids of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// The ranges, as the spec lists them; none overlaps another.
    pub ranges: Vec<Range>,
}

impl IdMap {
    /// Reads the mappings at the JSON path `field`; every problem goes to `problems`.
    pub fn read(field: &str, mappings: &[LinuxIdMapping], problems: &mut Vec<Error>) -> Self {
        let ranges: Vec<_> = mappings
            .iter()
            .map(|mapping| Range {
                inside: mapping.container_id(),
                outside: mapping.host_id(),
                size: mapping.size(),
            })
            .collect();
        if ranges.len() > MAX_RANGES {
            problems.push(Error::spec(
                field,
                format!("{} ranges, the kernel takes {MAX_RANGES}", ranges.len()),
            ));
        }
        for (i, range) in ranges.iter().enumerate() {
            check(field, i, range, &ranges[..i], problems);
        }
        Self { ranges }
    }

    /// The id outside of the namespace that is `inside` in it.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| {
            let offset = inside.checked_sub(range.inside)?;
            (offset < range.size).then(|| range.outside + offset)
        })
    }

    /// Whether it is nothing but the one id `id`: what the kernel lets its owner map.
    fn is_only(&self, id: u32) -> bool {
        matches!(self.ranges[..], [Range { outside, size: 1, .. }] if outside == id)
    }
}

fn check(field: &str, i: usize, range: &Range, before: &[Range], problems: &mut Vec<Error>) {
    let Range {
        inside,
        outside,
        size,
    } = *range;
    let mut problem = |member: &str, reason: String| {
        problems.push(Error::spec(format!("{field}[{i}].{member}"), reason));
    };
    if size == 0 {
        return problem("size", "0 ids are mapped".to_owned());
    }
    // The id 4294967295 is "no id" to the kernel, so a range ends before it.
    for (member, first) in [("containerID", inside), ("hostID", outside)] {
        if first.checked_add(size).is_none() {
            problem(
                member,
                format!("{size} ids from {first} on pass the last id, 4294967294"),
            );
        }
    }
    for (j, other) in before.iter().enumerate() {
        let meets = |a: u32, b: u32| {
            u64::from(a) < u64::from(b) + u64::from(other.size)
                && u64::from(b) < u64::from(a) + u64::from(size)
        };
        if meets(inside, other.inside) {
            problem("containerID", format!("overlaps {field}[{j}]"));
        }
        if meets(outside, other.outside) {
            problem("hostID", format!("overlaps {field}[{j}]"));
        }
    }
}

/// The lines that the kernel wants, all in one write.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for range in &self.ranges {
            writeln!(f, "{} {} {}", range.inside, range.outside, range.size)?;
        }
        Ok(())
    }
}

/// Both kinds of ids of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// The users'.
    pub uid: IdMap,
    /// The groups'.
    pub gid: IdMap,
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
    /// [`Error::IdMap`], or [`Error::HelperMissing`] and [`Error::HelperRefused`] for a caller who
    /// needs the setuid programs.
    pub fn write(&self, pid: Pid) -> Result<()> {
        let field = "linux.uidMappings";
        let writer = Writer::ourselves().map_err(|source| Error::IdMap { field, source })?;
        // The groups first: newuidmap makes us no better at it, and the kernel does not care.
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
    let output = sys::process::only_stdio(&mut command)
        .output()
        .map_err(|error| Error::HelperMissing {
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
    Err(Error::HelperRefused {
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
    use crate::set::tests::from_json;

    /// inside, outside, size
    type Triple = (u32, u32, u32);

    fn read(triples: &[Triple]) -> (IdMap, Vec<String>) {
        let mappings: Vec<LinuxIdMapping> = triples
            .iter()
            .map(|(inside, outside, size)| {
                from_json(&format!(
                    r#"{{"containerID":{inside},"hostID":{outside},"size":{size}}}"#
                ))
            })
            .collect();
        let mut problems = Vec::new();
        let map = IdMap::read("linux.uidMappings", &mappings, &mut problems);
        (map, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_kernel_would_refuse_is_named_before() {
        let table: &[(&[Triple], &str)] = &[
            (
                &[(0, 1000, 0)],
                "linux.uidMappings[0].size: 0 ids are mapped",
            ),
            (
                &[(4_294_967_295, 0, 1)],
                "linux.uidMappings[0].containerID: 1 ids from 4294967295 on pass the last id, 4294967294",
            ),
            (
                &[(0, 4_294_967_290, 6)],
                "linux.uidMappings[0].hostID: 6 ids from 4294967290 on pass the last id, 4294967294",
            ),
            (
                &[(0, 1000, 10), (9, 2000, 1)],
                "linux.uidMappings[1].containerID: overlaps linux.uidMappings[0]",
            ),
            (
                &[(0, 1000, 10), (10, 1009, 1)],
                "linux.uidMappings[1].hostID: overlaps linux.uidMappings[0]",
            ),
        ];
        for (triples, expected) in table {
            assert_eq!(read(triples).1, [*expected]);
        }
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        let (map, problems) = read(&[(0, 1000, 10), (10, 990, 10), (20, 4_294_967_290, 5)]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(map.to_string(), "0 1000 10\n10 990 10\n20 4294967290 5\n");
    }

    #[test]
    fn more_ranges_than_the_kernel_takes_are_refused() {
        let triples: Vec<_> = (0..341).map(|i| (i, i, 1)).collect();
        assert_eq!(
            read(&triples).1,
            ["linux.uidMappings: 341 ranges, the kernel takes 340"]
        );
    }

    #[test]
    fn an_id_is_found_outside() {
        let (map, _) = read(&[(0, 1000, 1), (1, 100_000, 10)]);
        let table = [
            (0, Some(1000)),
            (1, Some(100_000)),
            (10, Some(100_009)),
            (11, None),
        ];
        for (inside, outside) in table {
            assert_eq!(map.outside(inside), outside, "id {inside}");
        }
    }

    #[test]
    fn who_has_the_right_writes_and_who_has_not_calls_the_programs() {
        let own = read(&[(0, 1000, 1)]).0;
        let many = read(&[(0, 1000, 1), (1, 100_000, 65_536)]).0;
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
