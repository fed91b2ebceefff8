//! Layers that somebody uses right now: whoever removes images leaves them alone. Not its job: mounting
//! them.

use std::collections::HashSet;

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

    /// Everything that is held; the exclusive lock is held. A dead process' lease counts until the
    /// next clean-up.
    pub(super) fn held(&self) -> Result<Held> {
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
            all.layers.extend(held.layers);
            all.blobs.extend(held.blobs);
        }
        Ok(all)
    }
}
