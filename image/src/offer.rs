//! What an archive or layout offers: its images with their documents checked and their layers found,
//! but not one layer read yet. Not its job: reading layers, and the store.

use std::collections::HashSet;
use std::sync::Arc;

use crate::digest::Promise;
use crate::manifest::{self, Descriptor, Document, Platform};
use crate::source::{Blob, Files, Window, missing};
use crate::{Digest, Error, Reference, Result, json};

/// Images of one archive at most, and indexes within indexes.
const MAX_IMAGES: usize = 1000;
const MAX_NESTING: usize = 4;

/// An image on offer.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The config's bytes; their digest is the image's id.
    pub(crate) config: Vec<u8>,
    pub(crate) id: Digest,
    /// The manifest's bytes; a docker archive has none.
    pub(crate) manifest: Option<Vec<u8>>,
    /// The lowest first; as many as the config has diff ids.
    pub(crate) layers: Vec<OfferedLayer>,
    pub(crate) names: Vec<Reference>,
}

impl Offer {
    /// Where the bytes of its layers are.
    pub(crate) fn blobs(&mut self) -> impl Iterator<Item = &mut Arc<dyn Blob>> {
        self.layers
            .iter_mut()
            .filter_map(|layer| layer.blob.as_mut())
    }
}

/// A layer on offer.
#[derive(Debug)]
pub(crate) struct OfferedLayer {
    pub(crate) diff_id: Digest,
    /// The blob as the manifest has it; a docker archive says nothing of it.
    pub(crate) descriptor: Option<Descriptor>,
    /// Its name in the source, for messages.
    pub(crate) name: String,
    /// Its bytes; `None` if the source lacks them, which is no fault while the store has the layer.
    pub(crate) blob: Option<Arc<dyn Blob>>,
}

/// Where the parts of an OCI image are found by their descriptors: the `blobs` of a layout, or what a
/// registry serves. Nothing that it gives is trusted.
pub(crate) trait Content {
    /// The bytes of a manifest, index or config, at most [`json::MAX_DOCUMENT`] of them.
    fn document(&self, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// A layer's blob, not opened yet; `None` if the source is known to lack it.
    fn layer(&self, descriptor: &Descriptor) -> Result<Option<Arc<dyn Blob>>>;
}

impl Content for Files {
    fn document(&self, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let path = blob_path(descriptor.digest);
        let window = self.find(&path)?.ok_or_else(|| missing(&path))?;
        check_size(what, descriptor.size, window.length())?;
        window.document(what)
    }

    fn layer(&self, descriptor: &Descriptor) -> Result<Option<Arc<dyn Blob>>> {
        Ok(self.find(&blob_path(descriptor.digest))?.map(shared))
    }
}

fn shared(window: Window) -> Arc<dyn Blob> {
    Arc::new(window)
}

impl OfferedLayer {
    /// What its blob must be.
    pub(crate) fn promise(&self) -> Promise {
        Promise {
            digest: self.descriptor.as_ref().map(|d| d.digest),
            size: self.descriptor.as_ref().map(|d| d.size),
        }
    }
}

/// All images of a source for a platform (this host's, if none is said), named as it names them.
pub(crate) fn offers(files: &Files, platform: Option<&Platform>) -> Result<Vec<Offer>> {
    let layout = files.read("oci-layout")?;
    let docker = files.read("manifest.json")?;
    let offers = match (layout, docker) {
        (Some(layout), docker) => {
            check_layout(&layout)?;
            let offers = oci(files, platform)?;
            // docker save of today writes both at once; they must speak of the same images.
            if let Some(docker) = docker {
                check_same(&offers, &docker_images(&docker)?, files)?;
            }
            offers
        }
        (None, Some(docker)) => docker_images(&docker)?
            .into_iter()
            .map(|image| docker_offer(files, image))
            .collect::<Result<_>>()?,
        (None, None) => {
            let rule = "it holds neither oci-layout nor manifest.json";
            return Err(Error::refused("the source", rule));
        }
    };
    match offers.is_empty() {
        true => Err(Error::refused("the source", "it holds no image")),
        false => Ok(offers),
    }
}

fn check_layout(bytes: &[u8]) -> Result<()> {
    let value = json::parse("oci-layout", bytes)?;
    let object = json::object("oci-layout", &value, &["imageLayoutVersion"])?;
    match object.get("imageLayoutVersion").and_then(|v| v.as_str()) {
        Some("1.0.0") => Ok(()),
        other => Err(Error::refused(
            "oci-layout",
            format!("version {other:?} is not \"1.0.0\""),
        )),
    }
}

/// The images of an OCI layout.
fn oci(files: &Files, platform: Option<&Platform>) -> Result<Vec<Offer>> {
    let bytes = files
        .read("index.json")?
        .ok_or_else(|| missing("index.json"))?;
    let Document::Index(index) = manifest::document("index.json", &bytes, None)? else {
        return Err(Error::refused("index.json", "it is a manifest"));
    };
    if index.len() > MAX_IMAGES {
        return Err(Error::refused(
            "index.json",
            format!("more than {MAX_IMAGES} images"),
        ));
    }
    let host = platform.cloned().unwrap_or_else(manifest::host);
    let mut offers: Vec<Offer> = Vec::new();
    let chosen = manifest::for_platform(&index, &host);
    if chosen.is_empty() && !index.is_empty() {
        return Err(no_platform("index.json", &index, &host));
    }
    for descriptor in chosen {
        let names = names(descriptor)?;
        let mut offer = image(files, descriptor, &host)?;
        match offers.iter_mut().find(|known| known.id == offer.id) {
            // One image under two names stands twice in the index.
            Some(known) => known.names.extend(names),
            None => {
                offer.names = names;
                offers.push(offer);
            }
        }
    }
    Ok(offers)
}

/// The image for `host` that a descriptor leads to; without a name.
pub(crate) fn image(
    content: &impl Content,
    descriptor: &Descriptor,
    host: &Platform,
) -> Result<Offer> {
    image_below(content, descriptor, host, 0)
}

/// The same, through indexes.
fn image_below(
    content: &impl Content,
    descriptor: &Descriptor,
    host: &Platform,
    depth: usize,
) -> Result<Offer> {
    let what = format!("manifest {}", descriptor.digest);
    if !descriptor.is_index() && !descriptor.is_manifest() {
        let what = format!("{what} of type {:?}", descriptor.media_type);
        return Err(Error::Unsupported { what });
    }
    if depth > MAX_NESTING {
        return Err(Error::refused(
            what,
            format!("indexes nest deeper than {MAX_NESTING}"),
        ));
    }
    let bytes = document(content, &what, descriptor)?;
    match manifest::document(&what, &bytes, Some(&descriptor.media_type))? {
        Document::Index(index) => match manifest::for_platform(&index, host).first() {
            Some(next) => image_below(content, next, host, depth + 1),
            None => Err(no_platform(&what, &index, host)),
        },
        Document::Manifest { config, layers } => {
            let config = document(content, "image config", &config)?;
            let blobs: Vec<Found> = layers
                .into_iter()
                .map(|layer| {
                    Ok((
                        layer.digest.to_string(),
                        content.layer(&layer)?,
                        Some(layer),
                    ))
                })
                .collect::<Result<_>>()?;
            offer(config, Some(bytes), blobs)
        }
    }
}

fn no_platform(what: &str, index: &[Descriptor], host: &Platform) -> Error {
    let rule = format!(
        "no image for {}/{} among {}",
        host.os,
        host.architecture,
        manifest::platforms(index)
    );
    Error::refused(what, rule)
}

/// Reads a document and holds it to its descriptor.
fn document(content: &impl Content, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let bytes = content.document(what, descriptor)?;
    check_size(what, descriptor.size, bytes.len() as u64)?;
    let found = Digest::of(&bytes);
    match found.keeps(descriptor.digest) {
        true => Ok(bytes),
        false => Err(crate::digest::mismatch(
            what,
            "digest",
            descriptor.digest,
            found,
        )),
    }
}

fn check_size(what: &str, promised: u64, found: u64) -> Result<()> {
    match found == promised {
        true => Ok(()),
        false => Err(crate::digest::mismatch(what, "size", promised, found)),
    }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What a layout's index calls an image: containerd and docker write the full name. The reference name
/// is a free text to OCI; where it is no image name, the image stays without one.
fn names(descriptor: &Descriptor) -> Result<Vec<Reference>> {
    let annotation = |key: &str| {
        descriptor
            .annotations
            .get(key)
            .filter(|name| !name.is_empty())
    };
    let name = annotation("org.opencontainers.image.ref.name");
    if let Some(full) = annotation("io.containerd.image.name") {
        let full: Reference = full.parse()?;
        // umoci leaves it on a new image of another name: it counts where the other one says the same.
        let same = |name: &String| {
            full.tag() == Some(name) || name.parse().is_ok_and(|name: Reference| name == full)
        };
        if name.is_none_or(same) {
            return Ok(vec![full]);
        }
    }
    Ok(name
        .and_then(|name| name.parse().ok())
        .into_iter()
        .collect())
}

/// A layer as a document names it.
type Found = (String, Option<Arc<dyn Blob>>, Option<Descriptor>);

/// Puts an offer together; counts its layers.
fn offer(config: Vec<u8>, manifest: Option<Vec<u8>>, blobs: Vec<Found>) -> Result<Offer> {
    let configuration = manifest::configuration(&config)?;
    let diff_ids = manifest::diff_ids(&configuration)?;
    if diff_ids.len() != blobs.len() {
        let rule = format!(
            "{} layers, but rootfs.diff_ids has {}",
            blobs.len(),
            diff_ids.len()
        );
        return Err(Error::refused("manifest", rule));
    }
    let layers = diff_ids.into_iter().zip(blobs);
    Ok(Offer {
        id: Digest::of(&config),
        config,
        manifest,
        layers: layers
            .map(|(diff_id, (name, blob, descriptor))| OfferedLayer {
                diff_id,
                descriptor,
                name,
                blob,
            })
            .collect(),
        names: Vec::new(),
    })
}

/// One image of docker's manifest.json.
struct DockerImage {
    config: String,
    layers: Vec<String>,
    names: Vec<Reference>,
}

fn docker_images(bytes: &[u8]) -> Result<Vec<DockerImage>> {
    let what = "manifest.json";
    let value = json::parse(what, bytes)?;
    let images = value
        .as_array()
        .filter(|images| images.len() <= MAX_IMAGES)
        .ok_or_else(|| Error::refused(what, format!("no list of up to {MAX_IMAGES} images")))?;
    images
        .iter()
        .enumerate()
        .map(|(n, image)| docker_image(&format!("{what}[{n}]"), image))
        .collect()
}

fn docker_image(what: &str, value: &serde_json::Value) -> Result<DockerImage> {
    use serde_json::Value;
    let object = json::object(what, value, &["Config", "RepoTags", "Layers"])?;
    let texts = |key: &str| -> Result<Vec<String>> {
        let refuse = || Error::refused(what, format!("{key} is no list of texts"));
        match object.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or_else(refuse))
                .collect(),
            Some(_) => Err(refuse()),
        }
    };
    let config = object.get("Config").and_then(Value::as_str);
    let names = texts("RepoTags")?;
    Ok(DockerImage {
        config: config
            .ok_or_else(|| Error::refused(what, "Config is missing"))?
            .to_owned(),
        layers: texts("Layers")?,
        names: names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_>>()
            .map_err(|e| e.inside(format!("{what}, RepoTags")))?,
    })
}

fn docker_offer(files: &Files, image: DockerImage) -> Result<Offer> {
    let config = docker_config(files, &image.config)?;
    let blobs = image.layers.into_iter().map(|name| {
        let window = files.find(&name)?.ok_or_else(|| missing(&name))?;
        Ok((name, Some(shared(window)), None))
    });
    let mut offer = offer(config, None, blobs.collect::<Result<_>>()?)?;
    offer.names = image.names;
    Ok(offer)
}

/// A docker archive names its config by its digest: `HEX.json` of old, `blobs/sha256/HEX` today.
fn docker_config(files: &Files, name: &str) -> Result<Vec<u8>> {
    let bytes = files.read(name)?.ok_or_else(|| missing(name))?;
    let hex = name
        .strip_prefix("blobs/sha256/")
        .or_else(|| name.strip_suffix(".json"));
    let found = Digest::of(&bytes);
    match hex.and_then(|hex| Digest::from_hex(hex).ok()) {
        Some(promised) if promised != found => Err(crate::digest::mismatch(
            format!("image config {name}"),
            "digest",
            promised,
            found,
        )),
        _ => Ok(bytes),
    }
}

/// Refuses an archive that is one thing to docker and another to OCI tools.
fn check_same(offers: &[Offer], images: &[DockerImage], files: &Files) -> Result<()> {
    let ids: HashSet<Digest> = offers.iter().map(|offer| offer.id).collect();
    for image in images {
        let id = Digest::of(&docker_config(files, &image.config)?);
        if !ids.contains(&id) {
            let rule = format!("it names the image {id}, which index.json does not");
            return Err(Error::refused("manifest.json", rule));
        }
    }
    Ok(())
}
