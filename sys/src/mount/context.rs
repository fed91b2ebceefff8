//! A file system before it is mounted: its options are set, then a detached mount of it is made. When the
//! kernel refuses, its own words are read from the fs context.
//! Not its job: where the mount goes.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags};

use super::{Attr, classic};
use crate::probe::Feature;
use crate::{Errno, Result, SysError};

/// A file system being configured (fsopen(2), Linux 5.2; before, its options are kept for mount(2)).
#[derive(Debug)]
pub struct FsContext {
    way: Way,
    kind: String,
}

/// How a file system is told its options.
#[derive(Debug)]
enum Way {
    /// One by one, through this fd.
    Context(OwnedFd),
    /// All at once, in the end; to the mount that is there already, if there is one.
    Classic(RefCell<classic::Words>, Option<OwnedFd>),
}

impl FsContext {
    /// Begins a new file system of type `kind` (`tmpfs`, `overlay`, `proc`).
    ///
    /// # Errors
    /// ENODEV: the kernel has no such type; EPERM: not privileged over the user namespace.
    pub fn new(kind: &str) -> Result<Self> {
        if !Feature::MountApi.present() {
            return Ok(Self::classic(kind, None));
        }
        let fd = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
            let error = SysError::new("mount", kind, errno);
            match errno {
                Errno::NODEV => error.with_note("the kernel has no such file system"),
                _ => error,
            }
        })?;
        Ok(Self {
            way: Way::Context(fd),
            kind: kind.to_owned(),
        })
    }

    fn classic(kind: &str, mount: Option<OwnedFd>) -> Self {
        Self {
            way: Way::Classic(RefCell::default(), mount),
            kind: kind.to_owned(),
        }
    }

    /// Sets the option `key` to `value`.
    ///
    /// # Errors
    /// EINVAL with the kernel's text for an unknown option or a bad value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        match &self.way {
            Way::Context(fd) => {
                rustix::mount::fsconfig_set_string(fd, key, value).map_err(|errno| self.fail(errno))
            }
            Way::Classic(words, _) => words.borrow_mut().set(&self.kind, key, value),
        }
    }

    /// Sets the option `key` to a file (overlay's `lowerdir+` takes fds from Linux 6.13 on).
    ///
    /// # Errors
    /// As [`FsContext::set`].
    pub fn set_fd(&self, key: &str, value: impl AsFd) -> Result<()> {
        match &self.way {
            Way::Context(fd) => {
                rustix::mount::fsconfig_set_fd(fd, key, value).map_err(|errno| self.fail(errno))
            }
            Way::Classic(..) => Err(self.fail(Errno::INVAL)),
        }
    }

    /// Sets the option `key` that takes no value.
    ///
    /// # Errors
    /// As [`FsContext::set`].
    pub fn flag(&self, key: &str) -> Result<()> {
        match &self.way {
            Way::Context(fd) => {
                rustix::mount::fsconfig_set_flag(fd, key).map_err(|errno| self.fail(errno))
            }
            Way::Classic(words, _) => {
                words.borrow_mut().flag(key);
                Ok(())
            }
        }
    }

    /// Begins a change of the file system that `mount` is a mount of (fspick(2)).
    ///
    /// # Errors
    /// As fspick(2): EINVAL if it is not the root of a mount.
    pub fn of_mount(mount: impl AsFd) -> Result<Self> {
        if !Feature::MountApi.present() {
            let mount = mount.as_fd().try_clone_to_owned();
            let mount = mount.map_err(|e| SysError::from_io("dup", "", &e))?;
            return Ok(Self::classic("", Some(mount)));
        }
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let fd = rustix::mount::fspick(mount, "", flags)
            .map_err(|errno| SysError::new("fspick", "", errno))?;
        Ok(Self {
            way: Way::Context(fd),
            kind: String::new(),
        })
    }

    /// Gives the file system the options that were set (remount).
    ///
    /// # Errors
    /// As fsconfig(2), with the kernel's text.
    pub fn reconfigure(self) -> Result<()> {
        match self.way {
            Way::Context(ref fd) => {
                rustix::mount::fsconfig_reconfigure(fd).map_err(|errno| self.fail(errno))
            }
            Way::Classic(words, Some(mount)) => words.into_inner().remount(mount.as_fd()),
            Way::Classic(_, None) => Err(self.fail(Errno::INVAL)),
        }
    }

    /// Makes the file system, and a detached mount of it with these attributes.
    ///
    /// # Errors
    /// As fsconfig(2) and fsmount(2), with the kernel's text.
    pub fn mount(self, attributes: Attr) -> Result<OwnedFd> {
        let fd = match self.way {
            Way::Context(ref fd) => fd,
            Way::Classic(words, _) => return words.into_inner().mount(&self.kind, attributes),
        };
        rustix::mount::fsconfig_create(fd).map_err(|errno| self.fail(errno))?;
        rustix::mount::fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| self.fail(errno))
    }

    /// The failure with what the kernel wrote into the context: lines such as `e tmpfs: Bad value for 'size'`.
    fn fail(&self, errno: Errno) -> SysError {
        let error = SysError::new("mount", &self.kind, errno);
        let Way::Context(fd) = &self.way else {
            return error;
        };
        let mut words = Vec::new();
        let mut buffer = [0_u8; 512];
        while let Ok(n @ 1..) = rustix::io::read(fd, &mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..n]).trim_end().to_owned();
            if let Some(text) = line.strip_prefix("e ").or_else(|| line.strip_prefix("w ")) {
                words.push(text.to_owned());
            }
        }
        if words.is_empty() {
            error
        } else {
            error.with_note(words.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_words_reach_the_error() {
        if !crate::privileges::is_root() {
            return;
        }
        let context = FsContext::new("tmpfs").unwrap();
        let error = context
            .set("size", "banana")
            .and_then(|()| context.mount(Attr::empty()).map(drop));
        assert_eq!(
            error.unwrap_err().note.as_deref(),
            Some("tmpfs: Bad value for 'size'")
        );
    }
}
