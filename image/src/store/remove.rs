//! Takes names and images away, and what nothing else refers to with them. Not its job: shrinking the
//! store by other rules (`prune.rs`).

use std::os::fd::OwnedFd;

use sys::at;
use sys::file::{self, Lock};
use sys::{Errno, SysError};

use super::Store;
use super::damage::{blob_mark, layer_mark};
use super::index::Index;
use super::lease::Holds;
use super::publish::sync;
use super::references::References;
use super::work::Work;
use crate::error::Doing;
use crate::{Digest, Error, Reference, Result};

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that were taken away.
    pub names: Vec<Reference>,
    /// The image, if it went with its last name.
    pub image: Option<Digest>,
    /// Bytes of blobs that went with it.
    pub bytes: u64,
}

/// What to do where an image has other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A name is taken away; the image goes only with its last name. By id, an image of several names
    /// is refused.
    Careful,
    /// The image goes, with all its names.
    Whole,
}

impl Store {
    /// Removes the image or name `wanted` (as [`Store::find`] understands it), and every blob and layer
    /// that neither another image nor the build cache refers to.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::InUse`] for an id with several names and [`Removal::Careful`].
    pub fn remove(&self, wanted: &str, removal: Removal) -> Result<Removed> {
        let work = self.work()?;
        let lock = self.lock(Lock::Exclusive)?;
        let mut index = self.index()?;
        let id = index.find(wanted, &self.path)?;
        let names = index.names_of(id);
        let mut removed = Removed::default();
        let by_name = wanted.parse().ok().filter(|name| names.contains(name));
        match (by_name, removal) {
            (Some(name), Removal::Careful) => {
                index.unname(&name);
                removed.names.push(name);
                if names.len() > 1 {
                    self.write_index(&work, &index)?;
                    return Ok(removed);
                }
            }
            (None, Removal::Careful) if names.len() > 1 => {
                return Err(Error::InUse {
                    image: wanted.to_owned(),
                    reason: format!("it has {} names", names.len()),
                });
            }
            _ => removed.names = names,
        }
        let mut own = References::default();
        if let Some(record) = index.remove(id) {
            // A damaged one goes too; what can't be known of it is left to prune.
            own = self.needs(id, &record).unwrap_or_else(|_| References {
                blobs: [id, record.manifest].into(),
                layers: record.layers.into_iter().map(|layer| layer.key).collect(),
            });
        }
        let holds = self.holds()?;
        let own = self.unneeded(own, &index, &holds)?;
        // First the index: a power cut in between leaves files that nothing refers to, never the other
        // way round.
        self.write_index(&work, &index)?;
        self.forget_moot(&holds)?;
        removed.image = Some(id);
        removed.bytes = self.take_away(&work, &own)?;
        // Others go on while the files of the layers are removed one by one.
        drop(lock);
        work.finish()?;
        Ok(removed)
    }

    /// What of `own`, and of what containers that are gone had held, nothing needs any more.
    fn unneeded(&self, mut own: References, index: &Index, holds: &Holds) -> Result<References> {
        let mut needed = self.references(index)?;
        // The next build finds its steps: who wants their room prunes.
        for entry in self.cache_entries()? {
            needed.add(&entry.needs);
        }
        own.blobs.extend(&holds.released.blobs);
        own.layers.extend(holds.released.layers.iter().cloned());
        own.blobs
            .retain(|blob| !needed.blobs.contains(blob) && !holds.held.blobs.contains(blob));
        own.layers
            .retain(|key| !needed.layers.contains(key) && !holds.held.layers.contains(key));
        Ok(own)
    }

    /// Moves blobs and layers into the work directory, which goes with them; the exclusive lock is held.
    /// Out of sight in one step: half a layer must never be taken for a known one. Gives the bytes of the
    /// blobs.
    pub(super) fn take_away(&self, work: &Work, gone: &References) -> Result<u64> {
        let doing = || format!("remove from {}", self.path.display());
        let mut bytes = 0;
        let room = file::open_dir(self.path.join("blobs/sha256")).doing(doing)?;
        for digest in &gone.blobs {
            let path = self.blob_path(*digest);
            if file::exists(&path).doing(doing)? {
                bytes += file::follow(&path).doing(doing)?.len();
                move_away(&room, &digest.hex(), work, &blob_mark(*digest)).doing(doing)?;
            }
        }
        sync(&room).doing(doing)?;
        let room = file::open_dir(self.path.join("layers")).doing(doing)?;
        for key in &gone.layers {
            move_away(&room, key, work, &layer_mark(key)).doing(doing)?;
        }
        sync(&room).doing(doing)?;
        for digest in &gone.blobs {
            self.unmark(&blob_mark(*digest))?;
        }
        for key in &gone.layers {
            self.unmark(&layer_mark(key))?;
        }
        Ok(bytes)
    }
}

fn move_away(room: &OwnedFd, name: &str, work: &Work, new: &str) -> sys::Result<()> {
    match at::renameat(room, name, &work.dir, new) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(SysError::new("rename", name, errno)),
    }
}
