//! Finished work becomes part of the store, each piece in one step; what is damaged there makes room.
//! Not its job: making it (`work.rs`), and naming it (`index.rs`).
//!
//! The order that a power cut can't break: everything is on the disk before it gets its name, its name is
//! on the disk before the index speaks of it, and the index is replaced whole.

use std::io::Write;

use sys::at::{self, RenameFlags};
use sys::file;
use sys::{Errno, SysError};

use super::Store;
use super::damage::{blob_mark, layer_mark};
use super::index::Index;
use super::work::Work;
use crate::error::Doing;
use crate::{Digest, Error, Result};

/// The next index, on the disk but not yet in its place.
pub(super) struct Staged<'a> {
    work: &'a Work,
}

const STAGED: &str = "index.json";
const BLOBS: &str = "blobs/sha256";
const LAYERS: &str = "layers";

impl Store {
    /// Makes files of `work`'s directory part of the store, as `blobs/sha256/HEX` and `layers/KEY`. They
    /// are on the disk already ([`Work::sync`]); the exclusive lock is held. A layer that is in the store
    /// under the same name is the same, and stays, unless it is damaged.
    ///
    /// # Errors
    /// Names a damaged layer that a container uses: nothing may take its place under it.
    pub(super) fn publish(
        &self,
        work: &Work,
        blobs: &[(String, Digest)],
        layers: &[(String, String)],
    ) -> Result<()> {
        let mut made = Vec::new();
        let published = self.publish_all(work, blobs, layers, &mut made);
        if published.is_err() {
            for (room, name) in made {
                // The first error is the one to be told; what stays nothing refers to.
                let _left = file::open_dir(self.path.join(room))
                    .map(|room| at::renameat(&room, &name, &work.dir, format!("again-{name}")));
            }
        }
        published
    }

    /// As `publish`; notes in `made` what was not in the store before.
    fn publish_all(
        &self,
        work: &Work,
        blobs: &[(String, Digest)],
        layers: &[(String, String)],
        made: &mut Vec<(&'static str, String)>,
    ) -> Result<()> {
        let doing = || format!("publish in {}", self.path.display());
        let room = file::open_dir(self.path.join(BLOBS)).doing(doing)?;
        for (from, digest) in blobs {
            let is_new = !file::exists(self.blob_path(*digest)).doing(doing)?;
            // Both hold the same bytes, if the old one is whole: who reads it goes on reading it.
            at::renameat(&work.dir, from.as_str(), &room, digest.hex())
                .map_err(|errno| SysError::new("rename", digest, errno))
                .doing(doing)?;
            if is_new {
                made.push((BLOBS, digest.hex()));
            }
        }
        sync(&room).doing(doing)?;
        let room = file::open_dir(self.path.join(LAYERS)).doing(doing)?;
        for (from, key) in layers {
            if self.publish_layer(work, &room, from, key)? {
                made.push((LAYERS, key.clone()));
            }
        }
        sync(&room).doing(doing)?;
        // What a mark spoke of is another thing now, and on the disk.
        for (_, digest) in blobs {
            self.unmark(&blob_mark(*digest))?;
        }
        for (_, key) in layers {
            self.unmark(&layer_mark(key))?;
        }
        Ok(())
    }

    /// Whether the store had no such layer before.
    fn publish_layer(
        &self,
        work: &Work,
        room: &std::os::fd::OwnedFd,
        from: &str,
        key: &str,
    ) -> Result<bool> {
        let doing = || format!("publish in {}", self.path.display());
        let enter = || at::renameat_with(&work.dir, from, room, key, RenameFlags::NOREPLACE);
        let fail = |errno| SysError::new("rename", key, errno);
        match enter() {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(fail(errno)).doing(doing),
        }
        if self.known_layer(key)?.is_some() {
            return Ok(false);
        }
        if self.holds()?.held.layers.contains(key) {
            return Err(Error::refused(
                format!("layer {key}"),
                "the store has a damaged one, which is in use",
            ));
        }
        at::renameat(room, key, &work.dir, format!("damaged-{key}"))
            .and_then(|()| enter())
            .map(|()| false)
            .map_err(fail)
            .doing(doing)
    }

    /// Writes the next index to the disk, so that nothing is published which a full disk could then keep
    /// out of the index.
    pub(super) fn stage<'a>(&self, work: &'a Work, index: &Index) -> Result<Staged<'a>> {
        let doing = || format!("write the index of {}", self.path.display());
        let mut file = work.create(STAGED)?;
        file.write_all(&index.bytes()?)
            .map_err(|e| SysError::from_io("write", STAGED, &e))
            .doing(doing)?;
        sync(&file).doing(doing)?;
        Ok(Staged { work })
    }

    /// Puts the next index in its place; the exclusive lock is held.
    pub(super) fn show_index(&self, staged: &Staged<'_>) -> Result<()> {
        let doing = || format!("write the index of {}", self.path.display());
        at::renameat(&staged.work.dir, STAGED, &self.dir, STAGED)
            .map_err(|errno| SysError::new("rename", STAGED, errno))
            .doing(doing)?;
        sync(&self.dir).doing(doing)
    }

    /// Replaces the index; the exclusive lock is held.
    pub(super) fn write_index(&self, work: &Work, index: &Index) -> Result<()> {
        self.show_index(&self.stage(work, index)?)
    }
}

/// Writes a file or directory to the disk.
pub(super) fn sync(fd: impl std::os::fd::AsFd) -> sys::Result<()> {
    if sys::fault::broken("no-sync") {
        return Ok(());
    }
    at::fsync(fd).map_err(|errno| SysError::new("fsync", "", errno))
}
