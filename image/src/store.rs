//! The store: blobs, unpacked layers and names of images below one directory. Not its job: the formats
//! that images come in.

use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;

use crate::{Digest, Error, Reference, Result};

/// One layer of an image: its blob, and the directory it is unpacked in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of its uncompressed tar.
    pub diff_id: Digest,
    /// The digest of its blob as it came (compressed or not).
    pub blob: Digest,
    /// The length of that blob in bytes.
    pub size: u64,
    /// The media type of that blob, as the manifest says it.
    pub media_type: String,
    /// The unpacked layer, with whiteouts as overlay wants them.
    pub path: PathBuf,
}

/// An image of the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the config's bytes.
    pub id: Digest,
    /// The digest of the manifest's bytes.
    pub manifest: Digest,
    /// The names it goes by, sorted; may be empty.
    pub names: Vec<Reference>,
    /// Its layers, the lowest first. An overlay wants them the other way round: [`Image::lower`].
    pub layers: Vec<Layer>,
    /// The config's bytes, as they came: unknown fields and all.
    pub config: Vec<u8>,
    /// The config, typed.
    pub configuration: ImageConfiguration,
}

impl Image {
    /// The paths of the unpacked layers, top first, as overlay's `lowerdir` wants them.
    pub fn lower(&self) -> Vec<PathBuf> {
        self.layers.iter().rev().map(|l| l.path.clone()).collect()
    }
}

/// A fresh upper and work directory for an overlay, on the store's file system and locked against
/// other processes' clean-up. Dropped without [`Store::commit_layer`], it is removed.
#[derive(Debug)]
pub struct Scratch {
    /// The upper directory: mode 0755, empty.
    pub upper: PathBuf,
    /// The work directory.
    pub work: PathBuf,
}

/// How a layer is made of an upper directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommitOptions {
    /// No file's time is later than this (SOURCE_DATE_EPOCH), in seconds since 1970.
    pub clamp_mtime: Option<i64>,
}

/// A store of images.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Opens the store at `path`, and makes it (mode 0700) if nothing is there.
    ///
    /// # Errors
    /// Names the path if it can't be made, or is no store, or one of a newer format.
    pub fn open(path: &Path) -> Result<Self> {
        Err(unfinished(&format!("open the store {}", path.display())))
    }

    /// All images, by name; those without a name last.
    ///
    /// # Errors
    /// If the index or a config can't be read.
    pub fn images(&self) -> Result<Vec<Image>> {
        Err(unfinished("list the images"))
    }

    /// The image with the name `wanted` (docker's rules for what a person leaves out), or whose id
    /// begins with it (with or without `sha256:`). A name wins over an id.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`].
    pub fn find(&self, wanted: &str) -> Result<Image> {
        Err(unfinished(&format!("find {wanted}")))
    }

    /// Starts an empty upper directory on the store's file system.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn scratch(&self) -> Result<Scratch> {
        Err(unfinished("start a layer"))
    }

    /// Makes a layer of what was written into `scratch.upper`: a deterministic tar becomes its blob
    /// (whose digest is the diff id), and the directory itself the unpacked layer. The overlay that
    /// wrote there must be unmounted. A layer of the same content that is there already is used instead.
    /// The layer is held until the process ends or an image refers to it.
    ///
    /// # Errors
    /// Names the file that no layer can carry.
    pub fn commit_layer(&self, scratch: Scratch, options: CommitOptions) -> Result<Layer> {
        let _ = options;
        Err(unfinished(&format!("commit {}", scratch.upper.display())))
    }

    /// Makes an image of a config (its raw bytes) and its layers, the lowest first, and gives it the
    /// names; a name that another image has moves here.
    ///
    /// # Errors
    /// If the config is malformed, or its `rootfs.diff_ids` are not those of the layers.
    pub fn commit_image(
        &self,
        config: &[u8],
        layers: &[Layer],
        names: &[Reference],
    ) -> Result<Image> {
        let _ = (config, layers, names);
        Err(unfinished("commit an image"))
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn unfinished(what: &str) -> Error {
    Error::Unsupported {
        what: what.to_owned(),
    }
}
