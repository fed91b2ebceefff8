//! Where a container's cgroup goes: linux.cgroupsPath and the host's tree make a directory.
//! Not its job: making it (cgroup).

use std::path::{Path, PathBuf};

use sys::Errno;

use crate::mounts::Mounts;
use crate::{Error, Result};

/// The magic number of a cgroup v2 file system (CGROUP2_SUPER_MAGIC).
pub(crate) const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Where nearly every host has the tree: a pure v2 host, and one with v1 beside it.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A container's place in the cgroup v2 tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Where the tree is mounted.
    pub root: PathBuf,
    /// The cgroup's directory, below `root`.
    pub directory: PathBuf,
    /// The outermost of its parents (or itself) that was not there when we looked: it will be made, and
    /// [`crate::delete`] removes again what is empty from there on. Kept in the container's record,
    /// written before anything is made.
    pub made_from: Option<PathBuf>,
}

impl Location {
    /// The place for the container `id` with this linux.cgroupsPath. An absolute path and a relative one
    /// both count from the root of the tree that this process sees (its cgroup namespace's, if that is
    /// what is mounted); without one it is `/id`.
    ///
    /// # Errors
    /// [`Error::Spec`] for the tree's root itself, [`Error::NoTree`] without cgroup v2.
    pub fn find(cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let place = place(cgroups_path, id)?;
        Self::below(tree()?, &place)
    }

    /// The same in the tree mounted at `root`, for a `place` as [`place()`] gives it.
    fn below(root: PathBuf, place: &Path) -> Result<Self> {
        let directory = root.join(place);
        let mut made_from = None;
        let mut prefix = root.clone();
        for component in place.components() {
            prefix.push(component);
            let there = sys::file::exists(&prefix).map_err(|source| Error::Directory {
                what: "look for",
                path: prefix.clone(),
                source,
            })?;
            if !there {
                made_from = Some(prefix);
                break;
            }
        }
        Ok(Self {
            root,
            directory,
            made_from,
        })
    }

    /// The cgroup's path as the kernel names it, from the root of the tree: `/a/b`.
    pub fn name(&self) -> String {
        let below = self.directory.strip_prefix(&self.root);
        format!("/{}", below.unwrap_or(Path::new("")).display())
    }
}

/// The place below the root of the tree: a path that climbs above it ends there, as in a root of its own (runc reads
/// it so too). Pure.
///
/// # Errors
/// [`Error::Spec`].
pub(crate) fn place(cgroups_path: Option<&str>, id: &str) -> Result<PathBuf> {
    let path = match cgroups_path {
        None | Some("") => id,
        Some(path) => path,
    };
    let refuse = |reason: &str| {
        Err(Error::spec(
            "linux.cgroupsPath",
            format!("{path:?} {reason}"),
        ))
    };
    let relative = path.strip_prefix('/').unwrap_or(path);
    if !path.starts_with('/') && path.split(':').count() == 3 && !path.contains('/') {
        return refuse("is slice:prefix:name for systemd: give --systemd-cgroup, or a path");
    }
    if path.contains('\0') {
        return refuse("holds a NUL byte");
    }
    let mut place = PathBuf::new();
    for component in relative.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                place.pop();
            }
            // It would forge lines of /proc/PID/cgroup; the kernel refuses it too.
            _ if component.contains('\n') => return refuse("has a newline in a name"),
            name => place.push(name),
        }
    }
    match place.as_os_str().is_empty() {
        true => refuse("is the root of the tree, which belongs to the host"),
        false => Ok(place),
    }
}

/// Where the cgroup v2 tree is mounted.
pub(crate) fn tree() -> Result<PathBuf> {
    for path in USUAL {
        if is_tree(Path::new(path))? {
            return Ok(PathBuf::from(path));
        }
    }
    let mounts = mounts()?;
    for path in &mounts.v2 {
        if is_tree(path)? {
            return Ok(path.clone());
        }
    }
    Err(Error::NoTree {
        v1: mounts.has_v1(),
    })
}

/// The controllers that the host's cgroup v2 tree has, by name.
///
/// # Errors
/// [`Error::NoTree`] without cgroup v2, [`Error::Directory`].
pub fn controllers() -> Result<Vec<String>> {
    let root = tree()?;
    let file = root.join("cgroup.controllers");
    let bytes = sys::file::read(&file, 4096).map_err(|source| Error::Directory {
        what: "read the controllers of",
        path: root,
        source,
    })?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Whether this process may make cgroups in the tree that it sees.
///
/// # Errors
/// [`Error::NoTree`] without cgroup v2, [`Error::Directory`].
pub fn can_make() -> Result<bool> {
    let root = tree()?;
    sys::file::is_writable(&root).map_err(|source| Error::Directory {
        what: "look at",
        path: root,
        source,
    })
}

/// The directory of the cgroup that this process is in.
///
/// # Errors
/// [`Error::NoTree`] without cgroup v2, [`Error::Directory`].
pub fn own() -> Result<PathBuf> {
    of("self")
}

/// The directory of the cgroup that the process is in whose name in /proc is `process`.
pub(crate) fn of(process: &str) -> Result<PathBuf> {
    let root = tree()?;
    let text =
        sys::proc::read(&format!("{process}/cgroup")).map_err(|source| Error::Directory {
            what: "find a process' own",
            path: root.clone(),
            source,
        })?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(root.join(path.unwrap_or_default()))
}

/// What our mountinfo says of cgroups.
pub(crate) fn mounts() -> Result<Mounts> {
    let text = sys::proc::read("self/mountinfo").map_err(|source| Error::Directory {
        what: "look for a",
        path: PathBuf::from("v2 tree"),
        source,
    })?;
    Ok(Mounts::parse(&text))
}

/// Whether a cgroup v2 file system is what one finds at `path`: a mount there may be covered by another.
fn is_tree(path: &Path) -> Result<bool> {
    let fail = |source| Error::Directory {
        what: "open",
        path: path.to_owned(),
        source,
    };
    let fd = match sys::file::open_path(path) {
        Ok(fd) => fd,
        Err(e) if matches!(e.errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {
            return Ok(false);
        }
        Err(e) => return Err(fail(e)),
    };
    let stat = sys::at::fstatfs(&fd)
        .map_err(|errno| fail(sys::SysError::new("fstatfs", path.display(), errno)))?;
    Ok(u64::try_from(stat.f_type).ok() == Some(CGROUP2_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_stays_below_the_root_of_the_tree() {
        let table = [
            (None, "box"),
            (Some(""), "box"),
            (Some("/a/b"), "a/b"),
            (Some("a/b"), "a/b"),
            (Some("/a:b:c"), "a:b:c"),
            (Some("../../x"), "x"),
            (Some("/a/../../b/./c//"), "b/c"),
        ];
        for (path, expected) in table {
            assert_eq!(place(path, "box"), Ok(PathBuf::from(expected)), "{path:?}");
        }
    }

    #[test]
    fn a_path_that_names_no_place_is_refused() {
        let table = [
            (
                "/",
                "\"/\" is the root of the tree, which belongs to the host",
            ),
            (
                "a/../..",
                "\"a/../..\" is the root of the tree, which belongs to the host",
            ),
            ("/a\n/..", "\"/a\\n/..\" has a newline in a name"),
            ("/a\0b", "\"/a\\0b\" holds a NUL byte"),
            (
                "system.slice:dhow:box",
                "\"system.slice:dhow:box\" is slice:prefix:name for systemd: give --systemd-cgroup, or a path",
            ),
        ];
        for (path, expected) in table {
            let error = place(Some(path), "box").unwrap_err();
            assert_eq!(error.to_string(), format!("linux.cgroupsPath: {expected}"));
        }
    }

    #[test]
    fn what_is_missing_on_the_way_is_known_before_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        sys::file::create_dir(root.join("a"), 0o755).unwrap();
        let location = Location::below(root.clone(), Path::new("a/b/c")).unwrap();
        assert_eq!(location.made_from, Some(root.join("a/b")));
        assert_eq!(location.name(), "/a/b/c");
        let location = Location::below(root.clone(), Path::new("a")).unwrap();
        assert_eq!(location.made_from, None);
    }
}
