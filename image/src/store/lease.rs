//! Layers that somebody uses right now: whoever removes images leaves them alone. Not its job: mounting
//! them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::Errno;
use sys::file;

use super::layer::{Kept, path_of};
use super::work::Work;
use super::{Layer, Store};
use crate::error::Doing;
use crate::{Digest, Error, Result};

const HOLDS: &str = "holds.json";

/// Keeps layers from being removed, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lease {
    _place: Work,
}

/// What is held, by anyone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) layers: HashSet<String>,
    pub(super) blobs: HashSet<Digest>,
}

/// What a directory outside our processes holds.
#[derive(Debug, Serialize, Deserialize)]
struct Used {
    dir: PathBuf,
    #[serde(flatten)]
    held: Held,
}

impl Store {
    /// Holds `layers`, for as long as an overlay over them is mounted, say.
    ///
    /// # Errors
    /// If one of them is not in the store any more.
    pub fn hold(&self, layers: &[Layer]) -> Result<Lease> {
        let place = self.work()?;
        let held = Held {
            layers: layers.iter().map(|layer| layer.unpacked().key).collect(),
            blobs: layers.iter().map(|layer| layer.blob).collect(),
        };
        let bytes = serde_json::to_vec(&held).map_err(|e| Error::Json {
            what: HOLDS.to_owned(),
            fault: e.to_string(),
        })?;
        file::replace(&place.dir, HOLDS, &bytes, 0o600, file::Durability::Memory)
            .doing(|| "hold layers".to_owned())?;
        // Whoever removes now sees the lease; whoever removed before is seen here.
        self.check_presence(layers)?;
        Ok(Lease { _place: place })
    }

    /// Holds `layers` for as long as something is at `dir`, whoever makes and removes it: a container
    /// that outlives this process. Until `dir` is there, a [`Store::hold`] must cover them.
    ///
    /// # Errors
    /// If the note can't be written.
    pub fn hold_while(&self, dir: &Path, layers: &[Layer]) -> Result<()> {
        let doing = || format!("note what {} uses", dir.display());
        let mut used = Used {
            dir: dir.to_owned(),
            held: Held::default(),
        };
        for layer in layers {
            used.held.layers.insert(layer.unpacked().key);
            used.held.blobs.insert(layer.blob);
        }
        let name = Digest::of(dir.as_os_str().as_encoded_bytes()).hex();
        let bytes = serde_json::to_vec(&used).map_err(|e| Error::Json {
            what: doing(),
            fault: e.to_string(),
        })?;
        let room = self.path.join("used");
        file::create_dir_all(&room, 0o700).doing(doing)?;
        let room = file::open_dir(room).doing(doing)?;
        // A power cut ends the container too.
        file::replace(&room, &name, &bytes, 0o600, file::Durability::Memory).doing(doing)
    }

    /// The layer with this diff id as it stands by itself, if the store has it with a blob: what a
    /// build cache may use again.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn layer(&self, diff_id: Digest) -> Result<Option<Layer>> {
        let key = format!("{}{}", diff_id.hex(), self.manner.owners.suffix());
        let Some(kept) = Kept::read(&self.path, &key)? else {
            return Ok(None);
        };
        for blob in &kept.blobs {
            let path = self.path.join("blobs/sha256").join(blob.digest.hex());
            if file::exists(path).doing(|| format!("look for layer {diff_id}"))? {
                return Ok(Some(Layer {
                    diff_id,
                    tar_size: kept.tar_size,
                    blob: blob.digest,
                    size: blob.size,
                    media_type: blob.media_type.clone(),
                    path: path_of(&self.path, &key),
                    covers: kept.covers,
                    states_root: kept.states_root,
                }));
            }
        }
        Ok(None)
    }

    /// Everything that is held, and what was held by directories that are gone; the exclusive lock is
    /// held. A dead process' lease counts until the next clean-up.
    pub(super) fn held(&self) -> Result<(Held, Held)> {
        let doing = || format!("read the leases of {}", self.path.display());
        let work = self.path.join("work");
        let mut all = Held::default();
        for (name, _) in file::list(file::open_dir(&work).doing(doing)?).doing(doing)? {
            let path = work.join(name).join(HOLDS);
            let bytes = match file::read(&path, super::index::MAX_INDEX) {
                Ok(bytes) => bytes,
                Err(e) if e.errno == Errno::NOENT => continue,
                Err(e) => return Err(e).doing(doing),
            };
            let held: Held = serde_json::from_slice(&bytes).map_err(|e| Error::Json {
                what: path.display().to_string(),
                fault: e.to_string(),
            })?;
            all.add(held);
        }
        let released = self.add_used(&mut all)?;
        Ok((all, released))
    }

    /// Adds what is held by directories that are still there; forgets the others, and gives what they
    /// held.
    fn add_used(&self, all: &mut Held) -> Result<Held> {
        let doing = || format!("read what uses {}", self.path.display());
        let room = self.path.join("used");
        if !file::exists(&room).doing(doing)? {
            return Ok(Held::default());
        }
        let mut released = Held::default();
        let fd = file::open_dir(&room).doing(doing)?;
        for (name, _) in file::list(&fd).doing(doing)? {
            // One that is being written.
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = room.join(&name);
            let bytes = file::read(&path, super::index::MAX_INDEX).doing(doing)?;
            let used: Used = serde_json::from_slice(&bytes).map_err(|e| Error::Json {
                what: path.display().to_string(),
                fault: e.to_string(),
            })?;
            match file::exists(&used.dir).doing(doing)? {
                true => all.add(used.held),
                false => {
                    file::remove_file(&path).doing(doing)?;
                    released.add(used.held);
                }
            }
        }
        Ok(released)
    }
}

impl Held {
    fn add(&mut self, other: Self) {
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
    }
}
