//! What a step has to work with, and what all kinds of steps do alike: a key is looked for in the cache,
//! else the step acts on the tree so far and its changes become a layer. Not its job: what the kinds do
//! (see `steps`), and the order of steps.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use image::{CommitOptions, Layer, Scratch, Store};
use sys::beneath::Root;

use crate::bases::Bases;
use crate::cache::{Cache, Key, Outcome};
use crate::commit::Document;
use crate::context;
use crate::error::{Doing, Result};
use crate::ignore::Ignore;
use crate::layers::{empty, overlay};
use crate::request::{Event, Options};
use crate::stages::Origin;
use crate::stubs::Stubs;
use crate::tree::{Owners, Tree};

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
    /// Images that are stood upon or copied from.
    pub(crate) bases: Bases<'a>,
    /// What was done before.
    pub(crate) cache: Cache<'a>,
    /// The context, once somebody has asked for it.
    pub(crate) context: Option<Tree>,
    /// The finished stages.
    pub(crate) done: BTreeMap<usize, Built>,
    /// Our signals.
    pub(crate) signals: OwnedFd,
    /// The step that is at work.
    pub(crate) number: usize,
    /// Who is told what happens.
    pub(crate) tell: &'a mut dyn FnMut(Event<'_>),
}

impl Work<'_> {
    /// What the key's step left before, or what `act` leaves now.
    pub(crate) fn once(
        &mut self,
        key: &Key,
        layers: &[Layer],
        act: impl FnOnce(&mut Self, &OwnedFd, &Scratch) -> Result<Option<Stubs>>,
    ) -> Result<Outcome> {
        if let Some(outcome) = self.cache.find(key)? {
            (self.tell)(Event::Cached {
                number: self.number,
            });
            return Ok(outcome);
        }
        let scratch = self.store.scratch().doing(|| "begin a layer".to_owned())?;
        let mount = overlay(layers, Some(&scratch))?;
        let stubs = act(self, &mount, &scratch)?;
        // The layer is taken from the directory below: the mount must be gone.
        drop(mount);
        if let Some(stubs) = stubs {
            stubs.remove(&scratch.upper)?;
        }
        let outcome = self.commit(scratch)?;
        self.cache.keep(key, &outcome)?;
        Ok(outcome)
    }

    /// As [`Work::once`], on nothing at all: the layer is the same whatever it is put on.
    pub(crate) fn apart(
        &mut self,
        key: &Key,
        act: impl FnOnce(&Root) -> Result<()>,
    ) -> Result<Outcome> {
        if let Some(outcome) = self.cache.find(key)? {
            (self.tell)(Event::Cached {
                number: self.number,
            });
            return Ok(outcome);
        }
        let scratch = self.store.scratch().doing(|| "begin a layer".to_owned())?;
        let upper = sys::file::open_path(&scratch.upper).doing(|| "begin a layer".to_owned())?;
        act(&Root::new(upper))?;
        let outcome = self.commit(scratch)?;
        self.cache.keep(key, &outcome)?;
        Ok(outcome)
    }

    fn commit(&self, scratch: Scratch) -> Result<Outcome> {
        let doing = || "make a layer".to_owned();
        let upper = sys::file::open_dir(&scratch.upper).doing(doing)?;
        if sys::file::list(&upper).doing(doing)?.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let options = CommitOptions {
            clamp_mtime: Some(self.options.epoch),
        };
        let layer = self.store.commit_layer(scratch, options).doing(doing)?;
        Ok(Outcome::Layer(layer))
    }

    /// The key of a step of this kind upon these layers.
    pub(crate) fn key(&self, kind: &str, layers: &[Layer]) -> Key {
        let mut key = Key::new(kind, layers);
        // Times are cut to it: with another one, the layer is another.
        key.add("epoch", self.options.epoch.to_string());
        key
    }

    /// The tree that a COPY takes from.
    pub(crate) fn tree(&mut self, origin: &Origin) -> Result<Tree> {
        let (name, layers) = match origin {
            Origin::Context => {
                return match self.context.take() {
                    Some(tree) => Ok(tree),
                    None => context::open(&self.options.context, self.options.file.as_deref()),
                };
            }
            Origin::Scratch => ("an empty tree".to_owned(), Vec::new()),
            Origin::Stage(index) => (
                format!("stage {index}"),
                self.done
                    .get(index)
                    .map(|b| b.layers.clone())
                    .unwrap_or_default(),
            ),
            Origin::Image(image) => (
                format!("image {image}"),
                self.bases.image(image, self.tell)?.layers.clone(),
            ),
        };
        let mount = match layers.is_empty() {
            true => empty()?,
            false => overlay(&layers, None)?,
        };
        Ok(Tree {
            root: Root::new(mount),
            name,
            owners: Owners::Kept,
            ignore: Ignore::default(),
        })
    }
}
