//! Carries out one mount step below the container's root.
//!
//! A mount is made whole while it is detached, with its attributes, and then moved by fd onto its
//! destination: nobody sees it half made, and no path is resolved twice (CVE-2021-30465,
//! CVE-2024-45310). Needs the fd mount API with mount_setattr (Linux 5.12).
//! Not its job: what is mounted where (that is [`crate::mounts`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use sys::at::{FileType, Mode, OFlags};
use sys::beneath::Root;
use sys::mount::{self, Attr, Change, Depth, FsContext, Propagation};
use sys::probe::Feature;
use sys::{Errno, SysError};

use crate::Error;
use crate::copy_up::copy_up;
use crate::error::Doing;
use crate::mounts::{MountStep, What};
use crate::options::{AttrChange, MountOptions};

/// procfs' number in statfs(2).
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// The detached mount that a bind step is to attach; `None` for any other step.
///
/// The privileged parent calls it before it clones, and hands the fd to [`attach()`]: so a missing source
/// is found before anything is made, and a `shared` mount is one with the host's (a copy made inside,
/// after [`crate::pivot::isolate`], can only receive). A parent without the right to mount leaves it to
/// [`attach()`].
///
/// # Errors
/// [`Error::Act`] with the step's words: the source is missing, an attribute is refused.
pub fn prepare(step: &MountStep) -> Result<Option<OwnedFd>, Error> {
    match &step.what {
        What::Bind { source, depth } => {
            bind(source, *depth, &step.options).doing(|| step).map(Some)
        }
        What::FileSystem { .. } | What::Remount => Ok(None),
    }
}

/// Makes the step's mount, unless it is `prepared`, and attaches it below `root`.
///
/// # Errors
/// [`Error::Act`] with the step's words and the kernel's.
pub fn attach(root: &Root, step: &MountStep, prepared: Option<OwnedFd>) -> Result<(), Error> {
    carry_out(root, step, prepared).doing(|| step)
}

fn carry_out(root: &Root, step: &MountStep, prepared: Option<OwnedFd>) -> Result<(), SysError> {
    check_kernel()?;
    match &step.what {
        What::Bind { source, depth } => {
            let mount = match prepared {
                Some(mount) => mount,
                None => bind(source, *depth, &step.options)?,
            };
            let target = destination(root, step, file_type(&mount)?)?;
            check_proc_source(step, &mount)?;
            onto(&mount, &target.fd, &step.destination)
        }
        What::FileSystem { kind, source } => {
            let target = destination(root, step, FileType::Directory)?;
            let mode = target.mode.filter(|_| kind == "tmpfs");
            let mount = file_system(kind, source.as_deref(), &step.options, mode)?;
            let mut late = AttrChange::default();
            if step.options.copy_up {
                copy_up(&target.fd, &mount)?;
                late = step.options.attr;
            }
            dress(&mount, &late, &step.options)?;
            onto(&mount, &target.fd, &step.destination)
        }
        What::Remount => {
            let target = destination(root, step, FileType::Unknown)?;
            dress(&target.fd, &step.options.attr, &step.options)
        }
    }
}

/// Says at once what an old kernel lacks, before its own words (ENOSYS, half way) would.
pub(crate) fn check_kernel() -> Result<(), SysError> {
    if Feature::MountApi.present() {
        return Ok(());
    }
    let error = SysError::new("mount_setattr", "", Errno::NOSYS);
    Err(error.with_note("mounting by fd needs Linux 5.12"))
}

fn bind(source: &Path, depth: Depth, options: &MountOptions) -> Result<OwnedFd, SysError> {
    check_kernel()?;
    let source = sys::file::open_path(source)?;
    let mount = mount::clone_tree(&source, "", depth)?;
    dress(&mount, &options.attr, options)?;
    Ok(mount)
}

/// Gives a mount its attributes and propagation, in the order of the option words' weight: this mount,
/// the tree, then how mounts travel.
fn dress(mount: &OwnedFd, attr: &AttrChange, options: &MountOptions) -> Result<(), SysError> {
    for (change, depth) in [(attr, Depth::One), (&options.recursive, Depth::Recursive)] {
        if !change.is_empty() {
            let change = Change {
                set: change.set,
                clear: change.clear,
                ..Change::default()
            };
            mount::set_attr(mount, depth, &change)?;
        }
    }
    for (propagation, depth) in &options.propagation {
        propagate(mount, *propagation, *depth)?;
    }
    Ok(())
}

/// Sets how mounts travel to and from the mount that `mount` is an fd of.
pub(crate) fn propagate(
    mount: impl AsFd,
    propagation: Propagation,
    depth: Depth,
) -> Result<(), SysError> {
    let change = Change {
        propagation: Some(propagation),
        ..Change::default()
    };
    mount::set_attr(mount, depth, &change)
}

/// A new file system, detached. `mode` is that of the directory it will cover: a tmpfs without a mode
/// of its own takes it, as runc's do, so that a tmpfs on /root is not open to all.
fn file_system(
    kind: &str,
    source: Option<&str>,
    options: &MountOptions,
    mode: Option<u32>,
) -> Result<OwnedFd, SysError> {
    let context = FsContext::new(kind)?;
    if let Some(source) = source {
        context.set("source", source)?;
    }
    for flag in &options.whole {
        context.flag(flag)?;
    }
    let mut attr = Attr::from_bits_retain(u32::try_from(options.attr.set).unwrap_or(0));
    if attr.contains(Attr::MOUNT_ATTR_RDONLY) && source.is_some_and(|s| s.starts_with('/')) {
        // A device is to be read-only as a whole, or its journal would be written. For the kernel's own
        // file systems, which all mounts share, the attribute of the mount is the right one.
        context.flag("ro")?;
    }
    if options.copy_up {
        // It must be filled first.
        attr.remove(Attr::MOUNT_ATTR_RDONLY);
    }
    if let Some(mode) = mode.filter(|_| options.value("mode").is_none()) {
        context.set("mode", &format!("{mode:o}"))?;
    }
    for data in &options.data {
        match &data.value {
            Some(value) => context.set(&data.key, value)?,
            None => context.flag(&data.key)?,
        }
    }
    context.mount(attr)
}

struct Target {
    fd: OwnedFd,
    /// The mode of a directory that was there before.
    mode: Option<u32>,
}

/// Finds the destination below the root, or makes it: a directory (0755), or an empty file for a bind of
/// anything else.
fn destination(root: &Root, step: &MountStep, kind: FileType) -> Result<Target, SysError> {
    let path = &step.destination;
    let found = if must_be_plain(step) {
        plain(root.fd(), path, kind)?
    } else {
        let found = root.find(path)?;
        if let Some(fd) = &found {
            check_target(root, path, fd)?;
        }
        found
    };
    if let Some(fd) = found {
        let stat = sys::at::fstat(&fd).map_err(|e| SysError::new("stat", path.display(), e))?;
        let mode = Some(stat.st_mode & 0o7777);
        return Ok(Target { fd, mode });
    }
    let fd = match kind {
        FileType::Directory => root.create_dir_all(path, 0o755)?,
        FileType::Unknown => return Err(SysError::new("open", path.display(), Errno::NOENT)),
        _ => root.create_file(path, 0o644)?,
    };
    check_target(root, path, &fd)?;
    Ok(Target { fd, mode: None })
}

/// Whether no link may stand in the destination's path: what the kernel answers in /proc and /sys is
/// trusted by all, so they are where their name says (CVE-2019-19921, CVE-2023-27561).
fn must_be_plain(step: &MountStep) -> bool {
    let kernels =
        matches!(&step.what, What::FileSystem { kind, .. } if kind == "proc" || kind == "sysfs");
    kernels || step.destination.starts_with("/proc") || step.destination.starts_with("/sys")
}

/// Walks to `path` one name at a time and follows no link; makes directories that are missing.
/// `None` if all but the last name are there, and that is to be a file.
fn plain(root: BorrowedFd<'_>, path: &Path, kind: FileType) -> Result<Option<OwnedFd>, SysError> {
    let mut here: Option<OwnedFd> = None;
    let mut names = path.components().peekable();
    while let Some(component) = names.next() {
        let Component::Normal(name) = component else {
            continue;
        };
        let directory = names.peek().is_some() || kind == FileType::Directory;
        let dir = here.as_ref().map_or(root, AsFd::as_fd);
        let next = match open_plain(dir, Path::new(name)) {
            Err(Errno::NOENT) if directory => {
                sys::at::mkdirat(dir, name, Mode::from_raw_mode(0o755))
                    .map_err(|errno| SysError::new("mkdir", path.display(), errno))?;
                open_plain(dir, Path::new(name))
            }
            Err(Errno::NOENT) => return Ok(None),
            result => result,
        };
        let next = next.map_err(|errno| SysError::new("open", path.display(), errno))?;
        match file_type(&next)? {
            FileType::Symlink => {
                return Err(SysError::new("open", path.display(), Errno::LOOP)
                    .with_note(format!("{} is a symbolic link", Path::new(name).display())));
            }
            FileType::Directory => {}
            _ if directory => {
                return Err(SysError::new("open", path.display(), Errno::NOTDIR));
            }
            _ => {}
        }
        here = Some(next);
    }
    Ok(here)
}

fn open_plain(dir: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::at::openat(dir, name, flags, Mode::empty())
}

/// Refuses a destination that a link in the image led to the root itself or into /proc.
fn check_target(root: &Root, path: &Path, target: &OwnedFd) -> Result<(), SysError> {
    let fail = |errno| SysError::new("open", path.display(), errno);
    let (a, b) = (
        sys::at::fstat(root.fd()).map_err(fail)?,
        sys::at::fstat(target).map_err(fail)?,
    );
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
        return Err(fail(Errno::BUSY).with_note("it leads to the container's root itself"));
    }
    if !path.starts_with("/proc") && on_procfs(target).map_err(fail)? {
        return Err(fail(Errno::LOOP).with_note("it leads into a procfs"));
    }
    Ok(())
}

/// Only a procfs may be bound on /proc.
fn check_proc_source(step: &MountStep, mount: &OwnedFd) -> Result<(), SysError> {
    let fail = |errno| SysError::new("stat", step.destination.display(), errno);
    if step.destination == Path::new("/proc") && !on_procfs(mount).map_err(fail)? {
        return Err(fail(Errno::INVAL).with_note("the source is not a procfs"));
    }
    Ok(())
}

fn on_procfs(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(u64::try_from(sys::at::fstatfs(fd)?.f_type).is_ok_and(|magic| magic == PROC_SUPER_MAGIC))
}

pub(crate) fn file_type(fd: impl AsFd) -> Result<FileType, SysError> {
    let stat = sys::at::fstat(fd).map_err(|errno| SysError::new("stat", "", errno))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Moves a detached mount onto its target, both by fd.
pub(crate) fn onto(mount: &OwnedFd, target: impl AsFd, path: &Path) -> Result<(), SysError> {
    let is_directory = |fd: BorrowedFd<'_>| file_type(fd).map(|kind| kind == FileType::Directory);
    mount::attach(mount, &target).map_err(|mut error| {
        path.display().to_string().clone_into(&mut error.subject);
        let ours = is_directory(mount.as_fd());
        match (ours, is_directory(target.as_fd())) {
            (Ok(true), Ok(false)) => error.with_note("a directory can't be mounted on a file"),
            (Ok(false), Ok(true)) => error.with_note("a file can't be mounted on a directory"),
            _ => error,
        }
    })
}
