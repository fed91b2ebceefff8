//! What the store keeps unpacked layers as: folders, or EROFS images where this kernel shows them. Not its job: making
//! either.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::file;
use sys::mount::Tree;

use super::Store;
use super::layer::{Kept, path_of};
use super::work::Work;
use crate::erofs::{self, Made};
use crate::error::Doing;
use crate::layer::below::Below;
use crate::layer::entry::{Entries, Limits, Skip};
use crate::layer::whiteout::OverlayXattrs;
use crate::{Error, OwnerPolicy, Result};

/// How an unpacked layer lies in the store; either is `layers/KEY/fs`, and `layer.json` says which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// As a folder.
    #[default]
    #[serde(rename = "folder")]
    Folder,
    /// As an image, byte for byte what our writer makes of the layer's tar: so it is checked. Who changes what the writer
    /// writes gives its images another name here, and dhow makes the old ones again.
    #[serde(rename = "erofs-1")]
    Image,
}

impl Form {
    /// What is at `path`, if it has this form.
    pub(super) fn tree(self, path: PathBuf) -> Tree {
        match self {
            Self::Folder => Tree::Folder(path),
            Self::Image => Tree::Image(path),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        *self == Self::Folder
    }
}

impl Store {
    /// Keeps new layers as images from now on, each a file of the kernel's EROFS, but for those that no image can hold. What
    /// is in the store already stays as it is.
    ///
    /// # Errors
    /// Says why that can't be here; layers become folders then.
    pub fn keep_images(&mut self) -> Result<()> {
        if self.manner.overlay != OverlayXattrs::Trusted
            || self.manner.owners == OwnerPolicy::Single
        {
            return Err(Error::refused(
                "layers as images",
                "only root of the host mounts them",
            ));
        }
        let work = self.work()?;
        shows(&work)?;
        self.new_layers = Form::Image;
        Ok(())
    }

    /// A layer of the store. A file is an image only if the layer's record says that we wrote one; any other is damage,
    /// and the kernel is shown no file system that came there otherwise (CVE-2023-30549).
    pub(super) fn tree(&self, key: &str) -> Tree {
        form_of(&self.path, key).tree(path_of(&self.path, key))
    }

    /// Whether a layer lies there in the form that is recorded, which this kernel shows us.
    pub(super) fn is_there(&self, key: &str, form: Form) -> sys::Result<bool> {
        let path = path_of(&self.path, key);
        match form {
            Form::Folder => file::is_dir(path),
            Form::Image => Ok(!file::is_dir(&path)? && Tree::Image(path).open().is_ok()),
        }
    }
}

/// How a layer lies in the store.
pub(super) fn form_of(store: &Path, key: &str) -> Form {
    match file::is_dir(path_of(store, key)) {
        Ok(true) => Form::Folder,
        _ => Kept::read(store, key)
            .ok()
            .flatten()
            .map_or(Form::Folder, |kept| kept.form),
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
