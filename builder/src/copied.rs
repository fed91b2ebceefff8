//! Which layer came of files that were copied to a place where nothing was: a COPY of the same files to a like place needs
//! no second one, whatever lies below it and whatever it is copied from. Not its job: finding out what is copied, and
//! whether something is in the way.

use image::{Digest, Layer, Store};
use sha2::{Digest as _, Sha256};

use crate::cache::VERSION;
use crate::error::{Doing, Result};
use crate::fingerprint::{Xattrs, field};
use crate::notes;
use crate::steps::fresh::Above;

/// The kind of our notes.
const KIND: &str = "layer of copied files";

/// All that decides the bytes of a layer.
pub(crate) struct Copied {
    hasher: Sha256,
}

impl Copied {
    /// Files that come to `target`, below these folders, all of whose times are cut to `newest`.
    pub(crate) fn to(target: &str, above: &[Above], newest: i64) -> Self {
        let mut hasher = Sha256::new();
        field(&mut hasher, VERSION.as_bytes());
        field(&mut hasher, target.as_bytes());
        field(&mut hasher, &newest.to_le_bytes());
        for folder in above {
            field(&mut hasher, b"above");
            field(&mut hasher, folder.name.as_bytes());
            let stat = &folder.stat;
            for number in [stat.st_mode, stat.st_uid, stat.st_gid] {
                hasher.update(number.to_le_bytes());
            }
            hasher.update(stat.st_mtime.to_le_bytes());
            attributes(&mut hasher, &folder.xattrs);
        }
        Self { hasher }
    }

    /// Adds something else that decides it.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        field(&mut self.hasher, name.as_bytes());
        field(&mut self.hasher, value.as_bytes());
    }

    /// Where it is noted.
    pub(crate) fn note(self) -> Note {
        Note(self.hasher.finalize().into())
    }
}

/// The place of a note.
pub(crate) struct Note([u8; 32]);

impl Note {
    /// The layer, if it was made before and the store has it.
    pub(crate) fn recall(&self, store: &Store) -> Result<Option<Layer>> {
        let Some(text) = notes::read::<String>(store, KIND, &self.0) else {
            return Ok(None);
        };
        let Ok(diff_id) = text.parse::<Digest>() else {
            return Ok(None);
        };
        store
            .layer(diff_id)
            .doing(|| format!("look for layer {diff_id}"))
    }

    /// Remembers the layer that was made.
    pub(crate) fn keep(&self, store: &Store, layer: &Layer) {
        notes::write(store, KIND, &self.0, layer.diff_id.to_string());
    }
}

fn attributes(hasher: &mut Sha256, xattrs: &Xattrs) {
    hasher.update((xattrs.len() as u64).to_le_bytes());
    for (name, value) in xattrs {
        field(hasher, name.as_bytes());
        field(hasher, value);
    }
}
