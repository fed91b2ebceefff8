//! Cgroups below a container's: where a further process of it goes. Not its job: making them.

use std::os::fd::AsFd;
use std::path::Path;

use sys::at::{self, Mode, OFlags};
use sys::{Errno, SysError};

use crate::{Cgroup, Error, Result, location};

impl Cgroup {
    /// The cgroup at `part` below this one; an empty path, or `/`, is this one itself.
    ///
    /// # Errors
    /// [`Error::Spec`] for a path with names like `..`, [`Error::Directory`] where there is none.
    pub fn below(self, part: &str) -> Result<Self> {
        let mut cgroup = self;
        for name in part.split('/').filter(|name| !name.is_empty()) {
            let is_name = !matches!(name, "." | "..");
            if !is_name && !sys::fault::broken("no-cgroup-names") {
                let reason = format!("{part:?} has a component that is no name");
                return Err(Error::spec("--cgroup", reason));
            }
            let path = cgroup.path.join(name);
            let fail = |errno| Error::Directory {
                what: "open",
                path: path.clone(),
                source: SysError::new("open", path.display(), errno),
            };
            // cgroup v2 has no links; one here would be in something mounted over it.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = match at::openat(cgroup.dir.as_fd(), name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    let reason = format!("{part:?} is not there below the container's cgroup");
                    return Err(Error::spec("--cgroup", reason));
                }
                dir => dir.map_err(&fail)?,
            };
            let device = |fd: &_| at::fstat(fd).map(|stat| stat.st_dev).map_err(&fail);
            if device(&dir)? != device(&cgroup.dir)? {
                return Err(fail(Errno::XDEV));
            }
            cgroup = Self { path, dir };
        }
        Ok(cgroup)
    }

    /// The cgroup, this one or one below it, that takes a further process beside `first`, which is in one of
    /// them: a container that hands controllers down to cgroups of its own has moved there itself, and the
    /// kernel lets no process into the one above any more (cgroup-v2.rst, "No Internal Process Constraint").
    ///
    /// # Errors
    /// [`Error::Interface`], [`Error::Directory`].
    pub fn beside(self, first: i32) -> Result<Self> {
        let is_leaf = at::fstat(&self.dir).is_ok_and(|stat| stat.st_nlink <= 2);
        if is_leaf
            || self
                .read("read the controllers of", "cgroup.subtree_control")?
                .trim()
                .is_empty()
        {
            return Ok(self);
        }
        let place = location::of(&format!("{first}"))?;
        match place.strip_prefix(&self.path).ok().and_then(Path::to_str) {
            Some(part) => {
                let part = part.to_owned();
                self.below(&part)
            }
            // It was moved out of what is the container's: that is nobody's place but its own.
            None => Ok(self),
        }
    }
}
