//! Empty files and folders that a RUN's mounts need in the tree, taken away again afterwards. Works on
//! the upper directory once nothing is mounted on it any more, name by name without following links: the
//! command may have put a link to elsewhere in a stub's place (CVE-2024-23652). Not its job: the mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::at::{self, AtFlags, FileType, Mode, OFlags};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::error::{Doing, Result};

/// Everything that is mounted on while a command runs, parents first.
const MOUNTED: [&str; 7] = [
    "etc",
    "dev",
    "proc",
    "sys",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/hostname",
];

/// Which of them were in the tree before the command ran.
pub(crate) struct Stubs {
    before: Vec<(&'static str, Option<Looks>)>,
}

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
    /// Looks at the tree before the command runs.
    pub(crate) fn before(root: &Root) -> Result<Self> {
        let mut before = Vec::new();
        for path in MOUNTED {
            let doing = || format!("look at /{path}");
            let looks = match root.find(path).doing(doing)? {
                None => None,
                Some(fd) => Some(
                    Looks::of(&fd)
                        .map_err(|errno| SysError::new("stat", path, errno))
                        .doing(doing)?,
                ),
            };
            before.push((path, looks));
        }
        Ok(Self { before })
    }

    /// Takes away what was not there before and is still empty; of what was there, an empty copy that
    /// says nothing new.
    pub(crate) fn remove(&self, upper: &Path) -> Result<()> {
        let upper = sys::file::open_dir(upper).doing(|| "open the layer".to_owned())?;
        for (path, looks) in self.before.iter().rev() {
            clear(&upper, path, *looks)
                .map_err(|errno| SysError::new("remove", path, errno))
                .doing(|| format!("take the mount point /{path} out of the layer"))?;
        }
        Ok(())
    }
}

fn clear(upper: &OwnedFd, path: &str, before: Option<Looks>) -> Result<(), Errno> {
    let (parent, name) = match path.split_once('/') {
        None => (None, path),
        Some((parent, name)) => match folder(upper, parent)? {
            Some(fd) => (Some(fd), name),
            None => return Ok(()),
        },
    };
    let parent = parent.as_ref().unwrap_or(upper);
    let stat = match at::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
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
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match at::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
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
        let stubs = Stubs::before(&root).unwrap();
        for folder in ["etc", "dev", "proc", "sys/kept"] {
            std::fs::create_dir_all(upper.join(folder)).unwrap();
        }
        std::fs::write(upper.join("etc/hosts"), "").unwrap();
        std::fs::write(upper.join("etc/hostname"), "mine").unwrap();
        stubs.remove(&upper).unwrap();
        for (path, stays) in [
            ("etc/hosts", false),
            ("etc/hostname", true),
            ("dev", false),
            ("proc", false),
            ("sys/kept", true),
        ] {
            assert_eq!(upper.join(path).exists(), stays, "{path}");
        }
        std::fs::remove_file(upper.join("etc/hostname")).unwrap();
        stubs.remove(&upper).unwrap();
        assert!(!upper.join("etc").exists());
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
        let stubs = Stubs::before(&root).unwrap();
        std::os::unix::fs::symlink(&outside, upper.join("etc")).unwrap();
        stubs.remove(&upper).unwrap();
        assert!(outside.join("hosts").exists());
        assert!(upper.join("etc").is_symlink());
    }
}
