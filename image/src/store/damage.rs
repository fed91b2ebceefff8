//! What of a store can be used: blobs and layers that are there and that nobody found damaged. Not its job:
//! finding that out (`check.rs`), and making them again (`load.rs`).
//!
//! Loading must not read a whole store again, so a layer or blob that is there is believed. `check` reads it
//! all; what it finds damaged it marks by a file `damaged/blob-HEX` or `damaged/layer-KEY`. Who looks for a
//! marked one finds nothing, and makes it again.

use std::os::fd::OwnedFd;

use sys::SysError;
use sys::at::{self, Mode, OFlags};
use sys::file;

use super::Store;
use super::layer::Kept;
use crate::error::Doing;
use crate::{Digest, Result};

const ROOM: &str = "damaged";

/// The mark of a blob.
pub(super) fn blob_mark(digest: Digest) -> String {
    format!("blob-{}", digest.hex())
}

/// The mark of a layer.
pub(super) fn layer_mark(key: &str) -> String {
    format!("layer-{key}")
}

impl Store {
    /// What is kept of a layer; `None` if the store lacks it or a part of it, or if it is damaged, or of a form that can't
    /// be shown here.
    pub(super) fn known_layer(&self, key: &str) -> Result<Option<Kept>> {
        let doing = || format!("look for layer {key}");
        if self.is_marked(&layer_mark(key))? {
            return Ok(None);
        }
        // One that can't be read is as good as none.
        let Some(kept) = Kept::read(&self.path, key).ok().flatten() else {
            return Ok(None);
        };
        let there = self.is_there(key, kept.form).doing(doing)?;
        Ok(there.then_some(kept))
    }

    /// Whether the store has this blob, in this length if it is known, and not damaged.
    pub(super) fn has_blob(&self, digest: Digest, size: Option<u64>) -> Result<bool> {
        let doing = || format!("look for blob {digest}");
        let path = self.blob_path(digest);
        if self.is_marked(&blob_mark(digest))? || !file::exists(&path).doing(doing)? {
            return Ok(false);
        }
        match size {
            Some(size) => Ok(file::follow(&path).doing(doing)?.len() == size),
            None => Ok(true),
        }
    }

    /// Says that a blob or layer is damaged: [`blob_mark`], [`layer_mark`].
    pub(super) fn mark(&self, name: &str) -> Result<()> {
        let doing = || format!("mark {name} as damaged");
        file::create_dir_all(self.path.join(ROOM), 0o700).doing(doing)?;
        // After a power cut it is to be checked again. Two checks may write one mark.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at::openat(self.marks()?, name, flags, Mode::RUSR | Mode::WUSR)
            .map(drop)
            .map_err(|errno| SysError::new("open", name, errno))
            .doing(doing)
    }

    /// Forgets that it was damaged.
    pub(super) fn unmark(&self, name: &str) -> Result<()> {
        match self.is_marked(name)? {
            true => file::remove_tree(self.marks()?, name).doing(|| format!("unmark {name}")),
            false => Ok(()),
        }
    }

    pub(super) fn is_marked(&self, name: &str) -> Result<bool> {
        file::exists(self.path.join(ROOM).join(name)).doing(|| format!("look for damage of {name}"))
    }

    fn marks(&self) -> Result<OwnedFd> {
        file::open_dir(self.path.join(ROOM)).doing(|| "open the marks of damage".to_owned())
    }
}
