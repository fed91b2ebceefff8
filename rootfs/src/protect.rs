//! Hides and locks what the kernel shows: masked paths, read-only paths. Runs after the pivot, with
//! paths resolved from the new root.
//!
//! A path is resolved once, to an fd; what covers it is made detached, with its attributes, and moved
//! onto that fd (youki's GHSA-3q8j-pf29-vwv8 was a path resolved again between bind and remount).
//! A path that is not there needs no protection and is skipped, as the spec has it.
//! Not its job: which paths (the spec says), and a read-only root (that is [`mod@crate::pivot`]).

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::at::FileType;
use sys::beneath::Root;
use sys::mount::{self, Attr, Change, Depth, FsContext};
use sys::{Errno, SysError};

use crate::error::Doing;
use crate::{Error, attach};

/// What masked paths are covered with; made when first needed, then shared by all of one container.
#[derive(Debug, Default)]
pub struct Masks {
    /// An empty read-only directory. Once it is attached, copies of it can be made on every kernel
    /// (copies of a detached mount need Linux 6.15).
    empty: Option<OwnedFd>,
    /// The container's /dev/null.
    null: Option<OwnedFd>,
}

impl Masks {
    /// Covers `path`: a directory with an empty one, anything else with /dev/null.
    ///
    /// # Errors
    /// [`Error::Act`]: /dev/null is not the null device (CVE-2025-31133), or the kernel refuses.
    pub fn cover(&mut self, root: &Root, path: &Path) -> Result<(), Error> {
        self.mask(root, path)
            .doing(|| format!("mask {}", path.display()))
    }

    fn mask(&mut self, root: &Root, path: &Path) -> Result<(), SysError> {
        let Some(target) = root.find(path)? else {
            return Ok(());
        };
        if sys::fault::broken("no-masks") {
            return Ok(());
        }
        if attach::file_type(&target)? == FileType::Directory {
            return self.cover_directory(&target, path);
        }
        let null = match self.null.take() {
            Some(null) => null,
            None => null_device(root)?,
        };
        let cover = mount::clone_tree(&null, "", Depth::One)?;
        self.null = Some(null);
        attach::onto(&cover, target, path)
    }

    fn cover_directory(&mut self, target: &OwnedFd, path: &Path) -> Result<(), SysError> {
        if let Some(empty) = &self.empty {
            let cover = mount::clone_tree(empty, "", Depth::One)?;
            return attach::onto(&cover, target, path);
        }
        let empty = empty_directory()?;
        attach::onto(&empty, target, path)?;
        self.empty = Some(empty);
        Ok(())
    }
}

/// The container's /dev/null, opened once and checked by that very fd: whatever the image has there, only
/// character device 1:3 is ever bound over a masked file.
fn null_device(root: &Root) -> Result<OwnedFd, SysError> {
    let null = root.open_path("/dev/null")?;
    let fail = |errno| SysError::new("open", "/dev/null", errno);
    let stat = sys::at::fstat(&null).map_err(fail)?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let null_itself = character && stat.st_rdev == sys::at::makedev(1, 3);
    if null_itself || sys::fault::broken("no-null-check") {
        Ok(null)
    } else {
        Err(fail(Errno::NXIO).with_note("it is not the null device"))
    }
}

/// An empty directory that stays so, detached.
pub(crate) fn empty_directory() -> Result<OwnedFd, SysError> {
    let context = FsContext::new("tmpfs")?;
    for (key, value) in [("nr_blocks", "1"), ("nr_inodes", "1"), ("mode", "755")] {
        context.set(key, value)?;
    }
    context.mount(
        Attr::MOUNT_ATTR_RDONLY
            | Attr::MOUNT_ATTR_NOSUID
            | Attr::MOUNT_ATTR_NODEV
            | Attr::MOUNT_ATTR_NOEXEC,
    )
}

/// Makes `path` read-only with all that is mounted below it. runc leaves mounts below writable; nothing
/// in the spec asks for such a hole. The attributes that the mounts have (`nosuid`, or locked ones in a
/// user namespace) stay, for only the one is added.
///
/// # Errors
/// [`Error::Act`].
pub fn make_read_only(root: &Root, path: &Path) -> Result<(), Error> {
    lock(root, path).doing(|| format!("make {} read-only", path.display()))
}

fn lock(root: &Root, path: &Path) -> Result<(), SysError> {
    let Some(target) = root.find(path)? else {
        return Ok(());
    };
    let copy = mount::clone_tree(&target, "", Depth::Recursive)?;
    let change = Change {
        set: u64::from(Attr::MOUNT_ATTR_RDONLY.bits()),
        ..Change::default()
    };
    if !sys::fault::broken("no-read-only-paths") {
        mount::set_attr(&copy, Depth::Recursive, &change)?;
    }
    attach::onto(&copy, target, path)
}
