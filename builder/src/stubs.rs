//! Empty files and folders that a RUN's mounts need in the tree, taken away again afterwards. Works on
//! the upper directory once nothing is mounted on it any more, name by name without following links: the
//! command may have put a link to elsewhere in a stub's place (CVE-2024-23652). Not its job: the mounts.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::at::{self, AtFlags, FileType, Mode, OFlags};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::error::{Doing, Result};

/// Everything that is always mounted on while a command runs.
const MOUNTED: [&str; 7] = [
    "etc",
    "dev",
    "proc",
    "sys",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/hostname",
];

/// Folders that every root has, and that the other builders leave in one that has them not. Whether the command made
/// them itself can't be seen: it found them there.
const EXPECTED: [&str; 3] = ["dev", "proc", "sys"];

/// Which of them were in the tree before the command ran, by their paths: parents before what is in them.
pub(crate) struct Stubs {
    before: BTreeMap<String, Option<Looks>>,
}

/// As the kernel has it.
const MOST_LINKS: usize = 40;

/// What a folder looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looks {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Looks {
    fn of(fd: impl AsFd) -> Result<Self, Errno> {
        let stat = at::fstat(fd)?;
        Ok(Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        })
    }
}

impl Stubs {
    /// Looks at the tree before the command runs, which will see mounts at `targets` too.
    pub(crate) fn before(root: &Root, targets: &[String]) -> Result<Self> {
        let mut before = BTreeMap::new();
        for target in MOUNTED
            .iter()
            .copied()
            .chain(targets.iter().map(String::as_str))
        {
            for path in places(root, target)? {
                let doing = || format!("look at /{path}");
                let looks = match root.find(&path).doing(doing)? {
                    None => None,
                    Some(fd) => Some(
                        Looks::of(&fd)
                            .map_err(|errno| SysError::new("stat", &path, errno))
                            .doing(doing)?,
                    ),
                };
                before.insert(path, looks);
            }
        }
        Ok(Self { before })
    }

    /// Takes away what was not there before and is still empty; of what was there, an empty copy that
    /// says nothing new.
    pub(crate) fn remove(&self, upper: &Path) -> Result<()> {
        let upper = sys::file::open_dir(upper).doing(|| "open the layer".to_owned())?;
        // What is in a folder before the folder.
        for (path, looks) in self.before.iter().rev() {
            clear(&upper, path, *looks)
                .map_err(|errno| SysError::new("remove", path, errno))
                .doing(|| format!("take the mount point /{path} out of the layer"))?;
        }
        Ok(())
    }
}

fn clear(upper: &OwnedFd, path: &str, before: Option<Looks>) -> Result<(), Errno> {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut opened: Option<OwnedFd> = None;
    for part in parents.split('/').filter(|part| !part.is_empty()) {
        match folder(opened.as_ref().unwrap_or(upper), part)? {
            Some(fd) => opened = Some(fd),
            None => return Ok(()),
        }
    }
    let parent = opened.as_ref().unwrap_or(upper);
    let stat = match at::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if before.is_none() && EXPECTED.contains(&path) {
        return Ok(());
    }
    let removed = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            if let Some(before) = before {
                let Some(fd) = folder(parent, name)? else {
                    return Ok(());
                };
                if Looks::of(&fd)? != before || is_opaque(&fd)? {
                    return Ok(());
                }
            }
            at::unlinkat(parent, name, AtFlags::REMOVEDIR)
        }
        FileType::RegularFile if before.is_none() && stat.st_size == 0 => {
            at::unlinkat(parent, name, AtFlags::empty())
        }
        _ => return Ok(()),
    };
    match removed {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn folder(parent: &OwnedFd, name: &str) -> Result<Option<OwnedFd>, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if sys::fault::broken("no-stub-check") {
        flags -= OFlags::NOFOLLOW;
    }
    match at::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Where a target and the folders above it really are in the tree, links followed inside it; parents first.
fn places(root: &Root, target: &str) -> Result<Vec<String>> {
    let parts = |path: &str| -> Vec<String> { path.split('/').map(str::to_owned).collect() };
    let mut left: VecDeque<String> = parts(target).into();
    let mut here: Vec<String> = Vec::new();
    let mut places = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                here.pop();
                continue;
            }
            _ => {}
        }
        here.push(part);
        let path = here.join("/");
        match link(root, &path)? {
            Some(to) if links < MOST_LINKS => {
                links += 1;
                here.pop();
                if to.starts_with('/') {
                    here.clear();
                }
                for part in parts(&to).into_iter().rev() {
                    left.push_front(part);
                }
            }
            _ => places.push(path),
        }
    }
    Ok(places)
}

/// What a link says; `None` if there is none.
fn link(root: &Root, path: &str) -> Result<Option<String>> {
    let doing = || format!("look at /{path}");
    let (folder, name) = match root.parent(path) {
        Ok(found) => found,
        // Nothing is mounted through a ring of links: whoever mounts there says so.
        Err(e) if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].contains(&e.errno) => {
            return Ok(None);
        }
        Err(e) => return Err(e).doing(doing),
    };
    match at::readlinkat(&folder, &name, Vec::new()) {
        Ok(to) => Ok(Some(to.to_string_lossy().into_owned())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(SysError::new("readlink", path, errno)).doing(doing),
    }
}

/// A folder that hides what is below it says something even if it is empty.
fn is_opaque(fd: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0_u8; 8];
    match at::fgetxattr(fd, "trusted.overlay.opaque", &mut value[..]) {
        Ok(length) => Ok(length > 0),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test makes its own files")]
mod tests {
    use super::*;

    #[test]
    fn stubs_go_and_what_the_command_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let lower = dir.path().join("lower");
        let upper = dir.path().join("upper");
        std::fs::create_dir_all(lower.join("etc")).unwrap();
        std::fs::create_dir_all(&upper).unwrap();
        let root = Root::new(sys::file::open_path(&lower).unwrap());
        let stubs = Stubs::before(&root, &[]).unwrap();
        for folder in ["etc", "dev", "proc", "sys/kept"] {
            std::fs::create_dir_all(upper.join(folder)).unwrap();
        }
        std::fs::write(upper.join("etc/hosts"), "").unwrap();
        std::fs::write(upper.join("etc/hostname"), "mine").unwrap();
        stubs.remove(&upper).unwrap();
        for (path, stays) in [
            ("etc/hosts", false),
            ("etc/hostname", true),
            ("dev", true),
            ("proc", true),
            ("sys/kept", true),
        ] {
            assert_eq!(upper.join(path).exists(), stays, "{path}");
        }
        std::fs::remove_file(upper.join("etc/hostname")).unwrap();
        stubs.remove(&upper).unwrap();
        assert!(!upper.join("etc").exists());
    }

    #[test]
    fn a_targets_stubs_are_where_the_links_of_the_tree_lead() {
        let dir = tempfile::tempdir().unwrap();
        let lower = dir.path().join("lower");
        let upper = dir.path().join("upper");
        std::fs::create_dir_all(lower.join("real/sub")).unwrap();
        std::os::unix::fs::symlink("/real", lower.join("link")).unwrap();
        std::os::unix::fs::symlink("loop", lower.join("loop")).unwrap();
        let root = Root::new(sys::file::open_path(&lower).unwrap());
        let targets = ["/link/sub/a/b".to_owned(), "/new/file".to_owned()];
        let stubs = Stubs::before(&root, &targets).unwrap();
        std::fs::create_dir_all(upper.join("real/sub/a/b")).unwrap();
        std::fs::create_dir_all(upper.join("new")).unwrap();
        std::fs::write(upper.join("new/file"), "").unwrap();
        std::fs::write(upper.join("kept"), "").unwrap();
        // The folders of the lower layer look the same in the upper one.
        stubs.remove(&upper).unwrap();
        let names: Vec<_> = std::fs::read_dir(&upper).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(upper.join("kept").exists());
        assert!(places(&root, "/loop/x").is_ok());
    }

    #[test]
    fn a_link_in_a_stubs_place_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let lower = dir.path().join("lower");
        let upper = dir.path().join("upper");
        let outside = dir.path().join("outside");
        for folder in [&lower, &upper, &outside] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(outside.join("hosts"), "").unwrap();
        let root = Root::new(sys::file::open_path(&lower).unwrap());
        let stubs = Stubs::before(&root, &[]).unwrap();
        std::os::unix::fs::symlink(&outside, upper.join("etc")).unwrap();
        stubs.remove(&upper).unwrap();
        assert!(outside.join("hosts").exists());
        assert!(upper.join("etc").is_symlink());
    }
}
