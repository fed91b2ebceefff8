//! Which cgroup file systems a process sees, from its mountinfo. Pure. Not its job: choosing (location).

use std::path::{Path, PathBuf};

use crate::Controller;

/// What mountinfo says of cgroups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// Where cgroup v2 trees are mounted, the last mounted first: it may cover the others.
    pub(crate) v2: Vec<PathBuf>,
    /// cgroup v1 hierarchies: the controllers (or name=...) and the place.
    v1: Vec<(String, PathBuf)>,
}

impl Mounts {
    /// Reads the text of a mountinfo (proc_pid_mountinfo(5)).
    pub(crate) fn parse(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(place) = before.split(' ').nth(4).map(unescape) else {
                continue;
            };
            let mut after = after.split(' ');
            match after.next() {
                Some("cgroup2") => mounts.v2.insert(0, place),
                Some("cgroup") => {
                    let options = after.nth(1).unwrap_or_default().to_owned();
                    mounts.v1.push((options, place));
                }
                _ => {}
            }
        }
        mounts
    }

    /// Where the host has `controller` as cgroup v1.
    pub(crate) fn v1(&self, controller: &Controller) -> Option<&Path> {
        // What v2 calls io is v1's blkio; the other names are the same.
        let name = match controller.name() {
            "io" => "blkio",
            name => name,
        };
        self.v1
            .iter()
            .find(|(options, _)| options.split(',').any(|option| option == name))
            .map(|(_, place)| place.as_path())
    }

    /// Whether any cgroup v1 hierarchy is mounted.
    pub(crate) fn has_v1(&self) -> bool {
        !self.v1.is_empty()
    }
}

/// Takes back the octal escapes of blanks and backslashes.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(value) => {
                bytes.push(value);
                rest = &tail[3..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 31 0:38 /a /mnt/my\\040tree rw,relatime - cgroup2 none rw
";

    #[test]
    fn a_hybrid_host_has_both() {
        let mounts = Mounts::parse(HYBRID);
        assert_eq!(
            mounts.v2,
            [
                Path::new("/mnt/my tree"),
                Path::new("/sys/fs/cgroup/unified")
            ]
        );
        let table = [
            (Controller::MEMORY, Some("/sys/fs/cgroup/memory")),
            (Controller::CPU, Some("/sys/fs/cgroup/cpu,cpuacct")),
            (Controller::IO, Some("/sys/fs/cgroup/blkio")),
            (Controller::PIDS, None),
        ];
        for (controller, place) in table {
            assert_eq!(mounts.v1(&controller), place.map(Path::new), "{controller}");
        }
        assert!(mounts.has_v1());
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert_eq!(Mounts::parse("x\n1 2 3 - cgroup2\n"), Mounts::default());
    }
}
