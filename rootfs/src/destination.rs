//! Where a mount goes: which places it may cover, and the fd of its place below the root.
//! Not its job: what is mounted there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use sys::at::{FileType, Mode, OFlags, Stat};
use sys::beneath::Root;
use sys::{Errno, SysError};

use crate::attach::file_type;
use crate::mounts::{MountStep, What};
use crate::options::Link;

/// procfs' number in statfs(2).
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// The places in /proc that a mount may cover, as runc has them: the files that lxcfs and CRIU answer in
/// the kernel's place. Any other cover could stand in for a file that we or the kernel trust
/// (CVE-2019-16884, CVE-2019-19921).
const COVERS_IN_PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// A destination as an absolute path (a relative one starts at `/`, runtime-spec 1.2). Pure.
pub(crate) fn absolute(destination: &Path) -> Result<PathBuf, String> {
    let mut path = PathBuf::from("/");
    for component in destination.components() {
        match component {
            Component::Normal(name) => path.push(name),
            // By its letters alone, as runc does; the kernel resolves what is left inside the root.
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if path == Path::new("/") {
        return Err(format!(
            "`{}` is the container's root itself",
            destination.display()
        ));
    }
    Ok(path)
}

/// Refuses to cover /proc, or a file in it, with something that is not the kernel's own: see
/// [`COVERS_IN_PROC`]. A bind on /proc itself is checked when its source is open. Pure.
pub(crate) fn check_proc(destination: &Path, what: &What) -> Result<(), String> {
    let Ok(below) = destination.strip_prefix("/proc") else {
        return Ok(());
    };
    let ours = match what {
        What::Remount => true,
        What::Bind { .. } if below.as_os_str().is_empty() => true,
        What::FileSystem { kind, .. } if below.as_os_str().is_empty() => kind == "proc",
        What::Bind { .. } | What::FileSystem { .. } => COVERS_IN_PROC
            .iter()
            .any(|path| destination == Path::new(path)),
    };
    if ours {
        Ok(())
    } else {
        Err(format!(
            "`{}`: only a procfs may be mounted on /proc, and nothing over its files",
            destination.display()
        ))
    }
}

/// The place of a mount.
pub(crate) struct Target {
    /// An fd of what is to be covered.
    pub(crate) fd: OwnedFd,
    /// The mode of a directory that was there before.
    pub(crate) mode: Option<u32>,
}

/// Finds the destination below the root, or makes it: a directory (0755), or an empty file for a bind of
/// anything else.
pub(crate) fn find(root: &Root, step: &MountStep, kind: FileType) -> Result<Target, SysError> {
    let path = &step.destination;
    let found = if must_be_plain(step) {
        plain(root.fd(), path, kind)?
    } else if step.options.links.contains(&Link::Destination) {
        present(root.open(path, OFlags::PATH | OFlags::NOFOLLOW))?
    } else {
        root.find(path)?
    };
    if let Some(fd) = found {
        let stat = sys::at::fstat(&fd).map_err(|e| SysError::new("stat", path.display(), e))?;
        check_target(root, path, &fd, &stat)?;
        let mode = Some(stat.st_mode & 0o7777);
        return Ok(Target { fd, mode });
    }
    // What is made here is new and empty: it can be neither the root nor a part of procfs, where nothing
    // can be made.
    let fd = match kind {
        FileType::Directory => root.create_missing_dir(path, 0o755)?,
        FileType::Unknown => return Err(SysError::new("open", path.display(), Errno::NOENT)),
        _ => root.create_file(path, 0o644)?,
    };
    Ok(Target { fd, mode: None })
}

/// What is not there as `None`.
fn present(opened: Result<OwnedFd, SysError>) -> Result<Option<OwnedFd>, SysError> {
    match opened {
        Err(e) if e.errno == Errno::NOENT || e.errno == Errno::NOTDIR => Ok(None),
        result => result.map(Some),
    }
}

/// Makes the link `path` below the root, with the target of the link that `source` is an fd of. One that
/// is there already and says the same is as good.
pub(crate) fn copy_link(root: &Root, path: &Path, source: &OwnedFd) -> Result<(), SysError> {
    let fail = |call| move |errno| SysError::new(call, path.display(), errno);
    let target = sys::at::readlinkat(source, "", Vec::new()).map_err(fail("readlink"))?;
    root.create_dir_all(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    let (dir, name) = root.parent(path)?;
    match sys::at::symlinkat(&target, &dir, &name) {
        Err(Errno::EXIST) => match sys::at::readlinkat(&dir, &name, Vec::new()) {
            Ok(there) if there == target => Ok(()),
            _ => Err(fail("symlink")(Errno::EXIST).with_note("something else has this name")),
        },
        result => result.map_err(fail("symlink")),
    }
}

/// Whether no link may stand in the destination's path: what the kernel answers in /proc and /sys is
/// trusted by all, so they are where their name says (CVE-2019-19921, CVE-2023-27561).
fn must_be_plain(step: &MountStep) -> bool {
    let kernels =
        matches!(&step.what, What::FileSystem { kind, .. } if kind == "proc" || kind == "sysfs");
    let place = kernels
        || ["/proc", "/sys"]
            .iter()
            .any(|p| step.destination.starts_with(p));
    place && !sys::fault::broken("no-plain-proc")
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
fn check_target(root: &Root, path: &Path, target: &OwnedFd, stat: &Stat) -> Result<(), SysError> {
    let fail = |errno| SysError::new("open", path.display(), errno);
    if root.is(stat).map_err(fail)? {
        return Err(fail(Errno::BUSY).with_note("it leads to the container's root itself"));
    }
    if !path.starts_with("/proc") && on_procfs(target).map_err(fail)? {
        return Err(fail(Errno::LOOP).with_note("it leads into a procfs"));
    }
    Ok(())
}

/// Only a procfs may be bound on /proc.
pub(crate) fn check_proc_source(step: &MountStep, mount: &OwnedFd) -> Result<(), SysError> {
    let fail = |errno| SysError::new("stat", step.destination.display(), errno);
    if step.destination == Path::new("/proc") && !on_procfs(mount).map_err(fail)? {
        return Err(fail(Errno::INVAL).with_note("the source is not a procfs"));
    }
    Ok(())
}

fn on_procfs(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(u64::try_from(sys::at::fstatfs(fd)?.f_type).is_ok_and(|magic| magic == PROC_SUPER_MAGIC))
}
