//! Gathers the layers of one image on offer: finds them in the store, or reads them, several at once.
//! Not its job: reading one, and showing them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Store;
use super::layer::Kept;
use super::read_layer::{ReadLayer, Task, read_layer};
use super::work::Work;
use crate::budget::Budget;
use crate::error::Doing;
use crate::layer::below::{Below, Progress};
use crate::manifest::Descriptor;
use crate::offer::{Offer, OfferedLayer};
use crate::{Digest, Error, Result};

/// Layers read at once at most, each by four threads. A zstd stream may want 8 MiB and more of memory.
const AT_ONCE: usize = 4;

/// One layer, in the store or in the work directory.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) kept: Kept,
    pub(super) key: String,
    /// Its tree, for the layers above to look into.
    pub(super) path: PathBuf,
    /// `layer-N` in the work directory, if it is new.
    pub(super) layer: Option<String>,
    /// `blob-N` in the work directory, if it is new.
    pub(super) blob: Option<String>,
}

impl Store {
    /// Holds what the store has of the images on offer.
    pub(super) fn hold_offered(&self, work: &Work, offers: &[Offer]) -> Result<()> {
        let keys = offers.iter().flat_map(|offer| {
            let chains = chains(&offer.layers);
            (0..offer.layers.len()).flat_map(move |layer| self.keys(offer, &chains, layer))
        });
        self.hold_known(work, keys)
    }

    /// What a layer is called where it stands by itself, and where it hangs on those below.
    fn keys(&self, offer: &Offer, chains: &[Digest], layer: usize) -> [String; 2] {
        let suffix = self.manner.owners.suffix();
        let diff_id = offer.layers[layer].diff_id.hex();
        let below = match layer {
            0 => "base".to_owned(),
            _ => chains[layer - 1].hex(),
        };
        [
            format!("{diff_id}{suffix}"),
            format!("{diff_id}.{below}{suffix}"),
        ]
    }

    /// All layers of one image, the lowest first: found, or read into the work directory.
    pub(super) fn layers_of(
        &self,
        work: &Work,
        offer: &Offer,
        new: &mut HashMap<String, Ready>,
    ) -> Result<Vec<Ready>> {
        let chains = chains(&offer.layers);
        let results: Vec<Mutex<Option<Result<Ready>>>> =
            offer.layers.iter().map(|_| Mutex::new(None)).collect();
        let progress = Progress::new(offer.layers.len());
        let next = AtomicUsize::new(0);
        let known = &*new;
        let job = Job {
            store: self,
            work,
            offer,
            chains: &chains,
            results: &results,
            progress: &progress,
            budget: Budget::default(),
            known,
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(offer.layers.len()) {
                scope.spawn(|| {
                    loop {
                        // From the lowest up: a layer only ever waits for ones begun before it.
                        let layer = next.fetch_add(1, Ordering::Relaxed);
                        if layer >= job.offer.layers.len() {
                            return;
                        }
                        job.run(layer);
                    }
                });
            }
        });
        let mut layers = Vec::with_capacity(results.len());
        let mut stopped = false;
        for result in results {
            match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(Ok(ready)) => layers.push(ready),
                Some(Err(Error::Stopped)) | None => stopped = true,
                Some(Err(e)) => return Err(e),
            }
        }
        if stopped {
            return Err(Error::Stopped);
        }
        for ready in &layers {
            if ready.layer.is_some() || ready.blob.is_some() {
                new.insert(ready.key.clone(), ready.clone());
            }
        }
        Ok(layers)
    }
}

/// The layers of one image being looked for and read by several threads.
struct Job<'a> {
    store: &'a Store,
    work: &'a Work,
    offer: &'a Offer,
    chains: &'a [Digest],
    results: &'a [Mutex<Option<Result<Ready>>>],
    progress: &'a Progress,
    budget: Budget,
    /// Layers that other images of this archive brought.
    known: &'a HashMap<String, Ready>,
}

impl Job<'_> {
    fn run(&self, layer: usize) {
        let result = match self.progress.failed() {
            true => Err(Error::Stopped),
            false => self.layer(layer),
        };
        let good = result.is_ok();
        *self.slot(layer) = Some(result);
        match good {
            true => self.progress.finish(layer),
            false => self.progress.fail(),
        }
    }

    fn slot(&self, layer: usize) -> std::sync::MutexGuard<'_, Option<Result<Ready>>> {
        self.results[layer]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn layer(&self, layer: usize) -> Result<Ready> {
        let offered = &self.offer.layers[layer];
        let [free, leaning] = self.store.keys(self.offer, self.chains, layer);
        for key in [&free, &leaning] {
            if let Some(known) = self.known(key)? {
                return self.with_blob(layer, key, known);
            }
        }
        let name = self.unique("layer", layer);
        let blob = self.unique("blob", layer);
        let ask = || self.below(layer);
        let task = Task::Unpack {
            layer: name.clone(),
            manner: &self.store.manner,
            form: self.store.new_layers,
            ask: &ask,
        };
        let ReadLayer { kept, shape } =
            read_layer(self.work, offered, &blob, &task, &self.budget, &|| {
                !self.progress.failed()
            })?;
        let leans = shape.is_some_and(|shape| shape.leans);
        Ok(Ready {
            kept,
            key: if leans { leaning } else { free },
            path: self.work.path.join(&name).join("fs"),
            layer: Some(name),
            blob: Some(blob),
        })
    }

    /// A name in the work directory that no other layer or attempt has.
    fn unique(&self, kind: &str, layer: usize) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        format!("{kind}-{layer}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// The layer as another image of the archive or the store has it.
    fn known(&self, key: &str) -> Result<Option<Ready>> {
        if let Some(ready) = self.known.get(key) {
            return Ok(Some(ready.clone()));
        }
        let kept = self.store.known_layer(key)?;
        Ok(kept.map(|kept| Ready {
            kept,
            key: key.to_owned(),
            path: super::layer::path_of(&self.store.path, key),
            layer: None,
            blob: None,
        }))
    }

    /// The known layer with the blob that this image has for it: one that is known to hold it, or one
    /// that is read and checked now.
    fn with_blob(&self, layer: usize, key: &str, mut known: Ready) -> Result<Ready> {
        let offered = &self.offer.layers[layer];
        let wanted = |digest: Digest| {
            offered
                .descriptor
                .as_ref()
                .is_none_or(|d| d.digest == digest)
        };
        for n in 0..known.kept.blobs.len() {
            let (digest, size) = (known.kept.blobs[n].digest, known.kept.blobs[n].size);
            let here = known.blob.is_some() && n == 0;
            if wanted(digest) && (here || self.store.has_blob(digest, Some(size))?) {
                check_size(offered, size)?;
                known.kept.blobs.swap(0, n);
                return Ok(known);
            }
        }
        let blob = self.unique("blob", layer);
        let go_on = || !self.progress.failed();
        let read = read_layer(
            self.work,
            offered,
            &blob,
            &Task::Check,
            &self.budget,
            &go_on,
        )?;
        let found = |known: &Descriptor| read.kept.blobs.iter().any(|b| b.digest == known.digest);
        known.kept.blobs.retain(|known| !found(known));
        known.kept.blobs.splice(0..0, read.kept.blobs);
        Ok(Ready {
            blob: Some(blob),
            key: key.to_owned(),
            ..known
        })
    }

    /// The layers below, when all of them are whole.
    fn below(&self, layer: usize) -> Result<Below> {
        if !self.progress.wait_below(layer) {
            return Err(Error::Stopped);
        }
        let mut roots = Vec::new();
        for lower in (0..layer).rev() {
            let slot = self.slot(lower);
            let Some(Ok(ready)) = &*slot else {
                return Err(Error::Stopped);
            };
            let doing = || format!("open layer {}", ready.key);
            let tree = ready.kept.form.tree(ready.path.clone());
            roots.push(tree.open().doing(doing)?);
            if ready.kept.covers {
                break;
            }
        }
        Ok(Below { roots })
    }
}

/// A known blob has the size it has; a document that says otherwise is wrong.
fn check_size(offered: &OfferedLayer, size: u64) -> Result<()> {
    match &offered.descriptor {
        Some(descriptor) if descriptor.size != size => {
            let what = format!("layer {}", offered.name);
            Err(crate::digest::mismatch(what, "size", descriptor.size, size))
        }
        _ => Ok(()),
    }
}

/// The chain ids: one for each layer with all below it (image-spec, config.md).
fn chains(layers: &[OfferedLayer]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(layers.len());
    for layer in layers {
        chains.push(match chains.last() {
            None => layer.diff_id,
            Some(below) => Digest::of(format!("{below} {}", layer.diff_id).as_bytes()),
        });
    }
    chains
}
