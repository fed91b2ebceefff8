//! What was changed in a bundle's tree, or written to an upper directory, back into a layer on its image; and what differs
//! between images. Not its job: comparing trees (`layer/changes`), the layer's tar (`layer/diff`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sys::beneath::Root;
use sys::file;

use super::bundle::{BESIDE, Beside, sources};
use super::load::{LoadOptions, Names};
use super::work::Work;
use super::{Image, Store};
use crate::digest::Hasher;
use crate::error::Doing;
use crate::layer::changes::{Change, ChangeKind, Tree, changes};
use crate::layer::diff;
use crate::layer::flatten::Source;
use crate::layer::written::Written;
use crate::manifest::Descriptor;
use crate::offer::{Offer, OfferedLayer};
use crate::source::Window;
use crate::{Digest, Error, LinkOwners, Reference, Result};

/// Where a new layer comes from.
#[derive(Debug, Clone, Copy)]
pub enum Changed<'a> {
    /// A whole tree that was the image's once: what differs is the layer.
    Tree(&'a Path),
    /// An overlay's upper directory, which is a layer already; the overlay must be unmounted.
    Upper(&'a Path),
}

/// How a layer is made of a changed tree, and what is told of it.
#[derive(Debug, Clone, Default)]
pub struct RepackOptions {
    /// No file's time is later than this (SOURCE_DATE_EPOCH), in seconds since 1970.
    pub clamp_mtime: Option<i64>,
    /// When the image was made, in RFC 3339; `None` leaves what the image says.
    pub created: Option<String>,
    /// What the history says of the layer.
    pub created_by: String,
    /// Names for the new image; a name that another image has moves here.
    pub names: Vec<Reference>,
}

/// A path, from the root on, and what happened to it.
pub type PathChange = (ChangeKind, PathBuf);

impl Store {
    /// What makes `new` of `old`: paths with a leading slash, each directory before what is in it.
    ///
    /// # Errors
    /// Names the file that can't be read.
    pub fn changes(&self, old: &Image, new: &Image) -> Result<Vec<PathChange>> {
        let _leases = (self.hold(&old.layers)?, self.hold(&new.layers)?);
        let (old, new) = (sources(&old.layers)?, sources(&new.layers)?);
        Ok(shown(changes(&Tree(old), &Tree(new))?))
    }

    /// What was changed in `tree`, a folder that was unpacked from `image`.
    ///
    /// # Errors
    /// Names the file that can't be read.
    pub fn changes_of_tree(&self, image: &Image, tree: &Path) -> Result<Vec<PathChange>> {
        let _lease = self.hold(&image.layers)?;
        Ok(shown(tree_changes(image, &open(tree)?)?))
    }

    /// The image that a bundle was unpacked from: as its `dhow.json` says.
    ///
    /// # Errors
    /// If the file is missing or malformed, or the store lacks the image.
    pub fn image_of_bundle(&self, bundle: &Path) -> Result<Image> {
        let path = bundle.join(BESIDE);
        let doing = || format!("find the image of bundle {}", bundle.display());
        let bytes = file::read(&path, crate::json::MAX_DOCUMENT).doing(doing)?;
        let beside: Beside = serde_json::from_slice(&bytes).map_err(|e| Error::Json {
            what: path.display().to_string(),
            fault: e.to_string(),
        })?;
        self.find(&beside.image.to_string())
            .map_err(|e| e.inside(doing()))
    }

    /// Makes an image of `image` and one more layer: what differs in `changed`. `None` if nothing does. The layer depends on
    /// nothing but the content; the config keeps what it has, fields that nobody knows too.
    ///
    /// # Errors
    /// Names the file that no layer can carry; nothing is left behind then.
    pub fn repack(
        &self,
        image: &Image,
        changed: Changed<'_>,
        options: &RepackOptions,
    ) -> Result<Option<Image>> {
        let (Changed::Tree(path) | Changed::Upper(path)) = changed;
        let doing = || format!("repack {}", path.display());
        let pack = || {
            let _lease = self.hold(&image.layers)?;
            let work = self.work()?;
            match self.layer_of(&work, image, changed, options)? {
                Some(layer) => self.add(&work, image, layer, options).map(Some),
                None => Ok(None),
            }
        };
        pack().map_err(|e| e.inside(doing()))
    }

    /// Writes the tar of what differs into the work directory.
    fn layer_of(
        &self,
        work: &Work,
        image: &Image,
        changed: Changed<'_>,
        options: &RepackOptions,
    ) -> Result<Option<NewLayer>> {
        let links = LinkOwners::of(&image.layers)?;
        let rules = diff::Rules {
            owners: &self.manner.owners,
            links: &links,
            written: &Written::default(),
            clamp_mtime: options.clamp_mtime,
            settle: false,
            only: None,
        };
        let name = "tar";
        let out = Hashing {
            out: BufWriter::with_capacity(128 * 1024, work.create(name)?),
            hasher: Hasher::default(),
        };
        let out = match changed {
            Changed::Upper(upper) => {
                let upper = open(upper)?;
                if file::list(&upper)
                    .doing(|| "list it".to_owned())?
                    .is_empty()
                {
                    return Ok(None);
                }
                diff::write(upper, &rules, out)?.0
            }
            Changed::Tree(tree) => {
                let tree = open(tree)?;
                let changes = tree_changes(image, &tree)?;
                if changes.is_empty() {
                    return Ok(None);
                }
                diff::write_changes(tree, &changes, &rules, out)?
            }
        };
        let Hashing { mut out, hasher } = out;
        out.flush()
            .map_err(|e| sys::SysError::from_io("write", name, &e))
            .doing(|| "write the layer's tar".to_owned())?;
        let size = hasher.length();
        Ok(Some(NewLayer {
            file: file::open(work.path.join(name)).doing(|| "open the layer's tar".to_owned())?,
            diff_id: hasher.finish(),
            size,
        }))
    }

    /// Reads the new layer as any other that comes from outside, and shows the image.
    fn add(
        &self,
        work: &Work,
        image: &Image,
        layer: NewLayer,
        options: &RepackOptions,
    ) -> Result<Image> {
        let config = config(image, layer.diff_id, options)?;
        let known = image.layers.iter().map(|layer| OfferedLayer {
            diff_id: layer.diff_id,
            descriptor: Some(Descriptor::new(&layer.media_type, layer.blob, layer.size)),
            name: layer.blob.to_string(),
            blob: None,
        });
        let mut layers: Vec<OfferedLayer> = known.collect();
        let window = Window::whole(layer.file).doing(|| "read the layer's tar".to_owned())?;
        layers.push(OfferedLayer {
            diff_id: layer.diff_id,
            descriptor: Some(Descriptor::new(TAR, layer.diff_id, layer.size)),
            name: layer.diff_id.to_string(),
            blob: Some(Arc::new(window)),
        });
        let offer = Offer {
            id: Digest::of(&config),
            config,
            manifest: None,
            layers,
            names: options.names.clone(),
        };
        let load = LoadOptions {
            names: Names::Move,
            ..LoadOptions::default()
        };
        let loaded = self.load_offers(work, vec![offer], &load)?;
        let image = loaded.into_iter().next().map(|loaded| loaded.image);
        image.ok_or_else(|| Error::refused("the new image", "the store does not show it"))
    }
}

/// The type of a layer that is not compressed.
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer's tar without a name in the store yet.
struct NewLayer {
    file: File,
    diff_id: Digest,
    size: u64,
}

fn open(dir: &Path) -> Result<OwnedFd> {
    file::open_dir(dir).doing(|| format!("open {}", dir.display()))
}

fn tree_changes(image: &Image, tree: &OwnedFd) -> Result<Vec<Change>> {
    let fd = tree
        .try_clone()
        .map_err(|e| sys::SysError::from_io("dup", "", &e))
        .doing(|| "open the tree".to_owned())?;
    let new = Source {
        root: Root::new(fd),
        states_root: true,
    };
    changes(&Tree(sources(&image.layers)?), &Tree(vec![new]))
}

fn shown(changes: Vec<Change>) -> Vec<PathChange> {
    let path =
        |change: &Change| Path::new("/").join(std::ffi::OsStr::from_bytes(change.path.bytes()));
    changes.iter().map(|c| (c.kind, path(c))).collect()
}

/// The image's config with one more layer and what is told of it.
fn config(image: &Image, diff_id: Digest, options: &RepackOptions) -> Result<Vec<u8>> {
    let json = |fault: serde_json::Error| Error::Json {
        what: "image config".to_owned(),
        fault: fault.to_string(),
    };
    let mut fields: Map<String, Value> = serde_json::from_slice(&image.config).map_err(json)?;
    let mut diff_ids: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
    diff_ids.push(diff_id);
    let rootfs = fields.entry("rootfs").or_insert_with(|| json!({}));
    rootfs["diff_ids"] = json!(diff_ids);
    let mut history = match fields.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    };
    let told = |entry: &&Value| entry.get("empty_layer") != Some(&Value::Bool(true));
    // An entry is of the layer at its place: those that nobody told of come first.
    for _ in history.iter().filter(told).count()..image.layers.len() {
        history.push(json!({}));
    }
    let mut entry = json!({"created_by": options.created_by, "comment": "dhow"});
    if let Some(created) = &options.created {
        entry["created"] = json!(created);
        fields.insert("created".to_owned(), json!(created));
    }
    history.push(entry);
    fields.insert("history".to_owned(), Value::Array(history));
    serde_json::to_vec(&fields).map_err(json)
}

/// Hashes what passes to a file.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
