//! Compresses the layers of images that leave, each once, into files that go with them. Not its job: how bytes are
//! compressed (`compression/pack`), and what is noted of it (`packed`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use sys::file;

use super::commit::Hashing;
use super::packed::{name_of, note, notes};
use super::work::Work;
use super::{Layer, Store};
use crate::compression::pack::{self, Method};
use crate::compression::{Compression, Decoder};
use crate::digest::{Hasher, Promise, Verified, mismatch};
use crate::error::Doing;
use crate::layer::entry::stream_fault;
use crate::manifest::Descriptor;
use crate::{Digest, Result};

/// Whether the other side has a blob.
pub(crate) type Has<'h> = &'h dyn Fn(&Descriptor) -> Result<bool>;

/// Layers on their way out.
#[derive(Debug)]
pub(super) struct Packing<'a> {
    store: &'a Store,
    method: Method,
    /// Whether layers change that are compressed in another way.
    force: bool,
    /// Layers that were compressed, by their digests.
    aside: Option<Work>,
    /// The same, by their diff ids.
    made: BTreeMap<Digest, Descriptor>,
}

impl<'a> Packing<'a> {
    /// Nothing is compressed yet.
    pub(super) fn new(store: &'a Store, method: Method, force: bool) -> Self {
        Self {
            store,
            method,
            force,
            aside: None,
            made: BTreeMap::new(),
        }
    }

    /// Where those layers are that are not in the store, and which.
    pub(super) fn aside(&self) -> Option<(PathBuf, BTreeSet<Digest>)> {
        let made = self.made.values().map(|made| made.digest).collect();
        self.aside.as_ref().map(|work| (work.path.clone(), made))
    }

    /// What a layer leaves as; `None` if it stays what it is.
    pub(super) fn packed(&mut self, layer: &Layer, has: Has<'_>) -> Result<Option<Descriptor>> {
        let method = self.method;
        let wanted = match method {
            Method::None => Compression::None,
            Method::Gzip(_) => Compression::Gzip,
            Method::Zstd(_) => Compression::Zstd,
        };
        let found = self.compression(layer)?;
        let stays = found == wanted || (found != Compression::None && !self.force);
        if stays {
            return Ok(None);
        }
        if let Some(made) = self.made.get(&layer.diff_id) {
            return Ok(Some(made.clone()));
        }
        let media_type = wanted.media_type();
        let notes = notes(layer);
        if let Some(noted) = notes.iter().find(|noted| noted.method == name_of(method)) {
            let descriptor = Descriptor::new(media_type, noted.digest, noted.size);
            if has(&descriptor)? {
                return Ok(Some(descriptor));
            }
        }
        let (digest, size) = self.pack(layer, method)?;
        note(layer, notes, method, (digest, size));
        let descriptor = Descriptor::new(media_type, digest, size);
        self.made.insert(layer.diff_id, descriptor.clone());
        Ok(Some(descriptor))
    }

    /// How the store has a layer, by its first bytes.
    fn compression(&self, layer: &Layer) -> Result<Compression> {
        let doing = || format!("read blob {}", layer.blob);
        let mut head = Vec::new();
        file::open(self.store.blob_path(layer.blob))
            .doing(doing)?
            .take(6)
            .read_to_end(&mut head)
            .map_err(|e| stream_fault(&doing(), &e))?;
        Ok(Compression::detect(&head))
    }

    /// Compresses a layer, held to its diff id, into a file that goes with us.
    fn pack(&mut self, layer: &Layer, method: Method) -> Result<(Digest, u64)> {
        let what = format!("layer {}", layer.diff_id);
        let doing = || format!("compress {what}");
        let blob = file::open(self.store.blob_path(layer.blob)).doing(doing)?;
        let (decoder, _) = Decoder::new(BufReader::with_capacity(128 * 1024, blob))?;
        let promise = Promise {
            digest: Some(layer.diff_id),
            size: Some(layer.tar_size),
        };
        let mut verified = Verified::new(decoder, promise);
        let work = match self.aside.take() {
            Some(work) => work,
            None => self.store.work()?,
        };
        let work = self.aside.insert(work);
        let out = Hashing {
            out: BufWriter::with_capacity(128 * 1024, work.create("part")?),
            hasher: Hasher::default(),
        };
        let out = pack::pack(method, pack::threads(), &mut verified, out)
            .and_then(|mut out| out.flush().map(|()| out))
            .map_err(|e| stream_fault(&doing(), &e))?;
        let (found, _) = verified.finish(&what)?;
        if found != layer.diff_id {
            return Err(mismatch(what, "diff id", layer.diff_id, found));
        }
        let size = out.hasher.length();
        let digest = out.hasher.finish();
        file::rename(work.path.join("part"), work.path.join(digest.hex())).doing(doing)?;
        Ok((digest, size))
    }
}
