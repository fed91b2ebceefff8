//! Mounts by fd: file system contexts, trees, attributes. A mount is built detached and moved to where
//! it belongs by fd, so that no path is resolved twice. Not its job: which mounts a container wants.

mod classic;
mod context;
mod image;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use context::FsContext;
pub use image::{Tree, image, own_file, stacks_images};
pub use rustix::mount::MountAttrFlags as Attr;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::probe::Feature;
use crate::{Errno, Result, SysError};

/// Whether what is mounted below a tree comes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// This mount alone.
    One,
    /// All below it too.
    Recursive,
}

/// Clones the mount at `path` (from `dir`) as a detached tree: the source of a bind mount.
/// An empty `path` means `dir` itself.
///
/// # Errors
/// As open_tree(2); EINVAL if the source is not in our mount namespace.
pub fn clone_tree(dir: impl AsFd, path: impl AsRef<Path>, depth: Depth) -> Result<OwnedFd> {
    let path = path.as_ref();
    if !Feature::MountApi.present() {
        return classic::clone_tree(dir.as_fd(), path.as_os_str(), depth);
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if depth == Depth::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(dir, path, flags)
        .map_err(|errno| SysError::new("open_tree", path.display(), errno))
}

/// Attaches the detached tree `mount` on top of what `target` is an fd of.
///
/// # Errors
/// As move_mount(2); ENOTDIR for a directory on a file or the other way round.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    if !Feature::MountApi.present() {
        return classic::attach(mount.as_fd(), target.as_fd());
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
        .map_err(|errno| SysError::new("move_mount", "", errno))
}

/// How mounts and unmounts travel between copies of a mount (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Towards us only.
    Slave,
    /// Both ways.
    Shared,
    /// Neither way, and it can't be bound elsewhere.
    Unbindable,
}

impl Propagation {
    fn flags(self) -> MountPropagationFlags {
        match self {
            Self::Private => MountPropagationFlags::PRIVATE,
            Self::Slave => MountPropagationFlags::DOWNSTREAM,
            Self::Shared => MountPropagationFlags::SHARED,
            Self::Unbindable => MountPropagationFlags::UNBINDABLE,
        }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Slave => "slave",
            Self::Shared => "shared",
            Self::Unbindable => "unbindable",
        })
    }
}

/// A change of a mount's attributes (mount_setattr(2), Linux 5.12). What neither is set nor cleared stays.
#[derive(Debug, Clone, Default)]
pub struct Change<'a> {
    /// Attributes to add; MOUNT_ATTR_* bits.
    pub set: u64,
    /// Attributes to take away. One bit of the atime group clears the group.
    pub clear: u64,
    /// The new propagation.
    pub propagation: Option<Propagation>,
    /// The user namespace whose maps the mount is to have (with MOUNT_ATTR_IDMAP in `set`).
    pub user_namespace: Option<BorrowedFd<'a>>,
}

/// mount_setattr(2)'s structure.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the attributes of the mount that `mount` is an fd of, and of all below it if `depth` says so:
/// all or nothing.
///
/// # Errors
/// As mount_setattr(2); EPERM where a user namespace may not drop a locked attribute.
pub fn set_attr(mount: impl AsFd, depth: Depth, change: &Change<'_>) -> Result<()> {
    if !Feature::MountApi.present() {
        return classic::set_attr(mount.as_fd(), depth, change);
    }
    let attr = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change
            .propagation
            .map_or(0, |p| u64::from(p.flags().bits())),
        userns_fd: change
            .user_namespace
            .map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0)),
    };
    let recursive = match depth {
        Depth::One => 0,
        Depth::Recursive => libc::AT_RECURSIVE,
    };
    // SAFETY: the path is a C string, the structure lives through the call and its size is given; the
    // kernel writes to neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(SysError::new(
            "mount_setattr",
            "",
            crate::process::last_errno(),
        ))
    }
}

/// Whether the kernel has mount_setattr(2): a call with a too small structure says EINVAL, not ENOSYS.
pub(crate) fn set_attr_exists() -> bool {
    // SAFETY: the path is a C string; with size 0 the kernel reads no structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            c"".as_ptr(),
            0,
            std::ptr::null::<MountAttr>(),
            0,
        )
    };
    result == 0 || crate::process::last_errno() == Errno::INVAL
}

/// Sets the propagation of every mount of this mount namespace, which must be our own: from now on mounts
/// are made in it.
///
/// # Errors
/// As mount(2).
pub fn propagate_all(propagation: Propagation) -> Result<()> {
    rustix::mount::mount_change("/", propagation.flags() | MountPropagationFlags::REC)
        .map_err(|errno| SysError::new("mount", format!("/ ({propagation}, recursive)"), errno))?;
    classic::allow();
    Ok(())
}

/// Takes away the mount at `path`, at once for new users and for the old ones when they are done.
///
/// # Errors
/// As umount2(2).
pub fn detach(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(|errno| SysError::new("umount", path.display(), errno))
}

/// Makes the current directory the root and stacks the old root on top of it (pivot_root(2), its NOTES).
///
/// # Errors
/// As pivot_root(2); EINVAL where the root is a ramfs.
pub fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").map_err(|errno| SysError::new("pivot_root", "", errno))
}

/// Moves the mount `mount` over the root of this mount namespace: what is left where pivot_root can't work.
///
/// # Errors
/// As move_mount(2).
pub fn move_over_root(mount: impl AsFd) -> Result<()> {
    if !Feature::MountApi.present() {
        return classic::move_over_root(mount.as_fd());
    }
    rustix::mount::move_mount(
        mount,
        "",
        rustix::fs::CWD,
        "/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(|errno| SysError::new("move_mount", "/", errno))
}

/// Undoes the octal escapes of mountinfo (proc_pid_mountinfo(5)). Pure.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, code) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}
