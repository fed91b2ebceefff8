//! What the store keeps unpacked layers as: folders, or EROFS images where this kernel shows them. Not its job: making
//! either.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use sys::file;

use super::Store;
use super::layer::path_of;
use super::work::Work;
use crate::erofs::{self, Made};
use crate::error::Doing;
use crate::layer::below::Below;
use crate::layer::entry::{Entries, Limits, Skip};
use crate::layer::whiteout::OverlayXattrs;
use crate::{OwnerPolicy, Result};

/// How an unpacked layer lies in the store; either is `layers/KEY/fs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Folder,
    Image,
}

impl Store {
    /// Keeps new layers as images, if that is possible here. What is in the store already stays as it is.
    #[must_use]
    pub fn with_images(mut self) -> Self {
        self.images_wanted = true;
        self
    }

    /// Opens the root of an unpacked layer. Only a store that makes images takes a file for one: elsewhere it is damage,
    /// and the kernel is shown no file system that somebody put there (CVE-2023-30549).
    pub(super) fn open_layer(&self, path: impl AsRef<Path>) -> sys::Result<OwnedFd> {
        match self.images_wanted {
            true => sys::mount::open_tree(path),
            false => file::open_dir(path),
        }
    }

    /// Whether a layer lies there in a form that this store takes.
    pub(super) fn has_layer(&self, key: &str) -> sys::Result<bool> {
        let path = path_of(&self.path, key);
        match self.images_wanted {
            true => file::exists(path),
            false => file::is_dir(path),
        }
    }

    /// What new layers are to be.
    pub(super) fn form(&self, work: &Work) -> Form {
        match self.images_wanted && self.shows_images(work) {
            true => Form::Image,
            false => Form::Folder,
        }
    }

    /// Whether an image of the store's file system can be mounted, and be a layer of an overlay: the kernel is asked
    /// once.
    fn shows_images(&self, work: &Work) -> bool {
        *self.images_shown.get_or_init(|| {
            self.manner.overlay == OverlayXattrs::Trusted
                && self.manner.owners != OwnerPolicy::Single
                && shows(work).is_ok()
        })
    }
}

fn shows(work: &Work) -> Result<()> {
    let name = "probe";
    let file = work.create(name)?;
    let mut entries = Entries::new(Empty, Limits::default());
    let below = || Ok(Below::default());
    let owners = OwnerPolicy::AsRecorded;
    let made = erofs::unpack(&mut entries, file, &owners, [0; 16], &below, &|| true)?;
    debug_assert!(matches!(made, Made::Image(_)), "an empty image is one");
    let path = work.path.join(name);
    let doing = || "look for file systems in files".to_owned();
    let shown = sys::mount::stacks_images(file::open(&path).doing(doing)?).doing(doing);
    file::remove_file(path).doing(doing)?;
    shown
}

/// A tar without entries.
struct Empty;

impl Read for Empty {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

impl Skip for Empty {}

/// A new, empty file for a layer.
pub(super) fn create(work: &Work, layer: &str) -> Result<File> {
    work.create(&format!("{layer}/fs"))
}
