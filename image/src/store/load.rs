//! Loads an archive or layout: reads the layers that the store lacks, several at once, checks all of
//! it, and only then shows the images. Not its job: the formats, and reading one layer.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use sys::file::{self, Durability, Lock};

use super::gather::Ready;
use super::index::{Index, Record, Unpacked};
use super::lend::pieces;
use super::work::Work;
use super::{Image, Store};
use crate::error::Doing;
use crate::offer::{Offer, offers};
use crate::source::Source;
use crate::watch::{Watch, WatchedBlob};
use crate::{Digest, Error, Platform, Reference, Result, manifest};

/// What becomes of a name that another image has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// Loading fails: an archive must not take another image's place by itself (CVE-2026-50195).
    #[default]
    Keep,
    /// The loaded image takes it.
    Move,
    /// No name is taken at all: the image is for whoever loads it.
    Leave,
}

/// How an archive is loaded.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// What becomes of names that other images have.
    pub names: Names,
    /// A name beside those that the archive gives; only for an archive of one image.
    pub name: Option<Reference>,
    /// Of several images the one that the archive calls so: by its tag, or by its whole name.
    pub only: Option<String>,
    /// For another platform than this host's.
    pub platform: Option<Platform>,
    /// What the one image is known by where it came from, beside its own digests: that of an index that
    /// leads to it.
    pub index: Option<Digest>,
    /// Who is told of it while it runs.
    pub watch: Option<Watch>,
}

/// An image that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// What its layers have and we may not make without privileges: devices, file capabilities.
    pub left_out: Vec<String>,
}

/// The layers of one image on offer.
enum Layers {
    /// The store has the whole image.
    Known,
    /// Looked for, and read where they were missing.
    Read(Vec<Ready>),
}

impl Layers {
    fn read(&self) -> &[Ready] {
        match self {
            Self::Known => &[],
            Self::Read(layers) => layers,
        }
    }
}

impl Store {
    /// Loads every image of `source` that is for this platform. Layers that the store has are not read
    /// again. Either all images are there afterwards, or nothing has changed.
    ///
    /// # Errors
    /// Names the document, layer or entry that is wrong, and how.
    pub fn load(&self, source: Source, options: &LoadOptions) -> Result<Vec<Loaded>> {
        let doing = format!("load {}", source.name());
        self.load_all(source, options).map_err(|e| e.inside(doing))
    }

    fn load_all(&self, source: Source, options: &LoadOptions) -> Result<Vec<Loaded>> {
        let work = self.work()?;
        let files = source.open(&work.path, options.watch.as_ref())?;
        let mut offers = offers(&files, options.platform.as_ref())?;
        if let Some(watch) = &options.watch {
            for blob in offers.iter_mut().flat_map(Offer::blobs) {
                *blob = WatchedBlob::of(Arc::clone(blob), Arc::clone(watch));
            }
        }
        self.load_offers(&work, offers, options)
    }

    /// Loads images on offer, wherever they come from; what [`Store::load`] says of a source holds for
    /// all of them together.
    pub(crate) fn load_offers(
        &self,
        work: &Work,
        mut offers: Vec<Offer>,
        options: &LoadOptions,
    ) -> Result<Vec<Loaded>> {
        choose(&mut offers, options)?;
        if let Some(name) = &options.name {
            match &mut offers[..] {
                [offer] => offer.names.push(name.clone()),
                _ => {
                    return Err(Error::refused(
                        "the source",
                        "a name is given, but it holds several images",
                    ));
                }
            }
        }
        check_names(&self.index()?, &offers, options.names)?;
        let mut ready: Vec<Layers> = Vec::with_capacity(offers.len());
        // A layer removed by another process between our look and our publication is read again.
        loop {
            ready.clear();
            let mut new = HashMap::new();
            self.hold_offered(work, &offers)?;
            let index = self.index()?;
            for offer in &offers {
                ready.push(match self.is_whole(&index, offer.id)? {
                    true => Layers::Known,
                    false => Layers::Read(self.layers_of(work, offer, &mut new)?),
                });
            }
            if !new.is_empty() {
                work.sync()?;
            }
            let lock = self.lock(Lock::Exclusive)?;
            if self.all_present(&offers, &ready)? {
                let loaded = self.show(work, &offers, &ready, options);
                drop(lock);
                return loaded;
            }
        }
    }

    /// Whether the store has the image with all its layers.
    fn is_whole(&self, index: &Index, id: Digest) -> Result<bool> {
        let Some(record) = index.images.get(&id) else {
            return Ok(false);
        };
        // Loading it again is how a damaged store is repaired.
        let Ok(image) = self.image(index, id, record) else {
            return Ok(false);
        };
        for layer in &image.layers {
            let known = self.known_layer(&layer.unpacked().key)?.is_some();
            if !known || !self.has_blob(layer.blob, Some(layer.size))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether everything that is not new is still in the store; the exclusive lock is held.
    fn all_present(&self, offers: &[Offer], images: &[Layers]) -> Result<bool> {
        let index = self.index()?;
        for (offer, layers) in offers.iter().zip(images) {
            let present = match layers {
                Layers::Known => self.is_whole(&index, offer.id)?,
                Layers::Read(layers) => self.are_present(layers)?,
            };
            if !present {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn are_present(&self, layers: &[Ready]) -> Result<bool> {
        for ready in layers {
            if ready.layer.is_none() && self.known_layer(&ready.key)?.is_none() {
                return Ok(false);
            }
            let Some(blob) = ready.kept.blobs.first() else {
                return Ok(false);
            };
            if ready.blob.is_none() && !self.has_blob(blob.digest, Some(blob.size))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Publishes everything and names it in the index; the exclusive lock is held, the layers are
    /// synced.
    fn show(
        &self,
        work: &Work,
        offers: &[Offer],
        ready: &[Layers],
        options: &LoadOptions,
    ) -> Result<Vec<Loaded>> {
        let before = self.index()?;
        check_names(&before, offers, options.names)?;
        let mut index = before.clone();
        let mut blobs = Vec::new();
        let mut layers = Vec::new();
        for (n, (offer, ready)) in offers.iter().zip(ready).enumerate() {
            let Layers::Read(ready) = ready else { continue };
            let (new_blobs, new_layers) = pieces(ready);
            blobs.extend(new_blobs);
            layers.extend(new_layers);
            let record = self.documents(work, n, offer, ready, &mut blobs)?;
            index.images.insert(offer.id, record);
        }
        // A layer of several images was read once, and goes into its place once.
        blobs.sort();
        blobs.dedup();
        layers.sort();
        layers.dedup();
        for offer in offers {
            for name in &offer.names {
                index.name(name, offer.id)?;
            }
            if let Some(digest) = options.index {
                index.lead(digest, offer.id);
            }
        }
        if !blobs.is_empty() {
            work.sync()?;
        }
        let staged = self.stage(work, &index)?;
        self.publish(work, &blobs, &layers)?;
        let read = ready.iter().flat_map(Layers::read);
        for ready in read.filter(|ready| ready.layer.is_none() && ready.blob.is_some()) {
            self.add_blob(ready)?;
        }
        if index != before {
            self.show_index(&staged)?;
        }
        for offer in offers {
            file::use_now(self.blob_path(offer.id))
                .doing(|| format!("note the use of {}", offer.id))?;
        }
        let loaded = offers.iter().zip(ready).map(|(offer, layers)| {
            let left_out = layers
                .read()
                .iter()
                .flat_map(|ready| ready.kept.left_out.clone());
            Ok(Loaded {
                image: self.image(&index, offer.id, &index.images[&offer.id])?,
                left_out: left_out.collect(),
            })
        });
        loaded.collect()
    }

    /// Writes config and manifest of an image into the work directory.
    fn documents(
        &self,
        work: &Work,
        n: usize,
        offer: &Offer,
        layers: &[Ready],
        blobs: &mut Vec<(String, Digest)>,
    ) -> Result<Record> {
        let manifest = match &offer.manifest {
            Some(bytes) => bytes.clone(),
            None => {
                let descriptors = layers.iter().filter_map(|r| r.kept.blobs.first().cloned());
                let descriptors: Vec<_> = descriptors.collect();
                manifest::compose(offer.id, offer.config.len() as u64, &descriptors)?
            }
        };
        let digest = Digest::of(&manifest);
        let documents = [
            (format!("config-{n}"), offer.id, &offer.config),
            (format!("manifest-{n}"), digest, &manifest),
        ];
        for (name, digest, bytes) in documents {
            work.create(&name)?
                .write_all(bytes)
                .map_err(|e| sys::SysError::from_io("write", &name, &e))
                .doing(|| format!("write {name}"))?;
            blobs.push((name, digest));
        }
        let unpacked = layers.iter().map(|ready| Unpacked {
            key: ready.key.clone(),
            covers: ready.kept.covers,
            states_root: ready.kept.states_root,
            tar_size: ready.kept.tar_size,
        });
        Ok(Record {
            manifest: digest,
            layers: unpacked.collect(),
        })
    }

    /// Says beside a known layer that one more blob was found to hold it.
    pub(super) fn add_blob(&self, ready: &Ready) -> Result<()> {
        let dir = self.path.join("layers").join(&ready.key);
        let dir = file::open_dir(dir).doing(|| format!("open layer {}", ready.key))?;
        ready.kept.write(&dir, Durability::Disk)
    }
}

/// Keeps the image that is asked for, and takes the names away if nobody wants them.
fn choose(offers: &mut Vec<Offer>, options: &LoadOptions) -> Result<()> {
    if let Some(wanted) = &options.only {
        offers.retain(|offer| {
            let manifest = offer.manifest.as_deref().map(Digest::of);
            offer.names.iter().any(|name| name.is_called(wanted))
                || manifest.is_some_and(|digest| digest.to_string() == *wanted)
        });
        if offers.is_empty() {
            let rule = format!("it holds no image called {wanted:?}");
            return Err(Error::refused("the source", rule));
        }
    }
    if options.names == Names::Leave {
        for offer in offers {
            offer.names.clear();
        }
    }
    Ok(())
}

fn check_names(index: &Index, offers: &[Offer], names: Names) -> Result<()> {
    if names == Names::Move || sys::fault::broken("no-name-check") {
        return Ok(());
    }
    for offer in offers {
        for name in offer.names.iter().filter_map(Reference::tagged) {
            match index.by_name(&name) {
                Some(other) if other != offer.id => {
                    return Err(Error::InUse {
                        image: name.familiar(),
                        reason: format!("the name belongs to another image ({other})"),
                    });
                }
                _ => {}
            }
        }
    }
    Ok(())
}
