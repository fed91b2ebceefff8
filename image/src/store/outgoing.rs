//! Images on their way out of the store: which bytes leave, compressed where that is asked for, and what is said
//! beside them. The store itself stays as it is. Not its job: compressing (`packing`), archives (`save`), registries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::media_types::MediaTypes;
use super::packing::{Has, Packing};
use super::{Format, Image, Layer, Lease, Store};
use crate::attestation::{self, Predicate};
use crate::compression::pack::Method;
use crate::manifest::{self, Descriptor};
use crate::registry::{Access, PushOptions};
use crate::watch::Watch;
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
    /// What is said of images, by their ids, in manifests beside their own; OCI's types alone have a place for that.
    pub predicates: BTreeMap<Digest, Vec<Predicate>>,
    /// Whether all images are one, for several machines: an index, under the names of the first of them.
    pub together: bool,
}

/// Images on their way out, by one way or several: each layer is compressed once.
#[derive(Debug)]
pub struct Outgoing<'a> {
    store: &'a Store,
    images: Vec<Image>,
    leaving: Leaving,
    packing: Packing<'a>,
    /// What left last.
    left: Option<Digest>,
    _lease: Lease,
}

/// All that leaves.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The image, its layers and its manifest's digest as they leave; or several, for several machines.
    pub(crate) images: Vec<Image>,
    /// Media types and bytes; the last leads to the others.
    pub(crate) manifests: Vec<(String, Vec<u8>)>,
    /// Configs and statements.
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    /// Where layers are that are not in the store.
    aside: Option<(PathBuf, BTreeSet<Digest>)>,
    /// Whether layers leave compressed where that is a choice.
    pub(crate) packed: bool,
}

impl Parcel {
    /// An image of the store as it is there.
    pub(crate) fn of(store: &Store, image: &Image) -> Result<Self> {
        Ok(Self {
            images: vec![image.clone()],
            manifests: vec![kept(store, image)?],
            blobs: BTreeMap::from([(image.id, image.config.clone())]),
            aside: None,
            packed: false,
        })
    }

    /// All their layers, each as often as it is there.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.images.iter().flat_map(|image| &image.layers)
    }

    /// The document that leads to all others.
    pub(crate) fn top(&self) -> Option<&(String, Vec<u8>)> {
        self.manifests.last()
    }

    /// How the index of a layout speaks of it: once for each of its names.
    pub(crate) fn descriptors(&self) -> Vec<Value> {
        let (Some((media_type, bytes)), Some(image)) = (self.top(), self.images.first()) else {
            return Vec::new();
        };
        let mut descriptor = json!({
            "mediaType": media_type,
            "digest": Digest::of(bytes),
            "size": bytes.len(),
        });
        // An index of its own says what its parts are for.
        if self.manifests.len() == 1 {
            descriptor["platform"] = attestation::platform(image);
        }
        let named = image.names.iter().map(|name| {
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

/// The manifest of an image of the store.
fn kept(store: &Store, image: &Image) -> Result<(String, Vec<u8>)> {
    let bytes = store.read_blob(image.manifest, "manifest")?;
    Ok((manifest::media_type(&bytes)?, bytes))
}

impl Store {
    /// Takes hold of images that are to leave.
    ///
    /// # Errors
    /// If the store has lost a part of one; statements beside an image with docker's media types.
    pub fn outgoing(&self, images: &[Image], leaving: Leaving) -> Result<Outgoing<'_>> {
        if leaving.types == MediaTypes::Docker && !leaving.predicates.is_empty() {
            let rule = "attestations need OCI's media types";
            return Err(Error::refused("the image", rule));
        }
        let layers: Vec<Layer> = images.iter().flat_map(|i| i.layers.clone()).collect();
        let lease = self.hold_blobs(&layers)?;
        for image in images {
            self.use_image(image)?;
        }
        Ok(Outgoing {
            store: self,
            images: images.to_vec(),
            packing: Packing::new(self, leaving.method, leaving.force),
            leaving,
            left: None,
            _lease: lease,
        })
    }
}

impl Outgoing<'_> {
    /// Brings the image to where `name` says. Gives the digest of what the name leads to.
    ///
    /// # Errors
    /// As [`Store::push`]; several images.
    pub fn push(
        &mut self,
        name: &Reference,
        access: &Access,
        options: &PushOptions,
    ) -> Result<Digest> {
        if self.images.len() > 1 && !self.leaving.together {
            return Err(Error::refused("a push", "one name is one image's"));
        }
        let (store, images) = (self.store, self.images.clone());
        store.push_with(&images, name, access, options, &mut |has| {
            self.parcel(&images, has)
        })
    }

    /// Writes the images to `out` as an archive, and tells `watch` how far it is.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub fn save<W: Write>(&mut self, format: Format, out: W, watch: Option<Watch>) -> Result<W> {
        let parcels = self.parcels()?;
        self.store.save_parcels(&parcels, format, out, watch)
    }

    /// Writes the images as an OCI layout into the folder `dir`, which must be missing or empty, and tells `watch` how far
    /// it is.
    ///
    /// # Errors
    /// As [`Store::save`]; nothing is left of the layout then.
    pub fn save_layout(&mut self, dir: &Path, watch: Option<Watch>) -> Result<()> {
        let parcels = self.parcels();
        let parcels = parcels.map_err(|e| e.inside(format!("save to {}", dir.display())))?;
        self.store.save_parcels_to(&parcels, dir, watch)
    }

    /// The digest of the document that leads to all that has left; none before anything has.
    pub fn left(&self) -> Option<Digest> {
        self.left
    }

    /// All of them, for somebody who has none of it.
    fn parcels(&mut self) -> Result<Vec<Parcel>> {
        let images = self.images.clone();
        let at_once = if self.leaving.together {
            images.len()
        } else {
            1
        };
        let parcels = images.chunks(at_once.max(1));
        let parcels = parcels.map(|images| self.parcel(images, &|_| Ok(false)));
        parcels.collect()
    }

    /// Puts together what leaves. What the other side `has` of earlier times is not compressed again.
    fn parcel(&mut self, images: &[Image], has: Has<'_>) -> Result<Parcel> {
        let mut parcel = Parcel {
            images: Vec::new(),
            manifests: Vec::new(),
            blobs: BTreeMap::new(),
            aside: None,
            packed: self.leaving.method != Method::None,
        };
        let mut told = Vec::new();
        for image in images {
            let (image, manifest) = self.one(image, has)?;
            if let Some(predicates) = self.leaving.predicates.get(&image.id) {
                told.push(attestation::told(&image, &manifest.1, predicates)?);
            }
            parcel.blobs.insert(image.id, image.config.clone());
            parcel.manifests.push(manifest);
            parcel.images.push(image);
        }
        if images.len() > 1 || !told.is_empty() {
            let kind = self.leaving.types.index();
            let bytes = parcel.manifests.iter().map(|(_, bytes)| &bytes[..]);
            let parts: Vec<_> = parcel.images.iter().zip(bytes).collect();
            let index = attestation::index(kind, &parts, &told)?;
            for told in told {
                let kind = manifest::OCI_MANIFEST.to_owned();
                parcel.manifests.push((kind, told.manifest));
                parcel.blobs.extend(told.blobs);
            }
            parcel.manifests.push((kind.to_owned(), index));
        }
        self.left = parcel.top().map(|(_, bytes)| Digest::of(bytes));
        parcel.aside = self.packing.aside();
        Ok(parcel)
    }

    /// An image as it leaves, and its manifest.
    fn one(&mut self, image: &Image, has: Has<'_>) -> Result<(Image, (String, Vec<u8>))> {
        let manifest = kept(self.store, image)?;
        let mut image = image.clone();
        let mut changed = self.leaving.types == MediaTypes::Docker;
        for layer in &mut image.layers {
            if let Some(descriptor) = self.packing.packed(layer, has)? {
                layer.blob = descriptor.digest;
                layer.size = descriptor.size;
                layer.media_type = descriptor.media_type;
                changed = true;
            }
        }
        if !changed {
            return Ok((image, manifest));
        }
        let bytes = self.manifest(&image)?;
        image.manifest = Digest::of(&bytes);
        Ok((image, (self.leaving.types.manifest().to_owned(), bytes)))
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
}
