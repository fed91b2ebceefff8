//! Fills /dev: nodes, standard links, ptmx. By fd below the container's /dev, wherever the image leads
//! that name (CVE-2026-41579, CVE-2026-47766: a `/dev` that is a link out of the image).
//! Not its job: which devices (that is [`mod@crate::devices`]), and the console (that is [`crate::console`]).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use sys::at::{AtFlags, FileType, Gid, Mode, Uid};
use sys::beneath::Root;
use sys::mount::Depth;
use sys::{Errno, SysError};

use crate::devices::{Device, Kind};
use crate::error::Doing;
use crate::{Error, attach};

/// Where device files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// They are made: needs CAP_MKNOD over the host.
    Make,
    /// They are the host's, bound one by one: what is left in a user namespace.
    Bind,
}

/// The links of runtime-spec, "Dev symbolic links".
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the device files, or binds the host's.
///
/// # Errors
/// [`Error::Act`] naming the device: something else has its name, or the host's is another device.
pub fn make(root: &Root, devices: &[Device], nodes: Nodes) -> Result<(), Error> {
    // Most are in one directory: it is opened once.
    let mut parent: Option<(&Path, OwnedFd)> = None;
    for device in devices {
        let (dir, name) = split(&device.path);
        let act = || format!("make device {device}");
        let fd = match parent.take() {
            Some((known, fd)) if known == dir => fd,
            _ => root.create_dir_all(dir, 0o755).doing(act)?,
        };
        let made = match nodes == Nodes::Make || device.kind == Kind::Fifo {
            true => make_node(&fd, name, device),
            false => bind_node(root, device),
        };
        // Root of a user namespace that somebody else made (rootless podman) learns of its limits only here.
        let made = match made {
            Err(e) if e.errno == Errno::PERM && nodes == Nodes::Make => bind_node(root, device),
            made => made,
        };
        made.doing(act)?;
        parent = Some((dir, fd));
    }
    Ok(())
}

/// A path that [`device`] has checked, as directory and name.
fn split(path: &Path) -> (&Path, &OsStr) {
    let dir = path.parent().unwrap_or(Path::new("/"));
    (dir, path.file_name().unwrap_or_default())
}

fn make_node(dir: &OwnedFd, name: &OsStr, device: &Device) -> Result<(), SysError> {
    let fail = |call| {
        let path = device.path.display();
        move |errno| SysError::new(call, &path, errno)
    };
    let number = sys::at::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode);
    match sys::at::mknodat(dir, name, device.kind.file_type(), mode, number) {
        Ok(()) if (device.uid, device.gid) == (0, 0) => return Ok(()),
        Ok(()) => {}
        Err(Errno::EXIST) => return check_node(dir, name, device),
        Err(errno) => return Err(fail("mknod")(errno)),
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    sys::at::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(fail("chown"))
}

/// What the image or a mount has put there already is good if it is that very device.
fn check_node(dir: &OwnedFd, name: &OsStr, device: &Device) -> Result<(), SysError> {
    let fail = |errno| SysError::new("mknod", device.path.display(), errno);
    let stat = sys::at::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    if is(&stat, device) {
        Ok(())
    } else {
        Err(fail(Errno::EXIST).with_note("something else has this name"))
    }
}

fn is(stat: &sys::at::Stat, device: &Device) -> bool {
    FileType::from_raw_mode(stat.st_mode) == device.kind.file_type()
        && (device.kind == Kind::Fifo
            || stat.st_rdev == sys::at::makedev(device.major, device.minor))
}

fn bind_node(root: &Root, device: &Device) -> Result<(), SysError> {
    let host = sys::file::open_path(&device.path)?;
    let fail = |errno| SysError::new("open", device.path.display(), errno);
    if !is(&sys::at::fstat(&host).map_err(fail)?, device) {
        return Err(fail(Errno::NXIO).with_note("the host has another device there"));
    }
    let mount = sys::mount::clone_tree(&host, "", Depth::One)?;
    let target = root.create_file(&device.path, 0o666)?;
    attach::onto(&mount, target, &device.path)
}

/// Makes the links of /dev: fd, stdin, stdout, stderr, core where the kernel has it, and ptmx to the
/// container's own devpts. A name that is taken stays as it is, but for ptmx: the host's must not stay.
///
/// # Errors
/// [`Error::Act`] naming the link.
pub fn link(root: &Root) -> Result<(), Error> {
    let dir = root
        .create_dir_all("/dev", 0o755)
        .doing(|| "make links in /dev")?;
    for (name, target) in LINKS {
        link_one(&dir, name, target)?;
    }
    if root
        .find("/proc/kcore")
        .doing(|| "make links in /dev")?
        .is_some()
    {
        link_one(&dir, "core", "/proc/kcore")?;
    }
    match sys::at::unlinkat(&dir, "ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => link_one(&dir, "ptmx", "pts/ptmx"),
        Err(errno) => {
            Err(SysError::new("unlink", "/dev/ptmx", errno)).doing(|| "replace /dev/ptmx")
        }
    }
}

fn link_one(dir: &OwnedFd, name: &str, target: &str) -> Result<(), Error> {
    match sys::at::symlinkat(target, dir, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(SysError::new("symlink", format_args!("/dev/{name}"), errno))
            .doing(|| format!("make the link /dev/{name}")),
    }
}
