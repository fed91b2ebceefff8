//! The `--root` directory: a directory for each container, with its record, its locks and its start socket.
//!
//! ```text
//! <root>/<id>/            flock'ed by the verb that changes the container
//! <root>/<id>/state.json  what is known of it (journal); flock'ed by its first process until its exec drops that
//! <root>/<id>/start       the socket at which the first process waits for `start`
//! ```
//!
//! Not its job: what stands in a container's directory (place), what a verb does with a container.

mod journal;
mod place;

use std::path::{Path, PathBuf};

use sys::file::{Lock, Wait};
use sys::{Errno, SysError};

pub(crate) use place::START;
pub use place::{Place, record_in};

use crate::{ContainerId, Error, Result};

/// The directory that holds the containers of this host and user.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store below `root`, which is made when first needed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// [`Error::Host`] if the directory is missing or can't be read.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let fail = || format!("list the containers in {}", self.root.display());
        let dir = sys::file::open_dir(&self.root).map_err(Error::host(fail()))?;
        let names = sys::file::list(dir).map_err(Error::host(fail()))?;
        let mut ids: Vec<ContainerId> = names
            .into_iter()
            .filter_map(|(name, _)| name.to_str()?.parse().ok())
            .collect();
        ids.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(ids)
    }

    /// Says early that a name is taken: what else is wrong with a second container of that name (its
    /// cgroup is in use) follows from this. [`Store::claim`] makes sure.
    pub(crate) fn refuse_taken(&self, id: &ContainerId) -> Result<()> {
        match self.open(id) {
            Ok(_) => Err(Error::Exists { id: id.to_string() }),
            Err(_) => Ok(()),
        }
    }

    /// Makes the directory of a new container and locks it.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken.
    pub(crate) fn claim(&self, id: &ContainerId) -> Result<Place> {
        let doing = || {
            format!(
                "make the state directory {}",
                self.root.join(id.as_str()).display()
            )
        };
        sys::file::create_dir_all(&self.root, 0o700).map_err(Error::host(doing()))?;
        self.refuse_strangers()?;
        loop {
            match sys::file::create_dir(self.root.join(id.as_str()), 0o700) {
                Ok(()) => {}
                Err(e) if e.errno == Errno::EXIST => {
                    return Err(Error::Exists { id: id.to_string() });
                }
                Err(e) => return Err(Error::host(doing())(e)),
            }
            match self.lock(id) {
                // Somebody took it for one that was cut off before it was locked.
                Err(Error::Missing { .. }) => {}
                locked => {
                    return locked.inspect_err(|_| {
                        // Empty as we made it; what somebody else has put there by now keeps it.
                        let dir = self.root.join(id.as_str());
                        let _that_error_is_told = sys::file::remove_dir(dir);
                    });
                }
            }
        }
    }

    /// Removes the directory of a container if its creation was cut off before the first record: nothing else was made.
    ///
    /// # Errors
    /// [`Error::Host`] if it can't be locked or removed, [`Error::State`] if it can't be read.
    pub fn forget_cut_off(&self, id: &ContainerId) -> Result<()> {
        let place = match self.open(id) {
            Err(Error::Missing { .. }) => return Ok(()),
            place => place?,
        };
        let locked = sys::file::lock(place.dir(), Lock::Exclusive, Wait::Try)
            .map_err(Error::host("lock the container's state directory"))?;
        // Else it is being made.
        if locked && place.is_linked()? && place.record()?.is_none() {
            place.remove()?;
        }
        Ok(())
    }

    /// Somebody else's directory is no place for our state (CVE-2019-12439).
    fn refuse_strangers(&self) -> Result<()> {
        let doing = || format!("use the state directory {}", self.root.display());
        let dir = sys::file::open_dir(&self.root).map_err(Error::host(doing()))?;
        let stat =
            sys::at::fstat(&dir).map_err(|e| Error::host(doing())(SysError::new("stat", "", e)))?;
        let (me, _) = sys::privileges::ids();
        if stat.st_uid == me || stat.st_uid == 0 || sys::fault::broken("no-owner-check") {
            return Ok(());
        }
        let note = format!("it belongs to user {}, not to {me}", stat.st_uid);
        Err(Error::host(doing())(
            SysError::new("open", "", Errno::PERM).with_note(note),
        ))
    }

    /// Opens a container's directory without a lock: for verbs that only look or signal.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn open(&self, id: &ContainerId) -> Result<Place> {
        match sys::file::open_dir(self.root.join(id.as_str())) {
            Ok(dir) => Ok(Place::new(id, &self.root, dir)),
            Err(e) if e.errno == Errno::NOENT => Err(Error::Missing { id: id.to_string() }),
            Err(e) => Err(Error::host("open the container's state directory")(e)),
        }
    }

    /// Opens a container's directory and waits for the verb that changes it now.
    ///
    /// # Errors
    /// [`Error::Missing`], also when it went away while we waited.
    pub(crate) fn lock(&self, id: &ContainerId) -> Result<Place> {
        loop {
            let place = self.open(id)?;
            sys::file::lock(place.dir(), Lock::Exclusive, Wait::Block)
                .map_err(Error::host("lock the container's state directory"))?;
            // A delete may have removed it, and a create made another, before the lock was ours.
            if place.is_linked()? {
                return Ok(place);
            }
        }
    }
}
