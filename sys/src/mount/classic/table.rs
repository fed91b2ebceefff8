//! The mounts below a mount, opened: found in the table of mountinfo, reached by path from its fd, and
//! checked to be those of the table. Not its job: what is done with them.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags};

use crate::{Errno, Result, SysError};

/// A line of mountinfo: the mount's id, its parent's, its mount point without escapes.
type Line = (u64, u64, Vec<u8>);

/// An fd of each mount below the one that `mount` is an fd of, parents first. What another mount covers
/// can't be reached, and so is left out.
///
/// # Errors
/// EAGAIN if a mount point's name was changed while we looked.
pub(super) fn below(mount: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let table = crate::proc::read("self/mountinfo")?;
    let lines: Vec<Line> = table.lines().filter_map(line).collect();
    let mut found = Vec::new();
    for (id, path) in paths_below(&lines, id_of(mount)?) {
        let path = OsString::from_vec(path);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(mount, &path, flags, Mode::empty())
            .map_err(|errno| SysError::new("open", path.display(), errno))?;
        if id_of(fd.as_fd())? == id {
            found.push(fd);
        } else if !lines.iter().any(|(_, parent, _)| *parent == id) {
            // Neither this mount nor one on top of it.
            return Err(SysError::new("open", path.display(), Errno::AGAIN));
        }
    }
    Ok(found)
}

/// The id of the mount that `fd` lies on.
fn id_of(fd: BorrowedFd<'_>) -> Result<u64> {
    let path = format!("self/fdinfo/{}", fd.as_raw_fd());
    let text = crate::proc::read(&path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| SysError::new("read", format_args!("/proc/{path}"), Errno::INVAL))
}

/// The mounts below mount `top`, parents first, each with its path from the top's root. Pure.
fn paths_below(lines: &[Line], top: u64) -> Vec<(u64, Vec<u8>)> {
    let Some((_, _, prefix)) = lines.iter().find(|line| line.0 == top) else {
        return Vec::new();
    };
    let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut parents = vec![top];
    while let Some(parent) = parents.pop() {
        for (id, _, path) in lines
            .iter()
            .filter(|line| line.1 == parent && line.0 != parent)
        {
            let Some(rest) = path.strip_prefix(prefix.as_slice()) else {
                continue;
            };
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            if !rest.is_empty() {
                found.push((*id, rest.to_vec()));
            }
            parents.push(*id);
        }
    }
    found
}

fn line(line: &str) -> Option<Line> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    Some((id, parent, super::super::unescape(fields.nth(2)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_are_found_with_their_way_from_the_top() {
        let table = "\
21 1 8:1 / / rw - ext4 x rw
30 21 0:9 / /vol rw - tmpfs x rw
31 30 0:10 / /vol/a\\040b rw - tmpfs x rw
32 31 0:10 / /vol/a\\040b/c rw - tmpfs x rw
33 21 0:10 / /volume rw - tmpfs x rw
";
        let lines: Vec<Line> = table.lines().filter_map(line).collect();
        let names: Vec<_> = paths_below(&lines, 30).into_iter().map(|p| p.1).collect();
        assert_eq!(names, [b"a b".to_vec(), b"a b/c".to_vec()]);
        assert_eq!(paths_below(&lines, 21).len(), 4);
        assert!(paths_below(&lines, 99).is_empty());
    }
}
