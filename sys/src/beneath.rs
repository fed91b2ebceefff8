//! Paths below a root that somebody hostile may control, even while we look: resolved in the kernel by
//! openat2(2) with RESOLVE_IN_ROOT, so that `..` and absolute links stay inside, and without magic
//! links (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133 are all a path resolved twice or in the wrong
//! root). Kernels before 5.6 get a walk with O_PATH fds that does the same in user space.
//! Not its job: trusted host paths (that is [`crate::file`]).

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::probe::Feature;
use crate::{Result, SysError};

/// Links followed before a path counts as a loop, as in the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// EAGAIN from openat2 means that a rename raced with `..`; the kernel asks to try again (openat2(2)).
const MAX_RACES: u32 = 128;

/// A directory that paths can't leave.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    /// Device and inode, once somebody has asked.
    identity: OnceCell<(u64, u64)>,
}

impl Root {
    /// Takes a directory fd (O_PATH is enough) as the root of all paths given later.
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            identity: OnceCell::new(),
        }
    }

    /// Whether `stat` is that of the root directory itself.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn is(&self, stat: &rustix::fs::Stat) -> Result<bool, Errno> {
        let identity = match self.identity.get() {
            Some(identity) => *identity,
            None => {
                let own = rustix::fs::fstat(&self.fd)?;
                *self.identity.get_or_init(|| (own.st_dev, own.st_ino))
            }
        };
        Ok(identity == (stat.st_dev, stat.st_ino))
    }

    /// The root directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens `path` below the root. `flags` are those of open(2) without O_CREAT; O_CLOEXEC is added.
    /// A link as last component is followed unless O_NOFOLLOW is among the flags.
    ///
    /// # Errors
    /// As open(2): ENOENT, ENOTDIR, ELOOP (also for a magic link).
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.resolve(path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| SysError::new("open", path.display(), errno))
    }

    /// Opens `path` for nothing but being named: an O_PATH fd of whatever is there.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub fn open_path(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open(path, OFlags::PATH)
    }

    /// Opens `path` like [`Root::open_path`]; what is not there is `None`.
    ///
    /// # Errors
    /// As [`Root::open`], without ENOENT and ENOTDIR.
    pub fn find(&self, path: impl AsRef<Path>) -> Result<Option<OwnedFd>> {
        match self.open_path(path) {
            Ok(fd) => Ok(Some(fd)),
            Err(e) if e.errno == Errno::NOENT || e.errno == Errno::NOTDIR => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The directory that holds `path`'s last component, and that component. Links in the directory
    /// part are followed inside the root; the last component is not looked at.
    ///
    /// # Errors
    /// As [`Root::open`]; EINVAL if `path` has no last name (`/`, `..`).
    pub fn parent(&self, path: impl AsRef<Path>) -> Result<(OwnedFd, OsString)> {
        let path = path.as_ref();
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Err(SysError::new("open", path.display(), Errno::INVAL)
                .with_note("the path has no last name"));
        };
        let name = name.to_owned();
        // A single name has the empty path as parent.
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or_else(|| Path::new("."));
        let fd = self.open(dir, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((fd, name))
    }

    /// Makes every directory of `path` that is missing, with `mode` less the umask, and gives the last
    /// one (O_PATH). A dangling link is made good inside the root: its target is created there.
    ///
    /// # Errors
    /// As mkdir(2); ENOTDIR where a component is a file.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.make_dirs(path, Mode::from_raw_mode(mode))
            .map_err(|errno| SysError::new("mkdir", path.display(), errno))
    }

    /// As [`Root::create_dir_all`], for a path of which it is known that it is not there: it saves the look.
    ///
    /// # Errors
    /// As [`Root::create_dir_all`].
    pub fn create_missing_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        let made = self
            .make_last(path, Mode::from_raw_mode(mode))
            .map_err(|errno| SysError::new("mkdir", path.display(), errno))?;
        match made {
            Some(made) => Ok(made),
            None => self.create_dir_all(path, mode),
        }
    }

    /// Opens the file `path`, or makes it empty with `mode` and its missing directories with 0755.
    /// Whatever is there already (a device, a socket) is opened O_PATH as it is.
    ///
    /// # Errors
    /// As open(2) and mkdir(2).
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        if let Some(found) = self.find(path)? {
            return Ok(found);
        }
        let subject = |errno| SysError::new("create", path.display(), errno);
        let parent = path.parent().unwrap_or_else(|| Path::new("."));
        let dir = self.create_dir_all(parent, 0o755)?;
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Err(subject(Errno::ISDIR));
        };
        // O_EXCL: a link put there meanwhile is not followed (CVE-2024-45310).
        rustix::fs::openat(
            &dir,
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_raw_mode(mode),
        )
        .map_err(subject)
    }

    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT);
        }
        if !Feature::Openat2.present() {
            return self.walk(path, flags);
        }
        let (path, resolve) = match crate::fault::broken("no-root-for-paths") {
            false => (path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS),
            // As if the path were joined to the root's: links lead anywhere.
            true => (joined(path), ResolveFlags::empty()),
        };
        for _ in 0..MAX_RACES {
            match rustix::fs::openat2(&self.fd, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// openat2's work in user space. Each component is opened O_PATH|O_NOFOLLOW from the fd of the one
    /// before; `..` goes back along our own stack of fds, never up the tree as it is now.
    fn walk(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut stack: Vec<OwnedFd> = Vec::new();
        let mut rest: Vec<OsString> = reversed(path);
        let mut links = 0;
        let trailing_slash = path.as_os_str().as_bytes().ends_with(b"/");
        while let Some(name) = rest.pop() {
            let here = stack.last().map_or(self.fd.as_fd(), AsFd::as_fd);
            if name == ".." {
                stack.pop();
                continue;
            }
            let next = rustix::fs::openat(
                here,
                name.as_os_str(),
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let last = rest.is_empty() && !trailing_slash;
            let stop_at_link = last && flags.contains(OFlags::NOFOLLOW);
            if !is_link(&next)? || stop_at_link {
                stack.push(next);
                continue;
            }
            links += 1;
            if links > MAX_LINKS || on_procfs(&next)? {
                return Err(Errno::LOOP);
            }
            let target =
                OsString::from_vec(rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes());
            if target.as_bytes().starts_with(b"/") {
                stack.clear();
            }
            rest.extend(reversed(Path::new(&target)));
        }
        let found = match stack.pop() {
            Some(fd) => fd,
            None => rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?,
        };
        reopen(&found, flags)
    }

    /// Makes `path`'s last directory if all before it are there, as is mostly so: three calls, where the
    /// way through every component takes three for each. `None`: it takes that way.
    fn make_last(&self, path: &Path, mode: Mode) -> Result<Option<OwnedFd>, Errno> {
        let Some(Component::Normal(name)) = path.components().next_back() else {
            return Ok(None);
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(dir) = self.resolve(parent, open, Mode::empty()) else {
            return Ok(None);
        };
        match make_one(&dir, name, mode)? {
            Made::Dir(made) => Ok(Some(made)),
            Made::Link(_) => Ok(None),
        }
    }

    fn make_dirs(&self, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
        let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.resolve(
            if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            },
            open,
            Mode::empty(),
        ) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        if let Some(made) = self.make_last(path, mode)? {
            return Ok(made);
        }
        let mut pending: Vec<OsString> = reversed(path);
        let mut done = OsString::from("/");
        let mut dir = self.resolve(Path::new("."), open, Mode::empty())?;
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let mut next = done.clone();
            next.push("/");
            next.push(&name);
            dir = match self.resolve(Path::new(&next), open, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if name == ".." => return Err(Errno::NOENT),
                Err(Errno::NOENT) => match make_one(&dir, &name, mode)? {
                    Made::Dir(fd) => fd,
                    Made::Link(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP);
                        }
                        // A dangling link: go on with its target, from its own directory or the root.
                        if target.as_bytes().starts_with(b"/") {
                            done = OsString::from("/");
                        }
                        dir = self.resolve(Path::new(&done), open, Mode::empty())?;
                        pending.extend(reversed(Path::new(&target)));
                        continue;
                    }
                },
                Err(errno) => return Err(errno),
            };
            done = next;
        }
        Ok(dir)
    }
}

/// An absolute path as a relative one; the root itself is `.`.
fn joined(path: &Path) -> &Path {
    match path.strip_prefix("/") {
        Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
        Ok(rest) => rest,
        Err(_) => path,
    }
}

enum Made {
    Dir(OwnedFd),
    Link(OsString),
}

/// Makes the directory `name` in `dir`; if a link is there, gives its target instead.
fn make_one(dir: &OwnedFd, name: &OsStr, mode: Mode) -> Result<Made, Errno> {
    match rustix::fs::mkdirat(dir, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let fd = rustix::fs::openat(
        dir,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    match file_type(&fd)? {
        FileType::Directory => Ok(Made::Dir(fd)),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
            Ok(Made::Link(OsString::from_vec(target.into_bytes())))
        }
        _ => Err(Errno::NOTDIR),
    }
}

/// The names of `path`, last first, `..` kept: what a stack of work wants.
fn reversed(path: &Path) -> Vec<OsString> {
    let mut names: Vec<OsString> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    names.reverse();
    names
}

fn file_type(fd: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

fn is_link(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(file_type(fd)? == FileType::Symlink)
}

fn on_procfs(fd: &OwnedFd) -> Result<bool, Errno> {
    match rustix::fs::fstatfs(fd) {
        Ok(stat) => Ok(stat.f_type == rustix::fs::PROC_SUPER_MAGIC),
        // fstatfs on an O_PATH fd needs Linux 3.12; a link there can't be told apart, so it is refused.
        Err(Errno::BADF) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Opens an O_PATH fd again with the wanted flags, through our own procfs (never the container's).
fn reopen(found: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    if flags.contains(OFlags::PATH) {
        if flags.contains(OFlags::DIRECTORY) && file_type(found)? != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        return rustix::io::fcntl_dupfd_cloexec(found, 0);
    }
    if flags.contains(OFlags::NOFOLLOW) && is_link(found)? {
        return Err(Errno::LOOP);
    }
    crate::proc::reopen(found, flags - OFlags::NOFOLLOW)
}

#[cfg(test)]
mod tests;
