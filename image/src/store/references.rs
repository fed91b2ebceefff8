//! What the images of an index refer to, and what the build cache refers to: the rest is nobody's. Not its
//! job: removing the rest.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sys::file;

use super::Store;
use super::index::{Index, Record};
use super::layer::Kept;
use crate::error::Doing;
use crate::{Digest, Result, manifest};

/// A larger entry is none of the builder's.
const LARGEST_ENTRY: u64 = 64 << 20;

/// The names of blobs and layers that are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct References {
    pub(super) blobs: HashSet<Digest>,
    pub(super) layers: HashSet<String>,
}

impl References {
    pub(super) fn add(&mut self, other: &Self) {
        self.blobs.extend(&other.blobs);
        self.layers.extend(other.layers.iter().cloned());
    }
}

/// An entry of the build cache, as far as the store must know it. The rest is the builder's.
#[derive(Debug)]
pub(super) struct CacheEntry {
    pub(super) name: String,
    /// What it refers to; nothing where it can't be read.
    pub(super) needs: References,
    /// It is no step, but something that was learned.
    pub(super) is_note: bool,
    /// Its layer is gone, or it can't be read: nobody will find it.
    pub(super) stale: bool,
    pub(super) last_used: SystemTime,
}

impl Store {
    /// What the images of an index refer to.
    ///
    /// # Errors
    /// Names an image of which that can't be said: who removes things must not go on then.
    pub(super) fn references(&self, index: &Index) -> Result<References> {
        let mut all = References::default();
        for (id, record) in &index.images {
            all.add(&self.needs(*id, record)?);
        }
        Ok(all)
    }

    /// What one image refers to.
    ///
    /// # Errors
    /// If neither its manifest nor its layers say which blobs they are.
    pub(super) fn needs(&self, id: Digest, record: &Record) -> Result<References> {
        let doing = || format!("image {id} is damaged: load it again, or remove it");
        let layers: HashSet<String> = record.layers.iter().map(|l| l.key.clone()).collect();
        let mut blobs = HashSet::from([id, record.manifest]);
        let named = self
            .read_blob(record.manifest, "manifest")
            .and_then(|bytes| manifest::layers(&bytes));
        match named {
            Ok(named) => blobs.extend(named.into_iter().map(|layer| layer.digest)),
            // A damaged manifest: whichever blobs hold the layers.
            Err(e) => {
                for key in &layers {
                    match Kept::read(&self.path, key) {
                        Ok(Some(kept)) => blobs.extend(kept.blobs.iter().map(|b| b.digest)),
                        _ => return Err(e.inside(doing())),
                    }
                }
            }
        }
        Ok(References { blobs, layers })
    }

    /// What an unpacked layer of the store holds on to: itself, and the blobs of it that are here.
    pub(super) fn needs_of_layer(&self, key: &str) -> References {
        let mut needs = References::default();
        if let Ok(Some(kept)) = Kept::read(&self.path, key) {
            needs.layers.insert(key.to_owned());
            needs
                .blobs
                .extend(kept.blobs.iter().map(|blob| blob.digest));
        }
        needs
    }

    /// The entries of the build cache: `cache/HEX.json`, whose field `layer` is a diff id; those with a field `note`
    /// are no steps.
    pub(super) fn cache_entries(&self) -> Result<Vec<CacheEntry>> {
        #[derive(Deserialize)]
        struct Entry {
            layer: Option<Digest>,
            note: Option<IgnoredAny>,
        }
        let room = self.path.join("cache");
        let mut entries = Vec::new();
        for name in self.names(&room)? {
            let doing = || format!("read the build cache's {name}");
            let path = room.join(&name);
            let Ok(bytes) = file::read(&path, LARGEST_ENTRY) else {
                continue;
            };
            let last_used = file::last_used(&path).doing(doing)?;
            let entry = serde_json::from_slice::<Entry>(&bytes);
            let needs = match &entry {
                Ok(Entry {
                    layer: Some(diff_id),
                    ..
                }) => {
                    let suffix = self.manner.owners.suffix();
                    self.needs_of_layer(&format!("{}{suffix}", diff_id.hex()))
                }
                _ => References::default(),
            };
            let is_note = entry.as_ref().is_ok_and(|e| e.note.is_some());
            let has_layer = entry.is_ok_and(|e| e.layer.is_none()) || !needs.layers.is_empty();
            entries.push(CacheEntry {
                name,
                needs,
                is_note,
                stale: !has_layer,
                last_used,
            });
        }
        Ok(entries)
    }

    /// The names in a directory of the store, sorted; none if it is not there. What is being written, or
    /// is no name of ours, is left out.
    pub(super) fn names(&self, room: &Path) -> Result<BTreeSet<String>> {
        let doing = || format!("read {}", room.display());
        if !file::exists(room).doing(doing)? {
            return Ok(BTreeSet::new());
        }
        let names = file::list(file::open_dir(room).doing(doing)?).doing(doing)?;
        let names = names.into_iter().map(|(name, _)| name.into_string());
        let ours = names.filter_map(|name| name.ok().filter(|name| !name.starts_with('.')));
        Ok(ours.collect())
    }
}
