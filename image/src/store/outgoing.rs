//! An image on its way out of the store: which bytes leave, compressed where that is asked for, and what is said
//! beside it. The store itself stays as it is. Not its job: archives (`save.rs`) and registries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sys::file;

use super::commit::Hashing;
use super::media_types::MediaTypes;
use super::packed::{name_of, note, notes};
use super::work::Work;
use super::{Format, Image, Layer, Lease, Store};
use crate::attestation::{self, Predicate};
use crate::compression::pack::{self, Method};
use crate::compression::{Compression, Decoder};
use crate::digest::{Hasher, Promise, Verified, mismatch};
use crate::error::Doing;
use crate::layer::entry::stream_fault;
use crate::manifest::{self, Descriptor};
use crate::registry::{Access, PushOptions};
use crate::{Digest, Error, Reference, Result};

/// How an image leaves. By default every byte is the store's own.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    /// What layers are compressed with that are not.
    pub method: Method,
    /// Whether layers change that are compressed in another way.
    pub force: bool,
    /// How its documents are called.
    pub types: MediaTypes,
    /// What is said of it, in a manifest beside its own; OCI's types alone have a place for that.
    pub predicates: Vec<Predicate>,
}

/// An image on its way out, by one way or several: each layer is compressed once.
#[derive(Debug)]
pub struct Outgoing<'a> {
    store: &'a Store,
    image: Image,
    leaving: Leaving,
    /// Layers that were compressed for it, by their digests.
    aside: Option<Work>,
    /// The same, by their diff ids.
    made: BTreeMap<Digest, Descriptor>,
    /// What left last.
    left: Option<Digest>,
    _lease: Lease,
}

/// All that leaves.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The image, its layers and its manifest's digest as they leave.
    pub(crate) image: Image,
    /// Media types and bytes; the last leads to the others.
    pub(crate) manifests: Vec<(String, Vec<u8>)>,
    /// Configs and statements.
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    /// Where layers are that are not in the store.
    aside: Option<(PathBuf, BTreeSet<Digest>)>,
}

impl Parcel {
    /// An image of the store as it is there.
    pub(crate) fn of(store: &Store, image: &Image) -> Result<Self> {
        let bytes = store.read_blob(image.manifest, "manifest")?;
        Ok(Self {
            image: image.clone(),
            manifests: vec![(manifest::media_type(&bytes)?, bytes)],
            blobs: BTreeMap::from([(image.id, image.config.clone())]),
            aside: None,
        })
    }

    /// The document that leads to all others.
    pub(crate) fn top(&self) -> Option<&(String, Vec<u8>)> {
        self.manifests.last()
    }

    /// How the index of a layout speaks of it: once for each of its names.
    pub(crate) fn descriptors(&self) -> Vec<Value> {
        let Some((media_type, bytes)) = self.top() else {
            return Vec::new();
        };
        let mut descriptor = json!({
            "mediaType": media_type,
            "digest": Digest::of(bytes),
            "size": bytes.len(),
        });
        // An index of its own says what its parts are for.
        if self.manifests.len() == 1 {
            descriptor["platform"] = attestation::platform(&self.image);
        }
        let named = self.image.names.iter().map(|name| {
            let mut named = descriptor.clone();
            // containerd and docker read the first, podman and skopeo the second.
            named["annotations"] = json!({
                "io.containerd.image.name": name.to_string(),
                "org.opencontainers.image.ref.name": name.to_string(),
            });
            named
        });
        let named: Vec<Value> = named.collect();
        match named.is_empty() {
            true => vec![descriptor],
            false => named,
        }
    }

    /// Where a layer's blob is, if not in the store.
    pub(crate) fn aside(&self, blob: Digest) -> Option<PathBuf> {
        let (folder, digests) = self.aside.as_ref()?;
        digests.contains(&blob).then(|| folder.join(blob.hex()))
    }
}

impl Store {
    /// Takes hold of an image that is to leave.
    ///
    /// # Errors
    /// If the store has lost a part of it; statements beside an image with docker's media types.
    pub fn outgoing(&self, image: &Image, leaving: Leaving) -> Result<Outgoing<'_>> {
        if leaving.types == MediaTypes::Docker && !leaving.predicates.is_empty() {
            let rule = "attestations need OCI's media types";
            return Err(Error::refused("the image", rule));
        }
        let lease = self.hold_blobs(&image.layers)?;
        self.use_image(image)?;
        Ok(Outgoing {
            store: self,
            image: image.clone(),
            leaving,
            aside: None,
            made: BTreeMap::new(),
            left: None,
            _lease: lease,
        })
    }
}

impl Outgoing<'_> {
    /// Brings the image to where `name` says. Gives the digest of what the name leads to.
    ///
    /// # Errors
    /// As [`Store::push`].
    pub fn push(
        &mut self,
        name: &Reference,
        access: &Access,
        options: &PushOptions,
    ) -> Result<Digest> {
        let store = self.store;
        store.push_with(&self.image.clone(), name, access, options, &mut |has| {
            self.parcel(has)
        })
    }

    /// Writes the image to `out` as an archive.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub fn save<W: Write>(&mut self, format: Format, out: W) -> Result<W> {
        let parcel = self.parcel(&|_| Ok(false))?;
        self.store.save_parcels(&[parcel], format, out, None)
    }

    /// Writes the image as an OCI layout into the folder `dir`, which must be missing or empty.
    ///
    /// # Errors
    /// As [`Store::save_layout`].
    pub fn save_layout(&mut self, dir: &Path) -> Result<()> {
        let parcel = self.parcel(&|_| Ok(false))?;
        self.store.save_parcels_to(&[parcel], dir, None)
    }

    /// The digest of the document that leads to all that has left; none before anything has.
    pub fn left(&self) -> Option<Digest> {
        self.left
    }

    /// Puts together what leaves. What the other side `has` of earlier times is not compressed again.
    fn parcel(&mut self, has: Has<'_>) -> Result<Parcel> {
        let mut parcel = Parcel::of(self.store, &self.image)?;
        let mut changed = self.leaving.types == MediaTypes::Docker;
        for layer in &mut parcel.image.layers {
            if let Some(descriptor) = self.packed(layer, has)? {
                layer.blob = descriptor.digest;
                layer.size = descriptor.size;
                layer.media_type = descriptor.media_type;
                changed = true;
            }
        }
        if changed {
            let bytes = self.manifest(&parcel.image)?;
            parcel.image.manifest = Digest::of(&bytes);
            parcel.manifests = vec![(self.leaving.types.manifest().to_owned(), bytes)];
        }
        if let (Some((_, bytes)), false) = (parcel.top(), self.leaving.predicates.is_empty()) {
            let company = attestation::company(&parcel.image, bytes, &self.leaving.predicates)?;
            parcel.manifests.extend(company.manifests);
            parcel.blobs.extend(company.blobs);
        }
        self.left = parcel.top().map(|(_, bytes)| Digest::of(bytes));
        let made = self.made.values().map(|made| made.digest).collect();
        parcel.aside = self.aside.as_ref().map(|work| (work.path.clone(), made));
        Ok(parcel)
    }

    /// The manifest of the image with the layers that it leaves with.
    fn manifest(&self, image: &Image) -> Result<Vec<u8>> {
        let types = self.leaving.types;
        let layers = image
            .layers
            .iter()
            .map(|layer| Descriptor::new(&types.layer(&layer.media_type), layer.blob, layer.size));
        let document = json!({
            "schemaVersion": 2,
            "mediaType": types.manifest(),
            "config": Descriptor::new(types.config(), image.id, image.config.len() as u64),
            "layers": layers.collect::<Vec<_>>(),
        });
        serde_json::to_vec(&document).map_err(|e| Error::Json {
            what: "manifest".to_owned(),
            fault: e.to_string(),
        })
    }

    /// What a layer leaves as; `None` if it stays what it is.
    fn packed(&mut self, layer: &Layer, has: Has<'_>) -> Result<Option<Descriptor>> {
        let method = self.leaving.method;
        let wanted = match method {
            Method::None => Compression::None,
            Method::Gzip(_) => Compression::Gzip,
            Method::Zstd(_) => Compression::Zstd,
        };
        let found = self.compression(layer)?;
        let stays = found == wanted || (found != Compression::None && !self.leaving.force);
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

/// Whether the other side has a blob.
pub(crate) type Has<'h> = &'h dyn Fn(&Descriptor) -> Result<bool>;
