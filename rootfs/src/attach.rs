//! Carries out one mount step below the container's root.
//!
//! A mount is made whole while it is detached, with its attributes, and then moved by fd onto its
//! destination: nobody sees it half made, and no path is resolved twice (CVE-2021-30465,
//! CVE-2024-45310). Before Linux 5.12, which has no detached mounts,
//! `sys::mount` does the same on a stage of its own.
//! Not its job: what is mounted where (that is [`crate::mounts`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use sys::at::{FileType, Mode, OFlags, XattrFlags};
use sys::beneath::Root;
use sys::mount::{self, Attr, Change, Depth, FsContext, Propagation};
use sys::probe::Feature;
use sys::{Errno, SysError};

use crate::copy_up::copy_up;
use crate::error::Doing;
use crate::mounts::{Lock, MountStep, What};
use crate::options::{AttrChange, Link, MountOptions};
use crate::{Error, destination};

/// What the privileged parent can do of a step before it clones, to be handed to [`attach()`]: for a bind,
/// its detached mount. So a missing source is found before anything is made, and a `shared` mount is one
/// with the host's (a copy made inside, after [`crate::pivot::isolate`], can only receive). A parent
/// without the right to mount leaves it to [`attach()`].
///
/// `ids` is the user namespace whose maps an id-mapped step's mount is to have. A new file system is made
/// by [`attach()`], which then is to get it instead of a mount.
///
/// # Errors
/// [`Error::Act`] with the step's words: the source is missing, an attribute is refused.
pub fn prepare(step: &MountStep, ids: Option<OwnedFd>) -> Result<Option<OwnedFd>, Error> {
    match &step.what {
        What::Bind { source, .. } if !Feature::MountApi.present() => {
            // That it is there is said now; it can only be mounted from inside.
            classic(source, &step.options).doing(|| step)
        }
        What::Bind { source, depth } => bind(source, *depth, &step.options, ids.as_ref())
            .doing(|| step)
            .map(Some),
        What::FileSystem { .. } => Ok(ids),
        What::Remount => Ok(None),
    }
}

fn classic(source: &Path, options: &MountOptions) -> Result<Option<OwnedFd>, SysError> {
    if options.ids.is_some() {
        let error = SysError::new("mount_setattr", "", Errno::NOSYS);
        return Err(error.with_note("id-mapped mounts need Linux 5.12"));
    }
    open_link(source).map(|_| None)
}

/// Makes the step's mount, unless it is `prepared` (see [`prepare`]), and attaches it below `root`.
/// Gives the mount if it is still to become read-only ([`Lock::Late`]), for [`lock()`].
///
/// # Errors
/// [`Error::Act`] with the step's words and the kernel's.
pub fn attach(
    root: &Root,
    step: &MountStep,
    prepared: Option<OwnedFd>,
) -> Result<Option<OwnedFd>, Error> {
    carry_out(root, step, prepared).doing(|| step)
}

/// Makes a mount read-only that had to be written before.
///
/// # Errors
/// [`Error::Act`].
pub fn lock(mount: &OwnedFd) -> Result<(), Error> {
    let change = Change {
        set: u64::from(Attr::MOUNT_ATTR_RDONLY.bits()),
        ..Change::default()
    };
    mount::set_attr(mount, Depth::One, &change).doing(|| "make a mount read-only")
}

fn carry_out(
    root: &Root,
    step: &MountStep,
    prepared: Option<OwnedFd>,
) -> Result<Option<OwnedFd>, SysError> {
    let options = &step.options;
    match &step.what {
        What::Bind { source, depth } => {
            let mount = match prepared {
                Some(mount) => mount,
                None => bind(source, *depth, options, None)?,
            };
            let kind = file_type(&mount)?;
            if kind == FileType::Symlink && options.links.contains(&Link::Copy) {
                return destination::copy_link(root, &step.destination, &mount).map(|()| None);
            }
            let target = destination::find(root, step, kind)?;
            destination::check_proc_source(step, &mount)?;
            onto(&mount, &target.fd, &step.destination)?;
        }
        What::FileSystem { kind, source } => {
            let target = destination::find(root, step, FileType::Directory)?;
            let mode = target.mode.filter(|_| kind == "tmpfs");
            let mount = file_system(kind, source.as_deref(), step, mode)?;
            if let Some(label) = &step.label {
                set_label(&mount, label)?;
            }
            if options.copy_up {
                copy_up(&target.fd, &mount)?;
            }
            dress(&mount, &AttrChange::default(), options, prepared.as_ref())?;
            onto(&mount, &target.fd, &step.destination)?;
            return Ok(Some(mount).filter(|_| step.lock == Lock::Late));
        }
        What::Remount => {
            let target = destination::find(root, step, FileType::Unknown)?;
            if !options.data.is_empty() || !options.whole.is_empty() {
                let context = FsContext::of_mount(&target.fd)?;
                configure(&context, options)?;
                context.reconfigure()?;
            }
            dress(&target.fd, &options.attr, options, None)?;
        }
    }
    Ok(None)
}

/// The label of a file system that takes none as an option: that of its root (security.selinux).
fn set_label(mount: &OwnedFd, label: &str) -> Result<(), SysError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = sys::at::openat(mount, ".", flags, Mode::empty())
        .map_err(|errno| SysError::new("open", "the mount's root", errno))?;
    let (name, none) = ("security.selinux", XattrFlags::empty());
    sys::at::fsetxattr(&root, name, label.as_bytes(), none)
        .map_err(|errno| SysError::new("setxattr", format_args!("{name} {label}"), errno))
}

fn bind(
    source: &Path,
    depth: Depth,
    options: &MountOptions,
    ids: Option<&OwnedFd>,
) -> Result<OwnedFd, SysError> {
    let source = match options.links.iter().any(|link| *link != Link::Destination) {
        true => open_link(source)?,
        false => sys::file::open_path(source)?,
    };
    if options.links.contains(&Link::Copy) && file_type(&source)? == FileType::Symlink {
        return Ok(source);
    }
    let mount = mount::clone_tree(&source, "", depth)?;
    dress(&mount, &options.attr, options, ids)?;
    Ok(mount)
}

/// An fd of what is at a trusted path, be it a link itself.
fn open_link(path: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::at::openat(sys::at::CWD, path, flags, Mode::empty())
        .map_err(|errno| SysError::new("open", path.display(), errno))
}

/// Gives a mount its attributes, ids and propagation, in the order of the option words' weight: this
/// mount, the tree, then how mounts travel.
fn dress(
    mount: &OwnedFd,
    attr: &AttrChange,
    options: &MountOptions,
    ids: Option<&OwnedFd>,
) -> Result<(), SysError> {
    let mapped = options.ids.as_ref().map(|ids| ids.depth);
    if mapped.is_some() && ids.is_none() {
        // Never shown with the wrong owners instead.
        return Err(SysError::new("mount_setattr", "", Errno::PERM)
            .with_note("only who is root on the host may map the ids of a mount"));
    }
    for (change, depth) in [(attr, Depth::One), (&options.recursive, Depth::Recursive)] {
        let user_namespace = ids.filter(|_| mapped == Some(depth)).map(AsFd::as_fd);
        let left_out = depth == Depth::Recursive && sys::fault::broken("no-whole-tree");
        if left_out || change.is_empty() && user_namespace.is_none() {
            continue;
        }
        let change = Change {
            set: change.set | user_namespace.map_or(0, |_| IDMAP),
            clear: change.clear,
            user_namespace,
            ..Change::default()
        };
        mount::set_attr(mount, depth, &change)
            .map_err(|error| explain(error, user_namespace.is_some()))?;
    }
    for (propagation, depth) in &options.propagation {
        propagate(mount, *propagation, *depth)?;
    }
    Ok(())
}

/// The attribute that says that a mount has a user namespace's ids.
const IDMAP: u64 = Attr::MOUNT_ATTR_IDMAP.bits() as u64;

/// What the kernel means when it refuses ids: the other reasons are ruled out by how we ask.
fn explain(error: SysError, mapped: bool) -> SysError {
    match error.errno {
        Errno::INVAL if mapped => {
            error.with_note("the file system can't show its files with other ids")
        }
        Errno::PERM if mapped => {
            error.with_note("the mount has other ids already, or is a user namespace's own")
        }
        _ => error,
    }
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
    step: &MountStep,
    mode: Option<u32>,
) -> Result<OwnedFd, SysError> {
    let options = &step.options;
    let context = FsContext::new(kind)?;
    if let Some(source) = source {
        context.set("source", source)?;
    }
    let mut attr = Attr::from_bits_retain(u32::try_from(options.attr.set).unwrap_or(0));
    if step.lock == Lock::Late {
        attr.remove(Attr::MOUNT_ATTR_RDONLY);
    } else if options.is_read_only() && source.is_some_and(|s| s.starts_with('/')) {
        // A device is to be read-only as a whole, or its journal would be written. For the kernel's own
        // file systems, which all mounts share, the attribute of the mount is the right one.
        context.flag("ro")?;
    }
    if let Some(mode) = mode.filter(|_| options.value("mode").is_none()) {
        context.set("mode", &format!("{mode:o}"))?;
    }
    configure(&context, options)?;
    context.mount(attr)
}

/// Tells a file system the options that are its own.
fn configure(context: &FsContext, options: &MountOptions) -> Result<(), SysError> {
    for flag in &options.whole {
        context.flag(flag)?;
    }
    for data in &options.data {
        match &data.value {
            Some(value) => context.set(&data.key, value)?,
            None => context.flag(&data.key)?,
        }
    }
    Ok(())
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
