//! Mounts by fd: file system contexts, trees, attributes. A mount is built detached and moved to where
//! it belongs by fd, so that no path is resolved twice. When the kernel refuses, its own words are read
//! from the fs context. Not its job: which mounts a container wants.

mod classic;

use std::cell::RefCell;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use rustix::mount::MountAttrFlags as Attr;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

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
