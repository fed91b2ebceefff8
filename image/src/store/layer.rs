//! One layer as an image hands it out, and what the store keeps beside its directory.
//! Not its job: making it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::file;
use sys::mount::Tree;

use super::Store;
use super::form::{Form, form_of};
use super::index::Unpacked;
use crate::error::Doing;
use crate::layer::kept::{self, Owner};
use crate::layer::path::LayerPath;
use crate::manifest::Descriptor;
use crate::{Digest, Error, LinkOwners, Result};

/// The list of owners beside a layer.
pub(super) const OWNERS: &str = "owners";

/// The most that is read of it.
pub(super) const MAX_OWNERS: u64 = 256 << 20;

/// One layer of an image: its blob, and the directory it is unpacked in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
    /// The length of that tar in bytes.
    pub tar_size: u64,
    /// The digest of its blob as it came (compressed or not).
    pub blob: Digest,
    /// The length of that blob in bytes.
    pub size: u64,
    /// The media type of that blob, as the manifest says it.
    pub media_type: String,
    /// The unpacked layer, with whiteouts as overlay wants them.
    pub path: PathBuf,
    /// What lies at `path`.
    pub form: Form,
    /// Its root is opaque: the layers below it don't show ([`lower`] leaves them out, since overlay
    /// does not look for that in a root).
    pub covers: bool,
    /// It says what the root directory is; otherwise a layer below does.
    pub states_root: bool,
}

/// The trees of `layers` (the lowest first) as overlay's `lowerdir` wants them: top first, and
/// without those that an opaque root hides. One that is there twice says nothing further down that it does not
/// say further up, and overlay takes no directory twice.
pub fn lower(layers: &[Layer]) -> Vec<Tree> {
    let hidden = layers.iter().rposition(|layer| layer.covers).unwrap_or(0);
    let shown = layers[hidden..].iter().rev();
    let mut seen = std::collections::HashSet::new();
    shown
        .filter(|layer| seen.insert(&layer.path))
        .map(Layer::tree)
        .collect()
}

impl Layer {
    /// The layer as what it is.
    pub fn tree(&self) -> Tree {
        self.form.tree(self.path.clone())
    }

    pub(super) fn unpacked(&self) -> Unpacked {
        let key = self.path.parent().and_then(Path::file_name);
        Unpacked {
            key: key.unwrap_or_default().to_string_lossy().into_owned(),
            covers: self.covers,
            states_root: self.states_root,
            tar_size: self.tar_size,
        }
    }
}

impl Store {
    /// The blob of a layer as it came, compressed or not, whose digest was checked then.
    ///
    /// # Errors
    /// If the store has lost it.
    pub fn blob(&self, layer: &Layer) -> Result<File> {
        let doing = || format!("open blob {}", layer.blob);
        file::open(self.blob_path(layer.blob)).doing(doing)
    }
}

/// Where a layer's directory is, by its key.
pub(super) fn path_of(store: &Path, key: &str) -> PathBuf {
    store.join("layers").join(key).join("fs")
}

/// Puts together what manifest, config and index say of the layers of one image.
pub(super) fn assemble(
    store: &Path,
    descriptors: &[Descriptor],
    diff_ids: &[Digest],
    unpacked: &[Unpacked],
) -> Result<Vec<Layer>> {
    if descriptors.len() != diff_ids.len() || unpacked.len() != diff_ids.len() {
        let rule = format!(
            "{} layers, {} diff ids and {} directories",
            descriptors.len(),
            diff_ids.len(),
            unpacked.len()
        );
        return Err(Error::refused("its layers in the store", rule));
    }
    let layers = descriptors.iter().zip(diff_ids).zip(unpacked);
    Ok(layers
        .map(|((descriptor, diff_id), unpacked)| Layer {
            diff_id: *diff_id,
            tar_size: unpacked.tar_size,
            blob: descriptor.digest,
            size: descriptor.size,
            media_type: descriptor.media_type.clone(),
            path: path_of(store, &unpacked.key),
            form: form_of(store, &unpacked.key),
            covers: unpacked.covers,
            states_root: unpacked.states_root,
        })
        .collect())
}

impl LinkOwners {
    /// Those of all these layers, the lowest first, as one tree.
    ///
    /// # Errors
    /// If a layer's list can't be read.
    pub fn of(layers: &[Layer]) -> Result<Self> {
        let mut all = Self::default();
        for layer in layers {
            let path = layer.path.with_file_name(OWNERS);
            match file::read(&path, MAX_OWNERS) {
                Ok(bytes) => all.0.extend(kept::parse(&bytes).ok_or_else(|| {
                    Error::refused(path.display().to_string(), "it is no list of owners")
                })?),
                Err(e) if e.errno == sys::Errno::NOENT => {}
                Err(e) => return Err(e).doing(|| "read the owners of a layer".to_owned()),
            }
        }
        Ok(all)
    }
}

/// Writes the owners that files could not be given to, into the layer's open directory.
pub(super) fn keep_owners(
    dir: &std::os::fd::OwnedFd,
    owners: &BTreeMap<LayerPath, Owner>,
) -> Result<()> {
    if owners.is_empty() {
        return Ok(());
    }
    let bytes = kept::list(owners);
    file::replace(dir, OWNERS, &bytes, 0o600, file::Durability::Memory)
        .doing(|| "write the owners of a layer".to_owned())
}

/// What `layers/KEY/layer.json` keeps: what can't be seen from the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) diff_id: Digest,
    pub(super) tar_size: u64,
    pub(super) covers: bool,
    pub(super) states_root: bool,
    /// What the layer is kept as.
    #[serde(default, skip_serializing_if = "Form::is_folder")]
    pub(super) form: Form,
    /// Devices and file capabilities that we were not allowed to make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) left_out: Vec<String>,
    /// The blobs known to hold this very layer.
    pub(super) blobs: Vec<Descriptor>,
}

impl Kept {
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|e| Error::Json {
            what: "layer.json".to_owned(),
            fault: e.to_string(),
        })
    }

    /// Reads it; `None` if the store has no such layer.
    pub(super) fn read(store: &Path, key: &str) -> Result<Option<Self>> {
        let path = store.join("layers").join(key).join("layer.json");
        let doing = || format!("read {}", path.display());
        match file::read(&path, crate::json::MAX_DOCUMENT) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::Json {
                    what: path.display().to_string(),
                    fault: e.to_string(),
                }),
            Err(e) if e.errno == sys::Errno::NOENT => Ok(None),
            Err(e) => Err(e).doing(doing),
        }
    }

    /// Writes it into the layer's open directory.
    pub(super) fn write(
        &self,
        dir: &std::os::fd::OwnedFd,
        durability: file::Durability,
    ) -> Result<()> {
        file::replace(dir, "layer.json", &self.bytes()?, 0o600, durability)
            .doing(|| format!("write layer.json of {}", self.diff_id))
    }
}
