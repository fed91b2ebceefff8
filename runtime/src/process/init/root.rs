//! The root of a process of the container: where it comes from, and how it gets back into the caller's mount
//! namespace, if the container has that one. Not its job: what is mounted below it, when it is entered (plan).

use sys::SysError;
use sys::beneath::Root;

use super::{Fault, Life, missing_root};
use crate::plan::RootPlace;

impl Life {
    /// The root that was attached, or that of the container which is there already.
    pub(super) fn container_root(&mut self) -> Result<&Root, SysError> {
        if let Some(fd) = self.init.root_mount.take() {
            self.root = Some(Root::new(fd));
        }
        self.root()
    }

    pub(super) fn root(&self) -> Result<&Root, SysError> {
        self.root.as_ref().ok_or_else(missing_root)
    }

    pub(super) fn attach_root(&mut self, place: &RootPlace) -> Result<(), Fault> {
        let folder = match place {
            RootPlace::Folder(path) => Some(path.as_path()),
            RootPlace::Mount | RootPlace::Layers(_) => None,
        };
        let mount = match (self.init.root_mount.take(), folder) {
            (Some(mount), _) => mount,
            (None, Some(path)) => rootfs::open_root(path)?,
            (None, None) => return Err(missing_root().into()),
        };
        self.root = Some(rootfs::attach_root_near(mount, folder)?);
        Ok(())
    }

    /// The root and all that is mounted below is copied, attached nowhere, and lives as long as a process that has it
    /// for its root; the workshop ends with our going, and the caller's mount namespace never shows anything.
    pub(super) fn leave_workshop(&mut self) -> Result<(), Fault> {
        let copy = rootfs::copy_of(self.root()?)?;
        let workshop = self.workshop.take().ok_or_else(missing_root)?;
        workshop.back()?;
        let root = Root::new(copy);
        rootfs::enter_only(&root)?;
        self.root = Some(root);
        Ok(())
    }
}
