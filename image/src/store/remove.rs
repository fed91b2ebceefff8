//! Takes names and images away, and what nothing else refers to with them. Not its job: shrinking the
//! store by other rules.

use std::collections::HashSet;

use sys::at;
use sys::file::{self, Lock};

use super::index::{Index, Record};
use super::work::Work;
use super::{Image, Store};
use crate::error::Doing;
use crate::{Digest, Error, Reference, Result, manifest};

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
    /// that no other image refers to.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::InUse`] for an id with several names and [`Removal::Careful`].
    pub fn remove(&self, wanted: &str, removal: Removal) -> Result<Removed> {
        let work = self.work()?;
        let _lock = self.lock(Lock::Exclusive)?;
        let mut index = self.index()?;
        let id = index.find(wanted, &self.path)?;
        let image = self.image(&index, id, &index.images[&id])?;
        let mut removed = Removed::default();
        let by_name = wanted
            .parse()
            .ok()
            .filter(|name| image.names.contains(name));
        match (by_name, removal) {
            (Some(name), Removal::Careful) => {
                index.unname(&name);
                removed.names.push(name);
                if image.names.len() > 1 {
                    self.write_index(&index)?;
                    return Ok(removed);
                }
            }
            (None, Removal::Careful) if image.names.len() > 1 => {
                return Err(Error::InUse {
                    image: wanted.to_owned(),
                    reason: format!("it has {} names", image.names.len()),
                });
            }
            _ => removed.names.clone_from(&image.names),
        }
        let record = index.remove(id);
        // First the index: a power cut in between leaves files that nothing refers to, never the other
        // way round.
        self.write_index(&index)?;
        removed.image = Some(id);
        if let Some(record) = record {
            removed.bytes = self.sweep(&work, &index, &image, &record)?;
        }
        Ok(removed)
    }

    /// Removes what the image, or a container that is gone, had for itself alone; the exclusive lock is
    /// held.
    fn sweep(&self, work: &Work, index: &Index, image: &Image, record: &Record) -> Result<u64> {
        let doing = || format!("remove {}", image.id);
        let mut blobs = HashSet::new();
        let mut layers = HashSet::new();
        for (id, other) in &index.images {
            blobs.extend([*id, other.manifest]);
            let bytes = self.read_blob(other.manifest, "manifest")?;
            blobs.extend(
                manifest::layers(&bytes)?
                    .into_iter()
                    .map(|layer| layer.digest),
            );
            layers.extend(other.layers.iter().map(|layer| layer.key.clone()));
        }
        let (held, released) = self.held()?;
        let own = image.layers.iter().map(|layer| layer.blob);
        let own = own.chain([image.id, image.manifest]).chain(released.blobs);
        let room = file::open_dir(self.path.join("blobs/sha256")).doing(doing)?;
        let mut bytes = 0;
        for blob in own.collect::<HashSet<_>>() {
            if blobs.contains(&blob) || held.blobs.contains(&blob) {
                continue;
            }
            let path = self.path.join("blobs/sha256").join(blob.hex());
            bytes += file::open(path)
                .ok()
                .and_then(|f| f.metadata().ok())
                .map_or(0, |m| m.len());
            file::remove_tree(&room, blob.hex()).doing(doing)?;
        }
        let room = file::open_dir(self.path.join("layers")).doing(doing)?;
        let own = record.layers.iter().map(|layer| layer.key.clone());
        for key in own.chain(released.layers).collect::<HashSet<_>>() {
            if layers.contains(&key) || held.layers.contains(&key) {
                continue;
            }
            // Out of sight in one step: half a layer must never be taken for a known one. What is in
            // the work directory goes with it.
            let from = self.path.join("layers").join(&key);
            match file::rename(from, work.path.join(&key)) {
                Err(e) if e.errno == sys::Errno::NOENT => {}
                result => result.doing(doing)?,
            }
        }
        at::fsync(&room)
            .map_err(|errno| sys::SysError::new("fsync", "layers", errno))
            .doing(doing)?;
        Ok(bytes)
    }
}
