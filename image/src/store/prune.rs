//! Shrinks a store: what nobody needs goes, the least recently used first. Not its job: single images
//! (`remove.rs`).
//!
//! Use of an image is a run, a build upon it, a load, a save, an unpack; of a step of the build cache, that it
//! was found. It is noted as the time of a file (the config's blob, the entry), which costs one call and no
//! sync.

use std::time::{Duration, SystemTime};

use sys::file::{self, Lock};

use super::index::Index;
use super::layer::Kept;
use super::lease::Holds;
use super::ledger::{Ledger, Piece};
use super::references::References;
use super::{Image, Store};
use crate::error::Doing;
use crate::{Digest, Reference, Result};

/// What is being written is younger.
const TORN: Duration = Duration::from_secs(3600);

/// What may go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prunable {
    /// What nothing refers to, and images without a name.
    #[default]
    Nameless,
    /// Every image that no container uses, and the build cache too.
    Unused,
    /// What nothing refers to, and the build cache.
    Steps,
}

/// How a store is pruned.
#[derive(Debug, Clone, Copy, Default)]
pub struct PruneOptions {
    /// What may go.
    pub what: Prunable,
    /// Images and steps stay when the store takes no more than so many bytes, unpacked layers counted as
    /// their tars are long. What nothing refers to goes all the same.
    pub keep: Option<u64>,
    /// Only what was of no use since then goes.
    pub before: Option<SystemTime>,
    /// Nothing goes: only say what would.
    pub dry_run: bool,
}

impl PruneOptions {
    /// Whether what was of use then for the last time may go.
    fn is_due(&self, last_used: SystemTime) -> bool {
        self.before.is_none_or(|before| last_used < before)
    }
}

/// What a pruning took away, or would.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// Images, with the names they had, the least recently used first.
    pub images: Vec<(Digest, Vec<Reference>)>,
    /// Steps of the build cache, by their files; those that nobody would find again, too.
    pub steps: Vec<String>,
    /// What the build cache knew beside steps, by its files.
    pub notes: Vec<String>,
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Unpacked layers, by their names in the store.
    pub layers: Vec<String>,
    /// Bytes that were freed, unpacked layers counted as their tars are long.
    pub freed: u64,
    /// Bytes that the store takes now.
    pub left: u64,
}

/// Whether an image may go.
pub(crate) type Fits<'a> = dyn Fn(&Image) -> bool + 'a;

/// What may be given up: an image, or a step of the cache.
struct Candidate {
    last_used: SystemTime,
    needs: References,
    what: What,
}

enum What {
    Image(Digest),
    Entry { name: String, is_note: bool },
}

impl Pruned {
    fn forget(&mut self, name: String, is_note: bool) {
        match is_note {
            true => self.notes.push(name),
            false => self.steps.push(name),
        }
    }
}

impl Store {
    /// Notes that the image is used now: pruning takes it later than others.
    ///
    /// # Errors
    /// As utimensat(2).
    pub fn use_image(&self, image: &Image) -> Result<()> {
        file::use_now(self.blob_path(image.id)).doing(|| format!("note the use of {}", image.id))
    }

    /// Takes away what nobody needs. What containers, running commands of other processes and builds use
    /// stays.
    ///
    /// # Errors
    /// If the store can't be read; if an image is damaged so that nobody can say what it needs.
    pub fn prune(&self, options: PruneOptions) -> Result<Pruned> {
        self.prune_those(options, None)
    }

    /// The same of those images alone that `fits` takes, and of no step of the build cache: they say nothing of themselves
    /// that could be asked for.
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub fn prune_those(&self, options: PruneOptions, fits: Option<&Fits<'_>>) -> Result<Pruned> {
        let work = self.work()?;
        let lock = self.lock(Lock::Exclusive)?;
        let index = self.index()?;
        let holds = self.holds()?;
        let (pruned, gone) = self.choose(index.clone(), &holds, options, fits)?;
        if options.dry_run {
            return Ok(pruned);
        }
        // First who refers, then what is referred to: a power cut in between leaves what the next pruning
        // takes.
        if !pruned.images.is_empty() {
            let mut index = index;
            for (id, _) in &pruned.images {
                index.remove(*id);
            }
            self.write_index(&work, &index)?;
        }
        for entry in pruned.steps.iter().chain(&pruned.notes) {
            let path = self.path.join("cache").join(entry);
            file::remove_file(path).doing(|| format!("forget {entry} of the build cache"))?;
        }
        self.forget_torn()?;
        self.forget_moot(&holds)?;
        self.take_away(&work, &gone)?;
        // Others go on while the files of the layers are removed one by one.
        drop(lock);
        work.finish()?;
        Ok(pruned)
    }

    /// Removes what processes were writing beside the build cache when they were killed. A living one takes moments.
    fn forget_torn(&self) -> Result<()> {
        let old = SystemTime::now().checked_sub(TORN);
        for room in ["cache", "builds"].map(|room| self.path.join(room)) {
            let doing = || format!("look for torn files in {}", room.display());
            if !file::exists(&room).doing(doing)? {
                continue;
            }
            for (name, _) in file::list(file::open_dir(&room).doing(doing)?).doing(doing)? {
                let path = room.join(&name);
                let name = name.to_string_lossy();
                let torn = name.starts_with('.') && name.ends_with(".new");
                if torn && file::last_used(&path).is_ok_and(|used| Some(used) < old) {
                    file::remove_file(&path).doing(doing)?;
                }
            }
        }
        Ok(())
    }

    /// What goes; nothing is changed.
    fn choose(
        &self,
        index: Index,
        holds: &Holds,
        options: PruneOptions,
        only: Option<&Fits<'_>>,
    ) -> Result<(Pruned, References)> {
        let held = &holds.held;
        let mut ledger = self.ledger()?;
        ledger.need(&References {
            blobs: held.blobs.clone(),
            layers: held.layers.clone(),
        });
        if held.building {
            // Somebody made a layer a moment ago, and will refer to it in the next.
            ledger.need_all();
        }
        let all = options.what == Prunable::Unused;
        let mut candidates = Vec::new();
        let mut pruned = Pruned::default();
        for (id, record) in &index.images {
            let needs = self.needs(*id, record)?;
            ledger.need(&needs);
            let named = all || index.names_of(*id).is_empty();
            let fits = |fits: &Fits<'_>| self.image(&index, *id, record).is_ok_and(|i| fits(&i));
            let wanted = named && only.is_none_or(fits);
            if wanted && options.what != Prunable::Steps && !held.images.contains(id) {
                // One whose config is gone was of no use for long.
                let last_used = file::last_used(self.blob_path(*id));
                candidates.push(Candidate {
                    last_used: last_used.unwrap_or(SystemTime::UNIX_EPOCH),
                    needs,
                    what: What::Image(*id),
                });
            }
        }
        for entry in self.cache_entries()? {
            ledger.need(&entry.needs);
            if held.building {
                continue;
            }
            if entry.stale {
                pruned.forget(entry.name, entry.is_note);
            } else if only.is_none() && (all || options.what == Prunable::Steps) {
                candidates.push(Candidate {
                    last_used: entry.last_used,
                    needs: entry.needs,
                    what: What::Entry {
                        name: entry.name,
                        is_note: entry.is_note,
                    },
                });
            }
        }
        candidates.retain(|candidate| options.is_due(candidate.last_used));
        candidates.sort_by_key(|candidate| candidate.last_used);
        for candidate in candidates {
            if options.keep.is_some_and(|keep| ledger.needed() <= keep) {
                break;
            }
            ledger.give_up(&candidate.needs);
            match candidate.what {
                What::Image(id) => pruned.images.push((id, index.names_of(id))),
                What::Entry { name, is_note } => pruned.forget(name, is_note),
            }
        }
        Ok(settled(&ledger, pruned))
    }

    /// Everything that the store has.
    fn ledger(&self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for name in self.names(&self.path.join("blobs/sha256"))? {
            // What is no blob's name is somebody else's.
            if let Ok(digest) = Digest::from_hex(&name) {
                let path = self.blob_path(digest);
                let length = file::follow(path).doing(|| format!("look at blob {digest}"))?;
                ledger.enter(Piece::Blob(digest), length.len());
            }
        }
        for key in self.names(&self.path.join("layers"))? {
            let kept = Kept::read(&self.path, &key).ok().flatten();
            ledger.enter(Piece::Layer(key), kept.map_or(0, |kept| kept.tar_size));
        }
        Ok(ledger)
    }
}

/// What goes when all is given up that may be.
fn settled(ledger: &Ledger, mut pruned: Pruned) -> (Pruned, References) {
    let (gone, freed) = ledger.unneeded();
    (pruned.freed, pruned.left) = (freed, ledger.needed());
    pruned.blobs = gone.blobs.iter().copied().collect();
    pruned.layers = gone.layers.iter().cloned().collect();
    pruned.blobs.sort_unstable();
    pruned.layers.sort_unstable();
    (pruned, gone)
}
