//! Layers that somebody uses right now: whoever removes images leaves them alone. Not its job: mounting
//! them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::Errno;
use sys::file::{self, Lock};

use super::damage::layer_mark;
use super::form::Form;
use super::layer::path_of;
use super::work::Work;
use super::{Image, Layer, Store};
use crate::error::Doing;
use crate::{Digest, Error, Result};

const HOLDS: &str = "holds.json";
const USED: &str = "used";

/// Keeps layers from being removed, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lease {
    place: Work,
}

/// What somebody needs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Held {
    pub(super) layers: HashSet<String>,
    pub(super) blobs: HashSet<Digest>,
    /// Images that containers were made of.
    pub(super) images: HashSet<Digest>,
    /// A build goes on: it may need whatever the cache has, and has made layers that nothing refers to
    /// yet.
    pub(super) building: bool,
}

/// What everybody needs, and what nobody needs any more.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) held: Held,
    /// What was held by directories that are gone.
    pub(super) released: Held,
    /// The notes of these, and notes that a power cut tore: it ended who wrote them.
    moot: Vec<PathBuf>,
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
    /// If one of them is not in the store any more, or is an image that was found damaged.
    pub fn hold(&self, layers: &[Layer]) -> Result<Lease> {
        let lease = self.hold_blobs(layers)?;
        for layer in layers.iter().filter(|layer| layer.form == Form::Image) {
            // Of a damaged folder the worst is wrong files; a file system goes to the kernel.
            if self.is_marked(&layer_mark(&layer.unpacked().key))? {
                return Err(Error::refused(
                    format!("layer {}", layer.diff_id),
                    "it was found damaged; loading its image again repairs it",
                ));
            }
        }
        Ok(lease)
    }

    /// As [`Store::hold`], for who reads no unpacked layer.
    pub(super) fn hold_blobs(&self, layers: &[Layer]) -> Result<Lease> {
        let lease = self.lease(&Held::of(layers))?;
        // Whoever removes now sees the lease; whoever removed before is seen here.
        self.check_presence(layers)?;
        Ok(lease)
    }

    /// Says that a build goes on: until the lease is dropped, pruning leaves alone the build cache and
    /// whatever nothing refers to.
    ///
    /// # Errors
    /// If the note can't be written.
    pub fn hold_for_build(&self) -> Result<Lease> {
        self.lease(&Held {
            building: true,
            ..Held::default()
        })
    }

    pub(super) fn lease(&self, held: &Held) -> Result<Lease> {
        let lease = Lease {
            place: self.work()?,
        };
        lease.put(held)?;
        Ok(lease)
    }

    /// Holds those of `layers` that are whole, for as long as `work` is there: what is found in the store afterwards stays
    /// until it is referred to.
    pub(super) fn hold_known(
        &self,
        work: &Work,
        layers: impl Iterator<Item = String>,
    ) -> Result<()> {
        let mut held = Held::default();
        for key in layers {
            if self.known_layer(&key)?.is_some() {
                held.layers.insert(key);
            }
        }
        if held.layers.is_empty() || sys::fault::broken("no-load-hold") {
            return Ok(());
        }
        put(work, &held)?;
        // Whoever had looked for holds before that one has removed what it removes when we get the lock.
        self.lock(Lock::Shared).map(drop)
    }

    /// Holds `image` for as long as something is at `dir`, whoever makes and removes it: a container that
    /// outlives this process. Until `dir` is there, a [`Store::hold`] must cover the layers.
    ///
    /// # Errors
    /// If the note can't be written.
    pub fn hold_while(&self, dir: &Path, image: &Image) -> Result<()> {
        let doing = || format!("note what {} uses", dir.display());
        let mut held = Held::of(&image.layers);
        held.images.insert(image.id);
        let used = Used {
            dir: dir.to_owned(),
            held,
        };
        let name = Digest::of(dir.as_os_str().as_encoded_bytes()).hex();
        let bytes = bytes_of("a note of what is used", &used)?;
        // One at a time: they would meet in the file that becomes the note.
        let _lock = self.lock(Lock::Exclusive)?;
        let room = self.path.join(USED);
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
        let Some(kept) = self.known_layer(&key)? else {
            return Ok(None);
        };
        for blob in &kept.blobs {
            if self.has_blob(blob.digest, Some(blob.size))? {
                return Ok(Some(Layer {
                    diff_id,
                    tar_size: kept.tar_size,
                    blob: blob.digest,
                    size: blob.size,
                    media_type: blob.media_type.clone(),
                    path: path_of(&self.path, &key),
                    form: kept.form,
                    covers: kept.covers,
                    states_root: kept.states_root,
                }));
            }
        }
        Ok(None)
    }

    /// What is held. A dead process' lease counts until the next clean-up. Nothing is changed.
    pub(super) fn holds(&self) -> Result<Holds> {
        let doing = || format!("read the leases of {}", self.path.display());
        let mut holds = Holds::default();
        let work = self.path.join("work");
        for (name, _) in file::list(file::open_dir(&work).doing(doing)?).doing(doing)? {
            let bytes = match file::read(work.join(name).join(HOLDS), super::index::MAX_INDEX) {
                Ok(bytes) => bytes,
                Err(e) if [Errno::NOENT, Errno::NOTDIR].contains(&e.errno) => continue,
                Err(e) => return Err(e).doing(doing),
            };
            // A torn one is from before a power cut, and its maker is gone.
            if let Ok(held) = serde_json::from_slice(&bytes) {
                holds.held.add(held);
            }
        }
        self.add_used(&mut holds)?;
        Ok(holds)
    }

    /// Adds what is held by directories that are still there, and what was held by others.
    fn add_used(&self, holds: &mut Holds) -> Result<()> {
        let doing = || format!("read what uses {}", self.path.display());
        let room = self.path.join(USED);
        if !file::exists(&room).doing(doing)? {
            return Ok(());
        }
        for (name, _) in file::list(file::open_dir(&room).doing(doing)?).doing(doing)? {
            let path = room.join(&name);
            let bytes = match file::read(&path, super::index::MAX_INDEX) {
                Ok(bytes) => bytes,
                // Somebody's that is being written.
                Err(e) if e.errno == Errno::NOENT => continue,
                Err(e) => return Err(e).doing(doing),
            };
            match serde_json::from_slice::<Used>(&bytes) {
                Ok(used) if file::exists(&used.dir).doing(doing)? => holds.held.add(used.held),
                Ok(used) => {
                    holds.released.add(used.held);
                    holds.moot.push(path);
                }
                Err(_) => holds.moot.push(path),
            }
        }
        Ok(())
    }

    /// Forgets the notes that hold nothing; the exclusive lock is held.
    pub(super) fn forget_moot(&self, holds: &Holds) -> Result<()> {
        for path in &holds.moot {
            file::remove_file(path).doing(|| format!("forget {}", path.display()))?;
        }
        Ok(())
    }
}

impl Lease {
    /// Holds these from now on, and no others.
    pub(super) fn put(&self, held: &Held) -> Result<()> {
        put(&self.place, held)
    }
}

fn put(place: &Work, held: &Held) -> Result<()> {
    let bytes = bytes_of(HOLDS, held)?;
    file::replace(&place.dir, HOLDS, &bytes, 0o600, file::Durability::Memory)
        .doing(|| "hold layers".to_owned())
}

impl Held {
    /// These layers, with their blobs.
    pub(super) fn of(layers: &[Layer]) -> Self {
        Self {
            layers: layers.iter().map(|layer| layer.unpacked().key).collect(),
            blobs: layers.iter().map(|layer| layer.blob).collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
        self.images.extend(other.images);
        self.building |= other.building;
    }
}

fn bytes_of<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Json {
        what: what.to_owned(),
        fault: e.to_string(),
    })
}
