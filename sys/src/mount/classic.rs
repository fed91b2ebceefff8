//! mount(2) in the mount API's place, for kernels before 5.12: the same calls, by other means.
//!
//! A mount can't be detached there, so it is made on a private tmpfs that lies over the root directory,
//! where no path leads by chance, and is moved from there (MS_MOVE). Both ends of every call are numbers
//! of open descriptors, seen from /proc/self/fd as working directory: no path is resolved twice here
//! either. That takes a mount namespace of our own; in the host's nothing is ever mounted.
//! Not its job: id-mapped mounts, which those kernels do not have.

mod flags;
mod table;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::{Attr, Change, Depth};
use crate::{Errno, Result, SysError};
use flags::{after, of_attributes, of_mount};

/// Whether this process is in a mount namespace of its own.
static OWN: AtomicBool = AtomicBool::new(false);

/// The place where mounts are made, while there are any.
static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

struct Stage {
    /// The root of the tmpfs.
    dir: OwnedFd,
    /// How many mounts have been made on it.
    made: u32,
    /// How many of them are still there.
    left: u32,
}

/// From now on mounts can be made: this mount namespace is not the host's.
pub(super) fn allow() {
    OWN.store(true, Ordering::Relaxed);
}

/// What is told to a file system before it is mounted.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) source: Option<String>,
    flags: MountFlags,
    data: Vec<String>,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            source: None,
            flags: MountFlags::empty(),
            data: Vec::new(),
        }
    }
}

impl Words {
    pub(super) fn set(&mut self, kind: &str, key: &str, value: &str) -> Result<()> {
        let value = match (value.contains(','), kind) {
            _ if key == "source" => {
                self.source = Some(value.to_owned());
                return Ok(());
            }
            (false, _) => value.to_owned(),
            (true, "overlay") => value.replace(',', "\\,"),
            // SELinux takes its quotes off again.
            (true, _) if key.ends_with("context") => format!("\"{value}\""),
            (true, _) => {
                let error = SysError::new("mount", kind, Errno::INVAL);
                return Err(error.with_note(format!("a comma in `{key}` needs Linux 5.12")));
            }
        };
        self.data.push(format!("{key}={value}"));
        Ok(())
    }

    pub(super) fn flag(&mut self, key: &str) {
        match flags::of_word(key) {
            Some(flag) => self.flags |= flag,
            None => self.data.push(key.to_owned()),
        }
    }

    fn data(&self) -> Result<CString> {
        CString::new(self.data.join(",")).map_err(|_| SysError::new("mount", "", Errno::INVAL))
    }

    /// Mounts a new file system.
    pub(super) fn mount(self, kind: &str, attributes: Attr) -> Result<OwnedFd> {
        let source = self.source.as_deref().unwrap_or("none");
        let flags = self.flags | of_attributes(u64::from(attributes.bits()));
        let data = self.data()?;
        on_stage(FileType::Directory, |place| {
            by_number("mount", kind, || {
                rustix::mount::mount(source, &*number(place), kind, flags, data.as_c_str())
            })
        })
    }

    /// Gives the file system of the mount `mount` these options.
    pub(super) fn remount(self, mount: BorrowedFd<'_>) -> Result<()> {
        let flags = self.flags | of_mount(mount)?;
        let data = self.data()?;
        by_number("mount", "", || {
            rustix::mount::mount_remount(&*number(mount), flags, data.as_c_str())
        })
    }
}

/// A copy of the mount at `path` (from `dir`; empty: `dir` itself), as [`super::clone_tree`] makes one.
pub(super) fn clone_tree(dir: BorrowedFd<'_>, path: &OsStr, depth: Depth) -> Result<OwnedFd> {
    let opened;
    let source = if path.is_empty() {
        dir
    } else {
        opened = rustix::fs::openat(dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| SysError::new("open", path.display(), errno))?;
        opened.as_fd()
    };
    let kind = rustix::fs::fstat(source)
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
        .map_err(|errno| SysError::new("stat", path.display(), errno))?;
    let place = match kind {
        FileType::Directory => FileType::Directory,
        _ => FileType::RegularFile,
    };
    on_stage(place, |place| {
        let (from, to) = (number(source), number(place));
        by_number("mount", path, || match depth {
            Depth::One => rustix::mount::mount_bind(&*from, &*to),
            Depth::Recursive => rustix::mount::mount_bind_recursive(&*from, &*to),
        })
    })
}

/// Moves a mount from the stage to what `target` is an fd of. The stage goes with the last one.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let (from, to) = (number(mount), number(target));
    by_number("mount", "", || rustix::mount::mount_move(&*from, &*to))?;
    let mut stage = stage();
    let Some(now) = stage.as_mut() else {
        return Ok(());
    };
    now.left = now.left.saturating_sub(1);
    if now.left > 0 {
        return Ok(());
    }
    let dir = number(now.dir.as_fd());
    by_number("umount", "our stage", || {
        rustix::mount::unmount(&*dir, UnmountFlags::DETACH)
    })?;
    *stage = None;
    Ok(())
}

/// Moves a mount that is in use over the root directory.
pub(super) fn move_over_root(mount: BorrowedFd<'_>) -> Result<()> {
    let from = number(mount);
    by_number("mount", "/", || rustix::mount::mount_move(&*from, "/"))
}

/// As [`super::set_attr`], one mount after the other.
pub(super) fn set_attr(mount: BorrowedFd<'_>, depth: Depth, change: &Change<'_>) -> Result<()> {
    if change.user_namespace.is_some() {
        let error = SysError::new("mount_setattr", "", Errno::NOSYS);
        return Err(error.with_note("id-mapped mounts need Linux 5.12"));
    }
    if change.set != 0 || change.clear != 0 {
        let flags = after(of_mount(mount)?, change) | MountFlags::BIND;
        remount(mount, flags)?;
        if depth == Depth::Recursive {
            for below in table::below(mount)? {
                let flags = after(of_mount(below.as_fd())?, change) | MountFlags::BIND;
                remount(below.as_fd(), flags)?;
            }
        }
    }
    let Some(propagation) = change.propagation else {
        return Ok(());
    };
    let mut flags = propagation.flags();
    if depth == Depth::Recursive {
        flags |= MountPropagationFlags::REC;
    }
    by_number("mount", "", || {
        rustix::mount::mount_change(&*number(mount), flags)
    })
}

fn remount(mount: BorrowedFd<'_>, flags: MountFlags) -> Result<()> {
    by_number("mount", "", || {
        rustix::mount::mount_remount(&*number(mount), flags, c"")
    })
}

fn stage() -> MutexGuard<'static, Option<Stage>> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a mount point on the stage, lets `make` mount something there, and opens that.
fn on_stage(kind: FileType, make: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<OwnedFd> {
    if !OWN.load(Ordering::Relaxed) {
        let error = SysError::new("fsopen", "", Errno::NOSYS);
        return Err(error.with_note("mounts outside of a container need Linux 5.12"));
    }
    let mut guard = stage();
    let stage = match guard.as_mut() {
        Some(stage) => stage,
        None => guard.insert(build()?),
    };
    stage.made += 1;
    let name = stage.made.to_string();
    let fail = |call| move |errno| SysError::new(call, "our stage", errno);
    if kind == FileType::Directory {
        rustix::fs::mkdirat(&stage.dir, &name, Mode::RWXU).map_err(fail("mkdir"))?;
    } else {
        let (mode, none) = (Mode::RUSR, 0);
        rustix::fs::mknodat(&stage.dir, &name, FileType::RegularFile, mode, none)
            .map_err(fail("mknod"))?;
    }
    let open = |flags| {
        rustix::fs::openat(&stage.dir, &name, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(fail("open"))
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    make(open(flags)?.as_fd())?;
    stage.left += 1;
    open(flags)
}

/// The stage: private, so that mounts can be moved away from it, and above the root directory, which
/// `/..` alone leads to.
fn build() -> Result<Stage> {
    let fail = |call| move |errno| SysError::new(call, "our stage", errno);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("stage", "/", "tmpfs", flags, c"mode=700").map_err(fail("mount"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, "/..", flags, Mode::empty()).map_err(fail("open"))?;
    let place = number(dir.as_fd());
    by_number("mount", "our stage", || {
        rustix::mount::mount_change(&*place, MountPropagationFlags::PRIVATE)
    })?;
    Ok(Stage {
        dir,
        made: 0,
        left: 0,
    })
}

/// A descriptor's name in /proc/self/fd.
fn number(fd: BorrowedFd<'_>) -> String {
    fd.as_raw_fd().to_string()
}

/// Runs `act` with /proc/self/fd of our own procfs as working directory.
fn by_number(
    call: &'static str,
    subject: impl AsRef<OsStr>,
    act: impl FnOnce() -> Result<(), Errno>,
) -> Result<()> {
    let fail = |errno| SysError::new(call, subject.as_ref().display(), errno);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::openat(CWD, ".", flags, Mode::empty()).map_err(fail)?;
    let numbers = crate::proc::open("self/fd", flags)?;
    rustix::process::fchdir(&numbers).map_err(fail)?;
    let done = act();
    rustix::process::fchdir(&here).map_err(fail)?;
    done.map_err(fail)
}
