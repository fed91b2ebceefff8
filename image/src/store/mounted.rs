//! Where images are mounted: a note for each place, which holds the image's layers until it is taken back, whatever
//! process made it. Not its job: mounting.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::Errno;
use sys::file::{self, Durability};

use super::{Image, Store};
use crate::error::Doing;
use crate::{Digest, Error, Result};

/// An image at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Its id.
    pub image: Digest,
    /// Where it was mounted, absolute.
    pub dir: PathBuf,
}

impl Store {
    /// Notes that `image` is going to be mounted at `dir`, an absolute path. From then on its layers are held, until
    /// [`Store::forget_mount`]; whoever is killed in between leaves a note, never a mount without one.
    ///
    /// # Errors
    /// [`Error::InUse`] if there is a note of this place already, or if a layer is not in the store any more.
    pub fn note_mount(&self, image: &Image, dir: &Path) -> Result<()> {
        let doing = || format!("note the mount at {}", dir.display());
        let _lease = self.hold(&image.layers)?;
        let path = self.path.join("mounts");
        file::create_dir_all(&path, 0o700).doing(doing)?;
        let note = note_of(&path, dir);
        if file::exists(&note).doing(doing)? {
            return Err(Error::InUse {
                image: image.id.to_string(),
                reason: format!("{} is taken by another mount", dir.display()),
            });
        }
        let mounted = Mounted {
            image: image.id,
            dir: dir.to_owned(),
        };
        let bytes = serde_json::to_vec(&mounted).map_err(|e| Error::Json {
            what: doing(),
            fault: e.to_string(),
        })?;
        self.hold_while(&note, image)?;
        let room = file::open_dir(&path).doing(doing)?;
        let name = name_of(dir);
        // A power cut ends the mount too.
        file::replace(&room, &name, &bytes, 0o600, Durability::Memory).doing(doing)
    }

    /// All notes, by place.
    ///
    /// # Errors
    /// Names the note that can't be read.
    pub fn mounts(&self) -> Result<Vec<Mounted>> {
        let doing = || format!("read the mounts of {}", self.path.display());
        let path = self.path.join("mounts");
        if !file::exists(&path).doing(doing)? {
            return Ok(Vec::new());
        }
        let mut all: Vec<Mounted> = Vec::new();
        for (name, _) in file::list(file::open_dir(&path).doing(doing)?).doing(doing)? {
            // One that is being written.
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let bytes = match file::read(path.join(&name), crate::json::MAX_DOCUMENT) {
                Ok(bytes) => bytes,
                Err(e) if e.errno == Errno::NOENT => continue,
                Err(e) => return Err(e).doing(doing),
            };
            all.push(serde_json::from_slice(&bytes).map_err(|e| Error::Json {
                what: path.join(&name).display().to_string(),
                fault: e.to_string(),
            })?);
        }
        all.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(all)
    }

    /// Takes a note back: the layers are held no longer. What only they kept goes with the next removal.
    ///
    /// # Errors
    /// If the note can't be removed.
    pub fn forget_mount(&self, dir: &Path) -> Result<()> {
        let note = note_of(&self.path.join("mounts"), dir);
        file::remove_file(&note).doing(|| format!("forget the mount at {}", dir.display()))
    }
}

fn name_of(dir: &Path) -> String {
    Digest::of(dir.as_os_str().as_bytes()).hex()
}

fn note_of(room: &Path, dir: &Path) -> PathBuf {
    room.join(name_of(dir))
}
