//! What the caller of a call that waits has: memory, descriptors, folders. Not its job: the call.
//!
//! A caller is known by its folder in our procfs. The folder stands for one task: of a later one with the same id
//! nothing is read through it. So who opens it and then finds the call still waiting has that call's own task.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags};

use crate::{Errno, Result};

/// The longest path that a call takes, with its NUL (PATH_MAX).
const PATH_MAX: usize = 4096;

/// A task that waits in a call.
#[derive(Debug)]
pub struct Caller {
    folder: OwnedFd,
}

/// A descriptor of a caller's, opened anew by us.
#[derive(Debug)]
pub struct Opened {
    /// What it names (O_PATH).
    pub fd: OwnedFd,
    /// Whether the caller has it for nothing but naming (O_PATH).
    pub path_only: bool,
}

impl Caller {
    /// The thread with this id in our PID namespace.
    pub(super) fn of(thread: u32) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        crate::proc::open(&thread.to_string(), flags).map(|folder| Self { folder })
    }

    /// Its root directory (O_PATH).
    ///
    /// # Errors
    /// As open(2): ESRCH, ENOENT once it has ended.
    pub fn root(&self) -> Result<OwnedFd, Errno> {
        self.follow("root")
    }

    /// Its working directory (O_PATH).
    ///
    /// # Errors
    /// As [`Caller::root`].
    pub fn directory(&self) -> Result<OwnedFd, Errno> {
        self.follow("cwd")
    }

    /// What its descriptor of this number names.
    ///
    /// # Errors
    /// EBADF if it has none.
    pub fn opened(&self, number: i32) -> Result<Opened, Errno> {
        let missing = |errno| match errno {
            Errno::NOENT => Errno::BADF,
            errno => errno,
        };
        let about = rustix::fs::openat(
            &self.folder,
            format!("fdinfo/{number}"),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(missing)?;
        let about = crate::kernfs::read(about, "fdinfo").map_err(|e| missing(e.errno))?;
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        Ok(Opened {
            fd: self.follow(&format!("fd/{number}")).map_err(missing)?,
            path_only: flags.is_none_or(|flags| flags & OFlags::PATH.bits() != 0),
        })
    }

    /// The path at an address in its memory.
    ///
    /// # Errors
    /// EFAULT where there is none; ENAMETOOLONG if it has no end.
    pub fn path(&self, address: u64) -> Result<OsString, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let memory = rustix::fs::openat(&self.folder, "mem", flags, Mode::empty())?;
        let mut buffer = [0_u8; PATH_MAX];
        let mut length = 0;
        while length < PATH_MAX {
            // A path that ends in the last page that is there: less comes than was asked for.
            let place = address.checked_add(length as u64).ok_or(Errno::FAULT)?;
            let count = match rustix::io::pread(&memory, &mut buffer[length..], place) {
                Ok(0) | Err(Errno::IO) => return Err(Errno::FAULT),
                count => count?,
            };
            let came = &buffer[length..length + count];
            if let Some(end) = came.iter().position(|byte| *byte == 0) {
                return Ok(OsString::from_vec(buffer[..length + end].to_vec()));
            }
            length += count;
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Opens what one of its links leads to. They are the kernel's own: what they lead to is opened, no name of it.
    fn follow(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, name, flags, Mode::empty())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_caller_is_read_as_it_is() {
        let me = crate::process::id().as_raw_nonzero().get();
        let caller = Caller::of(me.unsigned_abs()).unwrap();
        let path = c"/some/where";
        assert_eq!(caller.path(path.as_ptr() as u64).unwrap(), "/some/where");
        assert_eq!(caller.path(8), Err(Errno::FAULT));
        let long = vec![b'x'; 2 * PATH_MAX];
        assert_eq!(caller.path(long.as_ptr() as u64), Err(Errno::NAMETOOLONG));
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let opened = caller.opened(file.as_raw_fd()).unwrap();
        assert!(!opened.path_only);
        assert!(caller.opened(opened.fd.as_raw_fd()).unwrap().path_only);
        assert_eq!(caller.opened(-1).unwrap_err(), Errno::BADF);
        assert!(Caller::of(0).is_err(), "somebody whom we don't see");
    }
}
