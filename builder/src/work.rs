//! What a step has to work with, and what all kinds of steps do alike: a key is looked for in the cache,
//! else the step acts on the tree so far and its changes become a layer. All of it is done in the step's own
//! process (`worker`). Not its job: what the kinds do (see `steps`), and the order of steps.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use image::{CommitOptions, Layer, Scratch, Store};
use sys::beneath::Root;

use crate::bases::Bases;
use crate::before::Before;
use crate::cache::{Cache, Key, Outcome};
use crate::commit::Document;
use crate::error::{Doing, Result};
use crate::ignore::Ignore;
use crate::layers::{empty, links_of, overlay};
use crate::lent::Lent;
use crate::places::Places;
use crate::plan::StagePlan;
use crate::request::Options;
use crate::stages::Origin;
use crate::stubs::Stubs;
use crate::tree::{Owners, Tree};
use crate::turn;
use crate::worker::{Message, Voice};

/// A stage so far.
#[derive(Clone, Default)]
pub(crate) struct Built {
    /// Its layers.
    pub(crate) layers: Vec<Layer>,
    /// Its image's document.
    pub(crate) document: Document,
}

/// What a step has to work with.
pub(crate) struct Work<'a> {
    /// Where layers are kept.
    pub(crate) store: &'a Store,
    /// What the caller says.
    pub(crate) options: &'a Options,
    /// The contexts.
    pub(crate) files: &'a Places,
    /// Images that are stood upon or copied from: all that the plan names have been found.
    pub(crate) bases: &'a Bases<'a>,
    /// What was done before.
    pub(crate) cache: Cache<'a>,
    /// What other caches know of steps.
    pub(crate) lent: &'a Lent,
    /// The finished stages.
    pub(crate) done: &'a BTreeMap<usize, Built>,
    /// What earlier builds looked for.
    pub(crate) before: &'a Before,
    /// The step: its stage, and its place there.
    pub(crate) step: (&'a StagePlan, usize),
    /// The build's ear.
    pub(crate) voice: &'a Voice,
}

impl Work<'_> {
    /// What the key's step left before, or what `act` leaves now.
    pub(crate) fn once(
        &self,
        key: &Key,
        layers: &[Layer],
        act: impl FnOnce(&OwnedFd, &Scratch) -> Result<Option<Stubs>>,
    ) -> Result<Outcome> {
        self.known_or(key, |scratch| {
            let mount = overlay(layers, Some(scratch))?;
            let stubs = act(&mount, scratch)?;
            // The layer is taken from the directory below: the mount must be gone.
            drop(mount);
            if let Some(stubs) = stubs {
                stubs.remove(&scratch.upper)?;
            }
            Ok(None)
        })
    }

    /// What the cache knows, or what `act` leaves in a fresh directory, or the layer that it says is the same.
    pub(crate) fn known_or(
        &self,
        key: &Key,
        act: impl FnOnce(&Scratch) -> Result<Option<Layer>>,
    ) -> Result<Outcome> {
        self.voice.say(&Message::Key(key.hex()));
        if let Some(outcome) = self.find(key)? {
            return Ok(outcome);
        }
        // Another stage or build may be at this very step.
        let _turn = turn::take(self.store.path(), &key.hex())?;
        if let Some(outcome) = self.find(key)? {
            return Ok(outcome);
        }
        if self.options.explain {
            let (stage, place) = self.step;
            let why = self.before.why(&self.cache, stage, place, key);
            self.voice.say(&Message::Missed(why));
        }
        let scratch = self.store.scratch().doing(|| "begin a layer".to_owned())?;
        let outcome = match act(&scratch)? {
            Some(layer) => Outcome::Layer(layer),
            None => self.commit(scratch)?,
        };
        self.cache.keep(key, &outcome)?;
        Ok(outcome)
    }

    fn find(&self, key: &Key) -> Result<Option<Outcome>> {
        let mut found = self.cache.find(key)?;
        if found.is_none() && !self.cache.write_only {
            found = self.borrow(key);
        }
        if found.is_some() {
            self.voice.say(&Message::Cached);
        }
        Ok(found)
    }

    /// What another cache knows of the step. Where it can't keep its word, the step is done.
    fn borrow(&self, key: &Key) -> Option<Outcome> {
        let access = &self.options.access;
        match self.lent.find(self.store, access, &key.hex()) {
            Ok(found) => found,
            Err(error) => {
                let text = format!("--cache-from: {}", runtime::chain(&error));
                self.voice.say(&Message::Warning(text));
                None
            }
        }
    }

    fn commit(&self, scratch: Scratch) -> Result<Outcome> {
        let doing = || "make a layer".to_owned();
        let upper = sys::file::open_dir(&scratch.upper).doing(doing)?;
        if sys::file::list(&upper).doing(doing)?.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let options = CommitOptions {
            clamp_mtime: Some(self.options.epoch()),
        };
        let layer = self.store.commit_layer(scratch, options).doing(doing)?;
        Ok(Outcome::Layer(layer))
    }

    /// The key of a step of this kind upon these layers.
    pub(crate) fn key(&self, kind: &str, layers: &[Layer]) -> Key {
        let mut key = Key::new(kind, layers);
        // Times are cut to it: with another one, the layer is another.
        key.add("epoch", self.options.epoch().to_string());
        key
    }

    /// The layers of a stage or image; `None` for the context.
    pub(crate) fn layers_of(&self, origin: &Origin) -> Result<Option<Vec<Layer>>> {
        Ok(match origin {
            Origin::Context | Origin::Named(_) => None,
            Origin::Scratch => Some(Vec::new()),
            Origin::Stage(index) => {
                let built = self.done.get(index);
                Some(built.map(|built| built.layers.clone()).unwrap_or_default())
            }
            Origin::Image(image) => {
                let platform = self.options.settings.platform.as_ref();
                Some(self.bases.found(image, platform)?.layers.clone())
            }
        })
    }

    /// The tree that a COPY takes from.
    pub(crate) fn tree(&self, origin: &Origin) -> Result<Tree> {
        let Some(layers) = self.layers_of(origin)? else {
            return match origin {
                Origin::Named(name) => self.files.named(name),
                _ => self.files.own.tree(self.options.file.as_deref()),
            };
        };
        let name = match origin {
            Origin::Stage(index) => format!("stage {index}"),
            Origin::Image(image) => format!("image {image}"),
            Origin::Scratch | Origin::Context | Origin::Named(_) => "an empty tree".to_owned(),
        };
        let mount = match layers.is_empty() {
            true => empty()?,
            false => overlay(&layers, None)?,
        };
        Ok(Tree {
            root: Root::new(mount),
            name,
            owners: Owners::Kept,
            links: links_of(&layers)?,
            ignore: Ignore::default(),
            place: None,
        })
    }
}
