//! A file system image in a plain file, shown without a loop device (erofs, Linux 6.12), and trees that are either a
//! directory or such an image. Not its job: making images.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::{Attr, FsContext};
use crate::probe::Feature;
use crate::{Errno, Result, SysError};

/// Shows the EROFS image in an open file: a detached mount, read-only, which goes when its last fd is closed and
/// nothing that was made of it needs it.
///
/// # Errors
/// As fsconfig(2): ENOTBLK if the kernel mounts no plain file, or not one of this file system; EINVAL if it is no image;
/// EPERM without root's rights on the host; ENODEV without erofs.
pub fn image(file: impl AsFd) -> Result<OwnedFd> {
    if !Feature::MountApi.present() {
        let error = SysError::new("mount", "erofs", Errno::NODEV);
        return Err(error.with_note("the kernel has no such file system"));
    }
    let context = FsContext::new("erofs")?;
    let source = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    context.set("source", &source)?;
    context.mount(Attr::MOUNT_ATTR_RDONLY)
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

/// Opens the tree at `path`: a directory, or the root of the image in a plain file. A link is not followed.
///
/// # Errors
/// As open(2) and [`image`].
pub fn open_tree(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fail = |call| move |errno| SysError::new(call, path.display(), errno);
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(fail("open"))?;
    let stat = rustix::fs::fstat(&fd).map_err(fail("fstat"))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(fd),
        FileType::RegularFile => {
            let mount = image(&fd)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(&mount, ".", flags, Mode::empty()).map_err(fail("open"))
        }
        _ => Err(fail("open")(Errno::NOTDIR)),
    }
}
