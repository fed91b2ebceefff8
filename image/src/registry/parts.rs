//! The blobs of what is pushed: each once, where it is, and where else on the registry it may be. Pure. Not its job:
//! sending them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::store::outgoing::Parcel;
use crate::store::{Image, Layer};
use crate::{Digest, Reference};

/// Repositories that are asked for one blob.
const MAX_MOUNTS: usize = 2;

/// A blob that the registry is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Repositories of the same registry that may have it.
    pub(super) mounts: Vec<String>,
    pub(super) from: Place,
}

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The store has it.
    Store,
    /// A file that goes with the image.
    Aside(PathBuf),
    Bytes(Vec<u8>),
}

/// Layers, each once, and where else on that registry they may be: in the repositories of images with a common layer
/// that have a name there.
pub(super) fn layer_parts<'l>(
    layers: impl Iterator<Item = &'l Layer>,
    images: &[Image],
    name: &Reference,
) -> Vec<Part> {
    let mut places: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    for other in images {
        let there = other
            .names
            .iter()
            .filter(|other| other.domain() == name.domain() && other.path() != name.path());
        for named in there {
            for layer in &other.layers {
                places
                    .entry(layer.blob)
                    .or_default()
                    .insert(named.path().to_owned());
            }
        }
    }
    let mounts = |digest| {
        let places = places.get(digest).into_iter().flatten();
        places.take(MAX_MOUNTS).cloned().collect()
    };
    let mut parts: Vec<Part> = Vec::new();
    for layer in layers {
        if !parts.iter().any(|part| part.digest == layer.blob) {
            parts.push(Part {
                digest: layer.blob,
                size: layer.size,
                mounts: mounts(&layer.blob),
                from: Place::Store,
            });
        }
    }
    parts
}

/// All blobs of what leaves, each once: layers, configs, statements.
pub(super) fn parts(parcel: &Parcel, images: &[Image], name: &Reference) -> Vec<Part> {
    let mut parts = layer_parts(parcel.layers(), images, name);
    for part in &mut parts {
        if let Some(path) = parcel.aside(part.digest) {
            part.from = Place::Aside(path);
        }
    }
    parts.extend(parcel.blobs.iter().map(|(digest, bytes)| Part {
        digest: *digest,
        size: bytes.len() as u64,
        mounts: Vec::new(),
        from: Place::Bytes(bytes.clone()),
    }));
    parts
}
