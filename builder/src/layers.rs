//! Layers mounted as one tree, attached nowhere. Not its job: making layers.

use std::os::fd::OwnedFd;

use image::{Layer, LinkOwners, Scratch};
use rootfs::Overlay;
use sys::beneath::Root;

use crate::error::{Doing, Error, Result};
use crate::steps::kept::keeps_owners;

/// The layers as one tree, with somewhere for changes to go.
pub(crate) fn overlay(layers: &[Layer], scratch: Option<&Scratch>) -> Result<OwnedFd> {
    Overlay {
        lower: image::lower(layers),
        upper: scratch.map(|scratch| scratch.upper.clone()),
        work: scratch.map(|scratch| scratch.work.clone()),
        // A power cut takes the whole scratch directory with it; a finished layer is synced.
        volatile: scratch.is_some(),
    }
    .mount_detached()
    .map_err(|source| Error::Mount { source })
}

/// A tree without files.
pub(crate) fn empty() -> Result<OwnedFd> {
    let doing = || "make an empty tree".to_owned();
    let tmpfs = sys::mount::FsContext::new("tmpfs").doing(doing)?;
    tmpfs.flag("ro").doing(doing)?;
    tmpfs
        .mount(sys::mount::Attr::MOUNT_ATTR_RDONLY)
        .doing(doing)
}

/// The root of a mounted tree.
pub(crate) fn root(mount: &OwnedFd) -> Result<Root> {
    let fd = mount
        .try_clone()
        .map_err(|e| sys::SysError::from_io("dup", "", &e))
        .doing(|| "open the tree that is built".to_owned())?;
    Ok(Root::new(fd))
}

/// Owners of the layers' links, where files have owners only beside them.
pub(crate) fn links_of(layers: &[Layer]) -> Result<Option<LinkOwners>> {
    if !keeps_owners() {
        return Ok(None);
    }
    let links = LinkOwners::of(layers).doing(|| "read the owners of files".to_owned())?;
    Ok(Some(links))
}
