//! A file system image in a plain file, shown without a loop device (erofs, Linux 6.12), and trees that are either a
//! directory or such an image. Not its job: making images.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::{Attr, FsContext};
use crate::probe::Feature;
use crate::{Errno, Result, SysError, fault};

/// A tree that lies on disk as one of two things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A directory.
    Folder(PathBuf),
    /// An image in a plain file, which must be ours and nobody else's to read or write: the kernel believes what it reads
    /// in a file system (CVE-2023-30549).
    Image(PathBuf),
}

impl Tree {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        let (Self::Folder(path) | Self::Image(path)) = self;
        path
    }

    /// Opens it as a layer of an overlay. Of an image it is the mount's own fd: an overlay takes no layer whose mount is
    /// gone, so it is held until the overlay is made.
    ///
    /// # Errors
    /// As open(2) and [`image`]; EPERM for an image that somebody else may have written.
    pub fn layer(&self) -> Result<OwnedFd> {
        match self {
            Self::Folder(path) => crate::file::open_path(path),
            Self::Image(path) => image(own_file(path)?),
        }
    }

    /// Opens its root, to be read.
    ///
    /// # Errors
    /// As [`Tree::layer`].
    pub fn open(&self) -> Result<OwnedFd> {
        match self {
            Self::Folder(path) => crate::file::open_dir(path),
            Self::Image(_) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::openat(self.layer()?, ".", flags, Mode::empty())
                    .map_err(|errno| SysError::new("open", "the root of an image", errno))
            }
        }
    }
}

/// Opens a plain file that only we can have written.
///
/// # Errors
/// As open(2); EPERM if it is somebody else's, or open to others, or no plain file.
pub fn own_file(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fail = |call| move |errno| SysError::new(call, path.display(), errno);
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(fail("open"))?;
    let stat = rustix::fs::fstat(&fd).map_err(fail("fstat"))?;
    let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let ours = stat.st_uid == crate::privileges::ids().0 && stat.st_mode & 0o077 == 0;
    match plain && (ours || fault::broken("no-image-owner")) {
        true => Ok(fd),
        false => Err(fail("open")(Errno::PERM).with_note("it is no file of ours alone")),
    }
}

/// Shows the EROFS image in an open file: a detached mount, read-only, which goes when its last fd is closed and
/// nothing that was made of it needs it.
///
/// # Errors
/// As fsconfig(2): ENOTBLK if the kernel mounts no plain file, or not one of this file system; EINVAL if it is no image;
/// EPERM without root's rights on the host; ENODEV without erofs.
pub fn image(file: impl AsFd) -> Result<OwnedFd> {
    if !Feature::MountApi.present() || fault::broken("no-erofs") {
        let error = SysError::new("mount", "erofs", Errno::NODEV);
        return Err(error.with_note("the kernel has no such file system"));
    }
    let context = FsContext::new("erofs")?;
    let source = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    context.set("source", &source)?;
    let mount = context.mount(Attr::MOUNT_ATTR_RDONLY);
    mount.map_err(|error| match error.errno {
        Errno::NOTBLK => error.with_note("this kernel mounts no file system from a file"),
        _ => error,
    })
}

/// Whether the kernel also takes images as layers of an overlay: tried with the one in `file`, twice.
///
/// # Errors
/// What the kernel says against it.
pub fn stacks_images(file: impl AsFd) -> Result<()> {
    let overlay = FsContext::new("overlay")?;
    // An overlay takes no layer whose own mount is gone: they are held until it is made.
    let layers = [image(&file)?, image(&file)?];
    for layer in &layers {
        overlay.set_fd("lowerdir+", layer)?;
    }
    overlay.mount(Attr::MOUNT_ATTR_RDONLY).map(drop)
}
